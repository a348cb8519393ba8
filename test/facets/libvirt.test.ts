import { expect, test } from "@jest/globals";
import { libvirt } from "../../providers/facets/libvirt.ts";
import { ok } from "../../providers/kit/ask.ts";
import type { Step } from "../../providers/kit/facet.ts";
import { UNREAD } from "../../providers/kit/libvirt-conf.ts";
import { CONTEXT, codes, factsOf, runExamples } from "./run-examples.ts";

runExamples(libvirt);

const example = libvirt.examples.find((e) => e.name === "its own settings");
if (example === undefined) throw new Error("no example");
const { want, answers } = example;
const after = (conf: string) => factsOf(libvirt, { ...answers, conf: ok(conf) });
/** What the file says when the run is killed behind each action. */
const written = (steps: readonly Step[] | undefined): string[] =>
  (steps ?? []).flatMap((s) => s.actions.flatMap((a) => (a.do === "write" ? [a.content] : [])));

test("killed between the file and libvirtd's restart, the next run does both again; then the file is clean", () => {
  const steps = libvirt.plan?.(want, after('user = "libvirt-qemu"\n'), CONTEXT);
  expect(steps?.[0]?.actions.map((a) => a.do)).toEqual(["write", "run", "write"]);
  const [first = "", last = ""] = written(steps);
  expect(written(libvirt.plan?.(want, after(first), CONTEXT))).toEqual([first, last]);
  expect(last).not.toContain(UNREAD);
  expect(libvirt.plan?.(want, after(last), CONTEXT)).toEqual([]);
});

test("so with what is deleted: a killed undo is done again, and gives the file back as it was", () => {
  const before = 'user = "libvirt-qemu"\n';
  const [first = "", last = ""] = written(libvirt.plan?.(want, after(before), CONTEXT));
  for (const conf of [first, last]) {
    const [half = "", whole = ""] = written(libvirt.undo?.(want, after(conf), CONTEXT));
    expect(codes(libvirt.undo?.(want, after(half), CONTEXT))).toEqual(["libvirt.restore"]);
    expect(whole).toBe(before);
    expect(written(libvirt.undo?.(want, after(half), CONTEXT))[1]).toBe(before);
    expect(libvirt.undo?.(want, after(whole), CONTEXT)).toEqual([]);
  }
});
