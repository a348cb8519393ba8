import { z } from "zod";
import type { JobLine } from "./action.ts";
import { TOOLS_DIR } from "./argv.ts";
import type { Answer, Answers, Asks } from "./ask.ts";
import { collected, text } from "./ask.ts";
import type { Fact } from "./facts.ts";
import { mapFact } from "./facts.ts";
import * as host from "./host.ts";
import { parseDpkgHolds, parseDpkgVersions, parseGrepLines, parseSha256sum } from "./parse-packages.ts";
import { amLines, baselineFault, GitSchema, PinnedFilesSchema, patchSources } from "./patches.ts";

const Package = z.string().regex(/^[a-z0-9][a-z0-9+.-]*$/);
const Path = z.string().regex(/^\/[\w./+-]+$/);
const Version = z.string().regex(/^\d+\.\d+(\.\d+)?$/);
const Git = z.strictObject({ kind: z.literal("git"), ...GitSchema.shape });
const Tarball = z.strictObject({
  kind: z.literal("tarball"),
  url: z.url({ protocol: /^https?$/ }),
  sha256: z.string().regex(/^[0-9a-f]{64}$/, "64 hex digits"),
});

const Qemu = z.strictObject({
  ...Git.shape,
  series: PinnedFilesSchema.optional().describe("Mailboxes of commits, in order, applied with git am."),
});
const Ovmf = z.strictObject({
  ...Git.shape,
  target: z.enum(["RELEASE", "DEBUG"]).optional().describe("What edk2 is built as; default RELEASE."),
});
const TEE = z.enum(["sev-snp", "tdx"]).optional().describe("What QEMU must be able to start; default sev-snp.");

/** QEMU and OVMF, from packages or from pinned sources. */
export const VmStackWantSchema = z.discriminatedUnion("kind", [
  z.strictObject({
    kind: z.literal("packages"),
    packages: z.array(Package).min(1).describe("Packages with QEMU and OVMF; held against upgrades."),
    qemu: z.literal("/usr/bin/qemu-system-x86_64").describe("QEMU binary of these packages."),
    ovmf: Path.describe("OVMF image of these packages."),
    minQemu: Version.describe("Lowest version of QEMU."),
    tee: TEE,
  }),
  z.strictObject({
    kind: z.literal("build"),
    qemu: z
      .discriminatedUnion("kind", [Qemu, Tarball])
      .superRefine((qemu, context) => {
        const fault = qemu.kind === "git" ? baselineFault(qemu, qemu.series) : undefined;
        if (fault !== undefined) context.addIssue({ code: "custom", path: ["commit"], message: fault });
      })
      .describe("Sources of QEMU."),
    qemuVersion: Version.optional().describe("Version the built QEMU reports, where it is known."),
    ovmf: z
      .discriminatedUnion("kind", [Ovmf, z.strictObject({ kind: z.literal("package"), package: Package, path: Path })])
      .describe("Sources of OVMF, or the package that has it."),
    minQemu: Version.describe("Lowest version of QEMU."),
    tee: TEE,
  }),
]);
export type VmStackWant = z.output<typeof VmStackWantSchema>;

/** QEMU binary and OVMF image that a confidential VM of this stack runs with. */
export function vmStackPaths(want: VmStackWant): { qemu: string; ovmf: string } {
  if (want.kind === "packages") return { qemu: want.qemu, ovmf: want.ovmf };
  return { qemu: host.QEMU_BUILT, ovmf: want.ovmf.kind === "git" ? host.OVMF_BUILT : want.ovmf.path };
}

/** Packages that the stack takes from the distribution. */
export const stackPackages = (want: VmStackWant): readonly string[] =>
  want.kind === "packages" ? want.packages : want.ovmf.kind === "package" ? [want.ovmf.package] : [];

export interface QemuFacts {
  readonly version: string;
  /** It knows the object `sev-snp-guest`, and `tdx-guest`. */
  readonly snp: boolean;
  readonly tdx: boolean;
}

export interface VmStackFacts {
  readonly distribution: Fact<QemuFacts>;
  readonly built: Fact<QemuFacts>;
  /** OVMF images → sha256. */
  readonly images: Fact<Readonly<Record<string, string>>>;
  /** Package → version. */
  readonly packages: Fact<Readonly<Record<string, string>>>;
  readonly held: Fact<readonly string[]>;
  /** Recipes that `qemu` and `ovmf` were built from. */
  readonly recipes: Fact<Readonly<Record<string, string>>>;
  readonly cores: Fact<number>;
}

const RECIPES = { qemu: `${TOOLS_DIR}/qemu/recipe.json`, ovmf: `${TOOLS_DIR}/ovmf/recipe.json` } as const;

export const VM_STACK_ASKS = {
  distribution: { kind: "argv", argv: ["/usr/bin/qemu-system-x86_64", "--version"] },
  distributionObjects: { kind: "argv", argv: ["/usr/bin/qemu-system-x86_64", "-object", "help"] },
  built: { kind: "argv", argv: [host.QEMU_BUILT, "--version"] },
  builtObjects: { kind: "argv", argv: [host.QEMU_BUILT, "-object", "help"] },
  images: {
    kind: "argv",
    argv: [
      "find",
      "/usr/share/ovmf",
      "/usr/share/OVMF",
      `${TOOLS_DIR}/ovmf`,
      "-name",
      "*.fd",
      "-exec",
      "sha256sum",
      "{}",
      "+",
    ],
    timeoutSeconds: 60,
  },
  packages: host.STACK_PACKAGES,
  held: host.DPKG_PACKAGES,
  recipes: { kind: "argv", argv: ["grep", "-H", "", RECIPES.qemu, RECIPES.ovmf] },
  cores: host.CPU_COUNT,
} as const satisfies Asks;

export function parseVmStack(a: Answers<typeof VM_STACK_ASKS>): VmStackFacts {
  return {
    distribution: qemu(a.distribution, a.distributionObjects),
    built: qemu(a.built, a.builtObjects),
    images: mapFact(collected(a.images), (stdout) => parseSha256sum(stdout)),
    packages: mapFact(collected(a.packages), (stdout) =>
      Object.fromEntries(Object.entries(parseDpkgVersions(stdout)).filter(([name]) => /^(qemu|ovmf)/.test(name))),
    ),
    held: mapFact(text(a.held), parseDpkgHolds),
    recipes: mapFact(collected(a.recipes), (stdout) =>
      Object.fromEntries(Object.entries(parseGrepLines(stdout)).map(([path, lines]) => [path, lines.join("\n")])),
    ),
    cores: mapFact(text(a.cores), (t) => Math.max(1, Number.parseInt(t, 10) || 1)),
  };
}

function qemu(version: Answer, objects: Answer): Fact<QemuFacts> {
  const seen = mapFact(text(version), (t) => /version (\d+(?:\.\d+)+)/.exec(t)?.[1] ?? "");
  if (seen.state !== "known") return seen;
  if (seen.value === "") return { state: "unknown", why: "qemu-system-x86_64 --version named no version" };
  return mapFact(text(objects), (t) => ({
    version: seen.value,
    snp: /^\s*sev-snp-guest\b/m.test(t),
    tdx: /^\s*tdx-guest\b/m.test(t),
  }));
}

type Build = Extract<VmStackWant, { kind: "build" }>;

/** What `part` is built from, as text beside the result. */
const recipeText = (want: Build, part: "qemu" | "ovmf"): string => JSON.stringify(want[part]);
export const builtFrom = (want: Build, part: "qemu" | "ovmf", recipes: Readonly<Record<string, string>>): boolean =>
  recipes[RECIPES[part]] === recipeText(want, part);

/** Folder of the sources, and the recipe's place while the build runs. */
const folders = (part: "qemu" | "ovmf") => ({
  tree: `${host.BUILD_DIR}/${part}`,
  draft: `${host.BUILD_DIR}/${part}.recipe.json`,
});
export function recipeDraft(want: Build, part: "qemu" | "ovmf") {
  return { do: "write", path: folders(part).draft, content: `${recipeText(want, part)}\n` } as const;
}
const keepRecipe = (part: "qemu" | "ovmf"): JobLine => ({
  argv: ["install", "-D", "-m", "0644", folders(part).draft, RECIPES[part]],
});

/** Fetch, configure, build and install QEMU; the recipe last, so that it stands for a finished build. */
export function qemuLines(want: Build, cores: number): JobLine[] {
  const { tree } = folders("qemu");
  const tarball = want.qemu.kind === "tarball" ? host.download(want.qemu.url, want.qemu.sha256) : undefined;
  const prefix = `${TOOLS_DIR}/qemu`;
  const series = want.qemu.kind === "git" ? (want.qemu.series ?? []) : [];
  const { lines: fetched, path } = patchSources(series, `${host.BUILD_DIR}/qemu-series`);
  return [
    ...(want.qemu.kind === "git"
      ? [...host.checkout(want.qemu.url, want.qemu.commit, tree), ...fetched, ...amLines(series.map(path), tree)]
      : [
          ...(tarball?.lines ?? []),
          { argv: ["rm", "-rf", tree] } as const,
          { argv: ["mkdir", "-p", tree] } as const,
          { argv: ["tar", "-xf", tarball?.file ?? "", "--strip-components=1", "-C", tree] } as const,
        ]),
    {
      argv: [
        "./configure",
        "--target-list=x86_64-softmmu",
        `--prefix=${prefix}`,
        "--enable-kvm",
        "--enable-slirp",
        "--disable-docs",
      ],
      cwd: tree,
    },
    { argv: ["make", `-j${cores}`], cwd: tree },
    { argv: ["make", "install"], cwd: tree },
    keepRecipe("qemu"),
  ];
}

/** Fetch and build OVMF with edk2's own script. */
export function ovmfLines(want: Build, cores: number): JobLine[] {
  if (want.ovmf.kind !== "git") return [];
  const { tree } = folders("ovmf");
  const { target = "RELEASE" } = want.ovmf;
  const dsc = "OvmfPkg/OvmfPkgX64.dsc";
  return [
    ...host.checkout(want.ovmf.url, want.ovmf.commit, tree),
    { argv: ["git", "-C", tree, "submodule", "update", "--quiet", "--init", "--recursive", "--depth=1"] },
    { argv: ["make", "-C", "BaseTools", `-j${cores}`], cwd: tree },
    {
      argv: ["bash", "OvmfPkg/build.sh", "-a", "X64", "-b", target, "-t", "GCC5", "-n", String(cores), "-p", dsc],
      cwd: tree,
    },
    { argv: ["install", "-D", "-m", "0644", `${tree}/Build/OvmfX64/${target}_GCC5/FV/OVMF.fd`, host.OVMF_BUILT] },
    keepRecipe("ovmf"),
  ];
}
