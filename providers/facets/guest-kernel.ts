import { z } from "zod";
import { missing, ran, text } from "../kit/ask.ts";
import { GRUB_ENVIRONMENT_ASKS, parseBootMenu, parseSaved } from "../kit/boot-menu.ts";
import { facet } from "../kit/facet.ts";
import type { Fact } from "../kit/facts.ts";
import { flatMapFact, known, mapFact, valueIfKnown } from "../kit/facts.ts";
import { inServiceOf, SERVICE_ASKS } from "../kit/guest.ts";
import * as host from "../kit/host.ts";
import { CONFIG_ASK, OF_RED_HAT, parseConfigs, parseHolds } from "../kit/kernel.ts";
import { CommandLineSchema } from "../kit/kernel-cmdline.ts";
import type { GrubMenu } from "../kit/parse-grub.ts";
import { commandLineWords } from "../kit/parse-grub.ts";
import { parseDpkgVersions, parseRpmKernels } from "../kit/parse-packages.ts";
import { guestKernelExamples } from "./guest-kernel-examples.ts";
import { judgeGuestKernel, SOURCE } from "./guest-kernel-judge.ts";
import { planGuestKernel } from "./guest-kernel-plan.ts";

const Name = z.string().regex(/^[a-z0-9][a-z0-9+._-]*$/);
const Want = z.strictObject({
  release: z
    .string()
    .regex(/^\d+\.\d+[A-Za-z0-9._+~-]*$/)
    .describe("What `uname -r` must show in the guest."),
  packages: z.array(Name).min(1).describe("Packages of exactly this release; held."),
  hold: z.array(Name).default([]).describe("Packages that would bring another kernel; held where installed."),
  config: z
    .array(z.string().regex(/^CONFIG_[A-Z0-9_]+$/))
    .default([])
    .describe("Options that its /boot/config must have as y or m, e.g. the crypto that the GPU's SPDM session takes."),
  commandLine: CommandLineSchema.shape.present.default([]),
});
export type GuestKernelWant = z.output<typeof Want>;

export interface GuestKernelFacts {
  readonly family: Fact<"debian" | "rpm">;
  readonly running: Fact<string>;
  readonly packages: Fact<Readonly<Record<string, string>>>;
  readonly held: Fact<readonly string[]>;
  /** dnf's plugin that holds packages is there; Debian needs none. */
  readonly holds: Fact<true>;
  readonly grub: Fact<Pick<GrubMenu, "entries" | "pattern" | "everywhere"> & { readonly default: string }>;
  /** Words of the running kernel's command line. */
  readonly words: Fact<readonly string[]>;
  /** Release → options that are y or m, of those that matter. */
  readonly configs: Fact<Readonly<Record<string, readonly string[]>>>;
  readonly inService: Fact<string>;
}

/** The guest's kernel: installed, held, the default, and running. */
export const guestKernel = facet({
  name: "guest-kernel",
  type: "GuestKernel",
  on: "guest",
  persona: "vm-admin",
  summary: "The guest's pinned kernel: an upgraded one makes the GPU invisible to the driver.",
  sources: [SOURCE],
  want: Want,
  asks: {
    running: host.KERNEL_RELEASE,
    packages: host.STACK_PACKAGES,
    held: host.DPKG_PACKAGES,
    grub: host.GRUB_CFG,
    ...OF_RED_HAT,
    saved2: GRUB_ENVIRONMENT_ASKS.saved2,
    cmdline: { kind: "file", path: "/proc/cmdline" },
    configs: CONFIG_ASK,
    ...SERVICE_ASKS,
  },
  parse(a): GuestKernelFacts {
    const family = host.familyOf(text(a.os));
    const fixed = /^\s*set default="([^"$]+)"/m.exec(valueIfKnown(text(a.grub)) ?? "")?.[1] ?? "";
    const saved = parseSaved({ saved: missing, saved2: a.saved2 });
    return {
      family,
      running: mapFact(text(a.running), (t) => t.trim()),
      packages: host.ofFamily<Readonly<Record<string, string>>>(
        family,
        () =>
          mapFact(ran(a.packages), ({ stdout }) =>
            Object.fromEntries(Object.entries(parseDpkgVersions(stdout)).filter(([name]) => /^linux-/.test(name))),
          ),
        () => mapFact(text(a.rpmKernels), (t) => Object.fromEntries(parseRpmKernels(t).map((name) => [name, ""]))),
      ),
      ...parseHolds(a, family),
      words: mapFact(text(a.cmdline), commandLineWords),
      configs: parseConfigs(a.configs),
      grub: flatMapFact(parseBootMenu({ ...a, menu: a.grub }), ({ entries, pattern, everywhere, savedDefault, by }) =>
        // The saved entry counts only where the menu takes it.
        by === "grubby"
          ? mapFact(saved, (entry) => ({ entries, pattern, everywhere, default: savedDefault ? entry : "" }))
          : known({ entries, pattern, everywhere, default: fixed }),
      ),
      inService: inServiceOf(a),
    };
  },
  judge: judgeGuestKernel,
  plan: planGuestKernel,
  show: (facts) => ({ running: valueIfKnown(facts.running) ?? facts.running.state }),
  examples: guestKernelExamples,
  covers: [
    "000-14",
    "000-15",
    "000-16",
    "000-17",
    "000-18",
    "000-19",
    "000-20",
    "001-VM-02",
    "001-VM-04",
    "004-60",
    "004-62",
    "004-63",
  ],
});
