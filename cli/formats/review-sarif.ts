import { SarifBuilder, SarifResultBuilder, SarifRuleBuilder, SarifRunBuilder } from "node-sarif-builder";
import type { ReviewReport } from "./review-facts.ts";

/** What stands for a machine in a format that knows only files. */
export interface SarifPlace {
  /** Path of the stack's file in the repository, e.g. `stacks/Pulumi.rack7.yaml`. */
  readonly file: string;
  /** Version of TeeUp. */
  readonly version: string;
}

export interface SarifFact {
  readonly rule: string;
  readonly level: "error" | "warning" | "note";
  readonly message: string;
  /** `node/facet`. */
  readonly where: string;
}

/** SARIF 2.1.0 of a review: steps above the permit and failing checks are errors, unknown ones warnings, steps notes. */
export function reviewSarif(report: ReviewReport, place: SarifPlace): string {
  const facts = report.nodes.flatMap((node): SarifFact[] => [
    ...(node.unreachable === undefined
      ? []
      : [{ rule: "node.unreachable", level: "error" as const, message: node.unreachable.saw, where: node.node }]),
    ...(node.permit === undefined || node.permit.enough
      ? []
      : [
          {
            rule: "permit.refused",
            level: "error" as const,
            message: `needs teeup:permit ${node.disruption}, has ${node.permit.given}`,
            where: node.node,
          },
        ]),
    ...node.removed.map((facet) => ({
      rule: "part.removed",
      level: "warning" as const,
      message: "removed, and what it made is undone; no preview lists those steps",
      where: `${node.node}/${facet}`,
    })),
    ...node.facets.flatMap(({ facet, steps, findings }): SarifFact[] => {
      const where = `${node.node}/${facet}`;
      return [
        ...steps.map(({ code, disruption, title }) => ({
          rule: code,
          level: "note" as const,
          message: `[${disruption}] ${title}`,
          where,
        })),
        // What a step mends is no finding of a review.
        ...findings
          .filter(({ level }) => level === "unknown" || (level === "fail" && steps.length === 0))
          .map(({ code, level, want, saw }) => ({
            rule: code,
            level: level === "fail" ? ("error" as const) : ("warning" as const),
            message: `want ${want}, saw ${saw}`,
            where,
          })),
      ];
    }),
  ]);
  return sarif(
    [
      ...facts,
      ...report.errors.map(
        (message): SarifFact => ({ rule: "preview.error", level: "error", message, where: report.stack }),
      ),
    ],
    place,
  );
}

/** One run of TeeUp with these facts. */
export function sarif(facts: readonly SarifFact[], { file, version }: SarifPlace): string {
  const run = new SarifRunBuilder().initSimple({ toolDriverName: "TeeUp", toolDriverVersion: version });
  for (const ruleId of new Set(facts.map(({ rule }) => rule)))
    run.addRule(new SarifRuleBuilder().initSimple({ ruleId, shortDescriptionText: ruleId }));
  for (const { rule, level, message, where } of facts) {
    const result = new SarifResultBuilder().initSimple({
      level,
      messageText: `${where}: ${message}`,
      ruleId: rule,
      fileUri: file,
      startLine: 1,
    });
    const [location] = result.result.locations ?? [];
    if (location !== undefined) location.logicalLocations = [{ fullyQualifiedName: where, kind: "resource" }];
    // The same fact of the same machine is the same alert in every run.
    result.result.partialFingerprints = { "teeup/v1": `${where}:${rule}` };
    run.addResult(result);
  }
  const log = new SarifBuilder();
  log.addRun(run);
  return log.buildSarifJsonString({ indent: true });
}
