import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import type { ReviewReport } from "../../cli/formats/review-facts.ts";
import type { Twin } from "../../sim/twin.ts";
import { run } from "../cli/run.ts";
import { configOf, MINUTES, Site, Stack } from "./harness.ts";

/** A preview where the node cannot be reached: made from what it answered before. Each test goes on where the last ended. */

let site: Site;
let twin: Twin;
let stack: Stack;
let env: Record<string, string>;
let config: Record<string, unknown>;
let records: string;

beforeAll(async () => {
  site = new Site();
  twin = await site.twin({ name: "gpu-01" });
  records = site.path("records", "x").replace(/\/x$/, "");
  env = { TEEUP_BMC_PASSWORD: twin.bmc?.password ?? "", TEEUP_SSH_CONFIG: "/dev/null", TEEUP_REVIEW: "1" };
  config = { ...configOf([site.node("gpu-01", twin)], "reboot"), "teeup:records": records };
  stack = await Stack.create(site, { config, env });
}, MINUTES);
afterAll(() => site.close());

const previewed = async () => {
  const { status, stdout, said } = await stack.preview("--json");
  expect([status, status === 0 ? "" : said]).toEqual([0, ""]);
  const report = await run(["cli/main.ts", "report", "-", "--json"], {}, stdout);
  return { report: JSON.parse(report.stdout) as ReviewReport, text: stdout };
};
let live: ReviewReport;

test(
  "a record has every answer, changes nothing on the node and holds no secret",
  async () => {
    live = (await previewed()).report;
    twin.journal.clear();
    const { status, stdout, stderr } = await run(["cli/main.ts", "record", "gpu-01", "--file", stack.configFile], env);
    expect([status, stderr]).toEqual([0, ""]);
    expect(stdout).toMatch(new RegExp(`^${records}/gpu-01\\.json: gpu-01 as of \\S+Z, sha256 [0-9a-f]{64}\n$`));
    expect(twin.journal.counts().mutations).toBe(0);
    expect(twin.journal.unmodelled).toEqual([]);
    const text = readFileSync(`${records}/gpu-01.json`, "utf8");
    for (const secret of [env["TEEUP_BMC_PASSWORD"] ?? "?", twin.ssh.privateKey ?? "?"])
      expect(text).not.toContain(secret);
    expect(text).not.toContain("PRIVATE KEY");
  },
  MINUTES,
);

test(
  "the node gone, a preview of the record is the live one, with the same hash, and says how old it is",
  async () => {
    await twin.stop();
    stack.configure({ ...config, "teeup:facts": "recorded" });
    const { report, text } = await previewed();
    const node = report.nodes[0];
    expect(node?.facts).toMatchObject({ from: "recorded", hash: expect.stringMatching(/^[0-9a-f]{64}$/) });
    expect(report.approval).toBe(live.approval);
    expect(node?.facets).toEqual(live.nodes[0]?.facets);
    expect(report.errors).toEqual([]);
    const shown = await run(["cli/main.ts", "report", "-"], {}, text);
    expect(shown.stdout).toMatch(/\*\*Previewed against facts recorded at \S+Z, \d+ \w+ ago\*\*/);
    const terminal = await stack.preview();
    expect(terminal.stdout).toMatch(
      /gpu-01: its facts were recorded \d+ \w+ ago \(\S+Z\); the node itself is not looked at/,
    );
  },
  MINUTES,
);

test(
  "up is refused at once, and leaves nothing in the state",
  async () => {
    const up = await stack.up();
    expect(up.status).not.toBe(0);
    expect(up.stdout).toContain("[facts.recorded]");
    expect(up.stdout).toMatch(/next: pulumi config set teeup:facts live/);
    expect((await stack.export()).resources.filter(({ type }) => type.startsWith("pulumi-nodejs:dynamic"))).toEqual([]);
  },
  MINUTES,
);

test(
  "a record that somebody changed is refused; a node without one is unknown like one out of reach",
  async () => {
    const path = `${records}/gpu-01.json`;
    const text = readFileSync(path, "utf8");
    writeFileSync(path, text.replace("6.8.0-45-generic", "6.8.0-46-generic"));
    const changed = await stack.preview();
    expect([changed.status === 0, changed.stdout.includes("[record.changed]")]).toEqual([false, true]);

    rmSync(path);
    mkdirSync(records, { recursive: true });
    const { report } = await previewed();
    expect(report.nodes).toMatchObject([
      {
        status: "unreachable",
        unreachable: {
          saw: expect.stringContaining("record.missing"),
          next: expect.stringContaining("teeup record gpu-01"),
        },
      },
    ]);
  },
  MINUTES,
);
