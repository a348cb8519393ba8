import type { Step } from "../kit/facet.ts";
import { valueIfKnown } from "../kit/facts.ts";
import { GRUB_DROP_IN } from "../kit/host.ts";
import type { CommandLine, CommandLineFacts } from "../kit/kernel-cmdline.ts";
import * as cmdline from "../kit/kernel-cmdline.ts";
import { withOldWords, withoutWords } from "../kit/parse-grub.ts";
import { grubbyUpdate } from "../kit/parse-grubby.ts";

const MAIN = "/etc/default/grub";
const TEXT = (lines: readonly string[]) => `${lines.join("\n")}\n`;
const UPDATE_GRUB: Step["actions"][number] = { do: "run", argv: ["update-grub"], timeoutSeconds: 300 };

export const staged = (want: CommandLine, facts: CommandLineFacts) =>
  TEXT(valueIfKnown(facts.files)?.[GRUB_DROP_IN] ?? []) === cmdline.dropIn(want);
export const lacking = (want: CommandLine, words: readonly string[]) =>
  want.present.filter((word) => !words.includes(word));
export const wrong = (want: CommandLine, words: readonly string[]) =>
  want.forbidden.filter((word) => words.includes(word));

const step = (code: string, title: string, why: string, actions: Step["actions"]): Step => ({
  code: `kernel-cmdline.${code}`,
  title,
  why,
  disruption: actions.length === 0 ? "human" : "none",
  actions,
});
const note = (record: cmdline.CommandLineRecord) =>
  ({ do: "write", path: cmdline.CMDLINE_RECORD, content: `${JSON.stringify(record)}\n` }) as const;

export function planCommandLine(want: CommandLine, facts: CommandLineFacts): Step[] {
  const [files, menu] = [valueIfKnown(facts.files), valueIfKnown(facts.menu)];
  if (files === undefined || menu === undefined || facts.running.state === "unknown") return [];
  if (menu.by === "grubby") return planGrubby(want, facts, menu);
  const places = cmdline.forbiddenPlaces(want, files);
  const people = [...places.filter((p) => !p.plain).map((p) => p.path), ...cmdline.overriders(files)];
  const words = [...new Set(places.filter((p) => p.plain).map((p) => p.word))];
  if (people.length > 0) {
    const where = [...new Set(people)].join(" and ");
    return [step("edit", `edit ${where} by hand`, "shell there sets words that TeeUp cannot safely change", [])];
  }
  const steps: Step[] = [];
  if (words.length > 0) {
    const content = TEXT(withoutWords(files[MAIN] ?? [], words));
    const title = `take ${words.join(" ")} off the command line in ${MAIN}; the old line stays as a comment`;
    steps.push(
      step("strip", title, "the recipe forbids it: SEV-SNP, for one, refuses iommu=pt", [
        { do: "write", path: MAIN, content },
        UPDATE_GRUB,
      ]),
    );
  }
  if (!staged(want, facts)) {
    const title = `stage kernel command line: ${cmdline.dropInWords(want).join(" ")}`;
    const write = { do: "write", path: GRUB_DROP_IN, content: cmdline.dropIn(want) } as const;
    steps.push(step("stage", title, "takes effect at the next restart", [write, UPDATE_GRUB]));
  }
  const stale =
    lacking({ ...want, present: [...cmdline.dropInWords(want)] }, menu.everywhere).length > 0 ||
    wrong(want, menu.anywhere).length > 0 ||
    !menu.savedDefault;
  if (steps.length === 0 && stale)
    steps.push(step("update-grub", "write the boot menu anew", "grub.cfg is older than its settings", [UPDATE_GRUB]));
  return steps;
}

/** One call of grubby for all entries. What it changed is noted first: a killed run is then undone whole. */
function planGrubby(
  want: CommandLine,
  facts: CommandLineFacts,
  menu: Readonly<Record<"everywhere" | "anywhere", readonly string[]>>,
): Step[] {
  if (facts.record.state === "unknown") return [];
  const record = valueIfKnown(facts.record) ?? { added: [], removed: [] };
  const present = cmdline.entryWords(want, menu.anywhere);
  const missing = present.filter((word) => !menu.everywhere.includes(word));
  const stale = record.added.filter((word) => !present.includes(word) && menu.anywhere.includes(word));
  const off = [...new Set([...wrong(want, menu.anywhere), ...stale])];
  if (missing.length === 0 && off.length === 0) return [];
  const { add, replaced } = cmdline.besideOthers(missing, menu.anywhere, off);
  const noted = {
    added: [...new Set([...record.added, ...missing])].filter((word) => present.includes(word)),
    removed: [...new Set([...record.removed, ...off.filter((w) => !stale.includes(w)), ...replaced])],
  };
  const title = [
    ...(missing.length === 0 ? [] : [`stage kernel command line: ${missing.join(" ")}`]),
    ...(off.length === 0 ? [] : [`take ${off.join(" ")} off the command line`]),
  ].join("; ");
  return [step("stage", title, "takes effect at the next restart", [note(noted), grubbyUpdate(add, off)])];
}

export function undoCommandLine(_want: CommandLine, facts: CommandLineFacts): Step[] {
  const title = "restore GRUB's own settings; they take effect at the next restart";
  const restore = (actions: Step["actions"]) => [step("restore", title, "deleted", actions)];
  if (valueIfKnown(facts.menu)?.by === "grubby") {
    const record = valueIfKnown(facts.record);
    if (record === undefined) return [];
    return restore([grubbyUpdate(record.removed, record.added), { do: "remove", path: cmdline.CMDLINE_RECORD }]);
  }
  const files = valueIfKnown(facts.files) ?? {};
  const old = withOldWords(files[MAIN] ?? []);
  const actions: Step["actions"] = [
    ...(files[GRUB_DROP_IN] === undefined ? [] : [{ do: "remove", path: GRUB_DROP_IN } as const]),
    ...(old.length === (files[MAIN] ?? []).length ? [] : [{ do: "write", path: MAIN, content: TEXT(old) } as const]),
  ];
  return actions.length === 0 ? [] : restore([...actions, UPDATE_GRUB]);
}
