import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { FACETS } from "../../providers/facets/index.ts";
import { DRIFTS } from "../../sim/drift.ts";
import { SEED_HOST } from "../../sim/scenarios.ts";
import type { Twin } from "../../sim/twin.ts";
import { startTwin } from "../../sim/twin.ts";
import type { Client } from "./up.ts";
import { clientOf } from "./up.ts";

const GUIDE = "nvidia-du-11462-001-v1.0";

/** Twins are provisioned once per profile; a drift that `up` cannot mend gets one of its own. */
describe.each(["snp-upstream", GUIDE])("drift on a node of %s", (profile) => {
  const start = async (): Promise<{ twin: Twin; client: Client }> => {
    const twin = await startTwin(profile === GUIDE ? SEED_HOST : {});
    const client = clientOf(twin, { profile, fleet: { timeoutScale: 0.01 } });
    const { error } = await client.up();
    if (error !== undefined) throw error;
    return { twin, client };
  };
  let shared: { twin: Twin; client: Client };

  beforeAll(async () => {
    shared = await start();
  });
  afterAll(async () => {
    shared.client.close();
    await shared.twin.stop();
  });

  test("an untouched node shows none, and looking changes nothing", async () => {
    shared.twin.journal.clear();
    const { planned, failing, error } = await shared.client.preview();
    expect({ planned, failing, error }).toEqual({ planned: [], failing: [], error: undefined });
    const again = await shared.client.up();
    expect([again.ran, again.error]).toEqual([[], undefined]);
    expect(shared.twin.journal.mutations()).toEqual([]);
    expect(shared.twin.journal.counts()).toMatchObject({ hostExecs: 2, guestExecs: 2 });
    expect(shared.twin.journal.unmodelled).toEqual([]);
  });

  const list = DRIFTS.filter((d) => d.clouds === undefined && (d.profile ?? "snp-upstream") === profile);
  test.each(list.map((d) => [d.name, d.about, d] as const))("%s: %s", async (_name, _about, drift) => {
    const own = drift.repair === "cannot" ? await start() : shared;
    const { twin, client } = own;
    try {
      twin.drift(drift.name);
      twin.journal.clear();
      const seen = await client.preview();
      expect([...seen.planned, ...seen.failing].filter((line) => line.startsWith(`${drift.facet}.`))).not.toEqual([]);
      expect(twin.journal.mutations()).toEqual([]);
      const { error } = await client.up();
      const after = await client.preview();
      if (drift.repair === "repaired") {
        expect(error).toBeUndefined();
        expect({ planned: after.planned, failing: after.failing }).toEqual({ planned: [], failing: [] });
      } else expect(after.failing.length).toBeGreaterThan(0);
      expect(twin.journal.unmodelled).toEqual([]);
    } finally {
      if (own !== shared) {
        client.close();
        await twin.stop();
      }
    }
  });
});

test("every facet has a drift", () => {
  // Evidence that no longer holds, which only a stack with a policy asks for, is test/e2e/evidence.test.ts's.
  const facets = FACETS.filter((f) => f.evidence === undefined);
  const without = facets.map((f) => f.name).filter((name) => !DRIFTS.some((d) => d.facet === name));
  expect(without).toEqual([]);
});
