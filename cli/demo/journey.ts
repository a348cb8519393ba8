import { z } from "zod";
import { DISRUPTIONS } from "../../providers/kit/disruption.ts";
import type { PulumiRun, PulumiStack, StateResource } from "./pulumi.ts";
import { isFacetResource } from "./pulumi.ts";
import type { DemoTwin, Loss } from "./twin.ts";

/** What `npm run demo -- --json` prints, less platform and seconds. Each number says where it was counted. */
export interface Journey {
  readonly ok: boolean;
  /** Facet resources in the exported state after `up`. */
  readonly resources: number;
  /** Bytes of these resources in the exported state, without its indentation. */
  readonly stateBytes: number;
  /** Times the twin's host came up again during the first `up`. */
  readonly reboots: number;
  /** Changes that the twin's journal recorded during the first `up`. */
  readonly steps: number;
  readonly firstPreview: {
    /** Steps in the plan that the preview shows. */
    readonly steps: number;
    /** Changes in the twin's journal. */
    readonly writes: number;
  };
  readonly secondUp: {
    /** Resources that are not "same" in Pulumi's summary. */
    readonly changes: number;
    /** Changes in the twin's journal. */
    readonly mutations: number;
  };
  readonly attestation: Verdict;
  readonly drift: { readonly injected: string; readonly seen: boolean; readonly repaired: boolean };
  /** `destroy` worked and left no resource in the state. */
  readonly destroyed: boolean;
}

export interface Verdict {
  readonly verdict: string;
  readonly claims: Readonly<Record<string, unknown>>;
}

/** Somebody edits a file of TeeUp's (sim/drift.ts): module options of a host, of an instance those of the GPU's driver. */
const driftOf = ({ loss }: DemoTwin): string => (loss === undefined ? "module-options" : "lkca");

/** Preview, up, second up, an injected drift, its repair, and destroy. Throws when Pulumi itself fails. */
export async function runAll(stack: PulumiStack, twin: DemoTwin, signal: AbortSignal): Promise<Journey> {
  const run = { signal };
  const counted = async (what: string, command: () => Promise<PulumiRun>) => {
    await twin.clear();
    const done = await command();
    if (done.status !== 0)
      throw new Error(`pulumi ${what} ended with status ${done.status}:\n${done.stdout}${done.stderr}`);
    return { ...done, counts: await twin.counts() };
  };

  const preview = await counted("preview", () => stack.preview(run));
  const up = await counted("up", () => stack.up(run));
  const state = await stack.export();
  const attestation = verdictOf(state.resources);

  const second = await counted("up", () => stack.up(run));
  const changes = changesOf(second);

  const injected = driftOf(twin);
  await twin.drift(injected);
  const drifted = await counted("preview", () => stack.preview(run));
  const repair = await counted("up", () => stack.up(run));
  const after = await counted("preview", () => stack.preview(run));
  const lost = twin.loss === undefined ? undefined : await lose(stack, twin.loss, signal);
  const drift = {
    injected: twin.loss === undefined ? injected : `${injected}, ${twin.loss.what}`,
    seen: changesOf(drifted) > 0 && drifted.counts.mutations === 0 && lost?.seen !== false,
    repaired: repair.counts.mutations > 0 && changesOf(after) === 0 && lost?.repaired !== false,
  };

  await counted("destroy", () => stack.destroy(run));
  const left = (await stack.export()).resources;

  const result = {
    resources: state.resources.filter(isFacetResource).length,
    stateBytes: state.resources.filter(isFacetResource).reduce((sum, resource) => sum + bytesOf(resource), 0),
    reboots: up.counts.reboots,
    steps: up.counts.mutations,
    firstPreview: { steps: planOf(preview).length, writes: preview.counts.mutations },
    secondUp: { changes, mutations: second.counts.mutations },
    attestation,
    drift,
    destroyed: left.length === 0,
  };
  const ok =
    result.firstPreview.steps > 0 &&
    result.firstPreview.writes === 0 &&
    changes === 0 &&
    result.secondUp.mutations === 0 &&
    attestation.verdict === "pass" &&
    drift.seen &&
    drift.repaired &&
    result.destroyed;
  return { ok, ...result };
}

/** Pulumi's exit status for `--expect-no-changes` when there are some. */
export const CHANGES = 7;

/** An instance that is stopped or released behind Pulumi's back: seen without a failure, then made whole again. */
async function lose(
  stack: PulumiStack,
  { lose, help }: Loss,
  signal: AbortSignal,
): Promise<{ readonly seen: boolean; readonly repaired: boolean }> {
  await lose();
  const preview = await stack.preview({ signal });
  const refresh = await stack.refresh({ signal }, "--preview-only", "--expect-no-changes");
  await help?.();
  const repair = await stack.up({ signal }, "--refresh");
  const after = await stack.preview({ signal }, "--expect-no-changes");
  return {
    seen: preview.status === 0 && changesOf(preview) > 0 && refresh.status === CHANGES,
    repaired: repair.status === 0 && after.status === 0,
  };
}

/** Every line of the plans of instance and node that a preview shows, in order. */
export const planLines = (preview: Pick<PulumiRun, "parts">): string[] =>
  preview.parts.filter(({ type }) => /:(Node|Instance)Plan$/.test(type)).flatMap(({ plan }) => plan);

/** The steps among them: neither mere findings nor what is decided later. */
export const planOf = (preview: Pick<PulumiRun, "parts">): string[] =>
  planLines(preview).filter((line) => DISRUPTIONS.some((disruption) => line.startsWith(`[${disruption}] `)));

export const bytesOf = (resource: StateResource): number => Buffer.byteLength(JSON.stringify(resource));

const changesOf = ({ changes }: Pick<PulumiRun, "changes">): number =>
  Object.entries(changes).reduce((sum, [op, n]) => (op === "same" || op === "read" ? sum : sum + n), 0);

const ObservedSchema = z.object({
  verdict: z.string(),
  claims: z.record(z.string(), z.unknown()).default({}),
});

/** What the NVSwitches' attestation came to, e.g. `4 pass`; undefined where there are none. */
export function switchesOf(resources: readonly StateResource[]): string | undefined {
  const found = resources.find((resource) => resource.outputs["facet"] === "attestation");
  return z.object({ switches: z.string() }).safeParse(found?.outputs["observed"]).data?.switches;
}

/** Verdict and claims as the attestation resource has them in its outputs. */
export function verdictOf(resources: readonly StateResource[]): Verdict {
  const found = resources.find((resource) => resource.outputs["facet"] === "attestation");
  const observed = ObservedSchema.safeParse(found?.outputs["observed"]);
  return observed.success ? observed.data : { verdict: "missing", claims: {} };
}
