import Table from "cli-table3";
import pc from "picocolors";
import type { ScanStatus } from "../../providers/kit/scan.ts";
import type { DriftReport } from "./drift-facts.ts";
import { countsOf, exitStatus, facetLine } from "./drift-facts.ts";

/** The same without colour: sign and word differ for every status. */
export const MARKS: Readonly<Record<ScanStatus, string>> = {
  clean: "✓ clean",
  drifted: "✗ DRIFTED",
  unreachable: "? UNREACHABLE",
  broken: "! BROKEN",
};

/** For a terminal: every node that is not clean, facet by facet, and one line of counts. */
export function driftTable(report: DriftReport, colors: boolean = pc.isColorSupported): string {
  const c = pc.createColors(colors);
  const paint: Readonly<Record<ScanStatus, (text: string) => string>> = {
    clean: c.green,
    drifted: c.red,
    unreachable: c.magenta,
    broken: c.yellow,
  };
  const table = new Table({
    head: ["Stack", "Node", "Status", "Facet", "What was seen"],
    style: { head: [], border: [], compact: true },
    colWidths: [null, null, null, null, 80],
    wordWrap: true,
    wrapOnWordBoundary: false,
  });
  for (const { stack, node, status, facets, error } of report.nodes) {
    if (status === "clean") continue;
    const own = facets.filter((facet) => facet.status !== "clean");
    // What is wrong with a node as a whole is said once.
    if (error !== undefined)
      table.push([stack, node, paint[status](MARKS[status]), "", `${error.saw} [${error.code}]; next: ${error.next}`]);
    else
      for (const facet of own)
        table.push([stack, node, paint[facet.status](MARKS[facet.status]), facet.facet, facetLine(facet)]);
  }
  return [...(table.length === 0 ? [] : [table.toString()]), summaryLine(report)].join("\n");
}

/** `4 nodes in 3.1 s: 1 clean, …`; says too when something was not looked at. */
export function summaryLine(report: DriftReport): string {
  const { clean, drifted, unreachable, broken } = countsOf(report);
  const gaps = report.missing.length === 0 ? "" : `; no result of ${report.missing.join(", ")}`;
  const whole = exitStatus(report) === 3 ? " (not everything could be looked at)" : "";
  return `${report.nodes.length} nodes in ${report.seconds} s: ${clean} clean, ${drifted} drifted, ${unreachable} unreachable, ${broken} broken${gaps}${whole}`;
}
