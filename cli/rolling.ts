import { readFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import Table from "cli-table3";
import pLimit from "p-limit";
import { TeeUpError } from "../providers/kit/errors.ts";
import { digest } from "../providers/reconcile.ts";
import { scanStack } from "./drift.ts";
import { type FleetNode, fleetNodes, loadFleet, select, stackFile } from "./fleet.ts";
import type { NodeDrift } from "./formats/drift-facts.ts";
import { openJournal } from "./rolling/journal.ts";
import type { Rules } from "./rolling/plan.ts";
import { type Walked, type WalkNode, walk } from "./rolling/walk.ts";

export interface RollingOptions extends Rules {
  /** The fleet file. */
  readonly fleet: string;
  /** One stack of the project in the current folder, in place of a fleet file. */
  readonly stack?: string | undefined;
  readonly select?: readonly string[] | undefined;
  /** Labels of the node that goes first; default: the first one that `up` would change. */
  readonly canary?: readonly string[] | undefined;
  /** File that a killed walk goes on from. */
  readonly journal: string;
  /** Seconds that a look at one stack may take; default 600. */
  readonly timeout?: number | undefined;
}

export interface RollingReport extends Walked {
  readonly version: 1;
  /** When it began, ISO 8601. */
  readonly at: string;
  readonly seconds: number;
  readonly maxUnavailable: number;
}

/**
 * Brings up the nodes of a fleet, canary first, a few at a time: through Pulumi's Automation API, an `up` of each stack
 * for just the nodes whose turn it is. Health is the facets' own judgement, as a scan gives it. `say` hears what happens.
 * Throws `fleet.empty`, the errors of the fleet and its stacks, and what walk() throws, all before a node is taken.
 */
export async function rollFleet(options: RollingOptions, say: (line: string) => void): Promise<RollingReport> {
  const at = new Date().toISOString();
  const started = performance.now();
  const { fleet, stack, maxUnavailable, stopOnFailure } = options;
  const entries =
    stack === undefined ? await loadFleet(fleet) : { stacks: [{ stack, project: process.cwd(), labels: {} }] };
  const chosen = select(await fleetNodes(entries), options.select ?? []);
  const [broken] = chosen.filter(({ error }) => error !== undefined);
  if (broken?.error !== undefined) throw broken.error;
  if (chosen.length === 0)
    throw new TeeUpError({
      code: "fleet.empty",
      subject: (options.select ?? []).map((label) => `--select ${label}`).join(" ") || fleet,
      saw: "no node fits",
      next: "teeup drift --json shows all nodes and their labels",
    });
  const canaries = options.canary === undefined ? [] : select(chosen, options.canary);
  if (options.canary !== undefined && canaries.length === 0)
    throw new TeeUpError({
      code: "rolling.no-canary",
      subject: options.canary.map((label) => `--canary ${label}`).join(" "),
      saw: "no node of the walk fits",
      next: "teeup drift --json shows all nodes and their labels; node and stack are labels too",
    });
  const nodes = chosen.map(
    (one): WalkNode => ({ stack: one.entry.stack, node: one.node, canary: canaries.includes(one) }),
  );
  const found = new Map(chosen.map((one) => [`${one.entry.stack}/${one.node}`, one]));

  // Loaded only now: what is refused above does not wait for it.
  const { openStack } = await import("./rolling/engine.ts");
  const stop = new AbortController();
  const end = () => stop.abort();
  for (const signal of SIGNALS) process.on(signal, end);
  const journal = await openJournal(options.journal, digest([nodes, await wants(chosen)]));
  try {
    const stacks = new Map(
      await Promise.all(
        [...Map.groupBy(chosen, ({ entry }) => entry).keys()].map(
          async (entry) => [entry.stack, await openStack(entry)] as const,
        ),
      ),
    );
    const look = (of: readonly WalkNode[]) =>
      looked(
        of.flatMap((one) => found.get(`${one.stack}/${one.node}`) ?? []),
        options.timeout ?? 600,
        stop.signal,
      );
    const walked = await walk({
      nodes,
      stacks,
      journal,
      look,
      say,
      signal: stop.signal,
      maxUnavailable,
      stopOnFailure,
    });
    const seconds = Math.round((performance.now() - started) / 100) / 10;
    return { version: 1, at, seconds, maxUnavailable, ...walked };
  } finally {
    for (const signal of SIGNALS) process.off(signal, end);
    await journal.close();
  }
}

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** What all the stacks want: with another config, a canary of before says nothing. */
const wants = (nodes: readonly FleetNode[]): Promise<string[]> =>
  Promise.all(
    [...new Set(nodes.map(({ entry }) => entry))].map(async (entry) => readFile(await stackFile(entry), "utf8")),
  );

async function looked(nodes: readonly FleetNode[], timeoutSeconds: number, signal: AbortSignal): Promise<NodeDrift[]> {
  const limit = pLimit(availableParallelism());
  const scans = await Promise.all(
    [...Map.groupBy(nodes, ({ entry }) => entry)].map(([entry, of]) =>
      limit(() => scanStack(entry, of, timeoutSeconds, signal)),
    ),
  );
  const all = new Map(scans.flat().map((one) => [`${one.stack}/${one.node}`, one]));
  return nodes.map(({ entry, node, labels }) => {
    const none = { code: "scan.no-answer", saw: "the scan said nothing of it", next: "teeup drift" };
    return (
      all.get(`${entry.stack}/${node}`) ?? {
        stack: entry.stack,
        node,
        labels: { ...labels },
        status: "broken",
        facets: [],
        error: none,
      }
    );
  });
}

/** 0: every node is as wanted. 3: some are not. */
export const rollingStatus = ({ nodes }: Walked): 0 | 3 =>
  nodes.every(({ outcome }) => outcome === "done" || outcome === "as-wanted") ? 0 : 3;

/** For a terminal: every node, and one line of counts. */
export function rollingTable({ nodes, seconds, mostUnavailable, maxUnavailable, stopped }: RollingReport): string {
  const table = new Table({
    head: ["Stack", "Node", "Outcome", "Seconds", "Why"],
    style: { head: [], border: [], compact: true },
    colWidths: [null, null, null, null, 80],
    wordWrap: true,
    wrapOnWordBoundary: false,
  });
  for (const { stack, node, outcome, seconds: took, why } of nodes)
    table.push([stack, node, outcome, took ?? "", why ?? ""]);
  const counts = [...Map.groupBy(nodes, ({ outcome }) => outcome)].map(([outcome, of]) => `${of.length} ${outcome}`);
  const most = `at most ${mostUnavailable} unavailable at a time, ${maxUnavailable} allowed`;
  return `${table.toString()}\n${nodes.length} nodes in ${seconds} s: ${counts.join(", ")}; ${most}${stopped ? "; stopped: the same command goes on" : ""}`;
}
