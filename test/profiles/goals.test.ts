import { expect, test } from "@jest/globals";
import { FACETS, facetNamed } from "../../providers/facets/index.ts";
import { PARTS } from "../../providers/kit/names.ts";
import { nodeGoals } from "../../stacks/profiles/goals.ts";
import { PROFILES, resolveProfile, unknowns } from "../../stacks/profiles/resolve.ts";

test("the list of parts names every facet with its persona and type", () => {
  expect(PARTS).toEqual(Object.fromEntries(FACETS.map((f) => [f.name, `${f.persona}:${f.type}`])));
});

test.each(PROFILES.map((p) => [p.name, p] as const))("every goal of %s fits its facet", (_name, profile) => {
  const pins = Object.fromEntries(
    unknowns(profile).map((path) => [
      path,
      (/commit$|tools$/.test(path) ? "c" : "5").repeat(/ha256$/i.test(path) ? 64 : 40),
    ]),
  );
  const groups = nodeGoals(resolveProfile(profile, pins), {
    gpus: "all",
    gpuMode: "on",
    vm: { cpus: 32, memoryGiB: 256, diskGiB: 500 },
    guest: { user: "teeup", port: 2222, publicKey: "ssh-ed25519 AAAA ops" },
  });
  const faults = Object.values(groups)
    .flat()
    .map(({ facet, want }) => [facet, facetNamed(facet).want.safeParse(want).error?.issues] as const)
    .filter(([, issues]) => issues !== undefined);
  expect(faults).toEqual([]);
});
