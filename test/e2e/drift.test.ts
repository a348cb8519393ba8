import { afterAll, afterEach, beforeAll, describe, expect, test } from "@jest/globals";
import { FACETS } from "../../providers/facets/index.ts";
import { DRIFTS, type Drift } from "../../sim/drift.ts";
import { SEED_HOST } from "../../sim/scenarios.ts";
import { viaAbi } from "./abi.ts";
import type { AbiAnswer } from "./abi-child.ts";
import { type Bench, bench, goalsOf, look, pinsOf, up } from "./drive.ts";

const GUIDE = "nvidia-du-11462-001-v1.0";

const GUEST = FACETS.filter((f) => f.on === "guest").map((f) => f.name);
/** What else a drift must be seen in, since it takes that with it. Every other facet must see nothing. */
const ALSO: Readonly<Record<string, readonly string[]>> = {
  // The restart that brings the setting back.
  bios: ["host-boot"],
  // These stop the VM.
  "snp-ready": ["confidential-vm", ...GUEST],
  "gpu-cc-mode": ["confidential-vm", ...GUEST],
  "confidential-vm": GUEST,
  // Without it nothing may ask the GPU.
  "nvidia-persistenced": ["guest-evidence", "attestation", "gpu-ready-state"],
  "attestation-tool": ["attestation", "gpu-ready-state"],
  "attestation-fails": ["gpu-ready-state"],
};

interface Provisioned {
  readonly b: Bench;
  readonly profile: string;
}

async function provision(profile: string): Promise<Provisioned> {
  const made = await bench(profile === GUIDE ? SEED_HOST : {});
  const b = { ...made, config: { ...made.config, pins: pinsOf(profile) } };
  const { findings } = await up(b, "reboot", goalsOf(b, profile));
  if (findings.length > 0) throw new Error(findings.map((f) => `${f.code}: ${f.saw}`).join("\n"));
  return { b, profile };
}

const seenIn = async ({ b, profile }: Provisioned) => (await look(b, goalsOf(b, profile))).byFacet;

const changed = (answers: Record<string, AbiAnswer>) =>
  Object.keys(answers).filter((facet) => answers[facet]?.changes === true);

describe.each(["snp-upstream", GUIDE])("a node of %s", (profile) => {
  let shared: Provisioned;
  let own: Provisioned | undefined;
  beforeAll(async () => {
    shared = await provision(profile);
  });
  afterAll(() => shared.b.close());
  afterEach(async () => {
    await own?.b.close();
    own = undefined;
  });

  test("shows no drift as it was left, in a preview as in a refresh, and looking changes nothing", async () => {
    const { journal } = shared.b.twin;
    journal.clear();
    expect(await seenIn(shared)).toEqual({});
    const { answers } = await viaAbi(shared.b, goalsOf(shared.b, profile));
    expect(Object.keys(answers)).toEqual(goalsOf(shared.b, profile).map((g) => g.facet.name));
    for (const answer of Object.values(answers))
      expect(answer).toMatchObject({ failures: [], changes: false, plan: [], changesAfterRead: false });
    expect(journal.counts()).toMatchObject({ mutations: 0, hostExecs: 2, guestExecs: 2 });
    expect(journal.unmodelled).toEqual([]);
  });

  const mine = DRIFTS.filter((d) => (d.profile ?? "snp-upstream") === profile);
  test.each(mine.map((d) => [d.name, d.about, d] as const))("%s: %s", async (name, _about, drift: Drift) => {
    // What cannot be mended would stay for the drifts after it.
    if (drift.repair === "cannot") own = await provision(profile);
    const on = own ?? shared;
    const { twin } = on.b;
    twin.drift(name);
    twin.journal.clear();

    const expected = [drift.facet, ...(ALSO[name] ?? [])].sort();
    expect(Object.keys(await seenIn(on)).sort()).toEqual(expected);
    const { answers } = await viaAbi(on.b, goalsOf(on.b, profile));
    expect(changed(answers).sort()).toEqual(expected);
    const answer = answers[drift.facet];
    expect(answer?.failures).toEqual([]);
    expect(answer?.plan).not.toEqual([]);
    expect(answer?.changesAfterRead).toBe(true);
    expect(twin.journal.mutations()).toEqual([]);

    const { findings } = await up(on.b, "reboot", goalsOf(on.b, profile));
    const after = await seenIn(on);
    expect(twin.journal.unmodelled).toEqual([]);
    if (drift.repair === "repaired") {
      expect(findings).toEqual([]);
      expect(after).toEqual({});
    } else {
      expect(findings.map((f) => f.code.split(".")[0])).toEqual([drift.facet]);
      expect(Object.keys(after)).toContain(drift.facet);
    }
  });
});

test("every facet has a drift", () => {
  expect([...new Set(DRIFTS.map((d) => d.facet))].sort()).toEqual(FACETS.map((f) => f.name).sort());
});
