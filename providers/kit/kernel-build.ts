import { z } from "zod";
import type { JobLine } from "./action.ts";
import { ARTIFACTS_DIR, BUILD_DIR, checkout } from "./host.ts";

const Commit = z.string().regex(/^[0-9a-f]{40}$/, "a commit's 40 hex digits");
const Git = z.strictObject({
  url: z.url({ protocol: /^https$/ }),
  commit: Commit,
  branch: z.string().optional().describe("For people only; a branch is never followed."),
});
const Options = z.array(z.string().regex(/^CONFIG_[A-Z0-9_]+$/));

/** A kernel from pinned sources, and one built already. */
export const KernelBuildSchema = z.strictObject({
  release: z
    .string()
    .regex(/^\d+\.\d+[A-Za-z0-9.+~-]*$/)
    .describe("What `uname -r` will show."),
  base: z.string().describe("Release without LOCALVERSION, as the sources' Makefile gives it."),
  source: Git,
  patches: z
    .array(z.strictObject({ from: Git, file: z.string().regex(/^[\w.][\w./+-]*$/) }))
    .default([])
    .describe("Patches, in order, with the repository they come from."),
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
  const sources = [...new Map(want.patches.map((p) => [`${p.from.url} ${p.from.commit}`, p.from])).values()];
  const folder = (from: KernelBuild["source"]) =>
    `${root}/patches-${sources.findIndex((s) => s.url === from.url && s.commit === from.commit)}`;
  const options = (flag: string, names: readonly string[]) => names.flatMap((n) => [flag, n.replace(/^CONFIG_/, "")]);
  const make = ["make", "LOCALVERSION=", `KDEB_PKGVERSION=${want.version}`] as const;
  const local = want.release.startsWith(want.base) ? want.release.slice(want.base.length) : "";
  return [
    ...checkout(want.source.url, want.source.commit, tree),
    ...sources.flatMap((from) => checkout(from.url, from.commit, folder(from))),
    ...want.patches.map(
      (p): JobLine => ({ argv: ["patch", "-p1", "-l", "-i", `${folder(p.from)}/${p.file}`], cwd: tree }),
    ),
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
