import type { Finding } from "../kit/facet.ts";
import { valueIfKnown } from "../kit/facts.ts";
import { judgeFact } from "../kit/judge.ts";
import { compareVersions } from "../kit/parse-packages.ts";
import type { GuestKernelFacts, GuestKernelWant } from "./guest-kernel.ts";
import { missingOf, unheld } from "./guest-kernel-plan.ts";
import { judgeWords } from "./guest-kernel-words.ts";

export const SOURCE = "seed 000, Guest Side; seed 001, Log into your CVM (banner)";

export function judgeGuestKernel(want: GuestKernelWant, facts: GuestKernelFacts): readonly Finding[] {
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
    ...judgeWords(want, facts),
  ];
}
