import { z } from "zod";
import type { JobLine } from "./action.ts";
import { ARTIFACTS_DIR, BUILD_DIR, checkout } from "./host.ts";
import { amLines, baselineFault, GitSchema, PinnedFilesSchema, patchSources } from "./patches.ts";

const Options = z.array(z.string().regex(/^CONFIG_[A-Z0-9_]+$/));

/** A kernel from pinned sources, and one built already. */
const Parts = z.strictObject({
  release: z
    .string()
    .regex(/^\d+\.\d+[A-Za-z0-9.+~-]*$/)
    .describe("What `uname -r` will show."),
  base: z.string().describe("Release without LOCALVERSION, as the sources' Makefile gives it."),
  source: GitSchema,
  // Without a default: recipes of before it have no such word.
  series: PinnedFilesSchema.optional().describe("Mailboxes of commits, in order, applied with git am."),
  patches: PinnedFilesSchema.default([]).describe("Patches, in order, with the repository they come from."),
  enable: Options.default([]).describe("Options set to y."),
  module: Options.default([]).describe("Options set to m."),
  disable: Options.default([]).describe("Options turned off."),
  version: z
    .string()
    .regex(/^[0-9][A-Za-z0-9.+~-]*$/)
    .describe("Debian version of the built package."),
  artifact: z
    .strictObject({
      from: z
        .union([z.url({ protocol: /^https?$/ }), z.string().startsWith("/")])
        .describe("Where a package built elsewhere is: a url, or a path on the host."),
      sha256: z.string().regex(/^[0-9a-f]{64}$/),
    })
    .optional()
    .describe("Use this package instead of building: build once, install on many."),
});
export const KernelBuildSchema = Parts.superRefine(({ source, series }, context) => {
  const fault = baselineFault(source, series);
  if (fault !== undefined) context.addIssue({ code: "custom", path: ["source", "commit"], message: fault });
});
export type KernelBuild = z.output<typeof KernelBuildSchema>;

/** File name of the built package. */
export const packageFile = (want: KernelBuild): string => `linux-image-${want.release}_${want.version}_amd64.deb`;
/** The recipe a package was built from stands beside it. */
export const recipeFile = (want: KernelBuild): string => `linux-image-${want.release}.recipe.json`;

/** The recipe as text, the same for the same recipe. */
export function recipeText(want: KernelBuild): string {
  const { artifact: _, ...recipe } = want;
  return `${JSON.stringify(recipe)}\n`;
}

/** Where the recipe lies while the build runs. */
export const RECIPE_DRAFT = `${BUILD_DIR}/kernel/recipe.json`;

/**
 * Clone, patch, configure, build, and last put package and recipe in place. The starting configuration is the running
 * kernel's: `olddefconfig` without a .config takes /boot/config-$(uname -r).
 */
export function buildLines(want: KernelBuild, cores: number): JobLine[] {
  const root = `${BUILD_DIR}/kernel`;
  const tree = `${root}/linux`;
  const series = want.series ?? [];
  const { lines: fetched, path } = patchSources([...want.patches, ...series], root);
  const options = (flag: string, names: readonly string[]) => names.flatMap((n) => [flag, n.replace(/^CONFIG_/, "")]);
  const make = ["make", "LOCALVERSION=", `KDEB_PKGVERSION=${want.version}`] as const;
  const local = want.release.startsWith(want.base) ? want.release.slice(want.base.length) : "";
  return [
    ...checkout(want.source.url, want.source.commit, tree),
    ...fetched,
    ...amLines(series.map(path), tree),
    ...want.patches.map((p): JobLine => ({ argv: ["patch", "-p1", "-l", "-i", path(p)], cwd: tree })),
    { argv: [...make, "olddefconfig"], cwd: tree },
    {
      argv: [
        "./scripts/config",
        "--set-str",
        "LOCALVERSION",
        local,
        ...options("--enable", want.enable),
        ...options("--module", want.module),
        ...options("--disable", want.disable),
      ],
      cwd: tree,
    },
    { argv: [...make, "olddefconfig"], cwd: tree },
    { argv: [...make, `-j${cores}`, "bindeb-pkg"], cwd: tree },
    { argv: ["install", "-D", "-m", "0644", `${root}/${packageFile(want)}`, `${ARTIFACTS_DIR}/${packageFile(want)}`] },
    { argv: ["install", "-D", "-m", "0644", RECIPE_DRAFT, `${ARTIFACTS_DIR}/${recipeFile(want)}`] },
  ];
}
