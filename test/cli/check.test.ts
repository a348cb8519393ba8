import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "@jest/globals";
import { stringify } from "yaml";
import type { DemoTwin } from "../../cli/demo/twin.ts";
import { startDemoTwin } from "../../cli/demo/twin.ts";
import type { NodeReport } from "../../cli/report.ts";
import { run } from "./run.ts";

let dir: string;
let file: string;
let twin: DemoTwin;

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), "teeup-check-"));
  file = join(dir, "Pulumi.x.yaml");
  twin = await startDemoTwin(join(dir, "twin"));
});
afterEach(async () => {
  await twin.close();
  rmSync(dir, { recursive: true });
});

const teeup = (args: readonly string[], config = twin.config, env: Readonly<Record<string, string>> = {}) => {
  writeFileSync(file, stringify({ config }));
  return run(["cli/main.ts", ...args, "--file", file], { ...twin.env, NO_COLOR: "1", ...env });
};

test("an untouched node: what is missing, why, how to fix it, and nothing written", async () => {
  const { status, stdout, stderr } = await teeup(["check", "gpu-01"]);
  expect([status, stderr]).toEqual([3, ""]);
  expect(stdout).toMatch(/^gpu-01\n├─ Hardware IT administrator\n/);
  expect(stdout).toMatch(/✗ FAIL {4}bios\.snp\n.*wanted .*Enabled\n.*saw .*Disabled\n.*fix .*\n.*source .*seed 001/);
  expect(stdout).toMatch(/→ \[reboot\] restart the host into kernel /);
  expect(stdout).toMatch(/\d+ findings in [\d.]+ s: \d+ pass, \d+ warn, \d+ fail, \d+ unknown\n$/);
  const { mutations, hostExecs } = await twin.counts();
  expect({ mutations, hostExecs }).toEqual({ mutations: 0, hostExecs: 1 });
});

test("--json is the same as data", async () => {
  const { status, stdout } = await teeup(["check", "gpu-01", "--json"]);
  const report = JSON.parse(stdout) as NodeReport;
  expect([status, report.node, report.ok]).toEqual([3, "gpu-01", false]);
  const bios = report.facets.find((f) => f.facet === "bios");
  expect(bios?.findings).toContainEqual(expect.objectContaining({ code: "bios.snp", level: "fail" }));
  expect(bios?.steps).toEqual([expect.objectContaining({ code: "bios.stage", disruption: "none" })]);
  expect(report.counts.fail).toBe(report.facets.flatMap((f) => f.findings).filter((f) => f.level === "fail").length);
});

test("an unknown node lists the known ones", async () => {
  const { status, stdout, stderr } = await teeup(["check", "gpu-02"]);
  expect([status, stdout]).toEqual([1, ""]);
  expect(stderr).toMatch(/gpu-02.*known: gpu-01 \[config\.unknown-node\]\n {2}next: /);
});

test("a host key that is not the pinned one ends the check before anything is asked", async () => {
  const [node] = twin.config["teeup:nodes"] as [{ ssh: object }];
  const hostKey = `SHA256:${"A".repeat(43)}`;
  const config = { ...twin.config, "teeup:nodes": [{ ...node, ssh: { ...node.ssh, hostKey } }] };
  const { status, stderr } = await teeup(["check", "gpu-01"], config);
  expect(status).toBe(1);
  expect(stderr).toMatch(/\[ssh\.host-key-changed\]/);
  expect((await twin.counts()).hostExecs).toBe(0);
});

test("a wrong BMC password is one error that says what to set, and shows the password nowhere", async () => {
  const secret = "not-the-password-9c1f";
  const { status, stdout, stderr } = await teeup(["check", "gpu-01"], twin.config, { TEEUP_BMC_PASSWORD: secret });
  expect([status, stdout]).toEqual([1, ""]);
  expect(stderr).toMatch(/^gpu-01 · bmc: .*refuses user \w+ \[bmc\.unauthorized\]\n {2}next: set TEEUP_BMC_PASSWORD/);
  expect(stderr).not.toContain(secret);
});

test("an unknown command and a missing argument show how to go on", async () => {
  for (const args of [["chek", "gpu-01"], ["check"]]) {
    const { status, stderr } = await run(["cli/main.ts", ...args]);
    expect([status, stderr]).toEqual([1, expect.stringContaining("teeup --help")]);
  }
});
