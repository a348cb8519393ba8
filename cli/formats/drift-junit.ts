import library, { type Builder } from "junit-report-builder";
import type { DriftReport } from "./drift-facts.ts";
import { facetLine } from "./drift-facts.ts";

// Its types say `exports.default`, its code `module.exports`.
const builder = library as unknown as Builder;

/** JUnit: a suite for each stack, a case for each facet of each node. Drift is a failure; what could not be seen an error. */
export function driftJunit(report: DriftReport): string {
  const out = builder.newBuilder().name("teeup drift");
  for (const [stack, nodes] of Map.groupBy(report.nodes, (node) => node.stack)) {
    const suite = out.testSuite().name(stack).timestamp(report.at);
    for (const { node, facets, error } of nodes) {
      if (error !== undefined || facets.length === 0) {
        const test = suite.testCase().className(`${stack}.${node}`).name("node");
        if (error !== undefined) test.error(`${error.saw}; next: ${error.next}`, error.code);
      }
      for (const facet of facets) {
        const test = suite.testCase().className(`${stack}.${node}`).name(facet.facet);
        const code = facet.error?.code ?? facet.findings[0]?.code ?? facet.status;
        if (facet.status === "drifted") test.failure(facetLine(facet), code);
        else if (facet.status !== "clean") test.error(facetLine(facet), code);
      }
    }
  }
  if (report.missing.length > 0) {
    const suite = out.testSuite().name("shards").timestamp(report.at);
    for (const shard of report.missing)
      suite.testCase().className("shards").name(shard).error("no result", "drift.missing");
  }
  return out.build();
}
