import { afterEach, describe, expect, test } from "@jest/globals";
import { TeeUpError } from "../../providers/kit/errors.ts";
import type { Finding } from "../../providers/kit/facet.ts";
import { SCENARIOS, type Scenario } from "../../sim/scenarios.ts";
import {
  type Bench,
  bench,
  goalsOf,
  look,
  type Outcome,
  type Platform,
  pinsOf,
  SNP,
  TDX,
  TDX_8GPU,
  up,
} from "./drive.ts";

let b: Bench | undefined;
afterEach(async () => {
  await b?.close();
  b = undefined;
});

const codes = (findings: readonly Finding[]): string[] => [...new Set(findings.map((f) => f.code))];

/** How an `up` ended: what blocked it, or what it died of. */
async function end(
  work: Promise<Outcome>,
): Promise<{ findings: string[]; error?: string; subject?: string | undefined; said: string }> {
  try {
    const { findings } = await work;
    return { findings: codes(findings), said: findings.map((f) => `${f.code}: ${f.saw} -> ${f.hint}`).join("\n") };
  } catch (error) {
    if (!(error instanceof TeeUpError)) throw error;
    return { findings: [], error: error.code, subject: error.parts.subject, said: error.message };
  }
}

/** A finding that helps: what was wanted, what was seen, how to fix it, where that is written. */
const helps = (finding: Finding): void => {
  for (const part of ["want", "saw", "hint", "source"] as const) expect(finding[part]).not.toBe("");
};

const PLATFORMS: Readonly<Record<NonNullable<Scenario["platform"]>, Platform>> = {
  snp: SNP,
  tdx: TDX,
  "tdx-8gpu": TDX_8GPU,
};

async function play(scenario: Scenario): Promise<void> {
  const untouched = scenario.when === "untouched";
  const on = PLATFORMS[scenario.platform ?? "snp"];
  b = await bench({ ...scenario.options, ...(untouched ? { scenario: scenario.name } : {}) }, on);
  const { node, journal } = b.twin;
  const profile = scenario.profile ?? on.stack.profile;
  const reach = { ...b, env: { ...b.env }, config: { ...b.config, pins: pinsOf(profile) } };
  const goals = goalsOf(reach, profile, scenario.settings);
  // A machine that hangs does so in real time: the wait for its restart is cut to some seconds.
  if (node.faults.brokenHow !== "panic" && (node.faults.brokenKernels ?? []).length > 0)
    reach.env["TEEUP_TIMEOUT_SCALE"] = "0.002";
  if (!untouched) {
    expect(await end(up(reach, "reboot", goals))).toEqual({ findings: [], said: "" });
    scenario.on?.(node);
  }

  const ended = await end(up(reach, "reboot", goals));
  const later = await look(reach, goals);
  expect(journal.unmodelled).toEqual([]);

  const { expect: want } = scenario;
  if (want === "repaired") {
    expect(ended).toEqual({ findings: [], said: "" });
    expect(later.byFacet).toEqual({});
    return;
  }
  if ("error" in want) {
    expect(ended).toMatchObject({ error: want.error });
    expect(ended.said).toMatch(/\n {2}next: \S/);
  } else if (ended.error === "reconcile.human") {
    // What only a person mends ends with what to do, of the facet that found it and for what it found, nothing else.
    const [facet = ""] = want.finding.split(".");
    expect(ended.subject).toBe(facet);
    expect(later.byFacet[facet]?.findings).toEqual([want.finding]);
    const found = later.findings.find((f) => f.code === want.finding);
    expect(ended.said).toContain(`because: ${found?.saw}`);
    expect(journal.counts()).toMatchObject({ mutations: 0, reboots: 0 });
  } else {
    expect(ended).toMatchObject({ findings: [want.finding] });
  }
  if (want.finding === undefined) return;
  expect(codes(later.findings)).toContain(want.finding);
  for (const finding of later.findings) if (finding.code === want.finding) helps(finding);
}

describe("every scenario ends in a repaired node or in the one right finding", () => {
  test.each(SCENARIOS.map((s) => [s.name, s] as const))("%s", async (_name, scenario) => {
    await play(scenario);
  });
});

test("every trap of the machines and pitfall of the guides has a name of its own", () => {
  const names = SCENARIOS.map((s) => s.name);
  expect(names).toEqual([...new Set(names)]);
});
