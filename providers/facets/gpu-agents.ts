import { z } from "zod";
import { text } from "../kit/ask.ts";
import type { Step } from "../kit/facet.ts";
import { facet, pass } from "../kit/facet.ts";
import type { Fact } from "../kit/facts.ts";
import { valueIfKnown } from "../kit/facts.ts";
import { findingsOf, firstUnknown } from "../kit/findings.ts";
import {
  AGENT_ASKS,
  type GpuAgent,
  GpuAgentSchema,
  parseAgents,
  parseStopped,
  STOPPED_AGENTS,
} from "../kit/gpu-agents.ts";
import { PERSISTENCED } from "../kit/guest.ts";
import { judgeFact } from "../kit/judge.ts";
import { parseSystemctlShow, SHOWN } from "../kit/parse-systemctl.ts";
import { gpuAgentsExamples } from "./gpu-agents-examples.ts";

const SOURCE = "seed 002, Step 1 (cloudmonitor) and 注意事项; seed 003, 注意事项 (bcm-agent, has-agent)";
const { fail, unsure } = findingsOf("gpu-agents", SOURCE);

const Want = z.strictObject({
  units: z.array(GpuAgentSchema).min(1).describe("Units that ask the GPU by themselves, where the system has them."),
});
export type GpuAgentsWant = z.output<typeof Want>;

interface Facts {
  readonly agents: Fact<readonly GpuAgent[]>;
  /** Stopped by TeeUp before the driver came, and not started again so far. */
  readonly stopped: Fact<readonly string[]>;
  readonly daemon: Fact<string>;
}

const late = (want: GpuAgentsWant, agents: readonly GpuAgent[]) =>
  agents.filter((a) => (want.units as readonly string[]).includes(a.name) && !a.after.includes(PERSISTENCED));

const start = (names: readonly string[]): Step => ({
  code: "gpu-agents.start",
  title: `start ${names.join(", ") || "no agent: those that were stopped are gone"} again, also at every boot`,
  why: "they were stopped while the GPU had no session",
  disruption: "none",
  actions: [
    ...(names.length === 0 ? [] : [{ do: "run", argv: ["systemctl", "enable", "--now", ...names] } as const]),
    { do: "remove", path: STOPPED_AGENTS },
  ],
});

/** nvidia-driver stops them before the driver comes; here they start again, behind the daemon that holds the session. */
export const gpuAgents = facet({
  name: "gpu-agents",
  type: "GpuAgents",
  on: "guest",
  persona: "vm-admin",
  summary:
    "Agents that ask the GPU by themselves start after nvidia-persistenced, at every boot and after the driver came.",
  sources: [SOURCE],
  want: Want,
  asks: { ...AGENT_ASKS, daemon: { kind: "argv", argv: ["systemctl", "show", PERSISTENCED, ...SHOWN] } },
  parse: (a): Facts => ({
    agents: parseAgents(a.agents),
    stopped: parseStopped(a.stoppedAgents),
    daemon: parseSystemctlShow(text(a.daemon)).active,
  }),
  judge: (want, { agents, stopped }) => [
    judgeFact(agents, {
      code: "gpu-agents.order",
      want: `${want.units.join(", ")} after ${PERSISTENCED}`,
      hint: `pulumi up writes Before= into ${PERSISTENCED}; an [Install] section does not order units`,
      source: SOURCE,
      good: (list) => late(want, list).length === 0,
      show: (list) =>
        late(want, list)
          .map((a) => `${a.name} is not ordered after it`)
          .join(", ") || "all that are there",
    }),
    stopped.state === "unknown"
      ? unsure("stopped", "no agent left stopped", stopped.why, `look at ${STOPPED_AGENTS}`)
      : stopped.state === "known"
        ? fail("stopped", "no agent left stopped", `${stopped.value.join(", ")} stopped for the driver`, "pulumi up")
        : pass("gpu-agents.stopped", "no agent left stopped", "none", SOURCE),
  ],
  plan: (want, { agents, stopped, daemon }): Step[] => {
    if (agents.state === "absent") return [start(want.units)];
    // While the daemon does not run, an agent's look would be the GPU's one session.
    if (firstUnknown(agents, stopped, daemon) || valueIfKnown(daemon) !== "active") return [];
    const names = valueIfKnown(stopped);
    if (names === undefined) return [];
    const there = names.filter((name) => (valueIfKnown(agents) ?? []).some((a) => a.name === name));
    return [start(there)];
  },
  show: ({ agents }) => ({
    agents: (valueIfKnown(agents) ?? []).map((a) => `${a.name} ${a.active ? "runs" : "does not run"}`).join(", "),
  }),
  examples: gpuAgentsExamples,
  covers: ["002-25", "002-35", "002-99", "003-65", "003-71"],
});
