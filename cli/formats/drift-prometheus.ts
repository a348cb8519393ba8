import { Gauge, Registry } from "prom-client";
import { ScanStatusSchema } from "../../providers/kit/scan.ts";
import type { DriftReport } from "./drift-facts.ts";

/** For node_exporter's textfile collector. Of each node and facet every status is there, one of them 1. */
export async function driftPrometheus(report: DriftReport): Promise<string> {
  const registry = new Registry();
  const gauge = (name: string, help: string, labelNames: string[] = []) =>
    new Gauge({ name, help, labelNames, registers: [registry] });
  const node = gauge("teeup_node_status", "1 for the status that the last scan found the node in.", [
    "stack",
    "node",
    "status",
  ]);
  const facet = gauge("teeup_facet_status", "1 for the status that the last scan found the facet in.", [
    "stack",
    "node",
    "facet",
    "status",
  ]);
  for (const { stack, node: name, status: now, facets } of report.nodes)
    for (const status of ScanStatusSchema.options) {
      node.set({ stack, node: name, status }, status === now ? 1 : 0);
      for (const part of facets)
        facet.set({ stack, node: name, facet: part.facet, status }, status === part.status ? 1 : 0);
    }
  gauge("teeup_scan_timestamp_seconds", "When the last scan began.").set(Date.parse(report.at) / 1000);
  gauge("teeup_scan_duration_seconds", "How long the last scan took.").set(report.seconds);
  gauge("teeup_scan_missing_shards", "Shards of the last scan that gave no result.").set(report.missing.length);
  return registry.metrics();
}
