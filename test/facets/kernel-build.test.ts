import { expect, test } from "@jest/globals";
import { kernelBuild } from "../../providers/facets/kernel-build.ts";
import type { Action } from "../../providers/kit/action.ts";
import { ok } from "../../providers/kit/ask.ts";
import { KernelBuildSchema, packageFile, recipeText } from "../../providers/kit/kernel-build.ts";
import { profileByName } from "../../stacks/profiles/resolve.ts";
import { CONTEXT, codes, factsOf } from "./run-examples.ts";

const seed = profileByName("nvidia-du-11462-001-v1.0").host.kernel.value;
if (seed.kind !== "build") throw new Error("the guide's kernel is built");
const { kind: _, ...recipe } = seed;
const want = KernelBuildSchema.parse({ ...recipe, source: { ...recipe.source, commit: "12".repeat(20) } });
const untouched = { packages: ok("", 1), recipes: ok("", 2), cores: ok("64\n") };

const linesOf = (actions: readonly Action[]) =>
  actions.flatMap((a) => (a.do === "job" ? a.lines.map((l) => `${l.cwd ?? ""}$ ${l.argv.join(" ")}`) : []));

test("001-HOST-14 to 26: pinned sources, patches, options, package, in one job", () => {
  const [step] = kernelBuild.plan?.(want, factsOf(kernelBuild, untouched), CONTEXT) ?? [];
  expect(step?.disruption).toBe("none");
  const lines = linesOf(step?.actions ?? []);
  const tree = "/var/lib/teeup/build/kernel/linux";
  expect(lines).toContain(
    `$ git -C ${tree} fetch --quiet --depth=1 https://github.com/AMDESE/linux.git ${"12".repeat(20)}`,
  );
  // Both patches come from one checkout, in the guide's order, with the guide's flags.
  const patches = lines.filter((l) => l.includes("patch -p1"));
  expect(patches).toEqual(
    ["iommu_pagefault", "iommu_pagesize"].map(
      (p) => `${tree}$ patch -p1 -l -i /var/lib/teeup/build/kernel/patches-0/infrastructure/linux/patches/${p}.patch`,
    ),
  );
  const config = lines.find((l) => l.includes("scripts/config")) ?? "";
  for (const on of ["CRYPTO_ECC", "CRYPTO_ECDH", "CRYPTO_ECDSA", "CGROUP_MISC"])
    expect(config).toContain(`--enable ${on} `);
  expect(config).toContain("--set-str LOCALVERSION -snp-host-d9bd54fea4d2 ");
  expect(config).toContain("--module VFIO_PCI");
  expect(config).toContain("--disable IOMMU_DEFAULT_PASSTHROUGH");
  expect(lines.indexOf(`${tree}$ make LOCALVERSION= KDEB_PKGVERSION=1-teeup1 -j64 bindeb-pkg`)).toBeGreaterThan(
    lines.findIndex((l) => l.includes("scripts/config")),
  );
  // The recipe comes last: it stands for a finished build.
  expect(lines.at(-1)).toMatch(
    /install .*recipe\.json .*linux-image-5\.19\.0-rc6-snp-host-d9bd54fea4d2\.recipe\.json$/,
  );
});

test("another recipe of the same release is built anew", () => {
  const deb = ok(`${"ab".repeat(32)}  /var/lib/teeup/artifacts/${packageFile(want)}\n`);
  const other = recipeText({ ...want, enable: [] });
  const file = `/var/lib/teeup/artifacts/linux-image-${want.release}.recipe.json`;
  const at = (text: string) =>
    factsOf(kernelBuild, { packages: deb, recipes: ok(`${file}:${text}`), cores: ok("4\n") });
  expect(codes(kernelBuild.plan?.(want, at(recipeText(want)), CONTEXT))).toEqual([]);
  expect(codes(kernelBuild.plan?.(want, at(other), CONTEXT))).toEqual(["kernel-build.build"]);
});

test("built once, installed on many: fetched by url, verified twice, moved into place last", () => {
  const artifact = { from: "https://builds.example.org/linux.deb", sha256: "cd".repeat(32) };
  const [step] = kernelBuild.plan?.({ ...want, artifact }, factsOf(kernelBuild, untouched), CONTEXT) ?? [];
  const target = `/var/lib/teeup/artifacts/${packageFile(want)}`;
  expect(step?.code).toBe("kernel-build.fetch");
  expect(step?.actions.filter((a) => a.do === "write").map((a) => a.content)).toEqual([
    `${"cd".repeat(32)}  /var/lib/teeup/artifacts/linux.deb\n`,
    `${"cd".repeat(32)}  ${target}.new\n`,
  ]);
  const lines = linesOf(step?.actions ?? []);
  expect(lines.at(-2)).toBe(`$ sha256sum --check --strict ${target}.new.sha256`);
  expect(lines.at(-1)).toBe(`$ mv -f ${target}.new ${target}`);
  const there = { ...untouched, packages: ok(`${"cd".repeat(32)}  ${target}\n`) };
  expect(codes(kernelBuild.plan?.({ ...want, artifact }, factsOf(kernelBuild, there), CONTEXT))).toEqual([]);
});

test("the recipe is written before the job that builds by it", () => {
  const [step] = kernelBuild.plan?.(want, factsOf(kernelBuild, untouched), CONTEXT) ?? [];
  const kinds = step?.actions.map((a) => a.do);
  expect(kinds).toEqual(["write", "job"]);
});

test.each([
  [{ release: "$(id)" }],
  [{ source: { url: "https://x.org/l.git", commit: "main" } }],
  [{ source: { url: "git@x:l", commit: "12".repeat(20) } }],
  [{ enable: ["--help"] }],
])("%j is refused", (part) => {
  expect(KernelBuildSchema.safeParse({ ...want, ...part }).success).toBe(false);
});

test("a mailbox fits the baseline in its name, and no other commit", () => {
  const tdx = profileByName("intel-tdx-kvm-coco-20240512").host.kernel.value;
  if (tdx.kind !== "build") throw new Error("seed 004's kernel is built");
  const { kind: __, ...given } = tdx;
  expect(KernelBuildSchema.safeParse(given).success).toBe(true);
  const other = KernelBuildSchema.safeParse({ ...given, source: { ...given.source, commit: "34".repeat(20) } });
  expect(other.error?.issues).toMatchObject([
    {
      path: ["source", "commit"],
      message: "tdx-kvm/tdx_kvm_baseline_698ca1e40357.mbox is made for commit 698ca1e40357…, not for 343434343434",
    },
  ]);
});

test("a series is applied to a fresh checkout, before the patches, also after a run that was killed amid it", () => {
  const from = { url: "https://example.org/series.git", commit: "56".repeat(20) };
  const series = [
    { from, file: "a.mbox" },
    { from, file: "b.mbox" },
  ];
  const [step] = kernelBuild.plan?.({ ...want, series }, factsOf(kernelBuild, untouched), CONTEXT) ?? [];
  const lines = linesOf(step?.actions ?? []);
  const at = (pattern: RegExp) => lines.findIndex((line) => pattern.test(line));
  const order = [
    /checkout .* --force 12/,
    /rm -rf \S+\/\.git\/rebase-apply$/,
    /am .*a\.mbox$/,
    /am .*b\.mbox$/,
    /patch -p1/,
  ];
  expect(order.map(at)).toEqual(order.map(at).sort((a, b) => a - b));
  expect(order.map(at)).not.toContain(-1);
  // Each repository once, whatever is taken from it.
  expect(lines.filter((line) => line.includes(from.url))).toHaveLength(1);
});

test("a recipe without a series is written as before there were any, so that no kernel is built anew", () => {
  expect(recipeText(want)).not.toContain("series");
});
