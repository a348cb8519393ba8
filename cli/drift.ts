import { mkdtemp, readFile, rm } from "node:fs/promises";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import pLimit from "p-limit";
import { z } from "zod";
import { configuredNodes } from "../providers/kit/config.ts";
import { TeeUpError } from "../providers/kit/errors.ts";
import { PARTS } from "../providers/kit/names.ts";
import type { FacetScan, ScanError } from "../providers/kit/scan.ts";
import { FacetScanSchema } from "../providers/kit/scan.ts";
import { redact } from "../providers/machine/redact.ts";
import { digest } from "../providers/reconcile.ts";
import type { FleetFile, FleetNode, StackEntry } from "./fleet.ts";
import { fleetNodes, loadFleet, parseShard, select, shardOf } from "./fleet.ts";
import { countsOf, type DriftReport, merge, type NodeDrift, nodeStatus, parseScan } from "./formats/drift-facts.ts";
import { runPulumi } from "./pulumi.ts";
import { openScan } from "./scan-provider.ts";

export interface DriftOptions {
  /** The fleet file. */
  readonly fleet: string;
  /** One stack of the project in the current folder, in place of a fleet file. */
  readonly stack?: string | undefined;
  readonly select?: readonly string[] | undefined;
  /** `<i>/<n>`, from 1. */
  readonly shard?: string | undefined;
  /** Stacks at a time; default: as many as this machine has processors. */
  readonly parallel?: number | undefined;
  /** Seconds that one stack may take; default 600. */
  readonly timeout?: number | undefined;
}

/**
 * Looks at every node of a fleet through the real engine and state, and writes nothing: neither on a node nor in a state.
 * Each stack is a run of its own, and each node of it a result of its own: whatever is wrong with one says nothing about
 * another. `progress` hears a line as it begins, and one for each stack that is done.
 */
export async function scanFleet(options: DriftOptions, progress: (line: string) => void): Promise<DriftReport> {
  const started = performance.now();
  const at = new Date().toISOString();
  const shard = options.shard === undefined ? undefined : parseShard(options.shard);
  const chosen = select(await fleetNodes(await fleetOf(options)), options.select ?? []);
  const nodes = shard === undefined ? chosen : shardOf(chosen, shard);
  // An empty part of a small fleet is fine; nothing that fits the labels is a slip of the pen.
  if (chosen.length === 0)
    throw new TeeUpError({
      code: "fleet.empty",
      subject: (options.select ?? []).map((label) => `--select ${label}`).join(" ") || options.fleet,
      saw: "no node fits",
      next: "teeup drift without --select shows all nodes and their labels (--json)",
    });
  // Told to end, it says what it has, and leaves neither an engine nor a file behind.
  const stop = new AbortController();
  const end = () => stop.abort();
  for (const signal of SIGNALS) process.on(signal, end);
  const atOnce = options.parallel ?? availableParallelism();
  const limit = pLimit(atOnce);
  const stacks = [...Map.groupBy(nodes, ({ entry }) => entry)];
  let done = 0;
  progress(`looking at ${count(nodes.length, "node")} in ${count(stacks.length, "stack")}, ${atOnce} at a time`);
  const results = await Promise.all(
    stacks.map(([entry, of]) =>
      limit(async () => {
        const begun = performance.now();
        const found = await scanStack(entry, of, options.timeout ?? 600, stop.signal);
        const seconds = ((performance.now() - begun) / 1000).toFixed(1);
        const said = Object.entries(countsOf({ nodes: found })).flatMap(([what, n]) =>
          n === 0 ? [] : [`${n} ${what}`],
        );
        progress(`${++done} of ${stacks.length}, ${entry.stack}: ${said.join(", ")} (${seconds} s)`);
        return found;
      }),
    ),
  ).finally(() => {
    for (const signal of SIGNALS) process.off(signal, end);
  });
  return {
    version: 1,
    at,
    seconds: Math.round(performance.now() - started) / 1000,
    ...(shard === undefined
      ? {}
      : { shard: { ...shard, fleet: digest(chosen.map(({ entry, node }) => [entry.stack, node])) } }),
    nodes: results.flat(),
    missing: [],
  };
}

const count = (n: number, what: string): string => `${n} ${what}${n === 1 ? "" : "s"}`;

/** Reads at a time: all of a stack, so that every node is asked at once. */
const AT_ONCE = "2048";

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

const fleetOf = async ({ fleet, stack }: DriftOptions): Promise<FleetFile> =>
  stack === undefined ? loadFleet(fleet) : { stacks: [{ stack, project: process.cwd(), labels: {} }] };

/** Joins what shards found, `maxAge` minutes ago at most. Throws `drift.no-scan`, `drift.other-shards`. */
export const mergeScans = async (files: readonly string[], maxAge = Number.POSITIVE_INFINITY): Promise<DriftReport> =>
  merge(await readScans(files), Date.now() - maxAge * 60_000);

/** What `teeup drift --json` wrote. Throws `drift.no-scan`. */
export const readScans = (files: readonly string[]): Promise<DriftReport[]> =>
  Promise.all(
    files.map(async (file) => parseScan(await readFile(file, "utf8").catch((error: Error) => error.message), file)),
  );

export async function scanStack(
  entry: StackEntry,
  nodes: readonly FleetNode[],
  timeoutSeconds: number,
  signal: AbortSignal,
): Promise<NodeDrift[]> {
  const [unknown] = nodes.filter(({ error }) => error !== undefined);
  if (unknown?.error !== undefined) return nodes.map((node) => brokenNode(node, errorOf(unknown.error as TeeUpError)));
  const folder = await mkdtemp(join(tmpdir(), "teeup-drift-"));
  const provider = await openScan(
    nodes.flatMap(({ config }) => config ?? []),
    entry.project,
  );
  try {
    const log = join(folder, "events.json");
    const argv = ["refresh", "--preview-only", "--stack", entry.stack, "--event-log", log, "--parallel", AT_ONCE];
    const running = runPulumi([...argv, ...(entry.file === undefined ? [] : ["--config-file", entry.file])], {
      cwd: entry.project,
      env: {
        // The only way to --event-log, Pulumi's own account of what it saw.
        PULUMI_DEBUG_COMMANDS: "true",
        // The engine lives for seconds and would collect garbage for a fifth of them.
        GOGC: process.env["GOGC"] ?? "400",
        PULUMI_DEBUG_PROVIDERS: [process.env["PULUMI_DEBUG_PROVIDERS"], provider.attach].filter(Boolean).join(","),
        ...(entry.backend === undefined ? {} : { PULUMI_BACKEND_URL: entry.backend }),
        ...(entry.passphraseFile === undefined ? {} : { PULUMI_CONFIG_PASSPHRASE_FILE: entry.passphraseFile }),
      },
      timeoutSeconds,
      signal,
    });
    provider.warm();
    const run = await running;
    const seen = seenIn(await readFile(log, "utf8").catch(() => ""));
    const error: ScanError = {
      code: "stack.failed",
      saw: redact(
        run.timedOut
          ? `Pulumi took longer than ${timeoutSeconds} s`
          : seen.errors[0] || run.stderr.trim().split("\n").slice(0, 3).join("; ") || `Pulumi ended with ${run.status}`,
      ),
      next: `pulumi refresh --preview-only --stack ${entry.stack} (in ${entry.project}) shows it`,
    };
    const known = new Set(nodes.map(({ node }) => node));
    const strangers = [...seen.parts.keys()].filter(
      (name) => name === "*" || (seen.configured.size > 0 && !known.has(name) && !seen.configured.has(name)),
    );
    const failed = run.status === 0 ? undefined : error;
    const results = nodes.map((node) => nodeOf(node, seen.parts.get(node.node), seen.planned.get(node.node), failed));
    return [
      ...results,
      // Its nodes were seen, and yet something of the stack was not.
      ...(failed === undefined || results.some((node) => [node, ...node.facets].some((one) => one.error === failed))
        ? []
        : [brokenNode({ entry, node: "*", labels: { ...entry.labels, stack: entry.stack } }, failed)]),
      // In the state and in no config: nobody can look at it, and nobody would.
      ...strangers.map((name) =>
        brokenNode(
          { entry, node: name, labels: { ...entry.labels, stack: entry.stack, node: name } },
          {
            code: "node.not-configured",
            saw:
              name === "*"
                ? "the state has parts of nodes that this version cannot read"
                : "the state has it and the stack config does not",
            next: "put it back into teeup:nodes, or pulumi state delete its resources",
          },
        ),
      ),
    ];
  } catch (error) {
    if (!(error instanceof TeeUpError)) throw error;
    return nodes.map((node) => brokenNode(node, errorOf(error)));
  } finally {
    await provider.close();
    await rm(folder, { recursive: true, force: true });
  }
}

const errorOf = ({ parts: { code, saw, next } }: TeeUpError): ScanError => ({ code, saw: redact(saw), next });

const brokenNode = ({ entry, node, labels }: FleetNode, error: ScanError): NodeDrift => ({
  stack: entry.stack,
  node,
  labels: { ...labels },
  status: "broken",
  facets: [],
  error,
});

/**
 * `planned`: the facets that the node is to have, as its plan in the state says. `failed`: why the engine did not get to
 * its end; what it said until then holds, and what it did not say is broken.
 */
function nodeOf(
  node: FleetNode,
  parts: ReadonlyMap<string, FacetScan | undefined> | undefined,
  planned?: readonly string[],
  failed?: ScanError,
): NodeDrift {
  if (parts === undefined || parts.size === 0)
    return brokenNode(
      node,
      failed ?? {
        code: "node.no-state",
        saw: "the state has nothing of it: it was never brought up",
        next: `pulumi up --stack ${node.entry.stack}`,
      },
    );
  const error = failed ?? { code: "scan.no-answer", saw: "the engine said nothing of it", next: "teeup drift again" };
  const broken = (facet: string, why: ScanError): FacetScan => ({
    facet,
    status: "broken",
    findings: [],
    steps: [],
    error: why,
  });
  const absent: ScanError = failed ?? {
    code: "facet.no-state",
    saw: "the state does not have all parts: the last up did not get that far",
    next: `pulumi up --stack ${node.entry.stack}`,
  };
  const facets = [
    ...[...parts].map(([facet, scan]) => scan ?? broken(facet, error)),
    ...(planned ?? []).filter((facet) => !parts.has(facet)).map((facet) => broken(facet, absent)),
  ];
  const seen = nodeStatus(facets);
  // Without a plan nobody can tell whether an engine that failed had come to all parts.
  const cut = seen === "clean" && planned === undefined ? failed : undefined;
  const status = cut === undefined ? seen : "broken";
  // The node's own trouble is what all of its parts say; anything else stands at the part.
  const [first, ...others] = facets.flatMap((facet) => (facet.status === "clean" ? [] : [facet.error]));
  const whole = cut ?? (others.every((other) => other?.code === first?.code) ? first : undefined);
  return {
    stack: node.entry.stack,
    node: node.node,
    labels: { ...node.labels },
    status,
    facets,
    ...(whole === undefined ? {} : { error: whole }),
  };
}

const PropsSchema = z.looseObject({
  node: z.string(),
  facet: z.string(),
  scan: FacetScanSchema.optional(),
  /** Of a plan: names of all facets, with blanks between them. */
  facets: z.string().optional(),
});
const StateSchema = z.looseObject({ outputs: z.unknown() }).nullish();
const MetadataSchema = z.looseObject({ type: z.string().default(""), old: StateSchema, new: StateSchema });
const EventSchema = z.looseObject({
  preludeEvent: z.looseObject({ config: z.record(z.string(), z.unknown()).nullish() }).optional(),
  resourcePreEvent: z.looseObject({ metadata: MetadataSchema }).optional(),
  resOutputsEvent: z.looseObject({ metadata: MetadataSchema }).optional(),
  diagnosticEvent: z.looseObject({ message: z.string().default(""), severity: z.string().default("") }).optional(),
});

interface SeenByEngine {
  /** Node → facet → what was seen, undefined while nothing was. */
  readonly parts: Map<string, Map<string, FacetScan | undefined>>;
  /** Node → all facets that its plan names; states of before have no such list. */
  readonly planned: Map<string, readonly string[]>;
  readonly errors: string[];
  /** Names of all nodes in the stack config. */
  readonly configured: Set<string>;
}

/** The engine's events, a line each; a half line at the end of a killed run says nothing. */
function seenIn(text: string): SeenByEngine {
  const seen: SeenByEngine = { parts: new Map(), planned: new Map(), errors: [], configured: new Set() };
  for (const line of text.split("\n")) {
    const event = eventOf(line);
    if (event?.diagnosticEvent?.severity === "error") seen.errors.push(event.diagnosticEvent.message.trim());
    for (const name of configuredNodes(event?.preludeEvent?.config?.["teeup:nodes"])) seen.configured.add(name);
    const metadata = (event?.resOutputsEvent ?? event?.resourcePreEvent)?.metadata;
    if (metadata === undefined || !/^pulumi-nodejs:dynamic\//.test(metadata.type)) continue;
    const props = PropsSchema.safeParse((metadata.new ?? metadata.old)?.outputs);
    if (!props.success && OURS.has(metadata.type)) seen.parts.set("*", new Map([["unreadable", undefined]]));
    if (props.data?.facets !== undefined)
      seen.planned.set(props.data.node, props.data.facets.split(" ").filter(Boolean));
    if (!props.success || NOT_OF_MACHINES.includes(props.data.facet)) continue;
    const { node, facet, scan } = props.data;
    const parts = seen.parts.get(node) ?? new Map<string, FacetScan | undefined>();
    seen.parts.set(node, parts.set(facet, event?.resOutputsEvent === undefined ? parts.get(facet) : scan));
  }
  return seen;
}

/** What cannot be read of these is not nothing. */
const OURS: ReadonlySet<string> = new Set(Object.values(PARTS).map((type) => `pulumi-nodejs:dynamic/${type}`));

/** Parts of a stack that show nothing of a machine. */
const NOT_OF_MACHINES: readonly string[] = ["node-plan", "instance-plan", "instance-place", "node-session"];

function eventOf(line: string): z.infer<typeof EventSchema> | undefined {
  try {
    return EventSchema.parse(JSON.parse(line));
  } catch {
    return undefined;
  }
}
