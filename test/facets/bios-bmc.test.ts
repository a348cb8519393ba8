import { afterEach, expect, test } from "@jest/globals";
import { bios } from "../../providers/facets/bios.ts";
import { BiosWant } from "../../providers/facets/bios-view.ts";
import type { Answers } from "../../providers/kit/ask.ts";
import { missing, ok } from "../../providers/kit/ask.ts";
import { Bmc } from "../../providers/machine/redfish.ts";
import type { SimBmc } from "../../sim/bmc.ts";
import { startBmc } from "../../sim/bmc.ts";
import { Journal } from "../../sim/journal.ts";
import { Bios } from "../../sim/model/bios.ts";

/** The facet through the real client on a simulated BMC, restart by restart. */
const open: { close(): Promise<void> }[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((o) => o.close()));
});

const context = { node: "gpu-01", pending: [], guestRunning: false };
const want = BiosWant.parse({});

async function rig(vendor: "supermicro" | "dell" | "asrockrack" | "hpe" | "lenovo", noApplyTimes = false) {
  const model = new Bios(vendor);
  const journal = new Journal();
  const power = () => ({ state: "On" as const, reset: () => model.apply(), resets: [] });
  const sim: SimBmc = await startBmc({ bios: model, power, journal, noApplyTimes });
  const bmc = new Bmc("gpu-01", { url: sim.url, user: sim.user, certificate: sim.fingerprint }, sim.password);
  open.push(bmc, sim);
  const look = async () => {
    const answers = Object.fromEntries(Object.keys(bios.asks).map((name) => [name, missing]));
    const facts = bios.parse({ ...answers, bmc: ok(JSON.stringify(await bmc.bios())) } as Answers<typeof bios.asks>);
    return {
      facts,
      steps: bios.plan?.(want, facts, context) ?? [],
      pending: bios.pending?.(want, facts) ?? { reasons: [], boots: 0 },
    };
  };
  return { model, journal, bmc, look };
}

test.each([
  ["supermicro", 1, false],
  ["asrockrack", 1, false],
  ["hpe", 1, false],
  ["lenovo", 1, false],
  ["dell", 3, false],
  ["dell", 3, true],
] as const)(
  "%s: an untouched BIOS is ready for SEV-SNP after %i announced restarts (no apply times: %s)",
  async (vendor, boots, noApplyTimes) => {
    const { model, journal, bmc, look } = await rig(vendor, noApplyTimes);
    for (let left: number = boots; left > 0; left--) {
      const before = await look();
      expect(before.pending.boots).toBe(left);
      expect(before.steps.map((s) => s.code)).toEqual(["bios.stage"]);
      for (const action of before.steps.flatMap((s) => s.actions))
        if (action.do === "stage-bios") await bmc.stage(action.settings);
      const staged = await look();
      expect(staged.steps).toEqual([]);
      expect(staged.pending).toEqual(before.pending);
      await bmc.powerCycle();
    }
    expect(model.effect).toMatchObject({ smee: true, snp: true, rmp: "full", iommu: true });
    expect(model.effect.minSevAsid).toBeGreaterThanOrEqual(100);
    journal.clear();
    const after = await look();
    expect(after.steps.filter((s) => s.code === "bios.stage")).toEqual([]);
    expect(after.pending).toEqual({ reasons: [], boots: 0 });
    expect(journal.mutations()).toEqual([]);
  },
);

test("a setting that somebody turned off again is seen and staged back", async () => {
  const { model, bmc, look } = await rig("supermicro");
  model.force({
    "SMEE#003E": "Enabled",
    "SEVASIDCount#003D": "509 ASIDs",
    "SEV-ESASIDSpaceLimitControl#003F": "Manual",
    "SEV-ESASIDSpaceLimit#700C": 100,
    "SNPMemory(RMPTable)Coverage#003C": "Enabled",
    "IOMMU#0196": "Enabled",
    "SEV-SNPSupport#01A7": "Enabled",
  });
  expect((await look()).pending.boots).toBe(0);
  for (const [name, value] of [
    ["SMEE#003E", "Disabled"],
    ["IOMMU#0196", "Disabled"],
    ["SNPMemory(RMPTable)Coverage#003C", "Custom"],
    ["SEV-ESASIDSpaceLimit#700C", 1],
  ] as const) {
    const good = model.current[name] ?? null;
    model.force({ [name]: value });
    const { steps, pending } = await look();
    expect(pending.reasons).toEqual([expect.stringContaining(name)]);
    for (const action of steps.flatMap((s) => s.actions))
      if (action.do === "stage-bios") await bmc.stage(action.settings);
    await bmc.powerCycle();
    expect(model.current[name]).toBe(good);
  }
});
