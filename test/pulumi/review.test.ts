import { afterAll, beforeAll, expect, test } from "@jest/globals";
import type { ReviewReport } from "../../cli/formats/review-facts.ts";
import type { Twin } from "../../sim/twin.ts";
import { run } from "../cli/run.ts";
import { configOf, MINUTES, Site, Stack } from "./harness.ts";

/** A reviewer and a stack of one node, through the real Pulumi. */
const REVIEW = { TEEUP_REVIEW: "1" };

let site: Site;
let twin: Twin;
let stack: Stack;
let env: Record<string, string>;

beforeAll(async () => {
  site = new Site();
  twin = await site.twin({ name: "gpu-01" });
  env = { TEEUP_BMC_PASSWORD: twin.bmc?.password ?? "", ...REVIEW };
  stack = await Stack.create(site, { config: configOf([site.node("gpu-01", twin)], "none"), env });
}, MINUTES);
afterAll(() => site.close());

async function previewed() {
  twin.journal.clear();
  const { status, stdout, said } = await stack.preview("--json");
  expect([status, status === 0 ? "" : said]).toEqual([0, ""]);
  expect(twin.journal.unmodelled).toEqual([]);
  expect(twin.journal.counts().mutations).toBe(0);
  return stdout;
}

/** `teeup report -`, as a workflow runs it. */
async function reported(preview: string, flags: string[] = [], ends = 0) {
  const { status, stdout, stderr } = await run(["cli/main.ts", "report", "-", ...flags], {}, preview);
  expect([status, stderr]).toEqual([ends, ""]);
  return stdout;
}
const facts = async (preview: string, ends = 0) =>
  JSON.parse(await reported(preview, ["--json"], ends)) as ReviewReport;

test(
  "an untouched node: steps with their commands and diffs, what permit they need, and the same hash every time",
  async () => {
    const [first, second] = [await previewed(), await previewed()];
    const report = await facts(first);
    expect(report).toMatchObject({
      stack: "dev",
      detail: "full",
      errors: [],
      nodes: [
        {
          node: "gpu-01",
          status: "changes",
          disruption: "reboot",
          permit: { given: "none", enough: false },
          downtime: { restarts: 1, gpuResets: 1 },
          guest: { state: "none", stops: false },
          facts: { from: "live" },
        },
      ],
    });
    expect(report.approval).toMatch(/^gpu-01=[0-9a-f]{32}$/);
    expect((await facts(second)).approval).toBe(report.approval);

    const text = await reported(first);
    expect(text).toContain("+++ /etc/modprobe.d/teeup.conf");
    expect(text).toContain("+options kvm_amd sev_snp=1");
    expect(text).toContain("update-grub");
    expect(text).toContain("**needs** `reboot`, has `none`");
    expect(text).not.toMatch(/__provider|createRequire/);
    expect(text.length).toBeLessThan(65_000);
  },
  MINUTES,
);

test(
  "up keeps none of it in the state; a drift afterwards is a diff of the file that somebody changed",
  async () => {
    await stack.set("teeup:permit", "reboot");
    const up = await stack.up();
    expect([up.status, up.status === 0 ? "" : up.said]).toEqual([0, ""]);
    expect((await stack.export()).text).not.toMatch(/"review"|limitSeconds/);
    expect((await facts(await previewed())).nodes).toMatchObject([{ node: "gpu-01", status: "as-wanted", facets: [] }]);

    twin.drift("module-options");
    const drifted = await previewed();
    expect((await facts(drifted)).nodes).toMatchObject([
      { status: "changes", disruption: "none", guest: { state: "running", stops: false } },
    ]);
    expect(await reported(drifted)).toMatch(
      /```diff\n--- (\S+)\n\+\+\+ \1\n[^`]*\n-options kvm_amd sev_snp=0\n\+options kvm_amd sev_snp=1/,
    );
  },
  MINUTES,
);

test(
  "a node that cannot be reached is unreachable in the report, and no secret or noise is in any of it",
  async () => {
    await twin.stop();
    const preview = await previewedAnyway();
    const report = await facts(preview, 3);
    expect(report.nodes).toMatchObject([
      { node: "gpu-01", status: "unreachable", unreachable: { saw: expect.stringContaining("ssh.refused") } },
    ]);
    expect(report.approval).toBeUndefined();
    expect(await reported(preview, [], 3)).toContain("**unreachable**");
    expect(await reported(preview, ["--sarif"], 3)).toContain('"ruleId": "node.unreachable"');
    expect(preview).not.toContain(env["TEEUP_BMC_PASSWORD"]);
  },
  MINUTES,
);

const previewedAnyway = async () => (await stack.preview("--json")).stdout;
