import { rename, stat, writeFile } from "node:fs/promises";
import { TeeUpError } from "../providers/kit/errors.ts";
import { hideSecrets } from "../providers/machine/redact.ts";
import type { DriftReport } from "./formats/drift-facts.ts";

/** Each format: `true` for stdout, a path for a file. */
export type DriftFormats = { readonly [name in keyof typeof FORMATS]?: true | string };

const FORMATS = {
  json: async (report: DriftReport) => JSON.stringify(report, null, 2),
  markdown: async (report: DriftReport) => (await import("./formats/drift-markdown.ts")).driftMarkdown(report),
  junit: async (report: DriftReport) => (await import("./formats/drift-junit.ts")).driftJunit(report),
  sarif: async (report: DriftReport, version: string) =>
    (await import("./formats/drift-sarif.ts")).driftSarif(report, { file: "Pulumi.yaml", version }),
  prometheus: async (report: DriftReport) => (await import("./formats/drift-prometheus.ts")).driftPrometheus(report),
  html: async (report: DriftReport, _version: string, earlier: readonly DriftReport[]) =>
    (await import("./formats/drift-html.ts")).driftHtml(report, earlier),
} as const;

/**
 * Writes every format that is asked for, the page with `earlier` scans as a trend; the terminal's table goes to stdout when no other format does. Throws
 * `drift.formats` when two would,
 * and when earlier scans have no page to stand in.
 */
export async function writeDrift(
  report: DriftReport,
  wanted: DriftFormats,
  say: (text: string) => void,
  version: string,
  earlier: readonly DriftReport[] = [],
): Promise<void> {
  if (earlier.length > 0 && wanted.html === undefined)
    throw new TeeUpError({
      code: "drift.formats",
      subject: "--trend",
      saw: "only the page shows a trend",
      next: "teeup drift --html drift.html --trend <scans>",
    });
  const names = (Object.keys(FORMATS) as (keyof typeof FORMATS)[]).filter((name) => wanted[name] !== undefined);
  const out = names.filter((name) => wanted[name] === true);
  if (out.length > 1)
    throw new TeeUpError({
      code: "drift.formats",
      subject: out.map((name) => `--${name}`).join(" "),
      saw: "only one format fits on stdout",
      next: `name files, e.g. --${out[1]} drift.${out[1]}`,
    });
  for (const name of names) {
    const text = await FORMATS[name](report, version, earlier);
    const to = wanted[name];
    if (typeof to !== "string") say(text);
    else {
      const kept = await stat(to).catch(() => undefined);
      // Whole or not at all: a collector may read it at this moment. What is no file, such as /dev/stdout, stays that.
      const first = kept === undefined || kept.isFile() ? `${to}.new` : to;
      await writeFile(first, `${hideSecrets(text)}\n`);
      if (first !== to) await rename(first, to);
    }
  }
  if (out.length === 0) say((await import("./formats/drift-table.ts")).driftTable(report));
}
