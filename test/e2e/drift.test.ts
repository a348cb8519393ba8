import { afterAll, afterEach, beforeAll, describe, expect, test } from "@jest/globals";
import { FACETS } from "../../providers/facets/index.ts";
import { DRIFTS, type Drift } from "../../sim/drift.ts";
import { SEED_HOST } from "../../sim/scenarios.ts";
import type { TwinOptions } from "../../sim/twin.ts";
import { instanceGoals } from "../../stacks/profiles/cloud-goals.ts";
import { nodeGoals } from "../../stacks/profiles/goals.ts";
import { CLOUD_PROFILES, PROFILES, resolveProfile } from "../../stacks/profiles/resolve.ts";
import { viaAbi } from "./abi.ts";
import type { AbiAnswer } from "./abi-child.ts";
import {
  ALIBABA,
  ALIBABA_8GPU,
  BAIDU,
  type Bench,
  bench,
  goalsOf,
  look,
  type Platform,
  pinsOf,
  SNP,
  TDX,
  TDX_8GPU,
  up,
} from "./drive.ts";

const GUIDE = "nvidia-du-11462-001-v1.0";
const SEED_TDX = "intel-tdx-kvm-coco-20240512";
const on = (platform: Platform, profile: string): Platform => ({
  ...platform,
  name: `${platform.name}, ${profile}`,
  stack: { ...platform.stack, profile },
});
const generic = (drift: Drift): boolean => drift.profile === undefined && drift.clouds === undefined;
/** What Protected PCIe makes different: the devices, the VM that gets them, and what its guest does with them. */
const OF_A_BOARD =
  /^(gpu-inventory|gpu-cc-mode|vfio-binding|confidential-vm|fabric-manager|lkca|attestation-fails|gpu-ready-state)$/;

/** What also drifts in an instance of a cloud, and is not only there. */
const OF_AN_INSTANCE =
  /^(packages|lkca|nvidia-persistenced|guest-evidence|attestation-tool|attestation|attestation-fails|gpu-ready-state)$/;
const inCloud =
  (cloud: "alibaba" | "baidu", profile: string, more: RegExp = /^$/, less: RegExp = /^$/) =>
  (drift: Drift): boolean =>
    drift.clouds === undefined
      ? (OF_AN_INSTANCE.test(drift.name) || more.test(drift.name)) && !less.test(drift.name)
      : drift.clouds.includes(cloud) && (drift.profile ?? profile) === profile;
const BAIDU_QUOTE: Platform = { ...BAIDU, stack: { ...BAIDU.stack, instance: { quote: true } } };

/** Which drifts a node of which recipe shows; a recipe beside another of its kind shows its own only. */
const NODES: readonly [Platform, TwinOptions, (drift: Drift) => boolean][] = [
  [SNP, {}, generic],
  [on(SNP, GUIDE), SEED_HOST, (d) => d.profile === GUIDE],
  [TDX, {}, (d) => (generic(d) && d.tee === undefined) || (d.profile === "tdx-upstream" && d.switches === undefined)],
  [on(TDX, SEED_TDX), { os: "ubuntu-24.04" }, (d) => d.profile === SEED_TDX],
  [TDX_8GPU, {}, (d) => OF_A_BOARD.test(d.name)],
  [ALIBABA, {}, inCloud("alibaba", "alibaba-gn8v-tee-1gpu", /^(kernel-cmdline|host-boot)$/)],
  [ALIBABA_8GPU, {}, inCloud("alibaba", "alibaba-gn8v-tee-8gpu", /^(kernel-cmdline|host-boot|fabric-manager)$/)],
  // The session that the daemon's end takes with it needs a restart, which is a person's there: see instance.test.ts.
  [BAIDU_QUOTE, {}, inCloud("baidu", "baidu-bcc-gen7", /^fabric-manager$/, /^nvidia-persistenced$/)],
];

const GUEST = FACETS.filter((f) => f.on === "guest").map((f) => f.name);
/** What else a drift must be seen in, since it takes that with it. Every other facet must see nothing. */
const ALSO: Readonly<Record<string, readonly string[]>> = {
  // The restart that brings the setting back.
  bios: ["host-boot"],
  // These stop the VM.
  "snp-ready": ["confidential-vm", ...GUEST],
  "tdx-ready": ["confidential-vm", ...GUEST],
  "gpu-cc-mode": ["confidential-vm", ...GUEST],
  "confidential-vm": GUEST,
  // Without it nothing may ask the GPU.
  "nvidia-persistenced": ["guest-evidence", "attestation", "gpu-ready-state"],
  "attestation-tool": ["attestation", "gpu-ready-state"],
  "attestation-fails": ["gpu-ready-state"],
};

async function provision(platform: Platform, twin: TwinOptions): Promise<Bench> {
  const b = await bench(twin, platform);
  const { findings } = await up(b);
  if (findings.length > 0) throw new Error(findings.map((f) => `${f.code}: ${f.saw}`).join("\n"));
  return b;
}

const seenIn = async (b: Bench) => (await look(b)).byFacet;

const changed = (answers: Record<string, AbiAnswer>) =>
  Object.keys(answers).filter((facet) => answers[facet]?.changes === true);

describe.each(NODES.map(([platform, ...more]) => [platform.name, platform, ...more] as const))(
  "%s",
  (_name, platform, twinOptions, shows) => {
    let shared: Bench;
    let own: Bench | undefined;
    beforeAll(async () => {
      shared = await provision(platform, twinOptions);
    });
    afterAll(() => shared.close());
    afterEach(async () => {
      await own?.close();
      own = undefined;
    });
    const names = (b: Bench) => goalsOf(b).map((g) => g.facet.name);

    test("shows no drift as it was left, in a preview as in a refresh, and looking changes nothing", async () => {
      const { journal } = shared.twin;
      journal.clear();
      expect(await seenIn(shared)).toEqual({});
      const { answers } = await viaAbi(shared, goalsOf(shared));
      expect(Object.keys(answers)).toEqual(names(shared));
      for (const answer of Object.values(answers))
        expect(answer).toMatchObject({ failures: [], changes: false, plan: [], changesAfterRead: false });
      // An instance is one machine: what is below it nobody asks.
      const hostExecs = platform.twin.cloud === undefined ? 2 : 0;
      expect(journal.counts()).toMatchObject({ mutations: 0, hostExecs, guestExecs: 2 });
      expect(journal.unmodelled).toEqual([]);
    });

    test.each(DRIFTS.filter(shows).map((d) => [d.name, d.about, d] as const))(
      "%s: %s",
      async (name, _about, drift: Drift) => {
        // What cannot be mended would stay for the drifts after it.
        if (drift.repair === "cannot") own = await provision(platform, twinOptions);
        const at = own ?? shared;
        const { twin } = at;
        twin.drift(name);
        twin.journal.clear();

        const mine = names(at);
        const expected = [drift.facet, ...(ALSO[name] ?? []).filter((facet) => mine.includes(facet))].sort();
        expect(Object.keys(await seenIn(at)).sort()).toEqual(expected);
        const { answers } = await viaAbi(at, goalsOf(at));
        expect(changed(answers).sort()).toEqual(expected);
        const answer = answers[drift.facet];
        expect(answer?.failures).toEqual([]);
        expect(answer?.plan).not.toEqual([]);
        expect(answer?.changesAfterRead).toBe(true);
        expect(twin.journal.mutations()).toEqual([]);

        const { findings } = await up(at);
        const after = await seenIn(at);
        expect(twin.journal.unmodelled).toEqual([]);
        if (drift.repair === "repaired") {
          expect(findings).toEqual([]);
          expect(after).toEqual({});
        } else {
          expect([...new Set(findings.map((f) => f.code.split(".")[0]))]).toEqual([drift.facet]);
          expect(Object.keys(after)).toContain(drift.facet);
        }
      },
    );
  },
);

test("every facet that a recipe wants has a drift", () => {
  const settings = { gpus: "all", vm: { cpus: 1, memoryGiB: 1, diskGiB: 1 }, guest: { user: "u", port: 1 } } as const;
  const wanted = PROFILES.flatMap((profile) => {
    const gpuMode = profile.guest.fabricManager === undefined ? "on" : "ppcie";
    const resolved = resolveProfile(profile, pinsOf(profile.name));
    return Object.values(nodeGoals(resolved, { ...settings, gpuMode })).flat();
  });
  const inClouds = CLOUD_PROFILES.flatMap((profile) => Object.values(instanceGoals(profile, { quote: true })).flat());
  expect([...new Set(DRIFTS.map((d) => d.facet))].sort()).toEqual(
    [...new Set([...wanted, ...inClouds].map((g) => g.facet))].sort(),
  );
});
