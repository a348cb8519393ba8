import { expect, test } from "@jest/globals";
import type { TeeUpError } from "../../providers/kit/errors.ts";
import type { Door } from "../../providers/kit/machine.ts";
import { againBecause, openSession } from "../../providers/kit/one-shot.ts";

const door: Door = { host: "198.51.100.7", port: 22, user: "root", hostKey: "ssh-ed25519 AAAA" };
const bastion = (via?: Door): Door => ({ ...door, host: "198.51.100.1", ...(via === undefined ? {} : { via }) });
type Given = { readonly node: string; readonly verdict: string };
const news: Given = { node: "gpu-01", verdict: "pass" };

test.each([
  ["never ran", {}, "b1", 1],
  ["the same boot and verdict", { bootId: "b1", verdict: "pass" }, "b1", 0],
  ["a restart", { bootId: "b0", verdict: "pass" }, "b1", 1],
  ["another verdict", { bootId: "b1", verdict: "fail" }, "b1", 1],
  ["a boot that cannot be told is not the same one", { bootId: "b1", verdict: "pass" }, undefined, 1],
])("commands run again or not: %s", (_what, before, bootId, lines) => {
  expect(againBecause(before, news, bootId)).toHaveLength(lines);
});

test("what they hang on: boot, verdict and the verified way in", () => {
  expect(openSession(news, "b1", door, "/agent")).toEqual({
    node: "gpu-01",
    facet: "node-session",
    bootId: "b1",
    verdict: "pass",
    door,
  });
  expect(openSession(news, "b1", { ...door, via: bastion() }, "/agent")).toMatchObject({ door: { via: bastion() } });
});

test.each<[code: string, given: Given, bootId: string | undefined, way: Door | undefined, agent: string | undefined]>([
  ["one-shot.not-attested", { node: "gpu-01", verdict: "not attested: it cannot be reached" }, "b1", door, "/agent"],
  ["one-shot.not-attested", { node: "gpu-01", verdict: "fail" }, "b1", door, "/agent"],
  ["one-shot.no-boot", news, undefined, door, "/agent"],
  ["one-shot.no-boot", news, "b1", undefined, "/agent"],
  ["one-shot.no-agent", news, "b1", door, undefined],
  ["one-shot.bastions", news, "b1", { ...door, via: bastion(bastion()) }, "/agent"],
])("%s: nothing is run", (code, given, bootId, way, agent) => {
  const run = () => openSession(given, bootId, way, agent);
  expect(run).toThrow(expect.objectContaining({ code }) as unknown as TeeUpError);
});
