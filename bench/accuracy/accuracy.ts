import fc from "fast-check";
import { openFleet } from "../../providers/machine/fleet.ts";
import { Reconciler } from "../../providers/reconcile.ts";
import { scanned } from "../../providers/scan.ts";
import {
  ALIBABA,
  BAIDU,
  type Bench,
  bench,
  goalsOf,
  type Platform,
  QUICK,
  SNP,
  TDX,
  TDX_8GPU,
  up,
} from "../../test/e2e/drive.ts";
import { changeOne } from "./facts.ts";
import { Place } from "./place.ts";

/**
 * How well a scan tells what changed: one random fact of a well twin at a time. Each is looked at through production code
 * over SSH, by all facets of its recipe as `teeup drift` does it (what the engine then carries is test/pulumi's), and is
 * taken back before the next one.
 *
 * - missed: a facet that the fact is about found everything clean.
 * - false alarm: a facet that it is not about found something; or any did, once it was taken back.
 */
export interface Accuracy {
  readonly tried: number;
  readonly missed: number;
  readonly falseAlarms: number;
}

/** One fact and what the scan made of it. */
export interface Verdict {
  readonly platform: string;
  readonly what: string;
  /** It is about some facet. */
  readonly matters: boolean;
  readonly missed: readonly string[];
  /** `facet: what it says`. */
  readonly falseAlarms: readonly string[];
}

export const NODES: readonly Platform[] = [
  SNP,
  TDX,
  TDX_8GPU,
  ALIBABA,
  { ...BAIDU, stack: { ...BAIDU.stack, instance: { quote: true } } },
];

/** What says which fact is changed; no number is likelier than another. */
export const NUMBERS = fc.noBias(fc.array(fc.nat(1_000_000), { minLength: 16, maxLength: 16 }));

/** Facets that find something, with what they say. */
export type See = (b: Bench) => Promise<ReadonlyMap<string, string>>;

/** One platform's twin, brought up when it is first needed and again after a fact that cannot be taken back. */
export class Subject {
  readonly platform: Platform;
  readonly #see: See;
  #bench: Promise<Bench> | undefined;

  /** `see`: what looks; default: the scan. */
  constructor(platform: Platform, see: See = seenBy) {
    this.platform = platform;
    this.#see = see;
  }

  async try(numbers: readonly number[]): Promise<Verdict> {
    this.#bench ??= provisioned(this.platform);
    const b = await this.#bench;
    const { what, must, may = [], undo } = changeOne(new Place(b.twin.node, goalsOf(b), numbers));
    const seen = await this.#see(b);
    undo?.();
    const after = undo === undefined ? new Map<string, string>() : await this.#see(b);
    if (undo === undefined || after.size > 0) await this.close();
    const named: readonly string[] = [...must, ...may];
    const says = ([facet, saw]: readonly [string, string]) => `${facet}: ${saw}`;
    return {
      platform: this.platform.name,
      what,
      matters: must.length > 0,
      missed: must.filter((facet) => !seen.has(facet)),
      falseAlarms: [
        ...[...seen].filter(([facet]) => !named.includes(facet)).map(says),
        ...[...after].map((one) => `taken back, ${says(one)}`),
      ],
    };
  }

  async close(): Promise<void> {
    const had = this.#bench;
    this.#bench = undefined;
    await (await had)?.close();
  }
}

async function provisioned(platform: Platform): Promise<Bench> {
  const b = await bench({}, platform);
  const { findings } = await up(b);
  const seen = await seenBy(b);
  if (findings.length + seen.size > 0) throw new Error(`${platform.name} is not well: ${[...seen].join("; ")}`);
  return b;
}

/** Facets that a scan does not find clean, with the first thing that it says of each. */
async function seenBy(b: Bench): Promise<ReadonlyMap<string, string>> {
  const reconciler = new Reconciler(openFleet(b.config, b.env, QUICK));
  const goals = goalsOf(b);
  try {
    reconciler.prefetch(goals.map(({ facet }) => facet));
    const seen = new Map<string, string>();
    for (const goal of goals) {
      const { facet, status, findings, steps } = scanned(goal.facet.name, await reconciler.look(goal));
      if (status !== "clean") seen.set(facet, findings[0]?.saw ?? steps[0]?.title ?? status);
    }
    return seen;
  } finally {
    await reconciler.close();
  }
}

/** `tried` facts in turn on each platform; the same seed changes the same ones. `tell` hears of each that went wrong. */
export async function accuracy(
  tried: number,
  seed: number,
  tell: (line: string) => void,
  subjects: readonly Subject[] = NODES.map((platform) => new Subject(platform)),
): Promise<Accuracy> {
  let [missed, falseAlarms] = [0, 0];
  try {
    for (const [n, numbers] of fc.sample(NUMBERS, { numRuns: tried, seed }).entries()) {
      const verdict = await (subjects[n % subjects.length] as Subject).try(numbers);
      if (verdict.missed.length > 0) missed++;
      if (verdict.falseAlarms.length > 0) falseAlarms++;
      if (verdict.missed.length + verdict.falseAlarms.length > 0) tell(JSON.stringify(verdict));
    }
  } finally {
    await Promise.all(subjects.map((subject) => subject.close()));
  }
  return { tried, missed, falseAlarms };
}
