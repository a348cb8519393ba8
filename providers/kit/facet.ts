import type { z } from "zod";
import type { Action } from "./action.ts";
import type { AppraisalRequest, Launch } from "./appraisal.ts";
import type { Answers, Asks } from "./ask.ts";
import type { Disruption } from "./disruption.ts";
import type { Reference } from "./references.ts";

/** Where a facet's asks and actions go. */
export type MachineKind = "host" | "guest";

/** Who cares, in the words of seed 001's personas. */
export type Persona = "hardware" | "host" | "vm-admin" | "vm-user";

export type Level = "pass" | "warn" | "fail" | "unknown";

/** One judgement. Codes are stable; reports render findings and nobody parses a message. */
export interface Finding {
  /** `<facet>.<what>`, e.g. `kernel-cmdline.iommu-pt`. */
  readonly code: string;
  readonly level: Level;
  readonly want: string;
  readonly saw: string;
  /** How to fix it; empty for a pass. */
  readonly hint: string;
  /** Where that is written: seed and section, thread, or file. */
  readonly source: string;
}

/** One change. Its actions leave nothing to decide. */
export interface Step {
  /** `<facet>.<what>`. */
  readonly code: string;
  /** One line for a person: what changes, from what to what. Never contains a secret. */
  readonly title: string;
  readonly why: string;
  readonly disruption: Disruption;
  readonly actions: readonly Action[];
  /** Of a person's step: it only has sense once the steps before it were done, so it does not keep those from running. */
  readonly afterOthers?: boolean;
}

/** What a facet's settings still need a restart of the machine for. */
export interface Pending {
  /** One phrase per reason, e.g. "command line lacks mem_encrypt=on". */
  readonly reasons: readonly string[];
  /** How many restarts it takes, 1 unless BIOS settings depend on applied ones. */
  readonly boots: number;
  /** GRUB entry to try once, and the release `uname -r` must then show. */
  readonly trial?: { readonly entry: string; readonly kernel: string };
}

export interface Example<W> {
  readonly name: string;
  readonly want: W;
  /** Answers by ask name; an ask not listed is `missing`. */
  readonly answers: Readonly<Record<string, Answers[string]>>;
  /** Codes of the findings that are not `pass`, in order. */
  readonly findings: readonly string[];
  /** Codes of the planned steps, in order. */
  readonly steps: readonly string[];
}

/** What a plan may know besides its own facts. */
export interface PlanContext {
  /** Node (and guest) name, for titles. */
  readonly node: string;
  /** Kernel, command line, BIOS … that wait for a restart; filled for the facet that `boots`. */
  readonly pending: readonly (Pending & { readonly facet: string })[];
  /** A process on the host (a guest's QEMU) has a VFIO device open, or it cannot be told that none has. */
  readonly guestRunning: boolean;
}

/**
 * One thing on a machine that can be observed, judged and mostly brought to a wanted state. All parts are pure.
 *
 * `W` is the wanted state, `F` the facts. `F` must hold only what is stable between two observations of an unchanged
 * machine (no uptime, no pid), since its digest shows drift.
 */
export interface Facet<W = unknown, F = unknown, A extends Asks = Asks> {
  /** kebab-case, the file's name: the prefix of every code. */
  readonly name: string;
  /** PascalCase type of the Pulumi resource: `pulumi-nodejs:dynamic/<persona>:<type>`. */
  readonly type: string;
  readonly on: MachineKind;
  readonly persona: Persona;
  /** One sentence: what it is. */
  readonly summary: string;
  /** Where the requirement is written. */
  readonly sources: readonly string[];
  readonly want: z.ZodType<W>;
  readonly asks: A;
  parse(answers: Answers<A>): F;
  judge(want: W, facts: F): readonly Finding[];
  /** Absent for check-only facets. Empty when nothing is to be done. Must plan nothing on unknown facts. */
  plan?(want: W, facts: F, context: PlanContext): readonly Step[];
  /** What delete restores; absent when there is nothing to restore. */
  undo?(want: W, facts: F, context: PlanContext): readonly Step[];
  /** For facets that only stage: what a restart is still needed for. Empty reasons: nothing. */
  pending?(want: W, facts: F): Pending;
  /** True for the one facet per machine that restarts it for all that is pending. */
  readonly boots?: boolean;
  /**
   * For the facet that goes by evidence: asked for and verified by the controller where a run may do that (`up`, refresh,
   * scan, `teeup attest`), and put into the facts as `appraisal` before judge and plan. Without a request nothing is asked.
   */
  evidence?(want: W): AppraisalRequest | undefined;
  /** Versions that its steps bring in; where the stack asks for evidence, one without reference values is not planned. */
  references?(want: W): readonly Reference[];
  /** How the guest that it starts, or judges, is launched: what that will measure shows in preview, before anything boots. */
  launch?(want: W): Launch | undefined;
  /** What outputs show of the facts, small and stable: at most about 500 bytes. */
  show(facts: F): Readonly<Record<string, unknown>>;
  readonly examples: readonly Example<W>[];
  /** Ids of ../shared/seed-steps.md that this facet implements; data for docs/coverage.md. */
  readonly covers: readonly string[];
}

/** Keeps inference of `W`, `F` and `A` while checking the shape. */
export function facet<W, F, A extends Asks>(definition: Facet<W, F, A>): Facet<W, F, A> {
  return definition;
}

export const pass = (code: string, want: string, saw: string, source: string): Finding => ({
  code,
  level: "pass",
  want,
  saw,
  hint: "",
  source,
});
