import { isAbsolute, join } from "node:path";
import { FACETS } from "../providers/facets/index.ts";
import { appraiseOf, goalOf } from "../providers/goal.ts";
import type { NodeConfig } from "../providers/kit/config.ts";
import type { Facet } from "../providers/kit/facet.ts";
import type { Place } from "../providers/kit/machine.ts";
import { PARTS } from "../providers/kit/names.ts";
import { readStackConfig } from "../providers/kit/read-config.ts";
import { type FacetScan, scanConfig, scanText } from "../providers/kit/scan.ts";
import { openFleet } from "../providers/machine/fleet.ts";
import { Reconciler } from "../providers/reconcile.ts";
import { scanned, unscanned } from "../providers/scan.ts";
import type { Part } from "./scan-provider.ts";

/** How long reads of a node wait for its plan, which says what will be asked; a state of parts alone has none. */
const PLAN_MS = 100;
/** Name of the resource that shows a node's whole plan. */
const NODE_PLAN = "node-plan";

/** What a scan of one stack knows of its nodes. */
export class Scan {
  readonly #nodes: string;
  /** By node: asked what its plan says, or without one whatever any facet may ask. */
  readonly #asked = new Map<
    string,
    { readonly done: Promise<void>; readonly ask: (facets: readonly Facet[]) => void }
  >();
  #reconciler: Reconciler | undefined;
  #names: ReadonlySet<string> = new Set();
  #misconfigured: unknown = new Error("the provider was not configured");

  /** `nodes`: those to look at, as their stack's config is now; `folder`: of the project, from which paths in it go. */
  constructor(nodes: readonly NodeConfig[], folder: string) {
    this.#nodes = scanText(nodes.map((node) => withPaths(node, folder)));
  }

  /** With the config of the last update, as the state has it. */
  configure(config: Readonly<Record<string, unknown>>): void {
    try {
      const kept = readStackConfig((key) => config[key]);
      const known = scanConfig(kept, this.#nodes);
      const fleet = openFleet(known, process.env);
      this.#names = new Set(fleet.names);
      this.#reconciler = new Reconciler(fleet, { appraise: appraiseOf(kept, process.env) });
    } catch (error) {
      this.#misconfigured = error;
    }
  }

  /** What the node's part looks like now. Never throws: one node's trouble would end the engine's look at all others. */
  async look({ node, facet, want, at, facets }: Part): Promise<FacetScan | undefined> {
    if (facet !== NODE_PLAN && !(facet in PARTS)) return undefined;
    try {
      if (this.#reconciler === undefined) throw this.#misconfigured;
      if (!this.#names.has(node)) return undefined;
      const asked = this.#askedOf(node, this.#reconciler, at);
      if (facet === NODE_PLAN) {
        if (facets !== undefined) asked.ask(FACETS.filter(({ name }) => facets.split(" ").includes(name)));
        return undefined;
      }
      await asked.done;
      await this.#reconciler.reach(node);
      return scanned(facet, await this.#reconciler.look(goalOf(node, facet, want), { evidence: true }));
    } catch (error) {
      return unscanned(facet, error);
    }
  }

  async close(): Promise<void> {
    await this.#reconciler?.close();
  }

  /** All that is asked of a node goes out at once, in one exec. */
  #askedOf(node: string, reconciler: Reconciler, at: Place | undefined) {
    const had = this.#asked.get(node);
    if (had !== undefined) return had;
    const { promise, resolve } = Promise.withResolvers<void>();
    const ask = (facets: readonly Facet[]) => {
      clearTimeout(timer);
      if (at === undefined) reconciler.prefetch(facets, [node]);
      else reconciler.locate(node, at, facets);
      resolve();
    };
    const timer = setTimeout(() => ask(FACETS), PLAN_MS);
    const made = { done: promise, ask };
    this.#asked.set(node, made);
    return made;
  }
}

/** Paths in a stack's config go from its project's folder, where the engine's own provider runs. */
function withPaths({ ssh, bmc, guest, ...node }: NodeConfig, folder: string): NodeConfig {
  const from = (path: string) => (isAbsolute(path) || path.startsWith("~") ? path : join(folder, path));
  const placed = <T extends object>(part: T, ...keys: readonly (keyof T)[]): T => ({
    ...part,
    ...Object.fromEntries(keys.flatMap((key) => (typeof part[key] === "string" ? [[key, from(part[key])]] : []))),
  });
  return {
    ...node,
    ssh: placed(ssh, "keyFile", "knownHosts"),
    guest: placed(guest, "keyFile"),
    ...(bmc === undefined ? {} : { bmc: placed(bmc, "caFile") }),
  };
}
