import { readFileSync } from "node:fs";
import type { ScanStatus } from "../../providers/kit/scan.ts";
import { type Counts, countsOf, type DriftReport } from "./drift-facts.ts";

const part = (name: string): string => readFileSync(new URL(`./drift-page/${name}`, import.meta.url), "utf8");

/** What several scans say together, oldest first. */
export interface Trend {
  readonly scans: readonly { readonly at: string; readonly counts: Counts; readonly missing: readonly string[] }[];
  /** `<stack>/<node>` → a sign for each scan: the first letter of its status, `-` where the scan does not have it. */
  readonly nodes: Readonly<Record<string, string>>;
}

/** Of this scan and earlier ones, in whatever order they come; the same scan twice counts once. */
export function trendOf(report: DriftReport, earlier: readonly DriftReport[]): Trend {
  const scans = [...new Map([...earlier, report].map((scan) => [scan.at, scan])).values()].toSorted(
    (a, b) => Date.parse(a.at) - Date.parse(b.at),
  );
  const signs = scans.map(({ nodes }) => new Map(nodes.map((one) => [`${one.stack}/${one.node}`, sign(one.status)])));
  const names = new Set(signs.flatMap((of) => [...of.keys()]));
  return {
    scans: scans.map((scan) => ({ at: scan.at, counts: countsOf(scan), missing: scan.missing })),
    nodes: Object.fromEntries([...names].map((name) => [name, signs.map((of) => of.get(name) ?? "-").join("")])),
  };
}
const sign = (status: ScanStatus): string => status.charAt(0);

/**
 * One page that needs nothing else: no network, no script but its own (a content security policy sees to that). The facts
 * are data in it, and text of a machine becomes text of the page only. With `earlier` scans it shows how the fleet has been.
 */
export function driftHtml(report: DriftReport, earlier: readonly DriftReport[] = []): string {
  const facts = earlier.length === 0 ? report : { ...report, trend: trendOf(report, earlier) };
  // `<` could end the element that the data stands in.
  const data = JSON.stringify(facts).replaceAll("<", "\\u003c");
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>TeeUp: drift</title>
<style>${part("style.css")}</style>
</head>
<body>
<h1>Drift</h1>
<p id="summary"></p>
<form id="filter">
<label>Node, stack or label <input id="text" type="search" placeholder="rack=r7"></label>
<span id="statuses"></span>
</form>
<figure id="trend" hidden><svg role="img"></svg><figcaption></figcaption></figure>
<div class="scroll"><table id="matrix"><thead></thead><tbody></tbody></table></div>
<p id="none" hidden>No node fits.</p>
<aside id="detail" hidden></aside>
<script type="application/json" id="data">${data}</script>
<script>${part("page.js")}</script>
</body>
</html>
`;
}
