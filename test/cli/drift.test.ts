import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { afterEach, beforeEach, expect, test } from "@jest/globals";
import { stringify } from "yaml";
import { scanFleet } from "../../cli/drift.ts";
import { loadFleet } from "../../cli/fleet.ts";
import { type DriftReport, exitStatus } from "../../cli/formats/drift-facts.ts";
import { driftMarkdown } from "../../cli/formats/drift-markdown.ts";
import { driftSarif } from "../../cli/formats/drift-sarif.ts";
import { driftTable } from "../../cli/formats/drift-table.ts";
import { ROOT } from "./run.ts";

/**
 * What is made of the engine's account when it tells less than all: a stand-in for Pulumi repeats events (synthetic, in
 * the form of CLI 3.259.0). test/pulumi/drift.test.ts has the real one.
 */
const STAND_IN = `#!/bin/sh
while [ $# -gt 0 ]; do [ "$1" = --event-log ] && cp "$TEEUP_TEST_EVENTS" "$2"; shift; done
echo "error: $TEEUP_TEST_STATUS" >&2
exit "$TEEUP_TEST_STATUS"
`;
const before = { ...process.env };
let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "teeup-drift-test-"));
  writeFileSync(join(folder, "pulumi"), STAND_IN, { mode: 0o755 });
  process.env["PATH"] = `${folder}:${before["PATH"]}`;
});
afterEach(() => {
  process.env = { ...before };
  rmSync(folder, { recursive: true, force: true });
});

const project = (name: string, stack: string, nodes: readonly string[]) => {
  mkdirSync(join(folder, name), { recursive: true });
  writeFileSync(join(folder, name, "Pulumi.yaml"), stringify({ name, runtime: "nodejs" }));
  const config = { "teeup:nodes": nodes.map((node) => ({ name: node, ssh: { host: node } })) };
  writeFileSync(join(folder, name, `Pulumi.${stack}.yaml`), stringify({ config }));
};
const fleetFile = (stacks: readonly { stack: string; project: string }[]): string => {
  writeFileSync(join(folder, "fleet.yaml"), stringify({ stacks }));
  return join(folder, "fleet.yaml");
};

const prelude = (...nodes: readonly string[]) => ({
  preludeEvent: { config: { "teeup:nodes": JSON.stringify(nodes.map((name) => ({ name }))) } },
});
const event = (kind: "resourcePreEvent" | "resOutputsEvent", type: string, outputs: object) => ({
  [kind]: { metadata: { type: `pulumi-nodejs:dynamic/${type}`, old: { outputs }, new: { outputs } } },
});
const clean = (node: string, facet: string) =>
  event("resOutputsEvent", "hardware:Cpu", {
    node,
    facet,
    scan: { facet, status: "clean", findings: [], steps: [] },
  });
const plan = (node: string, facets: string) =>
  event("resOutputsEvent", "node:NodePlan", { node, facet: "node-plan", facets });

async function scan(events: readonly object[], status = 0, fleet?: string) {
  project("p", "rack7", ["gpu-01"]);
  const log = join(folder, "events.json");
  writeFileSync(log, events.map((one) => `${JSON.stringify(one)}\n`).join(""));
  Object.assign(process.env, { TEEUP_TEST_EVENTS: log, TEEUP_TEST_STATUS: String(status) });
  const report = await scanFleet({ fleet: fleet ?? fleetFile([{ stack: "rack7", project: "p" }]) }, () => undefined);
  return { report, exit: exitStatus(report) };
}

test("a node whose last up ended half-way is not clean, however clean the parts are that it has", async () => {
  const whole = await scan([
    prelude("gpu-01"),
    plan("gpu-01", "cpu lkca"),
    clean("gpu-01", "cpu"),
    clean("gpu-01", "lkca"),
  ]);
  expect([whole.exit, whole.report.nodes.map(({ status }) => status)]).toEqual([0, ["clean"]]);
  const half = await scan([prelude("gpu-01"), plan("gpu-01", "cpu lkca"), clean("gpu-01", "cpu")]);
  expect(half.exit).toBe(3);
  expect(half.report.nodes).toMatchObject([
    {
      node: "gpu-01",
      status: "broken",
      facets: [{ status: "clean" }, { facet: "lkca", error: { code: "facet.no-state" } }],
    },
  ]);
});

test("what is wrong with one part hides no other: the whole node's error is only what all of its parts say", async () => {
  const one = (facet: string, over: object) =>
    event("resOutputsEvent", "hardware:Cpu", {
      node: "gpu-01",
      facet,
      scan: { facet, findings: [], steps: [], ...over },
    });
  const error = { code: "node.unreachable", saw: "nothing listens", next: "ssh -v" };
  const gone = [one("cpu", { status: "unreachable", error }), one("lkca", { status: "unreachable", error })];
  expect((await scan(gone)).report.nodes).toMatchObject([{ status: "unreachable", error }]);
  const steps = [{ code: "lkca.write", title: "write it", disruption: "none" }];
  const { report } = await scan([
    ...gone.slice(0, 1),
    one("lkca", { status: "drifted", steps }),
    clean("gpu-01", "bios"),
  ]);
  expect(report.nodes).toMatchObject([{ status: "unreachable" }]);
  for (const text of [
    driftTable(report, false),
    driftMarkdown(report),
    driftSarif(report, { file: "x", version: "1" }),
  ])
    for (const said of ["nothing listens", "write it"]) expect(text).toContain(said);
});

test("what the engine did not get to is not clean: of an engine that failed only a node that was seen whole is", async () => {
  const cut = await scan([prelude("gpu-01"), clean("gpu-01", "cpu")], 255);
  expect(cut.exit).toBe(3);
  expect(cut.report.nodes).toMatchObject([{ status: "broken", error: { code: "stack.failed", saw: "error: 255" } }]);
  const seen = await scan([prelude("gpu-01"), plan("gpu-01", "cpu"), clean("gpu-01", "cpu")], 255);
  expect(seen.exit).toBe(3);
  expect(seen.report.nodes.map(({ node, status, error }) => [node, status, error?.code])).toEqual([
    ["gpu-01", "clean", undefined],
    ["*", "broken", "stack.failed"],
  ]);
});

test("a part of a node that cannot be read is broken, also when nobody says which nodes the config has", async () => {
  const { report, exit } = await scan([
    event("resOutputsEvent", "vm-admin:Lkca", { old: true }),
    clean("gpu-01", "cpu"),
  ]);
  expect(exit).toBe(3);
  expect(report.nodes.map(({ node, status }) => [node, status])).toEqual([
    ["gpu-01", "clean"],
    ["*", "broken"],
  ]);
});

test("commands that run once are no part of a machine that could be looked at", async () => {
  const session = event("resOutputsEvent", "node:NodeSession", { node: "gpu-01", facet: "node-session" });
  expect((await scan([prelude("gpu-01"), clean("gpu-01", "cpu"), session])).exit).toBe(0);
});

test("a project file that cannot be read is that stack's trouble alone", async () => {
  project("q", "rack8", ["gpu-02"]);
  for (const text of ["", "a: [", "stackConfigDir: 3"]) {
    writeFileSync(join(folder, "q", "Pulumi.yaml"), text);
    const fleet = fleetFile([
      { stack: "rack7", project: "p" },
      { stack: "rack8", project: "q" },
    ]);
    const { report } = await scan([prelude("gpu-01"), clean("gpu-01", "cpu")], 0, fleet);
    expect(report.nodes.map(({ node, status, error }) => [node, status, error?.code])).toEqual([
      ["gpu-01", "clean", undefined],
      ["*", "broken", "fleet.no-project"],
    ]);
  }
});

test("two stacks of one name, whose nodes no format could tell apart, are refused with how to name them", async () => {
  const fleet = fleetFile([
    { stack: "prod", project: "p" },
    { stack: "prod", project: "q" },
  ]);
  await expect(loadFleet(fleet)).rejects.toThrow(/prod.*organization\/<project>\/<stack>.*fleet\.invalid/);
});

test("a shard says which list it was cut from", async () => {
  project("p", "rack7", ["gpu-01"]);
  const of = async () => {
    const fleet = fleetFile([{ stack: "rack7", project: "p" }]);
    const log = join(folder, "events.json");
    writeFileSync(log, "");
    Object.assign(process.env, { TEEUP_TEST_EVENTS: log, TEEUP_TEST_STATUS: "0" });
    return (await scanFleet({ fleet, shard: "1/1" }, () => undefined)).shard?.fleet;
  };
  const one = await of();
  expect(one).toMatch(/^[0-9a-f]{16}$/);
  expect(await of()).toBe(one);
  project("p", "rack7", ["gpu-01", "gpu-02"]);
  expect(await of()).not.toBe(one);
});

test("interrupted, it ends the engine, leaves no file, and says of no node that it was looked at", async () => {
  for (const [name, stack] of [
    ["p", "rack7"],
    ["q", "rack8"],
  ] as const)
    project(name, stack, [`gpu-${stack}`]);
  const [started, tmp, out] = ["started", "tmp", "drift.json"].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ];
  mkdirSync(tmp);
  // Runs until it is told to end, as a scan of a large stack does.
  writeFileSync(join(folder, "pulumi"), `#!/bin/sh\necho $$ >> '${started}'\nexec sleep 60\n`, { mode: 0o755 });
  const fleet = fleetFile([
    { stack: "rack7", project: "p" },
    { stack: "rack8", project: "q" },
  ]);
  const child = spawn(process.execPath, ["cli/main.ts", "drift", "--fleet", fleet, "--parallel", "1", "--json", out], {
    cwd: ROOT,
    env: { ...process.env, TMPDIR: tmp },
    stdio: "ignore",
  });
  const ended = once(child, "close");
  while (!existsSync(started) && child.exitCode === null) await setTimeout(20);
  child.kill("SIGTERM");
  expect((await ended)[0]).toBe(3);
  expect(readdirSync(tmp)).toEqual([]);
  const pids = readFileSync(started, "utf8").trim().split("\n");
  expect(pids).toHaveLength(1);
  expect(() => process.kill(Number(pids[0]), 0)).toThrow(/ESRCH/);
  const { nodes } = JSON.parse(readFileSync(out, "utf8")) as DriftReport;
  expect(nodes.map(({ node, error }) => [node, error?.code])).toEqual([
    ["gpu-rack7", "scan.stopped"],
    ["gpu-rack8", "scan.stopped"],
  ]);
}, 30_000);
