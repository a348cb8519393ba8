import { z } from "zod";
import { text } from "../kit/ask.ts";
import { BOOT_MENU_ASKS, GRUB_ENVIRONMENT_ASKS, parseBootMenu, parseSaved } from "../kit/boot-menu.ts";
import type { Finding } from "../kit/facet.ts";
import { facet } from "../kit/facet.ts";
import type { Fact } from "../kit/facts.ts";
import { known, mapFact, unknown, valueIfKnown } from "../kit/facts.ts";
import * as host from "../kit/host.ts";
import { judgeFact } from "../kit/judge.ts";
import { HOST_BOOT_EXAMPLES } from "./host-boot-examples.ts";
import type { Facts } from "./host-boot-plan.ts";
import { entryOf, NO_FALL_BACK, planBoot, RestartRecord } from "./host-boot-plan.ts";

const SOURCE = "seed 001, Installing the Host OS";
const Want = z.strictObject({
  timeoutSeconds: z
    .int()
    .min(60)
    .max(7200)
    .default(1200)
    .describe("How long the host may take to come back, in seconds."),
});
/** The entry that boots by default; unknown when it cannot be compared with the kernel that runs. */
function defaultOf(facts: Facts): Fact<string> {
  for (const fact of [facts.running, facts.entries]) if (fact.state === "unknown") return fact;
  return facts.saved.state === "absent" ? known("") : facts.saved;
}
/** The one restart for everything that waits for one. */
export const hostBoot = facet({
  name: "host-boot",
  type: "HostBoot",
  on: "host",
  persona: "host",
  summary: "Restarts the host once for all that is staged; a new kernel is tried once before it becomes the default.",
  sources: [SOURCE, "seed 001, Upgrade out-of-date SEV Firmware, step 1"],
  want: Want,
  boots: true,
  asks: {
    running: host.KERNEL_RELEASE,
    ...GRUB_ENVIRONMENT_ASKS,
    ...BOOT_MENU_ASKS,
    record: { kind: "file", path: host.RESTART_RECORD },
    asked: { kind: "file", path: host.RESTART_ASKED },
  },
  parse: (a): Facts => ({
    running: mapFact(text(a.running), (t) => t.trim()),
    saved: parseSaved(a),
    entries: mapFact(parseBootMenu(a), (menu) => menu.entries),
    savedDefault: mapFact(parseBootMenu(a), (menu) => menu.savedDefault),
    by: mapFact(parseBootMenu(a), (menu) => menu.by),
    record: (() => {
      const record = text(a.record);
      if (record.state !== "known") return record;
      try {
        return known(RestartRecord.parse(JSON.parse(record.value)));
      } catch {
        return unknown(`${host.RESTART_RECORD} is not what TeeUp wrote; remove it`);
      }
    })(),
    asked: a.asked.kind === "missing" ? known(false) : mapFact(text(a.asked), () => true),
  }),
  judge: (_want, facts): Finding[] => [
    judgeFact(defaultOf(facts), {
      code: "host-boot.default",
      want: `the running kernel ${valueIfKnown(facts.running) ?? ""} boots by default`,
      hint: "teeup makes it the default with the next up, when nothing else waits for a restart",
      source: SOURCE,
      good: (saved) => entryOf(facts) === undefined || saved === entryOf(facts),
      show: (saved) => (saved === "" ? "no entry is saved" : saved),
    }),
    judgeFact(facts.savedDefault, {
      code: "host-boot.no-saved-default",
      want: "GRUB takes the saved entry by default",
      hint: NO_FALL_BACK,
      source: "docs/decisions/one-restart.md",
      good: (saved) => saved,
      show: (saved) => (saved ? "the saved entry" : "grub.cfg has another default: a trial would have no fall-back"),
      level: "warn",
    }),
    judgeFact(facts.record.state === "absent" ? known({ reasons: [], boots: 0 }) : facts.record, {
      code: "host-boot.ineffective",
      want: "a restart brings about what it was for",
      hint: `look at the failing findings above; to try again: rm ${host.RESTART_RECORD}`,
      source: "docs/decisions/one-restart.md",
      good: ({ reasons }) => reasons.length === 0 || valueIfKnown(facts.asked) === true,
      show: ({ reasons }) => (reasons.length === 0 ? "nothing waits" : `restarted for: ${reasons.join("; ")}`),
    }),
  ],
  plan: planBoot,
  show: (facts) => ({ running: valueIfKnown(facts.running), default: valueIfKnown(facts.saved) }),
  examples: HOST_BOOT_EXAMPLES,
  covers: ["001-HOST-30", "001-HOST-31", "001-HOST-49", "004-44"],
});
