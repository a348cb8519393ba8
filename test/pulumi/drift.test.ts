import { readFileSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { stringify } from "yaml";
import type { DriftReport } from "../../cli/formats/drift-facts.ts";
import type { Twin } from "../../sim/twin.ts";
import { run } from "../cli/run.ts";
import { configOf, fleetOf, MINUTES, Site, Stack } from "./harness.ts";

/**
 * A fleet of two stacks through the real engine and their real states: one node as wanted, one that drifted, one that is
 * gone, one that is not who it was. Each test goes on where the last one ended.
 */
const NODES = ["gpu-01", "gpu-02", "gpu-03", "gpu-04"] as const;

let site: Site;
let twins: Record<string, Twin>;
let stacks: Stack[];
let states: string[];
let fleet: string;
let env: Record<string, string>;

beforeAll(async () => {
  site = new Site();
  const made = await Promise.all(NODES.map(async (name) => [name, await site.twin({ name })] as const));
  twins = Object.fromEntries(made);
  const config = (names: readonly string[]) =>
    configOf(
      names.map((name) => ({ ...site.node(name, of(name)), labels: { rack: name === "gpu-02" ? "r8" : "r7" } })),
    );
  const passwords = Object.fromEntries(
    NODES.map((name) => [`TEEUP_BMC_PASSWORD_${name.toUpperCase().replace("-", "_")}`, of(name).bmc?.password ?? ""]),
  );
  stacks = await Promise.all(
    [NODES.slice(0, 3), NODES.slice(3)].map((names, n) =>
      Stack.create(site, { name: `rack${n}`, config: config(names), env: passwords }),
    ),
  );
  const ups = await Promise.all(stacks.map((stack) => stack.up()));
  expect(ups.map(({ status, said }) => [status, status === 0 ? "" : said])).toEqual([
    [0, ""],
    [0, ""],
  ]);
  states = await Promise.all(stacks.map(async (stack) => (await stack.export()).text));
  fleet = fleetOf(site, stacks, (n) => ({ site: `s${n}` }));
  env = {
    ...passwords,
    TEEUP_SSH_CONFIG: "/dev/null",
    PULUMI_HOME: site.path("drift-home", "x").replace(/\/x$/, ""),
    PULUMI_CONFIG_PASSPHRASE: stacks[0]?.env["PULUMI_CONFIG_PASSPHRASE"] ?? "",
  };
}, MINUTES);
afterAll(() => site.close());

const of = (name: string): Twin => {
  const twin = twins[name];
  if (twin === undefined) throw new Error(`no twin ${name}`);
  return twin;
};

const drift = (...flags: string[]) =>
  run(["cli/main.ts", "drift", "--fleet", fleet, ...flags], { NO_COLOR: "1", ...env });
async function scanned(...flags: string[]) {
  for (const twin of site.twins) twin.journal.clear();
  const { status, stdout, stderr } = await drift("--json", ...flags);
  const report = JSON.parse(stdout || "{}") as DriftReport;
  expect(site.twins.map((twin) => [twin.journal.counts().mutations, twin.journal.unmodelled])).toEqual(
    site.twins.map(() => [0, []]),
  );
  return { status, stderr, report, statuses: Object.fromEntries((report.nodes ?? []).map((n) => [n.node, n.status])) };
}

test(
  "as they were brought up: all clean, one exec each, and exit status 0",
  async () => {
    const { status, statuses, stderr } = await scanned();
    expect([status, statuses]).toEqual([0, Object.fromEntries(NODES.map((name) => [name, "clean"]))]);
    expect(stderr).toMatch(/^looking at \d+ nodes in 2 stacks, \d+ at a time$/m);
    expect(stderr).toMatch(/^[12] of 2, rack0: 3 clean \([\d.]+ s\)$/m);
    expect(site.twins.map((twin) => twin.journal.counts().hostExecs)).toEqual([1, 1, 1, 1]);
  },
  MINUTES,
);

test(
  "one drifted: that node, that facet, exit status 2; a selection that leaves it out is clean",
  async () => {
    of("gpu-02").drift("module-options");
    const all = await scanned();
    expect([all.status, all.statuses]).toEqual([
      2,
      { "gpu-01": "clean", "gpu-02": "drifted", "gpu-03": "clean", "gpu-04": "clean" },
    ]);
    const facets = all.report.nodes.find((node) => node.node === "gpu-02")?.facets.filter((f) => f.status !== "clean");
    expect(facets).toMatchObject([
      { facet: "module-options", status: "drifted", steps: [{ code: "module-options.stage" }] },
    ]);

    const rack = await scanned("--select", "rack=r7", "site=s0");
    expect([rack.status, rack.statuses]).toEqual([0, { "gpu-01": "clean", "gpu-03": "clean" }]);
    // The other nodes were not even connected to.
    expect(of("gpu-02").journal.counts().connections).toBe(0);
  },
  MINUTES,
);

test(
  "one gone and one that is somebody else: neither hides the drift or the clean one, and the exit status is 3",
  async () => {
    await of("gpu-03").stop();
    const [, stack] = stacks;
    const text = readFileSync(stack?.configFile ?? "", "utf8");
    writeFileSync(stack?.configFile ?? "", text.replace(/hostKey: .*/, `hostKey: SHA256:${"A".repeat(43)}`));
    const { status, statuses, report } = await scanned();
    expect([status, statuses]).toEqual([
      3,
      { "gpu-01": "clean", "gpu-02": "drifted", "gpu-03": "unreachable", "gpu-04": "broken" },
    ]);
    const errors = Object.fromEntries(report.nodes.map(({ node, error }) => [node, error?.code]));
    expect(errors).toEqual({
      "gpu-01": undefined,
      "gpu-02": undefined,
      "gpu-03": "node.unreachable",
      "gpu-04": "ssh.host-key-changed",
    });
  },
  MINUTES,
);

test(
  "two shards, merged, are the whole; every format of the merged result is written; one shard alone is not enough",
  async () => {
    const files = ["a.json", "b.json"].map((name) => site.path("shards", name));
    const shards = await Promise.all(files.map((file, n) => drift("--shard", `${n + 1}/2`, "--json", file)));
    expect(shards.map(({ status }) => status)).toEqual([2, 3]);
    const formats = ["markdown", "junit", "sarif", "prometheus", "html"];
    const outs = formats.map((format) => site.path("out", format));
    const merged = await drift("--merge", ...files, ...formats.flatMap((format, n) => [`--${format}`, outs[n] ?? ""]));
    expect([merged.status, merged.stderr]).toEqual([3, ""]);
    expect(merged.stdout).toMatch(/4 nodes in [\d.]+ s: 1 clean, 1 drifted, 1 unreachable, 1 broken \(not everything/);
    for (const out of outs) for (const name of NODES.slice(1)) expect(readFileSync(out, "utf8")).toContain(name);
    const half = await drift("--merge", files[0] ?? "");
    expect([half.status, half.stdout]).toEqual([3, expect.stringContaining("no result of shard 2/2")]);
  },
  MINUTES,
);

test(
  "a stack whose state cannot be opened, and one that does not exist, are broken; the other stack is still scanned",
  async () => {
    const text = readFileSync(fleet, "utf8");
    writeFileSync(
      fleet,
      text
        .replace(
          `backend: ${stacks[1]?.env["PULUMI_BACKEND_URL"]}`,
          `backend: file://${site.path("nothing", "x").replace(/\/x$/, "")}`,
        )
        .concat(stringify([{ stack: "rack9", project: site.folder }]).replace(/^/gm, "  ")),
    );
    const { status, report } = await scanned();
    writeFileSync(fleet, text);
    expect(status).toBe(3);
    expect(report.nodes.map(({ node, status: s, error }) => [node, s, error?.code])).toEqual([
      ["gpu-01", "clean", undefined],
      ["gpu-02", "drifted", undefined],
      ["gpu-03", "unreachable", "node.unreachable"],
      ["gpu-04", "broken", "stack.failed"],
      ["*", "broken", "fleet.no-project"],
    ]);
  },
  MINUTES,
);

test(
  "no state was written, and what a scan asks of the provider is refused to preview and up",
  async () => {
    const now = await Promise.all(stacks.map(async (stack) => (await stack.export()).text));
    expect(now).toEqual(states);
    const [stack] = stacks;
    Object.assign(stack?.env ?? {}, { TEEUP_SCAN: "gpu-01" });
    const up = await stack?.up();
    delete stack?.env["TEEUP_SCAN"];
    expect([up?.status === 0, up?.stdout.includes("[scan.not-read-only]")]).toEqual([false, true]);
  },
  MINUTES,
);
