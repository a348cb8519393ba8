import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import type { RollingReport } from "../../cli/rolling.ts";
import type { Twin } from "../../sim/twin.ts";
import { type Ran, run } from "../cli/run.ts";
import { configOf, fleetOf, MINUTES, onChange, ROOT, Site, Stack } from "./harness.ts";

/**
 * Three nodes in two stacks, brought up and changed one after the other through the real engine. Each test goes on where
 * the last one ended.
 */
const NODES = ["gpu-01", "gpu-02", "gpu-03"] as const;

let site: Site;
let twins: Record<string, Twin>;
let stacks: Stack[];
let env: Record<string, string>;
let args: string[];
/** Names of nodes in the order of their changes, one entry for each run of changes. */
let order: string[];

const of = (name: string): Twin => {
  const twin = twins[name];
  if (twin === undefined) throw new Error(`no twin ${name}`);
  return twin;
};
const configure = (over: Record<string, unknown> = {}) => {
  for (const [n, names] of [NODES.slice(0, 2), NODES.slice(2)].entries())
    stacks[n]?.configure({ ...configOf(names.map((name) => site.node(name, of(name)))), ...over });
};

beforeAll(async () => {
  site = new Site();
  twins = Object.fromEntries(await Promise.all(NODES.map(async (name) => [name, await site.twin({ name })] as const)));
  const passwords = Object.fromEntries(
    NODES.map((name) => [`TEEUP_BMC_PASSWORD_${name.toUpperCase().replace("-", "_")}`, of(name).bmc?.password ?? ""]),
  );
  stacks = await Promise.all([0, 1].map((n) => Stack.create(site, { name: `rack${n}`, config: {}, env: passwords })));
  configure();
  order = [];
  for (const name of NODES)
    onChange(of(name), () => {
      if (order.at(-1) !== name) order.push(name);
    });
  const fleet = fleetOf(site, stacks);
  env = {
    ...passwords,
    NO_COLOR: "1",
    TEEUP_SSH_CONFIG: "/dev/null",
    PULUMI_HOME: site.path("home", "x").replace(/\/x$/, ""),
    PULUMI_CONFIG_PASSPHRASE: stacks[0]?.env["PULUMI_CONFIG_PASSPHRASE"] ?? "",
  };
  args = ["cli/main.ts", "up", "--rolling", "--fleet", fleet, "--journal", site.path("walk.jsonl"), "--json"];
}, MINUTES);
afterAll(() => site.close());

const roll = async (...flags: string[]) => {
  order.length = 0;
  const ran = await run([...args, ...flags], env);
  return { ...ran, ...outcome(ran) };
};
function outcome({ stdout }: Ran) {
  const report = JSON.parse(stdout || '{"nodes":[]}') as RollingReport;
  return { report, outcomes: Object.fromEntries(report.nodes.map((one) => [one.node, one.outcome])) };
}
const clean = async () => {
  for (const stack of stacks) {
    const { status, said } = await stack.preview("--expect-no-changes");
    expect([status, status === 0 ? "" : said]).toEqual([0, ""]);
  }
};

test(
  "killed while it is at the second node, the next run ends that one first, and never were two worked on at once",
  async () => {
    order.length = 0;
    const walk = spawn(process.execPath, args, { cwd: ROOT, env: { ...process.env, ...env }, stdio: "ignore" });
    let changes = 0;
    const stop = onChange(of("gpu-02"), () => {
      if (++changes === 12) walk.kill("SIGKILL");
    });
    const [, signal] = (await once(walk, "exit")) as [number | null, string | null];
    stop();
    expect(signal).toBe("SIGKILL");
    expect(order).toEqual(["gpu-01", "gpu-02"]);

    const { status, stderr, outcomes, report } = await roll();
    expect([status, status === 0 ? "" : stderr]).toEqual([0, ""]);
    expect(outcomes).toEqual({ "gpu-01": "as-wanted", "gpu-02": "done", "gpu-03": "done" });
    expect(order).toEqual(["gpu-02", "gpu-03"]);
    // Two had never been brought up.
    expect(report.mostUnavailable).toBe(2);
    expect(stderr).toMatch(/^rack0\/gpu-02 was being worked on/m);
    for (const name of NODES) expect(of(name).journal.counts()).toMatchObject({ reboots: 1, gpuResets: 1 });
    await clean();
  },
  MINUTES,
);

test(
  "another size of the guests: the canary alone, then two at a time; nothing else of a stack is touched",
  async () => {
    configure({ "teeup:vm": { cpus: 8, memoryGiB: 64, diskGiB: 100 } });
    const { status, stderr, outcomes, report } = await roll("--max-unavailable", "2", "--canary", "node=gpu-02");
    expect([status, status === 0 ? "" : stderr]).toEqual([0, ""]);
    expect(outcomes).toEqual(Object.fromEntries(NODES.map((name) => [name, "done"])));
    expect(order[0]).toBe("gpu-02");
    expect(order.lastIndexOf("gpu-02")).toBe(0);
    expect(report.mostUnavailable).toBe(2);
    await clean();
  },
  MINUTES,
);

test(
  "what the stack does not permit fails at the canary, and no other node is taken",
  async () => {
    configure({ "teeup:vm": { cpus: 16, memoryGiB: 64, diskGiB: 100 }, "teeup:permit": "none" });
    const { status, outcomes, report } = await roll("--max-unavailable", "3");
    expect([status, order]).toEqual([3, []]);
    expect(outcomes).toEqual({ "gpu-01": "failed", "gpu-02": "not-taken", "gpu-03": "not-taken" });
    expect(report.nodes[0]?.why).toMatch(/guest-stop/);
    expect(report.stopped).toBe(true);
    // No file is left in the project, nor is a stack selected in whoever's name this ran.
    const kept = join(env["PULUMI_HOME"] ?? "", "workspaces");
    for (const name of existsSync(kept) ? readdirSync(kept) : [])
      expect(readFileSync(join(kept, name), "utf8")).not.toContain("rack");
    expect(readdirSync(join(ROOT, "stacks")).filter((name) => name.includes("rack"))).toEqual([]);
  },
  MINUTES,
);

test(
  "a dead node takes the only place that there is: nobody else is taken",
  async () => {
    configure({ "teeup:vm": { cpus: 16, memoryGiB: 64, diskGiB: 100 } });
    await of("gpu-03").stop();
    const { status, outcomes } = await roll();
    expect([status, order]).toEqual([3, []]);
    expect(outcomes).toEqual({ "gpu-01": "not-taken", "gpu-02": "not-taken", "gpu-03": "unavailable" });
  },
  MINUTES,
);
