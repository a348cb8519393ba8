import { setTimeout } from "node:timers/promises";
import { TeeUpError } from "../../providers/kit/errors.ts";
import { redact } from "../../providers/machine/redact.ts";
import type { NodeDrift } from "../formats/drift-facts.ts";
import { facetLine } from "../formats/drift-facts.ts";
import type { NodeParts, StackPreview, WalkStack } from "./engine.ts";
import type { Journal } from "./journal.ts";
import type { Batch, Rules, Stage, Walk } from "./plan.ts";
import { isOut, isStopped, next } from "./plan.ts";

/** A node of the walk, in the order of the fleet. */
export interface WalkNode {
  readonly stack: string;
  readonly node: string;
  /** It was chosen to go first. */
  readonly canary: boolean;
}

export interface WalkParts extends Rules {
  readonly nodes: readonly WalkNode[];
  readonly stacks: ReadonlyMap<string, WalkStack>;
  readonly journal: Journal;
  /** What the facets say of these nodes now; one for each, in their order. */
  readonly look: (nodes: readonly WalkNode[]) => Promise<readonly NodeDrift[]>;
  readonly say: (line: string) => void;
  /** Aborted, what is under way is interrupted, and nothing more is taken. */
  readonly signal: AbortSignal;
  /** How long a node that a killed run was restarting may take to answer, ms; default 15 min. */
  readonly returnMs?: number;
}

/**
 * `done`: brought up, and every facet is as it should be. `as-wanted`: it was so before, and was not taken. `failed`: why
 * says what. `unavailable`: not as it should be, and `up` could do nothing about it, or it cannot be reached. `not-taken`:
 * the walk ended before.
 */
export type Outcome = "done" | "as-wanted" | "failed" | "unavailable" | "not-taken";

export interface WalkedNode {
  readonly stack: string;
  readonly node: string;
  readonly outcome: Outcome;
  /** Why it is neither done nor as wanted. */
  readonly why?: string;
  /** Wall time of the `up` that it was part of. */
  readonly seconds?: number;
}

export interface Walked {
  readonly nodes: readonly WalkedNode[];
  /** The most nodes that were unavailable at a time, by this walk or by themselves. */
  readonly mostUnavailable: number;
  /** A failure or a signal ended it; what was not taken stays for the same command. */
  readonly stopped: boolean;
}

interface State {
  readonly of: WalkNode;
  readonly key: string;
  readonly parts: NodeParts | undefined;
  stage: Stage;
  seen: NodeDrift;
  /** When a killed run took it, ISO 8601. */
  interrupted: string | undefined;
  why?: string;
  seconds?: number;
}

const RETURN_MS = 900_000;
const RETURN_POLL_MS = 2_000;

/** Works through the nodes. Throws what a preview throws, and `rolling.shared`, before a node is taken. */
export async function walk(parts: WalkParts): Promise<Walked> {
  const { journal, say, signal } = parts;
  const states = await begin(parts);
  const keyed = new Map(states.map((state) => [state.key, state]));
  const canary = journal.before.canaryPassed ? undefined : canaryOf(states);
  if (canary !== undefined) say(`${canary.key} is the canary: it goes first, and alone`);
  const standing = (): Walk => ({
    maxUnavailable: parts.maxUnavailable,
    stopOnFailure: parts.stopOnFailure,
    canary: states.some(({ stage }) => stage === "done") ? undefined : canary?.of,
    nodes: states.map((state) => ({
      stack: state.of.stack,
      node: state.of.node,
      stage: state.stage,
      available: state.seen.status === "clean" && state.interrupted === undefined,
    })),
  });
  let mostUnavailable = 0;
  const count = () => {
    mostUnavailable = Math.max(mostUnavailable, standing().nodes.filter(isOut).length);
  };
  count();

  const running = new Map<string, Promise<string>>();
  for (;;) {
    const batches = signal.aborted ? [] : next(standing());
    for (const batch of batches) {
      const of = batch.nodes.flatMap((node) => keyed.get(`${batch.stack}/${node}`) ?? []);
      // On the disk first: a kill between the two takes a node for unavailable that is not, never the other way round.
      await journal.add({ what: "take", nodes: of.map(({ key }) => key) });
      for (const state of of) state.stage = "taken";
      running.set(
        batch.stack,
        work(parts, batch, of).then(() => batch.stack),
      );
    }
    count();
    if (running.size === 0) break;
    running.delete(await Promise.race(running.values()));
    if (signal.aborted) continue;
    // Time has passed: who was well may not be so any more.
    const others = states.filter(({ stage }) => stage !== "taken");
    const seen = await parts.look(others.map(({ of }) => of));
    for (const [n, state] of others.entries()) state.seen = seen[n] ?? state.seen;
    count();
  }
  return {
    nodes: states.map((state) => ended(state, parts.maxUnavailable)),
    mostUnavailable,
    stopped: signal.aborted || isStopped(standing()),
  };
}

/** Previews every stack and looks at every node, so that what is refused is refused before the first one is taken. */
async function begin({ nodes, stacks, journal, look, say, signal, returnMs }: WalkParts): Promise<State[]> {
  const previews = new Map<string, StackPreview>(
    await Promise.all([...stacks].map(async ([name, stack]) => [name, await stack.preview()] as const)),
  );
  for (const [stack, { shared }] of previews)
    if (shared.length > 0)
      throw new TeeUpError({
        code: "rolling.shared",
        subject: `stack ${stack}`,
        saw: `up would change what belongs to no single node: ${shared.map((urn) => urn.split("::").at(-1)).join(", ")}`,
        next: `bring these up first, each as pulumi up --stack ${stack} --target <urn>: ${shared.join(" ")}`,
      });
  const seen = await look(nodes);
  const states = nodes.map((of, n): State => {
    const key = `${of.stack}/${of.node}`;
    const found = seen[n];
    if (found === undefined) throw new Error(`nobody looked at ${key}`);
    const preview = previews.get(of.stack)?.nodes.get(of.node);
    return { of, key, parts: preview, stage: "left", seen: found, interrupted: journal.before.interrupted.get(key) };
  });
  for (const state of states) {
    if (state.interrupted !== undefined) {
      say(
        `${state.key} was being worked on by a run that ended at once, from ${state.interrupted} on: it is unavailable`,
      );
      await returned(state, look, returnMs ?? RETURN_MS, say, signal);
    }
    const changes = state.parts !== undefined && (state.parts.changes || state.interrupted !== undefined);
    if (changes && state.seen.status !== "unreachable") state.stage = "waiting";
  }
  return states;
}

/** A node that was restarting when its run was killed is on its way back. */
async function returned(
  state: State,
  look: WalkParts["look"],
  withinMs: number,
  say: WalkParts["say"],
  signal: AbortSignal,
): Promise<void> {
  const until = performance.now() + withinMs;
  for (let said = false; state.seen.status === "unreachable" && !signal.aborted; said = true) {
    if (performance.now() > until) return;
    if (!said) say(`${state.key} does not answer: waited for, up to ${Math.round(withinMs / 1000)} s`);
    await setTimeout(Math.min(RETURN_POLL_MS, withinMs), undefined, { signal }).catch(() => undefined);
    state.seen = (await look([state.of]))[0] ?? state.seen;
  }
}

function canaryOf(states: readonly State[]): State | undefined {
  const open = states.filter(({ stage }) => stage === "waiting");
  // Who was begun is ended first; it is as good a canary as any.
  return open.find(({ interrupted }) => interrupted !== undefined) ?? open.find(({ of }) => of.canary) ?? open[0];
}

async function work(
  { stacks, journal, look, say, signal }: WalkParts,
  batch: Batch,
  of: readonly State[],
): Promise<void> {
  const stack = stacks.get(batch.stack);
  if (stack === undefined) throw new Error(`no stack ${batch.stack}`);
  const targets = new Map(
    of.flatMap(({ of: { node }, parts }) => (parts === undefined ? [] : [[node, parts] as const])),
  );
  const since = of.flatMap(({ interrupted }) => interrupted ?? []).toSorted()[0];
  const tell = (line: string) => say(`${of.map(({ key }) => key).join(", ")}: ${line}`);
  tell("up");
  const begun = performance.now();
  let failures: ReadonlyMap<string, string>;
  let begunAgain = true;
  try {
    failures = await stack.up(targets, since, signal, tell);
  } catch (error) {
    // Of the stack, so of each: whatever it was, these nodes were not brought up.
    begunAgain = false;
    const why = redact(error instanceof Error ? error.message : String(error));
    failures = new Map([...targets.keys()].map((node) => [node, why]));
  }
  const seconds = Math.round((performance.now() - begun) / 100) / 10;
  // It stays taken in the journal: whoever goes on takes it for unavailable.
  if (signal.aborted) {
    for (const state of of)
      Object.assign(state, { stage: "failed", seconds, why: "interrupted: this run was told to end" });
    return;
  }
  const seen = await look(of.map((state) => state.of));
  for (const [n, state] of of.entries()) {
    state.seen = seen[n] ?? state.seen;
    // What a killed run began, and this one did not come to, is still begun.
    const stays = !begunAgain && state.interrupted !== undefined;
    if (!stays) state.interrupted = undefined;
    state.seconds = seconds;
    const why = failures.get(state.of.node) ?? (state.seen.status === "clean" ? undefined : whyNot(state.seen));
    state.stage = why === undefined ? "done" : "failed";
    if (why !== undefined) state.why = why;
    if (!stays) await journal.add({ what: why === undefined ? "done" : "failed", node: state.key });
    say(why === undefined ? `${state.key}: as wanted (${seconds} s)` : `${state.key}: failed (${seconds} s): ${why}`);
  }
}

/** What the first facet that is not as it should be says. */
function whyNot({ status, facets, error }: NodeDrift): string {
  if (error !== undefined) return `${status}: ${error.saw} [${error.code}]; next: ${error.next}`;
  const first = facets.find((facet) => facet.status !== "clean");
  return first === undefined ? status : `${first.facet} is ${first.status}: ${facetLine(first)}`;
}

function ended({ of: { stack, node }, stage, seen, why, seconds }: State, maxUnavailable: number): WalkedNode {
  const took = seconds === undefined ? {} : { seconds };
  if (stage === "done") return { stack, node, outcome: "done", ...took };
  if (stage === "failed") return { stack, node, outcome: "failed", why: why ?? whyNot(seen), ...took };
  if (stage === "waiting")
    return {
      stack,
      node,
      outcome: "not-taken",
      why: `the walk ended before, or ${maxUnavailable} were unavailable already`,
    };
  return seen.status === "clean"
    ? { stack, node, outcome: "as-wanted" }
    : { stack, node, outcome: "unavailable", why: whyNot(seen) };
}
