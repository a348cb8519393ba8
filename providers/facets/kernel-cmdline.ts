import type { Finding } from "../kit/facet.ts";
import { facet } from "../kit/facet.ts";
import { valueIfKnown } from "../kit/facts.ts";
import { findingsOf } from "../kit/findings.ts";
import { GRUB_DROP_IN } from "../kit/host.ts";
import { judgeFact } from "../kit/judge.ts";
import type { CommandLine, CommandLineFacts } from "../kit/kernel-cmdline.ts";
import * as cmdline from "../kit/kernel-cmdline.ts";
import { KERNEL_CMDLINE_EXAMPLES } from "./kernel-cmdline-examples.ts";
import { lacking, planCommandLine, staged, undoCommandLine, wrong } from "./kernel-cmdline-plan.ts";

const SOURCE = "seed 001, Known Issue: CC state cannot change after guest shutdown, option 2";
const PASSTHROUGH = "seed 000, Host Side (iommu=pt); AMDESE/AMDSEV#88";
/** The one document that changes a guest's command line, with grubby. */
const GRUBBY = "seed 002, Step 1: kernel arguments";
const { fail, unsure } = findingsOf("kernel-cmdline", SOURCE);

/** Code of a forbidden word's finding: `iommu=pt` has its own, since it is the one that web recipes spread. */
const codeOf = (word: string) => (word === "iommu=pt" ? "iommu-pt" : "forbidden");

function judgeFiles(want: CommandLine, facts: CommandLineFacts): Finding[] {
  const files = valueIfKnown(facts.files) ?? {};
  return [
    judgeFact(facts.files, {
      code: "kernel-cmdline.drop-in",
      want: `${GRUB_DROP_IN} with ${want.present.join(" ") || "the saved default"}`,
      hint: "teeup writes it with the next up",
      source: SOURCE,
      good: () => staged(want, facts),
      show: () => (staged(want, facts) ? "as wanted" : "not as wanted"),
    }),
    ...cmdline.forbiddenPlaces(want, files).map(({ word, path, plain }) => {
      const hint = plain ? `teeup takes it off with the next up` : `take ${word} out of ${path}, then: update-grub`;
      return fail(codeOf(word), `no ${word} on the kernel's command line`, `${word} in ${path}`, hint, PASSTHROUGH);
    }),
    ...cmdline.overriders(files).map((path) => {
      const hint = `in ${path}, append: GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX …", GRUB_DEFAULT=saved`;
      return fail("overridden", `what ${GRUB_DROP_IN} sets stays`, `${path} overrides it`, hint, SOURCE);
    }),
  ];
}

const ALL_GOOD = (want: CommandLine, words: readonly string[]) =>
  lacking(want, words).length === 0 && wrong(want, words).length === 0;
const said = (want: CommandLine, words: readonly string[]) =>
  [...lacking(want, words).map((w) => `${w} is missing`), ...wrong(want, words).map((w) => `${w} is there`)].join(
    ", ",
  ) || "as wanted";

/** The kernel's command line, staged as a GRUB drop-in, or with grubby. */
export const kernelCmdline = facet<CommandLine, CommandLineFacts, typeof cmdline.COMMAND_LINE_ASKS>({
  name: "kernel-cmdline",
  type: "KernelCmdline",
  on: "host",
  persona: "host",
  summary: "Words the kernel's command line must and must not have, staged in a GRUB drop-in, or with grubby.",
  sources: [SOURCE, PASSTHROUGH],
  want: cmdline.CommandLineSchema,
  asks: cmdline.COMMAND_LINE_ASKS,
  parse: cmdline.parseCommandLine,
  judge: (want, facts): Finding[] => {
    const menu = valueIfKnown(facts.menu);
    const grubby = menu?.by === "grubby";
    const present = grubby ? cmdline.entryWords(want, menu.anywhere) : cmdline.dropInWords(want);
    const menuGood = lacking({ ...want, present: [...present] }, menu?.everywhere ?? []).length === 0;
    // What grubby manages stands in the menu's entries alone; GRUB's default files say nothing of it.
    return [
      ...(grubby ? [] : judgeFiles(want, facts)),
      judgeFact(facts.running, {
        code: "kernel-cmdline.running",
        want: `running with ${want.present.join(" ") || "nothing special"}, without ${want.forbidden.join(" ")}`,
        hint: "restart the host: permit reboot and up",
        source: SOURCE,
        good: (words) => ALL_GOOD(want, words),
        show: (words) => said(want, words),
        level: "warn",
      }),
      ...(grubby ? wrong(want, menu.anywhere) : []).map((word) => {
        const hint = "teeup takes it off with the next up";
        return fail(codeOf(word), `no ${word} on any entry's command line`, `grubby shows ${word}`, hint, PASSTHROUGH);
      }),
      judgeFact(facts.menu, {
        code: "kernel-cmdline.menu",
        want: "every entry of the boot menu has these words",
        hint: grubby
          ? "teeup adds them with the next up; for the saved default: GRUB_DEFAULT=saved in /etc/default/grub, grub2-mkconfig"
          : "update-grub",
        source: grubby ? GRUBBY : SOURCE,
        good: (m) => menuGood && wrong(want, m.anywhere).length === 0 && m.savedDefault,
        show: () => (menuGood ? (grubby ? "the entries" : "grub.cfg") : "the menu is older than its settings"),
      }),
      ...(grubby && facts.record.state === "unknown"
        ? [unsure("record", "a note of what TeeUp changed", facts.record.why, `rm ${cmdline.CMDLINE_RECORD}`)]
        : []),
    ];
  },
  plan: planCommandLine,
  undo: undoCommandLine,
  pending: (want, facts) => {
    const [running, files] = [valueIfKnown(facts.running), valueIfKnown(facts.files)];
    if (running === undefined || files === undefined) return { reasons: [], boots: 0 };
    // What only a person can take away would still be there after a restart; grubby can take away all.
    const grubby = valueIfKnown(facts.menu)?.by === "grubby";
    const stays = grubby ? [] : cmdline.forbiddenPlaces(want, files).filter((p) => !p.plain);
    const reasons = [
      ...lacking(want, running).map((word) => `command line lacks ${word}`),
      ...wrong(want, running)
        .filter((word) => !stays.some((p) => p.word === word))
        .map((word) => `command line has ${word}`),
    ];
    const overridden = !grubby && cmdline.overriders(files).length > 0;
    return { reasons: overridden ? [] : reasons, boots: reasons.length > 0 ? 1 : 0 };
  },
  show: (facts) => ({
    running: valueIfKnown(facts.running),
    dropIn: valueIfKnown(facts.files)?.[GRUB_DROP_IN] !== undefined,
  }),
  examples: KERNEL_CMDLINE_EXAMPLES,
  covers: [
    "000-09",
    "000-10",
    "000-11",
    "001-GPU-26",
    "001-GPU-27",
    "001-GPU-28",
    "001-HOST-30",
    "004-29",
    "004-30",
    "004-31",
  ],
});
