import type { PhrasingContent, RootContent } from "mdast";
import type { DriftReport, NodeDrift } from "./drift-facts.ts";
import { countsOf, facetLine } from "./drift-facts.ts";
import { bullets, code, heading, paragraph, render, strong, table, text } from "./markdown.ts";
import { MARKDOWN_CHARS } from "./review-markdown.ts";

/** A scan as a comment or step summary: at most {@link MARKDOWN_CHARS} characters; what is left out is said. */
export function driftMarkdown(report: DriftReport, limit: number = MARKDOWN_CHARS): string {
  const { clean, drifted, unreachable, broken } = countsOf(report);
  const open = report.nodes.filter(({ status }) => status !== "clean");
  const head = render([
    { type: "html", value: "<!-- teeup-drift -->" },
    heading(2, text(`Drift: ${report.nodes.length} nodes`)),
    paragraph(text(`Scanned at ${report.at} in ${report.seconds} s.`)),
    table(
      ["Clean", "Drifted", "Unreachable", "Broken"],
      [[clean, drifted, unreachable, broken].map((n): PhrasingContent[] => [text(String(n))])],
    ),
    ...(report.missing.length === 0
      ? []
      : [paragraph(strong("Not looked at:"), text(" "), code(report.missing.join(", ")))]),
  ]);
  const parts = open.map((node) => render(nodeParts(node)));
  let used = head.length;
  const shown = parts.filter((part) => {
    used += part.length + 1;
    return used <= limit - NOTE_CHARS;
  });
  const left = parts.length - shown.length;
  const note =
    left === 0 ? [] : [render([paragraph(strong(`Shortened: ${left} more nodes`), text(" are in the scan's JSON."))])];
  return [head, ...shown, ...note].join("\n");
}

const NOTE_CHARS = 200;

function nodeParts({ stack, node, status, facets, error }: NodeDrift): RootContent[] {
  const own = facets.filter((facet) => facet.status !== "clean");
  return [
    heading(3, code(`${stack}/${node}`), text(`: ${status}`)),
    ...(error === undefined
      ? [bullets(own.map((facet) => [strong(facet.facet), text(` ${facet.status}: `), code(facetLine(facet))]))]
      : [paragraph(code(error.saw)), paragraph(text("Next: "), code(error.next))]),
  ];
}
