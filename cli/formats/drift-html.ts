import { readFileSync } from "node:fs";
import type { DriftReport } from "./drift-facts.ts";

const part = (name: string): string => readFileSync(new URL(`./drift-page/${name}`, import.meta.url), "utf8");

/**
 * One page that needs nothing else: no network, no script but its own (a content security policy sees to that). The facts
 * are data in it, and text of a machine becomes text of the page only.
 */
export function driftHtml(report: DriftReport): string {
  // `<` could end the element that the data stands in.
  const data = JSON.stringify(report).replaceAll("<", "\\u003c");
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
<div class="scroll"><table id="matrix"><thead></thead><tbody></tbody></table></div>
<p id="none" hidden>No node fits.</p>
<aside id="detail" hidden></aside>
<script type="application/json" id="data">${data}</script>
<script>${part("page.js")}</script>
</body>
</html>
`;
}
