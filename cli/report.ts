import type { Facet, Finding, Level, MachineKind, Persona, Step } from "../providers/kit/facet.ts";

/** What one facet says of a node. */
export interface FacetReport {
  readonly facet: string;
  readonly summary: string;
  readonly on: MachineKind;
  readonly persona: Persona;
  readonly findings: readonly Finding[];
  /** What `pulumi up` would do. */
  readonly steps: readonly Pick<Step, "code" | "title" | "disruption">[];
}

/** What `teeup check` says of a node: data first, the terminal tree is made from it. */
export interface NodeReport {
  readonly node: string;
  readonly facets: readonly FacetReport[];
  readonly counts: Readonly<Record<Level, number>>;
  /** True when no finding is `fail` or `unknown`. */
  readonly ok: boolean;
  /** Wall time of the observation. */
  readonly seconds: number;
}

const WORST_LAST: readonly Level[] = ["pass", "warn", "unknown", "fail"];

export function worstLevel(findings: readonly Finding[]): Level {
  return WORST_LAST[Math.max(0, ...findings.map((f) => WORST_LAST.indexOf(f.level)))] ?? "pass";
}

export function facetReport(facet: Facet, findings: readonly Finding[], steps: readonly Step[]): FacetReport {
  const { name, summary, on, persona } = facet;
  return {
    facet: name,
    summary,
    on,
    persona,
    findings,
    steps: steps.map(({ code, title, disruption }) => ({ code, title, disruption })),
  };
}

export function nodeReport(node: string, facets: readonly FacetReport[], seconds: number): NodeReport {
  const counts: Record<Level, number> = { pass: 0, warn: 0, fail: 0, unknown: 0 };
  for (const finding of facets.flatMap((f) => f.findings)) counts[finding.level]++;
  return { node, facets, counts, ok: counts.fail + counts.unknown === 0, seconds: Math.round(seconds * 100) / 100 };
}
