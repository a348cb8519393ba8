import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "@jest/globals";
import type { DemoTwin } from "../../cli/demo/twin.ts";
import { startDemoTwin } from "../../cli/demo/twin.ts";
import type { NodeReport } from "../../cli/report.ts";
import { run } from "./run.ts";

let dir: string;
let twin: DemoTwin;

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), "teeup-audit-"));
  twin = await startDemoTwin(join(dir, "twin"));
});
afterEach(async () => {
  await twin.close();
  rmSync(dir, { recursive: true });
});

const teeup = (...args: readonly string[]) => run(["cli/main.ts", ...args], { ...twin.env, NO_COLOR: "1" });
const report = async (...args: readonly string[]) => {
  const { status, stdout, stderr } = await teeup("check", ...args, "--json");
  return { status, stderr, report: JSON.parse(stdout) as NodeReport };
};
const of = ({ facets }: NodeReport, name: string) => facets.find(({ facet }) => facet === name);

test("a machine in no stack is judged by a profile, over SSH, and nothing is written", async () => {
  const { host, port, user, keyFile } = twin.facts.ssh;
  const [known, config] = [join(dir, "known_hosts"), join(dir, "ssh_config")];
  writeFileSync(
    known,
    execFileSync("ssh-keyscan", ["-p", String(port), host], { stdio: ["ignore", "pipe", "ignore"] }),
  );
  writeFileSync(
    config,
    `Host rack7\n  HostName ${host}\n  Port ${port}\n  User ${user}\n  IdentityFile ${keyFile}\n  UserKnownHostsFile ${known}\n`,
  );
  const args = ["cli/main.ts", "check", "rack7", "--profile", "snp-upstream", "--json"];
  const { status, stdout, stderr } = await run(args, { TEEUP_SSH_CONFIG: config });
  expect([status, stderr]).toEqual([3, ""]);
  const seen = JSON.parse(stdout) as NodeReport;
  expect(seen.node).toBe("rack7");
  expect(of(seen, "kernel-cmdline")?.findings).toContainEqual(expect.objectContaining({ level: "fail" }));
  expect(seen.facets.map(({ on }) => on)).not.toContain("guest");
  expect(await twin.counts()).toMatchObject({ mutations: 0, hostExecs: 1 });
});

test("what the profile leaves open is unknown, not good, and a pin decides it", async () => {
  const open = await report("here", "--local", "--profile", "snp-upstream");
  expect(of(open.report, "guest-image")?.findings).toEqual([
    expect.objectContaining({
      code: "guest-image.undecided",
      level: "unknown",
      want: expect.stringContaining("guest.image.sha256"),
    }),
  ]);
});

test("--local --guest looks at this machine as the guest itself", async () => {
  const { status, report: seen } = await report("here", "--local", "--guest", "--profile", "snp-upstream");
  expect(status).toBe(3);
  expect(new Set(seen.facets.map(({ on }) => on))).toEqual(new Set(["guest"]));
  // Whatever runs this test, it is no SEV-SNP guest with a GPU in CC mode.
  expect(seen.ok).toBe(false);
  expect(of(seen, "guest-evidence")?.findings.some(({ level }) => level !== "pass")).toBe(true);
});

test("a recipe of a cloud is looked at on the instance itself, restart and guest facets alike", async () => {
  const { status, report: seen } = await report("here", "--local", "--profile", "alibaba-gn8v-tee-1gpu");
  expect([status, seen.ok]).toEqual([3, false]);
  const names = seen.facets.map(({ facet }) => facet);
  expect(names).toEqual(expect.arrayContaining(["kernel-cmdline", "nvidia-driver", "guest-evidence", "attestation"]));
  expect(of(seen, "nvidia-driver")?.findings).toEqual([
    expect.objectContaining({ code: "nvidia-driver.undecided", level: "unknown" }),
  ]);
});

test("an unknown profile, a pin that is none and flags without a profile say what to give", async () => {
  for (const [args, want] of [
    [["check", "x", "--profile", "nope"], /config\.unknown-profile.*\n {2}next: .*snp-upstream/],
    [["check", "x", "--profile", "snp-upstream", "--pin", "nope"], /config\.bad-pin/],
    [["check", "x", "--local"], /check\.no-profile.*\n {2}next: teeup check x --profile/],
  ] as const) {
    const { status, stdout, stderr } = await teeup(...args);
    expect([status, stdout]).toEqual([1, ""]);
    expect(stderr).toMatch(want);
  }
});
