import { expect, test } from "@jest/globals";
import { FACETS, facetNamed } from "../../providers/facets/index.ts";
import { PARTS } from "../../providers/kit/names.ts";
import { type NodeSettings, nodeGoals } from "../../stacks/profiles/goals.ts";
import { PROFILES, profileByName, profileFor, resolveProfile, unknowns } from "../../stacks/profiles/resolve.ts";
import { type Profile, ProfileSchema } from "../../stacks/profiles/schema.ts";
import { snpUpstream } from "../../stacks/profiles/snp-upstream.ts";
import { madeUp } from "./made-up-profile.ts";

const SETTINGS: NodeSettings = {
  gpus: "all",
  gpuMode: "on",
  vm: { cpus: 32, memoryGiB: 256, diskGiB: 500 },
  guest: { user: "teeup", port: 2222, publicKey: "ssh-ed25519 AAAA ops" },
};
const anyPins = (profile: Profile) =>
  Object.fromEntries(
    unknowns(profile).map((path) => [path, (/commit$/.test(path) ? "c" : "5").repeat(/ha256$/i.test(path) ? 64 : 40)]),
  );

test("the list of parts names every facet with its persona and type", () => {
  expect(PARTS).toEqual(Object.fromEntries(FACETS.map((f) => [f.name, `${f.persona}:${f.type}`])));
});

// The last one stands in one file of the tests, and nowhere else: a new recipe takes no more.
const RECIPES = [...PROFILES, madeUp].flatMap((p) => [
  [p.name, "on", p] as const,
  ...(p.guest.fabricManager === undefined ? [] : [[p.name, "ppcie", p] as const]),
]);
test.each(RECIPES)("every goal of %s, GPUs %s, fits its facet", (_name, gpuMode, profile) => {
  const groups = nodeGoals(resolveProfile(profile, anyPins(profile)), { ...SETTINGS, gpuMode });
  const faults = Object.values(groups)
    .flat()
    .map(({ facet, want }) => [facet, facetNamed(facet).want.safeParse(want).error?.issues] as const)
    .filter(([, issues]) => issues !== undefined);
  expect(faults).toEqual([]);
});

const hostOf = (profile: Profile, gpuMode: NodeSettings["gpuMode"]): string[] =>
  Object.values(nodeGoals(resolveProfile(profile, anyPins(profile)), { ...SETTINGS, gpuMode }))
    .flat()
    .map((goal) => goal.facet)
    .filter((name) => /^(hardware|host):/.test(PARTS[name]));

test("at least 70 % of all host facets serve SEV-SNP and TDX alike", () => {
  const all = FACETS.filter((f) => f.on === "host").map((f) => f.name);
  expect(all.sort()).toEqual(
    Object.entries(PARTS)
      .filter(([, type]) => /^(hardware|host):/.test(type))
      .map(([name]) => name)
      .sort(),
  );
  const used = (cpu: Profile["cpu"]) => new Set(PROFILES.filter((p) => p.cpu === cpu).flatMap((p) => hostOf(p, "on")));
  const [snp, tdx] = [used("sev-snp"), used("tdx")];
  const shared = all.filter((name) => snp.has(name) && tdx.has(name));
  // Each facet of a host is of some recipe, and what is of one TEE alone says so in its name or is that maker's.
  expect(all.filter((name) => !snp.has(name) && !tdx.has(name))).toEqual([]);
  expect(shared.length / all.length).toBeGreaterThanOrEqual(0.7);
  expect(all.filter((name) => !shared.includes(name)).sort()).toEqual([
    "libvirt",
    "quote-service",
    "sev-firmware",
    "snp-ready",
    "tdx-ready",
  ]);
});

test("Protected PCIe changes wants, and adds the fabric manager; a recipe without one says so", () => {
  const [tdx, guide] = ["tdx-upstream", "nvidia-du-11462-001-v1.0"].map(profileByName);
  if (tdx === undefined || guide === undefined) throw new Error("no such profile");
  const facets = (gpuMode: NodeSettings["gpuMode"]) =>
    Object.values(nodeGoals(resolveProfile(tdx, anyPins(tdx)), { ...SETTINGS, gpuMode })).flat();
  const [one, all] = [facets("on"), facets("ppcie")];
  expect(all.map((g) => g.facet).filter((name) => !one.some((g) => g.facet === name))).toEqual(["fabric-manager"]);
  expect(all.find((g) => g.facet === "gpu-cc-mode")?.want).toEqual({ gpus: "all", mode: "ppcie" });
  expect(all.find((g) => g.facet === "attestation")?.want).toMatchObject({ switches: true });
  expect(() => nodeGoals(resolveProfile(guide, anyPins(guide)), { ...SETTINGS, gpuMode: "ppcie" })).toThrow(
    /no fabric manager.*config\.no-fabric-manager.*next: pulumi config set teeup:gpuMode on/s,
  );
});

test("a recipe of the other kind of processor is refused by name, with those that fit", () => {
  expect(() => profileFor("tdx", "snp-upstream")).toThrow(
    /profile snp-upstream is for sev-snp, these nodes are tdx.*config\.wrong-profile.*teeup:profile tdx-upstream/s,
  );
  expect(profileFor("tdx", "tdx-upstream").name).toBe("tdx-upstream");
});

test("a recipe has what its kind of processor needs, and nothing of the other's", () => {
  const { host } = snpUpstream;
  const faults = (data: unknown) => ProfileSchema.safeParse(data).error?.issues.map((i) => i.path.join(".")) ?? [];
  expect(faults(snpUpstream)).toEqual([]);
  expect(faults({ ...snpUpstream, cpu: "tdx" })).toEqual(["host.sevFirmware", "host.tdx"]);
  expect(faults({ ...snpUpstream, host: { ...host, launcher: { value: "libvirt", source: "x" } } })).toEqual([
    "host.libvirt",
  ]);
});
