import type { DriftReport } from "./drift-facts.ts";
import { facetLine } from "./drift-facts.ts";
import { type SarifFact, type SarifPlace, sarif } from "./review-sarif.ts";

/** SARIF 2.1.0: drift is an error, what could not be looked at a warning. */
export function driftSarif(report: DriftReport, place: SarifPlace): string {
  const facts = report.nodes.flatMap(({ stack, node, status, facets, error }): SarifFact[] => {
    const where = `${stack}/${node}`;
    if (error !== undefined)
      return [{ rule: error.code, level: "warning", message: `${status}: ${error.saw}; next: ${error.next}`, where }];
    return facets
      .filter((facet) => facet.status !== "clean")
      .map((facet) => ({
        rule: facet.findings[0]?.code ?? facet.steps[0]?.code ?? facet.facet,
        level: facet.status === "drifted" ? ("error" as const) : ("warning" as const),
        message: facetLine(facet),
        where: `${where}/${facet.facet}`,
      }));
  });
  const missing = report.missing.map(
    (shard): SarifFact => ({ rule: "drift.missing", level: "warning", message: "no result", where: shard }),
  );
  return sarif([...facts, ...missing], place);
}
