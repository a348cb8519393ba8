import { z } from "zod";
import { missing, ran, text } from "../kit/ask.ts";
import { GRUB_ENVIRONMENT_ASKS, parseBootMenu, parseSaved } from "../kit/boot-menu.ts";
import { facet } from "../kit/facet.ts";
import type { Fact } from "../kit/facts.ts";
import { flatMapFact, known, mapFact, valueIfKnown } from "../kit/facts.ts";
import { inServiceOf, SERVICE_ASKS } from "../kit/guest.ts";
import * as host from "../kit/host.ts";
import { judgeFact } from "../kit/judge.ts";
import { OF_RED_HAT, parseHolds } from "../kit/kernel.ts";
import type { GrubMenu } from "../kit/parse-grub.ts";
import { compareVersions, parseDpkgVersions, parseRpmKernels } from "../kit/parse-packages.ts";
import { guestKernelExamples } from "./guest-kernel-examples.ts";
import { missingOf, planGuestKernel, unheld } from "./guest-kernel-plan.ts";

const SOURCE = "seed 000, Guest Side; seed 001, Log into your CVM (banner)";

const Name = z.string().regex(/^[a-z0-9][a-z0-9+._-]*$/);
const Want = z.strictObject({
  release: z
    .string()
    .regex(/^\d+\.\d+[A-Za-z0-9._+~-]*$/)
    .describe("What `uname -r` must show in the guest."),
  packages: z.array(Name).min(1).describe("Packages of exactly this release; held."),
  hold: z.array(Name).default([]).describe("Packages that would bring another kernel; held where installed."),
});
export type GuestKernelWant = z.output<typeof Want>;

export interface GuestKernelFacts {
  readonly family: Fact<"debian" | "rpm">;
  readonly running: Fact<string>;
  readonly packages: Fact<Readonly<Record<string, string>>>;
  readonly held: Fact<readonly string[]>;
  /** dnf's plugin that holds packages is there; Debian needs none. */
  readonly holds: Fact<true>;
  readonly grub: Fact<Pick<GrubMenu, "entries" | "pattern"> & { readonly default: string }>;
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
    held: host.HELD_PACKAGES,
    grub: host.GRUB_CFG,
    ...OF_RED_HAT,
    saved2: GRUB_ENVIRONMENT_ASKS.saved2,
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
      grub: flatMapFact(parseBootMenu({ ...a, menu: a.grub }), ({ entries, pattern, savedDefault, by }) =>
        // The saved entry counts only where the menu takes it.
        by === "grubby"
          ? mapFact(saved, (entry) => ({ entries, pattern, default: savedDefault ? entry : "" }))
          : known({ entries, pattern, default: fixed }),
      ),
      inService: inServiceOf(a),
    };
  },
  judge: (want, facts) => {
    const newer = compareVersions(valueIfKnown(facts.running) ?? "", want.release) > 0;
    return [
      judgeFact(facts.packages, {
        code: "guest-kernel.installed",
        want: want.packages.join(", "),
        hint: "pulumi up installs them",
        source: SOURCE,
        good: () => missingOf(want, facts).length === 0,
        show: () =>
          missingOf(want, facts)
            .map((n) => `${n} is missing`)
            .join(", ") || "installed",
      }),
      judgeFact(facts.held, {
        code: "guest-kernel.held",
        want: "its packages, and those that would bring another kernel, on hold",
        hint: "pulumi up holds them: an upgrade takes the guest off its kernel",
        source: SOURCE,
        good: () => unheld(want, facts).length === 0,
        show: () =>
          unheld(want, facts)
            .map((n) => `${n} is not held`)
            .join(", ") || "held",
      }),
      judgeFact(facts.grub, {
        code: "guest-kernel.default",
        want: `GRUB boots ${want.release}`,
        hint: "pulumi up makes it the default",
        source: SOURCE,
        good: (grub) => grub.default !== "" && grub.default === grub.entries[want.release],
        show: (grub) => grub.default || "the first entry",
      }),
      judgeFact(facts.running, {
        code: newer ? "guest-kernel.upgraded" : "guest-kernel.running",
        want: `uname -r shows ${want.release}`,
        hint: newer
          ? "an upgrade replaced the pinned kernel: permit a restart of the guest"
          : "permit a restart of the guest",
        source: SOURCE,
        good: (running) => running === want.release,
      }),
    ];
  },
  plan: planGuestKernel,
  show: (facts) => ({ running: valueIfKnown(facts.running) ?? facts.running.state }),
  examples: guestKernelExamples,
  covers: ["000-14", "000-15", "000-16", "000-17", "000-18", "000-19", "000-20", "001-VM-02", "001-VM-04"],
});
