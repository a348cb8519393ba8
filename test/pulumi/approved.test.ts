import { afterAll, beforeAll, expect, test } from "@jest/globals";
import type { ReviewReport } from "../../cli/formats/review-facts.ts";
import type { Twin } from "../../sim/twin.ts";
import { run } from "../cli/run.ts";
import { configOf, MINUTES, Site, Stack } from "./harness.ts";

/** What was reviewed is what runs. Each test goes on where the last one ended. */

let site: Site;
let twin: Twin;
let stack: Stack;

beforeAll(async () => {
  site = new Site();
  twin = await site.twin({ name: "gpu-01" });
  stack = await Stack.create(site, {
    config: configOf([site.node("gpu-01", twin)]),
    env: { TEEUP_BMC_PASSWORD: twin.bmc?.password ?? "", TEEUP_REVIEW: "1" },
  });
}, MINUTES);
afterAll(() => site.close());

/** The approval that `teeup report` prints for the plan as it is now. */
async function reviewed(): Promise<string> {
  const preview = await stack.preview("--json");
  const { stdout } = await run(["cli/main.ts", "report", "-", "--json"], {}, preview.stdout);
  return (JSON.parse(stdout) as ReviewReport).approval ?? "none";
}
async function changes(command: () => ReturnType<Stack["run"]>) {
  twin.journal.clear();
  const { status, stdout, said } = await command();
  return { status, stdout, said, mutations: twin.journal.counts().mutations };
}

test(
  "the reviewed plan runs, on an untouched node as on one that drifted",
  async () => {
    const approval = await reviewed();
    expect(approval).toMatch(/^gpu-01=[0-9a-f]{32}$/);
    await stack.set("teeup:approved", approval);
    const up = await changes(() => stack.up());
    expect([up.status, up.status === 0 ? "" : up.said]).toEqual([0, ""]);
    expect(up.mutations).toBeGreaterThan(20);
    // Nothing to do needs no review.
    expect(await changes(() => stack.up())).toMatchObject({ status: 0, mutations: 0 });
  },
  MINUTES,
);

test(
  "another plan than the reviewed one is refused before anything is touched, with its hash and its steps",
  async () => {
    twin.drift("lkca");
    const approval = await reviewed();
    // Between review and up somebody changes something else.
    twin.drift("module-options");
    await stack.set("teeup:approved", approval);
    const refused = await changes(() => stack.up());
    expect([refused.status === 0, refused.mutations]).toEqual([false, 0]);
    expect(refused.stdout).toContain("its plan is not the one that was reviewed; nothing was changed");
    expect(refused.stdout).toContain("[approval.other-plan]");
    const again = await reviewed();
    expect(again).not.toBe(approval);
    expect(refused.stdout).toContain(`pulumi config set teeup:approved ${again}`);
    await stack.set("teeup:approved", again);
    const up = await changes(() => stack.up());
    expect([up.status, up.mutations > 0]).toEqual([0, true]);
  },
  MINUTES,
);

test(
  "neither a part alone nor a destroy goes round the review",
  async () => {
    twin.drift("module-options");
    const urn = (await stack.export()).resources.find(({ urn: u }) => u.endsWith("::gpu-01-module-options"))?.urn ?? "";
    const part = await changes(() => stack.up("--target", urn));
    expect([part.status === 0, part.mutations, part.stdout.includes("[approval.not-in-plan]")]).toEqual([
      false,
      0,
      true,
    ]);
    const destroy = await changes(() => stack.destroy());
    expect([destroy.status === 0, destroy.mutations]).toEqual([false, 0]);
    expect(destroy.stdout + destroy.said).toContain("[approval.not-in-plan]");
  },
  MINUTES,
);
