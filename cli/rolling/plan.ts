/**
 * Which nodes of a walk may be worked on now. Pure: what was seen in, who is next out, so that the promise "never more
 * than allowed" can be tried on any walk.
 */

/** Where a node is in the walk. `left`: nothing is to be done on it, or it cannot be reached; it only counts. */
export type Stage = "waiting" | "taken" | "done" | "failed" | "left";

export interface Standing {
  readonly stack: string;
  readonly node: string;
  readonly stage: Stage;
  /** Every facet of it was seen and is as it should be. What is unknown is not available. */
  readonly available: boolean;
}

export interface Rules {
  /** The most nodes that may be unavailable at a time, those that are so by themselves included; from 1. */
  readonly maxUnavailable: number;
  /** After a failure no other node is taken. The canary's failure always ends the walk. */
  readonly stopOnFailure: boolean;
}

export interface Walk extends Rules {
  readonly nodes: readonly Standing[];
  /** Taken first, and alone; undefined once one node of the walk is done. */
  readonly canary: Pick<Standing, "stack" | "node"> | undefined;
}

/** Nodes of one stack that one `up` works on. */
export interface Batch {
  readonly stack: string;
  readonly nodes: readonly string[];
}

const isSame = (a: Pick<Standing, "stack" | "node">, b: Pick<Standing, "stack" | "node">): boolean =>
  a.stack === b.stack && a.node === b.node;

export const isOut = ({ stage, available }: Standing): boolean => stage === "taken" || !available;

/** Nothing more is taken. */
export function isStopped({ nodes, canary, stopOnFailure }: Walk): boolean {
  const failed = nodes.filter(({ stage }) => stage === "failed");
  return failed.some((node) => stopOnFailure || (canary !== undefined && isSame(node, canary)));
}

/**
 * Who is taken now. A node that is unavailable anyway may be worked on as long as fewer than `maxUnavailable` are being
 * worked on; one that is available only if, with it, no more than `maxUnavailable` of all nodes are unavailable. Those
 * that are unavailable come first. A stack has one `up` at a time.
 */
export function next(walk: Walk): Batch[] {
  if (isStopped(walk)) return [];
  const { nodes, canary, maxUnavailable } = walk;
  const busy = new Set(nodes.flatMap(({ stage, stack }) => (stage === "taken" ? [stack] : [])));
  let working = nodes.filter(({ stage }) => stage === "taken").length;
  let out = nodes.filter(isOut).length;
  const open = nodes.filter(
    (node) => node.stage === "waiting" && (canary === undefined || isSame(node, canary)) && !busy.has(node.stack),
  );
  const batches = new Map<string, string[]>();
  for (const node of [...open.filter(isOut), ...open.filter((one) => !isOut(one))]) {
    if (working >= maxUnavailable || (node.available && out >= maxUnavailable)) continue;
    working++;
    if (node.available) out++;
    batches.set(node.stack, [...(batches.get(node.stack) ?? []), node.node]);
  }
  return [...batches].map(([stack, of]) => ({ stack, nodes: of }));
}
