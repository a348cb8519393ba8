import { cpSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import type { Rehearsal } from "../../cli/demo/rehearsal.ts";
import type { Twin } from "../../sim/twin.ts";
import { configOf, Site, Stack } from "../pulumi/harness.ts";
import { run } from "./run.ts";

/** The command as a person uses it, in the place of a node a twin that is gone by then. */
const MINUTES = 240_000;
let site: Site;
let twin: Twin;
let stack: Stack;
let env: Record<string, string>;
let records: string;

beforeAll(async () => {
  site = new Site();
  twin = await site.twin({ name: "gpu-01", vendor: "dell" });
  records = site.path("records", "x").replace(/\/x$/, "");
  env = { TEEUP_BMC_PASSWORD: twin.bmc?.password ?? "", TEEUP_SSH_CONFIG: "/dev/null", NO_COLOR: "1" };
  stack = await Stack.create(site, {
    config: { ...configOf([site.node("gpu-01", twin)]), "teeup:records": records },
    env,
  });
  const recorded = await run(["cli/main.ts", "record", "gpu-01", "--file", stack.configFile], env);
  expect([recorded.status, recorded.stderr]).toEqual([0, ""]);
  await twin.stop();
}, MINUTES);
afterAll(() => site.close());

const rehearse = (...flags: string[]) =>
  run(["cli/demo/rehearse.ts", "gpu-01", "--file", stack.configFile, ...flags], env);

test(
  "the whole up runs on a twin of the record, and it says what began alike and what nobody can know",
  async () => {
    const { status, stdout, stderr } = await rehearse("--json");
    expect([status, status === 0 ? "" : stderr]).toEqual([0, ""]);
    const rehearsal = JSON.parse(stdout) as Rehearsal & { cannotKnow: string[] };
    expect(rehearsal).toMatchObject({ ok: true, node: "gpu-01", gpuResets: 1, attestation: { verdict: "pass" } });
    // Three boots of Dell's BIOS: its record made it Dell's.
    expect(rehearsal.restarts).toBe(3);
    expect(rehearsal.plan.length).toBeGreaterThan(15);
    expect([rehearsal.otherwise, rehearsal.alike.length > 15]).toEqual([[], true]);
    expect(rehearsal.cannotKnow).toEqual(
      expect.arrayContaining([expect.stringMatching(/the twin's internet is made up/)]),
    );
    // The node that was recorded is gone, and was not looked for.
    expect(twin.journal.counts().mutations).toBe(0);
  },
  MINUTES,
);

test(
  "a step that is not permitted ends the rehearsal as it would end up, and where twin and node differ is told",
  async () => {
    const path = join(records, "gpu-01.json");
    const other = site.path("other", "gpu-01.json");
    mkdirSync(join(site.folder, "other"), { recursive: true });
    cpSync(path, other);
    stack.configure({
      ...configOf([site.node("gpu-01", twin)], "service"),
      "teeup:records": join(site.folder, "other"),
    });
    const { status, stdout } = await rehearse();
    expect(status).toBe(3);
    expect(stdout).toMatch(/✗ it did not end as wanted:.*permit/s);
    expect(stdout).toMatch(/── What this cannot know\n {2}- /);

    writeFileSync(other, readFileSync(other, "utf8").replace("6.8.0-45-generic", "6.8.0-46-generic"));
    const changed = await rehearse();
    expect([changed.status, changed.stdout]).toEqual([1, ""]);
    expect(changed.stderr).toContain("[record.changed]");
  },
  MINUTES,
);
