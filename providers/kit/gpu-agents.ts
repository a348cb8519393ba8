import { z } from "zod";
import type { Action } from "./action.ts";
import type { Answer, Asks } from "./ask.ts";
import { text } from "./ask.ts";
import type { Fact } from "./facts.ts";
import { absent, flatMapFact, known, mapFact, unknown, valueIfKnown } from "./facts.ts";
import { parseLines } from "./parse-packages.ts";

/**
 * Units of clouds and of users that ask the GPU by themselves (seeds 002 and 003). Questions are the same for every node,
 * so each unit that a recipe may name stands here.
 */
export const GPU_AGENTS = ["cloudmonitor.service", "ollama.service", "bcm-agent.service", "has-agent.service"] as const;
export const GpuAgentSchema = z.enum(GPU_AGENTS);

/** Names of the agents that TeeUp stopped, one a line: they start again once nvidia-persistenced runs. */
export const STOPPED_AGENTS = "/var/lib/teeup/gpu-agents-stopped";

export const AGENT_ASKS = {
  agents: {
    kind: "argv",
    argv: [
      ...(["systemctl", "show", ...GPU_AGENTS] as const),
      ...["-p", "Id", "-p", "LoadState", "-p", "ActiveState", "-p", "UnitFileState", "-p", "After"],
    ],
  },
  stoppedAgents: { kind: "file", path: STOPPED_AGENTS },
} as const satisfies Asks;

export interface GpuAgent {
  readonly name: string;
  /** It runs, or is about to. */
  readonly active: boolean;
  /** It starts at every boot. */
  readonly enabled: boolean;
  /** Units that it starts after, as systemd resolved them. */
  readonly after: readonly string[];
}

/** Agents that the system has; systemd answers for those that it does not have too. */
export function parseAgents(answer: Answer): Fact<readonly GpuAgent[]> {
  return flatMapFact(text(answer), (shown) => {
    const blocks = shown.split(/\n\n+/).filter((block) => block.trim() !== "");
    const field = (block: string, name: string) => new RegExp(`^${name}=(.*)$`, "m").exec(block)?.[1]?.trim();
    if (blocks.length !== GPU_AGENTS.length || blocks.some((block) => field(block, "LoadState") === undefined))
      return unknown(`systemctl show answered for ${blocks.length} of ${GPU_AGENTS.length} units`);
    return known(
      blocks
        .filter((block) => field(block, "LoadState") !== "not-found")
        .map((block) => ({
          name: field(block, "Id") ?? "",
          active: ["active", "activating", "reloading"].includes(field(block, "ActiveState") ?? ""),
          enabled: field(block, "UnitFileState") === "enabled",
          after: (field(block, "After") ?? "").split(/\s+/).filter(Boolean),
        })),
    );
  });
}

/** The note of what was stopped; absent when nothing was. */
export const parseStopped = (answer: Answer): Fact<readonly string[]> => {
  const read = text(answer);
  return read.state === "absent" ? absent : mapFact(read, parseLines);
};

/** Agents among `wanted` that could open the GPU now or at the next boot. */
export const awake = (wanted: readonly string[], agents: Fact<readonly GpuAgent[]>): string[] =>
  (valueIfKnown(agents) ?? []).filter((a) => wanted.includes(a.name) && (a.active || a.enabled)).map((a) => a.name);

/** Noted first, so that a run that is killed in between still knows what it has to start again. */
export const stopAgents = (names: readonly string[], stopped: Fact<readonly string[]>): readonly Action[] => [
  {
    do: "write",
    path: STOPPED_AGENTS,
    content: [...new Set([...(valueIfKnown(stopped) ?? []), ...names])].map((name) => `${name}\n`).join(""),
  },
  { do: "run", argv: ["systemctl", "disable", "--now", ...names] },
];
