import { z } from "zod";
import type { Action } from "../kit/action.ts";
import type { PlanContext, Step } from "../kit/facet.ts";
import type { Fact } from "../kit/facts.ts";
import { valueIfKnown } from "../kit/facts.ts";
import * as host from "../kit/host.ts";
import { grubbyDefault } from "../kit/parse-grubby.ts";

export interface BootWant {
  /** Seconds. */
  readonly timeoutSeconds: number;
}
export const RestartRecord = z.object({
  reasons: z.array(z.string()),
  boots: z.int().default(1),
  /** Kernel that the restart tried. */
  trial: z.string().optional(),
});
export type RestartRecord = z.output<typeof RestartRecord>;

export interface Facts {
  readonly running: Fact<string>;
  /** Entry that boots by default, "" when none was saved. */
  readonly saved: Fact<string>;
  /** Kernel release → its entry. */
  readonly entries: Fact<Readonly<Record<string, string>>>;
  /** The menu takes the saved entry by default: only then does a trial have something to fall back to. */
  readonly savedDefault: Fact<boolean>;
  /** What changes the menu. */
  readonly by: Fact<"update-grub" | "grubby">;
  /** What the last restart was for, while that is still open. */
  readonly record: Fact<RestartRecord>;
  /** That restart is still to come. */
  readonly asked: Fact<boolean>;
}
type Pendings = PlanContext["pending"];

export const entryOf = (facts: Facts) => valueIfKnown(facts.entries)?.[valueIfKnown(facts.running) ?? ""];
const reasonsOf = (pending: Pendings) =>
  pending.flatMap((p) => p.reasons.map((reason) => `${p.facet}: ${reason}`)).sort();
/** One reason of each facet, with how many more it has: its own plan lists them all. */
const inShort = (pending: Pendings) =>
  pending
    .map(({ facet, reasons }) => {
      const [first, ...more] = [...reasons].sort();
      return `${facet}: ${first}${more.length === 0 ? "" : ` (and ${more.length} more)`}`;
    })
    .sort()
    .join("; ");
export const NO_FALL_BACK =
  "manage kernel-cmdline too, or set GRUB_DEFAULT=saved in /etc/default/grub and run update-grub";
/** The entry is the running kernel's: grubby takes that by its release. */
const setDefault = (facts: Facts, entry: string): Action =>
  valueIfKnown(facts.by) === "grubby"
    ? grubbyDefault(valueIfKnown(facts.running) ?? "")
    : { do: "run", argv: ["grub-set-default", entry] };
const clear = [host.RESTART_RECORD, host.RESTART_ASKED].map((path) => ({ do: "remove", path }) as const);

/** At most one restart; the kernel that was tried is kept, and the restart's record goes, once nothing waits. */
export function planBoot(want: BootWant, facts: Facts, context: PlanContext): Step[] {
  const unsure = [facts.running, facts.saved, facts.entries, facts.record, facts.asked].some(
    (f) => f.state === "unknown",
  );
  if (unsure) return [];
  const waiting = context.pending.filter((p) => p.reasons.length > 0);
  const reasons = reasonsOf(waiting);
  const running = valueIfKnown(facts.running) ?? "";
  const entry = entryOf(facts);
  const record = valueIfKnown(facts.record);
  const unsaved = entry !== undefined && valueIfKnown(facts.saved) !== entry;
  const step = (code: string, title: string, why: string, actions: Step["actions"]): Step => ({
    code: `host-boot.${code}`,
    title,
    why,
    disruption: code === "restart" ? "reboot" : actions.length === 0 ? "human" : "none",
    actions,
  });
  if (reasons.length === 0) {
    // After a trial that did not come up, another kernel runs than the one that was to be kept.
    const tried = record?.trial === undefined || record.trial === running;
    const keep = step("keep", `make kernel ${running} the default`, "it runs as wanted", [
      setDefault(facts, entry ?? ""),
    ]);
    return [
      ...(unsaved && tried ? [keep] : []),
      ...(record === undefined ? [] : [step("clear", "note that the restart did its work", "done", clear)]),
    ];
  }
  const boots = Math.max(...waiting.map((p) => p.boots));
  // The same reasons after a restart that did happen, and no setting came nearer: another one would not help either.
  const again = record !== undefined && reasons.every((r) => record.reasons.includes(r)) && boots >= record.boots;
  if (again && valueIfKnown(facts.asked) === false) return [];
  const next = waiting.find((p) => p.trial !== undefined)?.trial;
  // A kernel on trial that runs, while settings still wait for another restart: tried again until nothing waits.
  const retried = next === undefined && unsaved && record?.trial === running ? { entry, kernel: running } : undefined;
  const trial = next ?? retried;
  // kernel-cmdline, where it stages something, comes first and writes the menu with the saved default.
  const coming = waiting.some((p) => p.facet === "kernel-cmdline");
  if (trial !== undefined && valueIfKnown(facts.savedDefault) !== true && !coming)
    return [
      step("no-saved-default", `no trial of kernel ${trial.kernel}: ${NO_FALL_BACK}`, "it would have no fall-back", []),
    ];
  const into =
    trial === undefined
      ? ""
      : ` into kernel ${trial.kernel} (tried once; made the default when it has come up and nothing waits)`;
  const more = boots > 1 ? `, first of ${boots} times` : "";
  const note = { reasons, boots, ...(trial === undefined ? {} : { trial: trial.kernel }) };
  return [
    step("restart", `restart the host${into}${more}: ${inShort(waiting)}`, "staged settings act at a restart", [
      // The fall-back of a trial is the kernel that runs now; one that is on trial itself is none yet.
      ...(unsaved && (next !== undefined ? record?.trial !== running : trial === undefined)
        ? [setDefault(facts, entry)]
        : []),
      // In this order: a record without its mark would say that the restart took place.
      { do: "write", path: host.RESTART_ASKED, content: "" },
      { do: "write", path: host.RESTART_RECORD, content: `${JSON.stringify(note)}\n` },
      { do: "reboot", ...(trial === undefined ? {} : { trial }), timeoutSeconds: want.timeoutSeconds },
    ]),
  ];
}
