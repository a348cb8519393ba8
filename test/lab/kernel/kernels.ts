import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, homedir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { z } from "zod";
import { KERNEL_PACKAGES, KERNEL_SOURCE, whatIsMissing } from "../../../tools/debian.ts";
import { withLock } from "../../../tools/lock.mjs";
import { labCache } from "../cache.ts";
import { VARIANTS, type Variant } from "./options.ts";

const KernelSchema = z.strictObject({
  /** What `uname -r` shows. */
  release: z.string(),
  /** Name of the Debian package. */
  package: z.string(),
  version: z.string(),
  /** File name in the cache folder. */
  file: z.string(),
  sha256: z.string(),
});
const ManifestSchema = z.strictObject({
  source: z.string(),
  seconds: z.number(),
  good: KernelSchema,
  panics: KernelSchema,
});

export type LabKernel = z.output<typeof KernelSchema> & { readonly path: string };
export interface LabKernels {
  /** Boots the lab's machine. */
  readonly good: LabKernel;
  /** Panics: it has no driver for the disk. */
  readonly panics: LabKernel;
  /** Version of Debian's package that they were built from. */
  readonly source: string;
  /** Seconds that the build of both took, when it was done. */
  readonly seconds: number;
}

const VERSION = "1";
const FORMAT = 1;

/** Changes with whatever decides what is built, except for Debian's security updates of the source. */
const recipeHash = (): string =>
  createHash("sha256")
    .update(JSON.stringify([FORMAT, KERNEL_SOURCE, VERSION, VARIANTS]))
    .digest("hex")
    .slice(0, 12);

/**
 * Two packages of a real kernel, built once (about four minutes on two cores) and kept under ~/.cache/teeup/lab. Throws
 * with the last lines of the build's log, or with the packages that this machine lacks.
 */
export async function labKernels(say: (line: string) => void = () => undefined): Promise<LabKernels> {
  const folder = join(labCache(), `kernels-${recipeHash()}`);
  return withLock(
    `${folder}.lock`,
    async () => cached(folder) ?? (await build(folder, say)),
    () => say("another run builds the lab's kernels: waiting for it"),
  );
}

function cached(folder: string): LabKernels | undefined {
  const file = join(folder, "manifest.json");
  if (!existsSync(file)) return undefined;
  const { good, panics, ...rest } = ManifestSchema.parse(JSON.parse(readFileSync(file, "utf8")));
  const at = (kernel: typeof good) => ({ ...kernel, path: join(folder, kernel.file) });
  return { ...rest, good: at(good), panics: at(panics) };
}

async function build(folder: string, say: (line: string) => void): Promise<LabKernels> {
  const fault = whatIsMissing(KERNEL_PACKAGES);
  if (fault !== undefined) throw new Error(fault);
  // Of the same name each time, under the lock: a killed build's remains go with the next one.
  const work = `${folder}.making`;
  rmSync(work, { recursive: true, force: true });
  mkdirSync(work, { recursive: true });
  try {
    const started = Date.now();
    say(`building two kernels from ${KERNEL_SOURCE} (about 4 minutes on two cores, once)`);
    const done = await make(work);
    const seconds = Math.round((Date.now() - started) / 1000);
    // biome-ignore lint/suspicious/noTemplateCurlyInString: dpkg-query's own field
    const source = await run(work, "dpkg-query", "--show", "--showformat=${Version}", KERNEL_SOURCE);
    const out = join(work, "out");
    const manifest = { source, seconds, ...done } satisfies z.output<typeof ManifestSchema>;
    writeFileSync(join(out, "manifest.json"), `${JSON.stringify(manifest, undefined, 2)}\n`);
    rmSync(folder, { recursive: true, force: true });
    renameSync(out, folder);
    say(`built ${done.good.release} and ${done.panics.release} in ${seconds} s`);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  const kernels = cached(folder);
  if (kernels === undefined) throw new Error(`${folder} is gone`);
  return kernels;
}

type Kernel = z.output<typeof KernelSchema>;

async function make(work: string): Promise<{ good: Kernel; panics: Kernel }> {
  const tree = join(work, "tree");
  const out = join(work, "out");
  for (const path of [tree, out]) mkdirSync(path);
  await run(work, "tar", "-xf", KERNEL_PACKAGES[KERNEL_SOURCE] ?? "", "-C", tree, "--strip-components=1");
  await run(tree, "make", "-s", "tinyconfig");
  const kernel = async (variant: Variant): Promise<Kernel> => {
    await configure(tree, variant);
    await run(
      tree,
      "make",
      "-s",
      `-j${availableParallelism()}`,
      "bindeb-pkg",
      `KDEB_PKGVERSION=${VERSION}`,
      "KDEB_COMPRESS=gzip",
    );
    const release = (await run(tree, "make", "-s", "kernelrelease")).trim();
    const file = `linux-image-${release}_${VERSION}_amd64.deb`;
    renameSync(join(work, file), join(out, file));
    const sha256 = createHash("sha256")
      .update(readFileSync(join(out, file)))
      .digest("hex");
    return { release, package: `linux-image-${release}`, version: VERSION, file, sha256 };
  };
  return { good: await kernel(VARIANTS.good), panics: await kernel(VARIANTS.panics) };
}

/** Throws when an option did not stay as it was set: olddefconfig drops one whose dependency is off without a word. */
async function configure(tree: string, { local, on, off }: Variant): Promise<void> {
  const flags = [...on.flatMap((name) => ["--enable", name]), ...off.flatMap((name) => ["--disable", name])];
  await run(tree, "./scripts/config", "--set-str", "LOCALVERSION", local, ...flags);
  await run(tree, "make", "-s", "olddefconfig");
  const config = readFileSync(join(tree, ".config"), "utf8").split("\n");
  const is = (name: string) => config.includes(`CONFIG_${name}=y`);
  const wrong = [...on.filter((name) => !is(name)), ...off.filter(is)];
  if (wrong.length > 0) throw new Error(`the kernel's configuration did not take ${wrong.join(", ")}`);
}

/** What a program printed. It runs beside this process's own timers: the lock shows a sign of life all the while. */
async function run(cwd: string, program: string, ...args: string[]): Promise<string> {
  // A variable of the caller's make or compiler would make another kernel than the recipe says.
  const lab = { KBUILD_BUILD_USER: "lab", KBUILD_BUILD_HOST: "lab" };
  const env = { PATH: process.env["PATH"], HOME: homedir(), LC_ALL: "C", ...lab };
  try {
    return (await promisify(execFile)(program, args, { cwd, env, maxBuffer: 256 << 20 })).stdout;
  } catch (error) {
    const { code, stdout, stderr } = FailedSchema.parse(error);
    const said = `${stdout}${stderr}`.trimEnd().split("\n").slice(-25).join("\n  ");
    throw new Error(`${program} ${args.slice(0, 4).join(" ")} … ended with ${code}:\n  ${said}`, { cause: error });
  }
}

const FailedSchema = z.object({
  code: z.union([z.number(), z.string(), z.null()]).default(null),
  stdout: z.string().default(""),
  stderr: z.string().default(""),
});
