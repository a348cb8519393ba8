import { z } from "zod";
import { TeeUpError } from "../../providers/kit/errors.ts";
import type { ScanStatus } from "../../providers/kit/scan.ts";
import { FacetScanSchema, ScanErrorSchema, ScanStatusSchema } from "../../providers/kit/scan.ts";

/** What a fleet scan found: the facts that every format is made from. */
const NodeDriftSchema = z.strictObject({
  stack: z.string(),
  /** `*` when the nodes of a stack are not known. */
  node: z.string(),
  labels: z.record(z.string(), z.string()),
  status: ScanStatusSchema,
  facets: z.array(FacetScanSchema),
  /** Why it is unreachable or broken as a whole. */
  error: ScanErrorSchema.optional(),
});
export type NodeDrift = z.infer<typeof NodeDriftSchema>;

export const DriftReportSchema = z.strictObject({
  version: z.literal(1),
  /** When the scan began, ISO 8601. */
  at: z.iso.datetime(),
  /** Wall time; of merged scans the longest. */
  seconds: z.number(),
  /** `fleet`: digest of the list of nodes that it was cut from. */
  shard: z.strictObject({ index: z.int(), of: z.int(), fleet: z.string().optional() }).optional(),
  nodes: z.array(NodeDriftSchema),
  /** Shards of which there is no result: their nodes were not looked at. */
  missing: z.array(z.string()),
});
export type DriftReport = z.infer<typeof DriftReportSchema>;

/** What is worst first; a node that drifted is that, whatever of it could not be seen besides. */
const NODE_ORDER: readonly ScanStatus[] = ["unreachable", "drifted", "broken", "clean"];

export const nodeStatus = (facets: readonly { readonly status: ScanStatus }[]): ScanStatus =>
  NODE_ORDER.find((status) => facets.some((facet) => facet.status === status)) ?? "broken";

export type Counts = Readonly<Record<ScanStatus, number>>;

export function countsOf({ nodes }: Pick<DriftReport, "nodes">): Counts {
  const counts = { clean: 0, drifted: 0, unreachable: 0, broken: 0 };
  for (const { status } of nodes) counts[status]++;
  return counts;
}

/** 0: all clean. 2: something drifted. 3: something could not be looked at, so that nothing is said of the whole. */
export function exitStatus({ nodes, missing, shard }: DriftReport): 0 | 2 | 3 {
  const statuses = new Set(nodes.flatMap(({ status, facets }) => [status, ...facets.map((facet) => facet.status)]));
  // A part of a small fleet may well be empty; that the whole is not, the scan has made sure of.
  const nothing = nodes.length === 0 && shard === undefined;
  if (nothing || missing.length > 0 || statuses.has("unreachable") || statuses.has("broken")) return 3;
  return statuses.has("drifted") ? 2 : 0;
}

/** Throws `drift.no-scan` for a text that is no `teeup drift --json`. */
export function parseScan(text: string, path: string): DriftReport {
  const fail = (saw: string) =>
    new TeeUpError({
      code: "drift.no-scan",
      subject: path,
      saw,
      next: "teeup drift --shard i/n --json <file> makes one",
    });
  let raw: unknown;
  try {
    raw = JSON.parse(text);
  } catch {
    throw fail("it is no JSON: was the scan cut off?");
  }
  const parsed = DriftReportSchema.safeParse(raw);
  if (parsed.success) return parsed.data;
  throw fail(parsed.error.issues.map((i) => `${i.path.join(".")}: ${i.message}`).join("; "));
}

const DAY_MS = 86_400_000;

/**
 * Results of shards as one. What was scanned twice counts as its newer scan says; a shard without a result is said to be
 * missing, and so is a result that is a day older than the rest, or older than `notBefore` (ms since 1970): a file that was left over. Throws `drift.other-shards`
 * when they are not shards of one scan.
 */
export function merge(scans: readonly DriftReport[], notBefore = Number.NEGATIVE_INFINITY): DriftReport {
  const inOrder = scans.toSorted((a, b) => a.at.localeCompare(b.at));
  const counts = new Set(scans.flatMap(({ shard }) => (shard === undefined ? [] : [shard.of])));
  if (scans.length === 0 || counts.size > 1)
    throw new TeeUpError({
      code: "drift.other-shards",
      subject: "--merge",
      saw: scans.length === 0 ? "no results" : `shards of ${[...counts].join(" and of ")}: these are different scans`,
      next: "teeup drift --merge with all results of one scan",
    });
  const [of = 0] = counts;
  const lists = new Set(scans.flatMap(({ shard }) => (shard === undefined ? [] : [shard.fleet])));
  const there = new Set(scans.map(({ shard }) => shard?.index));
  const nodes = new Map(inOrder.flatMap((scan) => scan.nodes).map((node) => [`${node.stack}\n${node.node}`, node]));
  const kept = new Set(nodes.values());
  const newest = Date.parse(inOrder.at(-1)?.at ?? "");
  const left = inOrder.filter((scan) => scan.nodes.some((n) => kept.has(n)));
  const stale = left.filter((scan) => newest - Date.parse(scan.at) > DAY_MS);
  const old = left.filter((scan) => !stale.includes(scan) && Date.parse(scan.at) < notBefore);
  return {
    version: 1,
    at: inOrder[0]?.at ?? "",
    seconds: Math.max(...scans.map(({ seconds }) => seconds)),
    nodes: [...nodes.values()],
    missing: [
      ...scans.flatMap(({ missing }) => missing),
      ...Array.from({ length: of }, (_, n) => n + 1)
        .filter((index) => !there.has(index))
        .map((index) => `shard ${index}/${of}`),
      ...old.map(({ at }) => `nodes of which the newest result is of ${at}, older than it may be`),
      ...stale.map(({ at }) => `nodes of which the newest result is of ${at}, more than a day older than the others`),
      ...(lists.size > 1 ? ["nodes between the shards, which were not cut from the same list of nodes"] : []),
    ],
  };
}

/** Says one facet in a line, for formats that have no room for more. */
export function facetLine({ status, findings, steps, error }: NodeDrift["facets"][number]): string {
  if (error !== undefined) return `${error.saw} [${error.code}]; next: ${error.next}`;
  const failing = findings.filter(({ level }) => level === (status === "broken" ? "unknown" : "fail"));
  const shown = failing.length > 0 ? failing : findings;
  const said = shown.map(({ code, want, saw }) => `${code}: want ${want}, saw ${saw}`);
  return [...said, ...steps.map(({ disruption, title }) => `up would: [${disruption}] ${title}`)].join("; ") || status;
}
