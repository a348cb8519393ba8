import { TeeUpError } from "./kit/errors.ts";
import type { FacetScan } from "./kit/scan.ts";
import { redact } from "./machine/redact.ts";
import type { Look } from "./reconcile.ts";
import { waiting } from "./reconcile.ts";

/** What a scan says of a facet. Drift counts before what could not be seen: it is the more certain of the two. */
export function scanned(facet: string, look: Look): FacetScan {
  const { findings, steps } = look;
  const has = (level: "fail" | "unknown") => findings.some((finding) => finding.level === level);
  const status =
    steps.length > 0 || waiting(look).length > 0 || has("fail") ? "drifted" : has("unknown") ? "broken" : "clean";
  const scan: FacetScan = {
    facet,
    status,
    findings: findings.filter(({ level }) => level !== "pass"),
    steps: steps.map(({ code, title, disruption }) => ({ code, title, disruption })),
  };
  return JSON.parse(redact(JSON.stringify(scan))) as FacetScan;
}

/** Of a facet that could not be looked at. */
export function unscanned(facet: string, error: unknown): FacetScan {
  const parts =
    error instanceof TeeUpError
      ? error.parts
      : { code: "scan.failed", saw: error instanceof Error ? error.message : String(error), next: "pulumi preview" };
  const { code, saw, next } = parts;
  return {
    facet,
    status: code === "node.unreachable" ? "unreachable" : "broken",
    findings: [],
    steps: [],
    error: { code, saw: redact(saw), next: redact(next) },
  };
}
