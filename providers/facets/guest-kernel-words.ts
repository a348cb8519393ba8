import type { Finding, Step } from "../kit/facet.ts";
import type { Fact } from "../kit/facts.ts";
import { valueIfKnown } from "../kit/facts.ts";
import { judgeFact } from "../kit/judge.ts";
import { grubbyUpdate } from "../kit/parse-grubby.ts";
import type { GuestKernelFacts, GuestKernelWant } from "./guest-kernel.ts";

const SOURCE =
  "seed 004, guest image (clearcpuid=mtrr) and Specific notes (crypto for SPDM); seeds 002 and 003 (swiotlb)";
const DROP_IN = "/etc/default/grub.d/61-teeup-words.cfg";

export const lackingWords = (want: GuestKernelWant, words: Fact<readonly string[]>): readonly string[] =>
  want.commandLine.filter((word) => valueIfKnown(words)?.includes(word) !== true);

/** What the kernel must have been built with, and started with. */
export function judgeWords(want: GuestKernelWant, facts: GuestKernelFacts): readonly Finding[] {
  const off = (configs: Readonly<Record<string, readonly string[]>>) =>
    want.config.filter((option) => configs[want.release]?.includes(option) !== true);
  // Without the kernel there is no file that could say.
  const installed = facts.configs.state !== "known" || want.release in facts.configs.value;
  return [
    ...(want.config.length === 0 || !installed
      ? []
      : [
          judgeFact(facts.configs, {
            code: "guest-kernel.config",
            want: want.config.join(", "),
            hint: "take another kernel for the guest: the driver finds no crypto for its SPDM session in this one",
            source: SOURCE,
            good: (configs) => off(configs).length === 0,
            show: (configs) =>
              off(configs)
                .map((option) => `${option} is off`)
                .join(", ") || "on",
          }),
        ]),
    ...(want.commandLine.length === 0
      ? []
      : [
          judgeFact(facts.words, {
            code: "guest-kernel.words",
            want: `${want.commandLine.join(" ")} on the command line`,
            hint: "pulumi up stages it; permit a restart of the guest",
            source: SOURCE,
            good: () => lackingWords(want, facts.words).length === 0,
            show: () =>
              lackingWords(want, facts.words)
                .map((word) => `${word} is missing`)
                .join(", ") || "there",
          }),
        ]),
  ];
}

/** Puts the words where the next start takes them from. */
export function stageWords(want: GuestKernelWant, facts: GuestKernelFacts, family: "debian" | "rpm"): readonly Step[] {
  const staged = valueIfKnown(facts.grub)?.everywhere ?? [];
  if (want.commandLine.every((word) => staged.includes(word))) return [];
  const words = want.commandLine.join(" ");
  return [
    {
      code: "guest-kernel.words",
      title: `put ${words} on the guest's command line`,
      why: "the recipe's guest starts with it",
      disruption: "none",
      actions:
        family === "rpm"
          ? [grubbyUpdate(want.commandLine, [])]
          : [
              {
                do: "write",
                path: DROP_IN,
                content: `# Written by TeeUp.\nGRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX ${words}"\n`,
              },
              { do: "run", argv: ["update-grub"] },
            ],
    },
  ];
}
