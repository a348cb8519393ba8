import { z } from "zod";
import type { FacetName } from "../../providers/kit/names.ts";
import type { Goal } from "../../providers/reconcile.ts";
import type { Machine } from "../../sim/model/machine.ts";
import type { TwinNode } from "../../sim/model/node.ts";

/** One fact that changed, and who must say so. */
export interface Change {
  /** For whoever reads that it was missed. */
  readonly what: string;
  /** Facets that must see it; none for what is no concern of any. */
  readonly must: readonly FacetName[];
  /** Facets that may see it too, since what they are about hangs on it. */
  readonly may?: readonly FacetName[];
  /** Takes it back, without a trace; without it the twin is made anew. */
  readonly undo?: () => void;
}

/** A twin as it was brought up, and numbers that say which of its facts to change. */
export class Place {
  readonly node: TwinNode;
  readonly #goals: ReadonlyMap<string, unknown>;
  readonly #numbers: readonly number[];
  #drawn = 0;
  #round = 0;

  /** `numbers`: from 0 on; drawn in turn, and again from the first. */
  constructor(node: TwinNode, goals: readonly Goal[], numbers: readonly number[]) {
    this.node = node;
    this.#goals = new Map(goals.map(({ facet, want }) => [facet.name, want]));
    this.#numbers = numbers;
  }

  get host(): Machine {
    return this.node.host;
  }

  /** The confidential system: the guest of a machine of one's own, or the instance. */
  get inside(): Machine {
    const machine = this.node.instance === undefined ? this.node.guest?.machine : this.node.host;
    if (machine === undefined) throw new Error("no guest runs");
    return machine;
  }

  has(...facets: readonly FacetName[]): boolean {
    return facets.every((facet) => this.#goals.has(facet));
  }

  /** What the recipe wants of a facet, read with `schema`. */
  want<T>(facet: FacetName, schema: z.ZodType<T>): T {
    return schema.parse(this.#goals.get(facet));
  }

  /** A list of names in the facet's want; empty when it has none. */
  names(facet: FacetName, field: string): readonly string[] {
    const names = z.array(z.string()).default([]);
    return names.parse(z.record(z.string(), z.unknown()).parse(this.#goals.get(facet) ?? {})[field]);
  }

  below(limit: number): number {
    const number = this.#numbers[this.#drawn++ % this.#numbers.length] ?? 0;
    return (number + this.#round) % limit;
  }

  /** The next ones are others. */
  skip(): void {
    this.#round += 7;
  }

  pick<T>(items: readonly T[]): T | undefined {
    return items.length === 0 ? undefined : items[this.below(items.length)];
  }

  /** Puts the file back as it is now, with its time. */
  keep(machine: Machine, path: string): () => void {
    const before = machine.files.lstat(path);
    return () => {
      if (before === undefined || before.kind === "dir") return machine.files.remove(path);
      const { clock } = this.node;
      const { now } = clock;
      if (before.kind === "file") clock.now = before.mtime;
      machine.files.place(path, before);
      clock.now = now;
    };
  }
}
