import { z } from "zod";
import { text } from "../kit/ask.ts";
import { facet } from "../kit/facet.ts";
import type { Fact } from "../kit/facts.ts";
import { showFact, valueIfKnown } from "../kit/facts.ts";
import { inServiceOf, PERSISTENCED, SERVICE_ASKS } from "../kit/guest.ts";
import { judgeFact } from "../kit/judge.ts";
import { parseSystemctlShow, SHOWN } from "../kit/parse-systemctl.ts";
import { persistencedExamples } from "./nvidia-persistenced-examples.ts";
import { PATH, planPersistenced, unitOf } from "./nvidia-persistenced-plan.ts";

const SOURCE = "seed 001, Setting up the NVIDIA Driver to be in Persistence Mode; units of seeds 002 and 003";
const Want = z.strictObject({
  args: z
    .array(z.string().regex(/^--[a-z-]+(=[\w.-]+)?$/))
    .default([])
    .describe("Arguments of nvidia-persistenced."),
  before: z
    .array(z.string().regex(/^[\w@.-]+\.(service|target)$/))
    .default([])
    .describe("Units that use the GPU: they start after it."),
  timeoutSeconds: z
    .int()
    .min(30)
    .max(3600)
    .default(900)
    .describe("How long the start may take: eight GPUs in CC mode take minutes."),
});
export type PersistencedWant = z.output<typeof Want>;

export interface PersistencedFacts {
  readonly unit: Fact<string>;
  /** `active`, `activating`, `inactive`, `failed`, … */
  readonly active: Fact<string>;
  readonly enabled: Fact<boolean>;
  readonly stale: Fact<boolean>;
  readonly inService: Fact<string>;
}

/** The daemon holds the only SPDM session that the GPU gives without a reset: it must start once and stay. */
export const nvidiaPersistenced = facet({
  name: "nvidia-persistenced",
  type: "NvidiaPersistenced",
  on: "guest",
  persona: "vm-admin",
  summary: "nvidia-persistenced keeps the GPU's SPDM session, started before everything that uses the GPU.",
  sources: [SOURCE, "NVIDIA/nvtrust#128 (slower than 120 s with eight GPUs)"],
  want: Want,
  asks: {
    unit: { kind: "file", path: PATH },
    state: { kind: "argv", argv: ["systemctl", "show", PERSISTENCED, ...SHOWN] },
    ...SERVICE_ASKS,
  },
  parse: (a): PersistencedFacts => ({
    unit: text(a.unit),
    ...parseSystemctlShow(text(a.state)),
    inService: inServiceOf(a),
  }),
  judge: (want, facts) => [
    judgeFact(facts.unit, {
      code: "nvidia-persistenced.unit",
      want: `${PATH} with ${want.timeoutSeconds} s to start${want.before.length > 0 ? `, before ${want.before.join(", ")}` : ""}`,
      hint: "pulumi up writes it; a restart of the guest applies it",
      source: SOURCE,
      good: (t) => t === unitOf(want) && valueIfKnown(facts.stale) !== true,
      show: (t) =>
        t === unitOf(want)
          ? valueIfKnown(facts.stale) === true
            ? "systemd has not read it"
            : "as wanted"
          : "another text",
    }),
    judgeFact(facts.enabled, {
      code: "nvidia-persistenced.enabled",
      want: "started at every boot",
      hint: `systemctl enable ${PERSISTENCED}`,
      source: SOURCE,
      good: (enabled) => enabled,
      show: (enabled) => (enabled ? "enabled" : "not enabled"),
    }),
    judgeFact(facts.active, {
      code: valueIfKnown(facts.active) === "activating" ? "nvidia-persistenced.starting" : "nvidia-persistenced.active",
      want: "active",
      hint:
        valueIfKnown(facts.active) === "activating"
          ? "wait: the GPU's session takes minutes under CC; run nothing that uses the GPU meanwhile"
          : `journalctl -u ${PERSISTENCED}; a lost SPDM session needs a restart of the guest`,
      source: SOURCE,
      good: (state) => state === "active",
    }),
  ],
  plan: planPersistenced,
  show: ({ active, enabled }) => ({ active: showFact(active), enabled: showFact(enabled) }),
  examples: persistencedExamples,
  covers: [
    "001-VM-17",
    "001-VM-18",
    "001-VM-19",
    "001-VM-20",
    "001-VM-21",
    "001-VM-22",
    "001-VM-23",
    "001-USER-09",
    "001-USER-10",
  ],
});
