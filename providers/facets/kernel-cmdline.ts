import type { Finding, Step } from "../kit/facet.ts";
import { facet } from "../kit/facet.ts";
import { valueIfKnown } from "../kit/facts.ts";
import { findingsOf } from "../kit/findings.ts";
import { GRUB_DROP_IN } from "../kit/host.ts";
import { judgeFact } from "../kit/judge.ts";
import type { CommandLine, CommandLineFacts } from "../kit/kernel-cmdline.ts";
import * as cmdline from "../kit/kernel-cmdline.ts";
import { withOldWords, withoutWords } from "../kit/parse-grub.ts";
import { KERNEL_CMDLINE_EXAMPLES } from "./kernel-cmdline-examples.ts";

const SOURCE = "seed 001, Known Issue: CC state cannot change after guest shutdown, option 2";
const PASSTHROUGH = "seed 000, Host Side (iommu=pt); AMDESE/AMDSEV#88";
const { fail } = findingsOf("kernel-cmdline", SOURCE);
const MAIN = "/etc/default/grub";
const TEXT = (lines: readonly string[]) => `${lines.join("\n")}\n`;
const UPDATE_GRUB: Step["actions"][number] = { do: "run", argv: ["update-grub"], timeoutSeconds: 300 };

/** Code of a forbidden word's finding: `iommu=pt` has its own, since it is the one that web recipes spread. */
const codeOf = (word: string) => (word === "iommu=pt" ? "iommu-pt" : "forbidden");

const staged = (want: CommandLine, facts: CommandLineFacts) =>
  TEXT(valueIfKnown(facts.files)?.[GRUB_DROP_IN] ?? []) === cmdline.dropIn(want);
const lacking = (want: CommandLine, words: readonly string[]) => want.present.filter((word) => !words.includes(word));
const wrong = (want: CommandLine, words: readonly string[]) => want.forbidden.filter((word) => words.includes(word));

/** The kernel's command line, staged as a GRUB drop-in. */
export const kernelCmdline = facet<CommandLine, CommandLineFacts, typeof cmdline.COMMAND_LINE_ASKS>({
  name: "kernel-cmdline",
  type: "KernelCmdline",
  on: "host",
  persona: "host",
  summary: "Words the kernel's command line must and must not have, staged in a GRUB drop-in.",
  sources: [SOURCE, PASSTHROUGH],
  want: cmdline.CommandLineSchema,
  asks: cmdline.COMMAND_LINE_ASKS,
  parse: cmdline.parseCommandLine,
  judge: (want, facts): Finding[] => {
    const files = valueIfKnown(facts.files) ?? {};
    const places = cmdline.forbiddenPlaces(want, files);
    const menuGood = lacking(want, valueIfKnown(facts.menu)?.everywhere ?? []).length === 0;
    return [
      judgeFact(facts.files, {
        code: "kernel-cmdline.drop-in",
        want: `${GRUB_DROP_IN} with ${want.present.join(" ") || "the saved default"}`,
        hint: "teeup writes it with the next up",
        source: SOURCE,
        good: () => staged(want, facts),
        show: () => (staged(want, facts) ? "as wanted" : "not as wanted"),
      }),
      ...places.map(({ word, path, plain }) => {
        const hint = plain ? `teeup takes it off with the next up` : `take ${word} out of ${path}, then: update-grub`;
        return fail(codeOf(word), `no ${word} on the kernel's command line`, `${word} in ${path}`, hint, PASSTHROUGH);
      }),
      ...cmdline.overriders(files).map((path) => {
        const hint = `in ${path}, append: GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX …", GRUB_DEFAULT=saved`;
        return fail("overridden", `what ${GRUB_DROP_IN} sets stays`, `${path} overrides it`, hint, SOURCE);
      }),
      judgeFact(facts.running, {
        code: "kernel-cmdline.running",
        want: `running with ${want.present.join(" ") || "nothing special"}, without ${want.forbidden.join(" ")}`,
        hint: "restart the host: permit reboot and up",
        source: SOURCE,
        good: (words) => lacking(want, words).length === 0 && wrong(want, words).length === 0,
        show: (words) =>
          [
            ...lacking(want, words).map((w) => `${w} is missing`),
            ...wrong(want, words).map((w) => `${w} is there`),
          ].join(", ") || "as wanted",
        level: "warn",
      }),
      judgeFact(facts.menu, {
        code: "kernel-cmdline.menu",
        want: "every entry of the boot menu has these words",
        hint: "update-grub",
        source: SOURCE,
        good: (menu) => menuGood && wrong(want, menu.anywhere).length === 0 && menu.savedDefault,
        show: () => (menuGood ? "grub.cfg" : "grub.cfg is older than its settings"),
      }),
    ];
  },
  plan: (want, facts): Step[] => {
    const [files, menu] = [valueIfKnown(facts.files), valueIfKnown(facts.menu)];
    if (files === undefined || menu === undefined || facts.running.state === "unknown") return [];
    const places = cmdline.forbiddenPlaces(want, files);
    const people = [...places.filter((p) => !p.plain).map((p) => p.path), ...cmdline.overriders(files)];
    const words = [...new Set(places.filter((p) => p.plain).map((p) => p.word))];
    const step = (code: string, title: string, why: string, actions: Step["actions"]): Step => ({
      code: `kernel-cmdline.${code}`,
      title,
      why,
      disruption: actions.length === 0 ? "human" : "none",
      actions,
    });
    if (people.length > 0) {
      const where = [...new Set(people)].join(" and ");
      return [step("edit", `edit ${where} by hand`, "shell there sets words that TeeUp cannot safely change", [])];
    }
    const steps: Step[] = [];
    if (words.length > 0) {
      const content = TEXT(withoutWords(files[MAIN] ?? [], words));
      const title = `take ${words.join(" ")} off the command line in ${MAIN}; the old line stays as a comment`;
      steps.push(step("strip", title, "SEV-SNP refuses it", [{ do: "write", path: MAIN, content }, UPDATE_GRUB]));
    }
    if (!staged(want, facts)) {
      const title = `stage kernel command line: ${want.present.join(" ") || "saved default"}`;
      const write = { do: "write", path: GRUB_DROP_IN, content: cmdline.dropIn(want) } as const;
      steps.push(step("stage", title, "takes effect at the next restart", [write, UPDATE_GRUB]));
    }
    const stale =
      lacking(want, menu.everywhere).length > 0 || wrong(want, menu.anywhere).length > 0 || !menu.savedDefault;
    if (steps.length === 0 && stale)
      steps.push(step("update-grub", "write the boot menu anew", "grub.cfg is older than its settings", [UPDATE_GRUB]));
    return steps;
  },
  undo: (_want, facts): Step[] => {
    const files = valueIfKnown(facts.files) ?? {};
    const old = withOldWords(files[MAIN] ?? []);
    const actions: Step["actions"] = [
      ...(files[GRUB_DROP_IN] === undefined ? [] : [{ do: "remove", path: GRUB_DROP_IN } as const]),
      ...(old.length === (files[MAIN] ?? []).length ? [] : [{ do: "write", path: MAIN, content: TEXT(old) } as const]),
    ];
    if (actions.length === 0) return [];
    const title = "restore GRUB's own settings; they take effect at the next restart";
    return [
      { code: "kernel-cmdline.restore", title, why: "deleted", disruption: "none", actions: [...actions, UPDATE_GRUB] },
    ];
  },
  pending: (want, facts) => {
    const [running, files] = [valueIfKnown(facts.running), valueIfKnown(facts.files)];
    if (running === undefined || files === undefined) return { reasons: [], boots: 0 };
    // What only a person can take away would still be there after a restart.
    const stays = cmdline.forbiddenPlaces(want, files).filter((p) => !p.plain);
    const reasons = [
      ...lacking(want, running).map((word) => `command line lacks ${word}`),
      ...wrong(want, running)
        .filter((word) => !stays.some((p) => p.word === word))
        .map((word) => `command line has ${word}`),
    ];
    return { reasons: cmdline.overriders(files).length > 0 ? [] : reasons, boots: reasons.length > 0 ? 1 : 0 };
  },
  show: (facts) => ({
    running: valueIfKnown(facts.running),
    dropIn: valueIfKnown(facts.files)?.[GRUB_DROP_IN] !== undefined,
  }),
  examples: KERNEL_CMDLINE_EXAMPLES,
  covers: ["000-09", "000-10", "000-11", "001-GPU-26", "001-GPU-27", "001-GPU-28", "001-HOST-30"],
});
