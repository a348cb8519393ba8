import { readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import type { StackConfig } from "../../providers/kit/config.ts";
import { TeeUpError } from "../../providers/kit/errors.ts";
import { findNode } from "../../providers/machine/fleet.ts";
import { parseRecord } from "../../providers/machine/record.ts";
import { planOf, type Verdict, verdictOf } from "./journey.ts";
import type { PulumiRun } from "./pulumi.ts";
import { isFacetResource, PulumiStack } from "./pulumi.ts";
import { type DemoPlatform, startDemoTwin } from "./twin.ts";

export interface RehearsalOptions {
  readonly config: StackConfig;
  readonly node: string;
  /** An empty folder that the rehearsal may fill; the caller removes it. */
  readonly dir: string;
  readonly signal: AbortSignal;
  readonly say: (line: string) => void;
}

/** What a rehearsal came to. */
export interface Rehearsal {
  /** `up` ended well, and a preview after it has nothing to do. */
  readonly ok: boolean;
  readonly node: string;
  readonly record: { readonly at: string; readonly hash: string };
  /** Lines of the twin's plan before `up`. */
  readonly plan: readonly string[];
  readonly restarts: number;
  readonly gpuResets: number;
  readonly guestStarts: number;
  /** Facets with something to do, on the twin or on the node, that begin alike. */
  readonly alike: readonly string[];
  /** Facets that begin otherwise on the twin: what was rehearsed of them is not what the node would see. */
  readonly otherwise: readonly {
    readonly facet: string;
    readonly node: readonly string[];
    readonly twin: readonly string[];
  }[];
  /** In what the twin is not like the node as a machine. */
  readonly unlike: readonly string[];
  /** Of the twin: it says that the way leads to an attestation, and nothing of the node's. */
  readonly attestation: Verdict;
  /** What Pulumi said when `up` failed. */
  readonly error?: string;
}

/** What no twin knows of a node, whatever the record says. */
export const CANNOT_KNOW: readonly string[] = [
  "how long anything takes: the twin's time is not the node's",
  "whether the real downloads, mirrors and package repositories have what the plan names: the twin's internet is made up, and its sums take the place of the pins",
  "what the board's firmware does with a setting, and whether the host comes back from a restart",
  "whether GPUs, drivers and firmware of this very node work together, and what its attestation says",
  "packages, builds, disks and virtual machines that the node already has: the twin begins freshly installed",
  "what changed on the node since it was recorded",
];

const PLATFORM: Readonly<Partial<Record<StackConfig["platform"], DemoPlatform>>> = {
  "onprem-snp": "snp",
  "onprem-tdx": "tdx",
};

/**
 * The whole `up` of a node, on a twin that is made from the node's record. Throws `rehearse.platform` for an instance of a
 * cloud, what reading the record throws, and what starting the twin and the stack throws.
 */
export async function rehearse({ config, node, dir, signal, say }: RehearsalOptions): Promise<Rehearsal> {
  const platform = PLATFORM[config.platform];
  const found = findNode(config, node);
  if (platform === undefined || found.cloud !== undefined)
    throw new TeeUpError({
      code: "rehearse.platform",
      node,
      subject: config.platform,
      saw: "twins of records are machines of one's own so far",
      next: "npm run demo -- --platform baidu or alibaba shows an instance",
    });
  const records = resolve(config.records);
  const path = join(records, `${node}.json`);
  const record = parseRecord(await readText(path, node), node);
  const twin = await startDemoTwin(join(dir, "twin"), {
    name: node,
    platform,
    record: path,
    permit: config.permit,
    noBmc: found.bmc === undefined,
    ...(config.profile === undefined ? {} : { profile: config.profile }),
  });
  try {
    const own = { "teeup:gpuMode": config.gpuMode, "teeup:vm": config.vm };
    const stack = await PulumiStack.create({
      dir: join(dir, "stack"),
      stack: "rehearsal",
      config: { ...twin.config, ...own },
      env: twin.env,
    });
    // The same stack twice: what differs is what the node and the twin answer.
    const recorded = { "teeup:facts": "recorded", "teeup:records": records };
    await stack.configure({ ...twin.config, ...own, ...recorded });
    say("preview against the record");
    const onNode = await worked("preview", stack.preview({ signal }));
    await stack.configure({ ...twin.config, ...own });
    say("preview on the twin");
    const onTwin = await worked("preview", stack.preview({ signal }));
    await twin.clear();
    say("up on the twin");
    const up = await stack.up({ signal });
    const counts = await twin.counts();
    say("preview after it");
    const after = up.status === 0 ? await stack.preview({ signal }, "--expect-no-changes") : undefined;
    const facets = [...new Set([...plansOf(onNode).keys(), ...plansOf(onTwin).keys()])].map((facet) => ({
      facet,
      node: plansOf(onNode).get(facet) ?? [],
      twin: plansOf(onTwin).get(facet) ?? [],
    }));
    const isAlike = (one: (typeof facets)[number]) => JSON.stringify(one.node) === JSON.stringify(one.twin);
    const { resources } = await stack.export();
    return {
      ok: after?.status === 0,
      node,
      record: { at: record.at, hash: record.hash },
      plan: planOf(onTwin),
      restarts: counts.reboots,
      gpuResets: counts.gpuResets,
      guestStarts: counts.guestStarts,
      alike: facets.filter(isAlike).map(({ facet }) => facet),
      otherwise: facets.filter((one) => !isAlike(one)),
      unlike: [
        ...twin.facts.unlike,
        ...counts.unmodelled.map((line) => `the twin could not answer truthfully: ${line}`),
      ],
      attestation: verdictOf(resources),
      ...(after?.status === 0 ? {} : { error: (after ?? up).stdout + (after ?? up).stderr }),
    };
  } finally {
    await twin.close();
  }
}

async function readText(path: string, node: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    throw new TeeUpError({
      code: "record.missing",
      node,
      subject: "teeup:records",
      saw: error instanceof Error ? error.message : String(error),
      next: `teeup record ${node}, where the node can be reached`,
    });
  }
}

async function worked(what: string, run: Promise<PulumiRun>): Promise<PulumiRun> {
  const done = await run;
  if (done.status === 0) return done;
  throw new TeeUpError({
    code: "rehearse.pulumi",
    subject: `pulumi ${what}`,
    saw: `it ended with status ${done.status}: ${done.stdout}${done.stderr}`,
    next: `pulumi ${what} with teeup:facts set to recorded shows the same`,
  });
}

/** Lines of each part's plan that has one, by the facet's name. */
function plansOf({ parts }: PulumiRun): ReadonlyMap<string, readonly string[]> {
  const facets = parts.filter((part) => isFacetResource(part) && !/:(Node|Instance)Plan$/.test(part.type));
  return new Map(facets.flatMap(({ urn, plan }) => (plan.length === 0 ? [] : [[urn.split("::").at(-1) ?? urn, plan]])));
}
