import { z } from "zod";
import type { Answer, Answers, Ask, Asks } from "./ask.ts";
import { collected, text } from "./ask.ts";
import { BOOT_MENU_ASKS, parseBootMenu } from "./boot-menu.ts";
import type { Fact } from "./facts.ts";
import { known, mapFact, valueIfKnown } from "./facts.ts";
import * as host from "./host.ts";
import {
  isRpmKernelPart,
  parseDpkgHolds,
  parseDpkgVersions,
  parseGrepLines,
  parseLines,
  parseRpmKernels,
  parseVersionLocks,
} from "./parse-packages.ts";

/** Which kernels a machine has, which one runs, and what keeps apt from changing that. */
export interface KernelFacts {
  readonly family: Fact<"debian" | "rpm">;
  readonly running: Fact<string>;
  /** Releases with an image in /boot. */
  readonly images: Fact<readonly string[]>;
  /** Installed packages of kernels; of the Red Hat family whole (with version) and, what brings kernels, by name. */
  readonly packages: Fact<readonly string[]>;
  readonly held: Fact<readonly string[]>;
  /** dnf's plugin that holds packages is there; Debian needs none. */
  readonly holds: Fact<true>;
  /** Release → options that are y or m, of those that matter. */
  readonly configs: Fact<Readonly<Record<string, readonly string[]>>>;
  readonly grub: Fact<{ readonly entries: Readonly<Record<string, string>>; readonly pattern: string }>;
}

const OPTIONS = [
  "CRYPTO_ECC|CRYPTO_ECDH|CRYPTO_ECDSA|CRYPTO_ECRDSA|CGROUP_MISC|KVM_AMD_SEV|AMD_MEM_ENCRYPT|VFIO_PCI|SEV_GUEST",
  "INTEL_TDX_HOST|KVM|KVM_INTEL|KVM_INTEL_TDX|TDX_GUEST_DRIVER|HYPERV|KEXEC|CRASH_DUMP",
].join("|");

const LOOKED_AT: ReadonlySet<string> = new Set(OPTIONS.split("|").map((option) => `CONFIG_${option}`));

const { grubby, grub2Default } = BOOT_MENU_ASKS;
/** What facets of kernels ask besides, for machines of the Red Hat family. */
export const OF_RED_HAT = {
  os: host.OS_RELEASE,
  rpmKernels: host.RPM_KERNELS,
  locks: host.VERSION_LOCKS,
  grubby,
  grub2Default,
} as const satisfies Asks;

export const CONFIG_ASK = {
  kind: "argv",
  argv: ["grep", "-rHE", `^CONFIG_(${OPTIONS})=[ym]`, "/boot", "--include=config-*"],
} as const satisfies Ask;

export const KERNEL_ASKS = {
  running: host.KERNEL_RELEASE,
  images: { kind: "argv", argv: ["find", "/boot", "-maxdepth", "1", "-name", "vmlinuz-*", "-printf", "%f\\n"] },
  packages: host.STACK_PACKAGES,
  held: host.DPKG_PACKAGES,
  configs: CONFIG_ASK,
  grub: host.GRUB_CFG,
  ...OF_RED_HAT,
} as const satisfies Asks;

export function parseKernel(answers: Answers<typeof KERNEL_ASKS>): KernelFacts {
  const family = host.familyOf(text(answers.os));
  return {
    family,
    running: mapFact(text(answers.running), (t) => t.trim()),
    // The rescue image is no kernel of a release.
    images: mapFact(text(answers.images), (t) =>
      parseLines(t)
        .map((name) => name.replace(/^vmlinuz-/, ""))
        .filter((release) => !release.startsWith("0-rescue-")),
    ),
    packages: host.ofFamily<readonly string[]>(
      family,
      () =>
        mapFact(collected(answers.packages), (stdout) =>
          Object.keys(parseDpkgVersions(stdout)).filter((name) => name.startsWith("linux-")),
        ),
      () => mapFact(text(answers.rpmKernels), parseRpmKernels),
    ),
    ...parseHolds(answers, family),
    configs: parseConfigs(answers.configs),
    grub: mapFact(parseBootMenu({ ...answers, menu: answers.grub }), ({ entries, pattern }) => ({ entries, pattern })),
  };
}

export const parseConfigs = (answer: Answer): KernelFacts["configs"] =>
  mapFact(collected(answer), (stdout) =>
    Object.fromEntries(
      Object.entries(parseGrepLines(stdout)).map(([path, lines]) => [
        path.replace("/boot/config-", ""),
        lines.map((line) => line.replace(/=.*$/, "")).sort(),
      ]),
    ),
  );

/** What is on hold, and whether anything can be: without dnf's plugin nothing is. */
export function parseHolds(
  answers: Answers<{ readonly held: typeof host.DPKG_PACKAGES; readonly locks: typeof host.VERSION_LOCKS }>,
  family: Fact<"debian" | "rpm">,
): { held: Fact<readonly string[]>; holds: Fact<true> } {
  const locks = text(answers.locks);
  return {
    held: host.ofFamily<readonly string[]>(
      family,
      () => mapFact(text(answers.held), parseDpkgHolds),
      () => (locks.state === "absent" ? known([]) : mapFact(locks, parseVersionLocks)),
    ),
    holds: host.ofFamily<true>(
      family,
      () => known(true),
      () => mapFact(locks, () => true as const),
    ),
  };
}

/** Packages whose upgrade would bring another kernel. */
export const isKernelMeta = (name: string): boolean =>
  isRpmKernelPart(name) ||
  /^linux-(?:image-|headers-|modules-extra-)?(?:generic|virtual|lowlatency|amd64|cloud-amd64)(?:-hwe-\d\d\.\d\d(?:-edge)?)?$/.test(
    name,
  );

/** The kernel a host must run. */
export const KernelWantSchema = z.strictObject({
  release: z
    .string()
    .regex(/^\d+\.\d+[A-Za-z0-9._+~-]*$/)
    .describe("What `uname -r` must show."),
  packages: z
    .array(z.string().regex(/^[a-z0-9][a-z0-9+._-]*$/))
    .min(1)
    .describe("Packages of exactly this release, of the Red Hat family with version and architecture; held."),
  file: z
    .string()
    .regex(/^\/[\w./+~-]+\.(deb|rpm)$/)
    .optional()
    .describe("Install this package file (see kernel-build) instead of the distribution's."),
  config: z
    .array(z.string().regex(/^CONFIG_[A-Z0-9_]+$/))
    .default([])
    .describe("Options that /boot/config-<release> must have as y or m."),
  configOff: z
    .array(
      z
        .string()
        .regex(/^CONFIG_[A-Z0-9_]+$/)
        // An option that is not asked for would seem to be off on every machine.
        .refine((option) => LOOKED_AT.has(option), "not among the options that TeeUp looks at"),
    )
    .optional()
    .describe("Options that it must not have."),
});
export type KernelWant = z.output<typeof KernelWantSchema>;

/** Packages to hold: the kernel's own, and installed ones whose upgrade would bring another kernel. */
export const toHold = (want: KernelWant, facts: KernelFacts) => [
  ...want.packages,
  ...(valueIfKnown(facts.packages) ?? []).filter((name) => isKernelMeta(name) && !want.packages.includes(name)),
];
export const loose = (want: KernelWant, facts: KernelFacts, held: readonly string[]) =>
  toHold(want, facts).filter((name) => !held.includes(name));
/** What is wrong with the kernel's configuration, one phrase each; without its file every wanted option is. */
export function optionFaults(want: KernelWant, configs: Readonly<Record<string, readonly string[]>>): string[] {
  const on = configs[want.release];
  return [
    ...want.config.filter((option) => !on?.includes(option)).map((option) => `${option} is off`),
    ...(want.configOff ?? []).filter((option) => on?.includes(option) !== false).map((option) => `${option} is on`),
  ];
}
