import pc from "picocolors";
import type { Finding, Level, Persona } from "../providers/kit/facet.ts";
import type { FacetReport, NodeReport } from "./report.ts";
import { worstLevel } from "./report.ts";

type Colors = ReturnType<typeof pc.createColors>;

/** In the order in which work passes from hand to hand, in the words of seed 001. */
const PERSONAS: readonly (readonly [Persona, string])[] = [
  ["hardware", "Hardware IT administrator"],
  ["host", "Host OS administrator"],
  ["vm-admin", "Virtual machine administrator"],
  ["vm-user", "Virtual machine user"],
];

/** A mark reads the same without colour: sign and word differ for every level. */
const MARKS: Readonly<Record<Level, string>> = { pass: "✓ pass", warn: "! warn", fail: "✗ FAIL", unknown: "? UNKNOWN" };
const MARK_WIDTH = Math.max(...Object.values(MARKS).map((mark) => mark.length));

/**
 * The findings of a node as a tree: persona, facet, finding. A finding that does not pass shows what was wanted,
 * what was seen, how to fix it and where that is written.
 */
export function renderTree(report: NodeReport, colors: boolean = pc.isColorSupported): string {
  const c = pc.createColors(colors);
  const groups = PERSONAS.map(([persona, title]) => ({
    title,
    facets: report.facets.filter((f) => f.persona === persona),
  }));
  const lines = [c.bold(report.node)];
  const shown = groups.filter((group) => group.facets.length > 0);
  shown.forEach((group, g) => {
    const lastGroup = g === shown.length - 1;
    lines.push(`${lastGroup ? "└─" : "├─"} ${c.bold(group.title)}`);
    const rail = lastGroup ? "   " : "│  ";
    group.facets.forEach((facet, f) => {
      const lastFacet = f === group.facets.length - 1;
      lines.push(
        `${rail}${lastFacet ? "└─" : "├─"} ${mark(worstLevel(facet.findings), c)} ${facet.facet}${c.dim(where(facet))}`,
      );
      const inner = `${rail}${lastFacet ? "   " : "│  "}`;
      for (const finding of facet.findings) lines.push(...findingLines(finding, c).map((line) => `${inner}${line}`));
      for (const step of facet.steps)
        lines.push(`${inner}${c.cyan("→")} ${c.dim(`[${step.disruption}]`)} ${oneLine(step.title)}`);
    });
  });
  const { counts } = report;
  const total = Object.values(counts).reduce((a, b) => a + b, 0);
  lines.push(
    "",
    `${total} findings in ${report.seconds} s: ${counts.pass} pass, ${counts.warn} warn, ${counts.fail} fail, ${counts.unknown} unknown`,
  );
  return lines.join("\n");
}

function findingLines(finding: Finding, c: Colors): string[] {
  const head = `${mark(finding.level, c)} ${oneLine(finding.code)}`;
  if (finding.level === "pass") return [`${head} ${c.dim(oneLine(finding.saw))}`];
  return [
    head,
    `     wanted  ${oneLine(finding.want)}`,
    `     saw     ${oneLine(finding.saw)}`,
    ...(finding.hint === "" ? [] : [`     fix     ${oneLine(finding.hint)}`]),
    c.dim(`     source  ${oneLine(finding.source)}`),
  ];
}

function mark(level: Level, c: Colors): string {
  const paint = { pass: c.green, warn: c.yellow, fail: c.red, unknown: c.magenta }[level];
  return paint(MARKS[level].padEnd(MARK_WIDTH));
}

const where = (facet: FacetReport): string => (facet.on === "guest" ? " (in the guest)" : "");

/** Text of a machine must neither break the tree nor reach the terminal as control codes. */
function oneLine(text: string): string {
  return text.replaceAll(/\p{Cc}+/gu, " ").trim();
}
