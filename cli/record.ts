import { mkdir, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { FACETS, facetNamed } from "../providers/facets/index.ts";
import { findNode, openFleet } from "../providers/machine/fleet.ts";
import { Recording } from "../providers/machine/record.ts";
import { Reconciler } from "../providers/reconcile.ts";
import { reviewOf, type Seen } from "../providers/review.ts";
import { goalsOfNode } from "../stacks/profiles/resolve.ts";
import type { StackSource } from "./stack.ts";
import { loadStack } from "./stack.ts";

export interface RecordOptions extends StackSource {
  /** Folder of the record; default: the stack's `teeup:records`. */
  readonly out?: string | undefined;
}

export interface Recorded {
  readonly path: string;
  /** ISO 8601. */
  readonly at: string;
  readonly hash: string;
}

/**
 * Saves every answer of a node, also to what the stack does not ask yet, and the files that its plan would write over.
 * Throws what reaching the node throws; then nothing is written.
 */
export async function recordNode(name: string, options: RecordOptions, env = process.env): Promise<Recorded> {
  const config = await loadStack(options);
  const node = findNode(config, name);
  const recording = new Recording(openFleet({ ...config, nodes: [node] }, env));
  const reconciler = new Reconciler(recording);
  try {
    reconciler.prefetch(FACETS);
    await reconciler.reach(name);
    const seen: Seen[] = [];
    for (const { facet: facetName, want } of goalsOfNode(config, node.guest)) {
      const facet = facetNamed(facetName);
      const goal = { facet, node: name, want: facet.want.parse(want) };
      seen.push({ goal, look: await reconciler.look(goal) });
    }
    await reviewOf(reconciler, name, seen, config.permit);
    const record = await recording.record(name, new Date());
    const folder = options.out ?? config.records;
    const path = join(folder, `${name}.json`);
    await mkdir(folder, { recursive: true });
    // Never half of one: a preview may read it at this moment.
    await writeFile(`${path}.new`, `${JSON.stringify(record, null, 1)}\n`, { mode: 0o600 });
    await rename(`${path}.new`, path);
    return { path, at: record.at, hash: record.hash };
  } finally {
    await reconciler.close();
  }
}
