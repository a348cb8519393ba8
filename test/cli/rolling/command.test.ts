import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { stringify } from "yaml";
import { run } from "../run.ts";

/** What is refused before Pulumi is asked for anything, and before a journal is begun. */
let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "teeup-rolling-"));
  writeFileSync(join(folder, "Pulumi.yaml"), stringify({ name: "teeup", runtime: "nodejs" }));
  const nodes = [{ name: "gpu-01", ssh: { host: "gpu-01" }, labels: { rack: "r7" } }];
  writeFileSync(join(folder, "Pulumi.rack7.yaml"), stringify({ config: { "teeup:nodes": nodes } }));
  writeFileSync(join(folder, "fleet.yaml"), stringify({ stacks: [{ stack: "rack7" }] }));
  writeFileSync(join(folder, "broken.yaml"), stringify({ stacks: [{ stack: "rack7" }, { stack: "rack8" }] }));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test.each([
  [
    "without --rolling",
    ["up"],
    /without --rolling it is pulumi up \[up\.not-rolling\]\n +next: pulumi up, or teeup up --rolling/,
  ],
  ["no place at all", ["up", "--rolling", "--max-unavailable", "0"], /a whole number above 0 is wanted/],
  ["labels that fit no node", ["up", "--rolling", "--select", "rack=r9"], /no node fits \[fleet\.empty\]/],
  [
    "a canary that is not among the nodes",
    ["up", "--rolling", "--canary", "node=gpu-02"],
    /--canary node=gpu-02.*\[rolling\.no-canary\]/,
  ],
  [
    "a stack that cannot be read",
    ["up", "--rolling", "--fleet", "broken.yaml"],
    /Pulumi\.rack8\.yaml.*\[config\.unreadable\]/,
  ],
] as readonly [string, string[], RegExp][])("%s is refused", async (_name, argv, message) => {
  const journal = join(folder, "walk.jsonl");
  const given = argv.map((word) => (word === "broken.yaml" ? join(folder, word) : word));
  const fleet = given.includes("--fleet") ? [] : ["--fleet", join(folder, "fleet.yaml")];
  const { status, stdout, stderr } = await run(["cli/main.ts", ...given, ...fleet, "--journal", journal]);
  expect([status, stdout]).toEqual([1, ""]);
  expect(stderr).toMatch(message);
  expect(existsSync(journal)).toBe(false);
});
