import { argv, env, exit } from "node:process";
import { setTimeout } from "node:timers/promises";
import { z } from "zod";
import { connectEngine } from "./engine.ts";
import { FACETS, facetNamed } from "./facets/index.ts";
import { appraiseOf, goalOf } from "./goal.ts";
import {
  bringInstancePart,
  checkInstancePart,
  INSTANCE_PLACE,
  INSTANCE_PLAN,
  isInstancePart,
  mayRelease,
  mustShow,
} from "./instances.ts";
import type { StackConfig } from "./kit/config.ts";
import type { Permit } from "./kit/disruption.ts";
import { permits, worst } from "./kit/disruption.ts";
import { TeeUpError } from "./kit/errors.ts";
import type { Step } from "./kit/facet.ts";
import { againBecause, isSession, NODE_SESSION, openSession } from "./kit/one-shot.ts";
import { readStackConfig } from "./kit/read-config.ts";
import type { NodeReview } from "./kit/review.ts";
import { type FacetScan, scanConfig } from "./kit/scan.ts";
import { openFleet } from "./machine/fleet.ts";
import { ago, openRecorded, readOnly } from "./machine/record.ts";
import { redact } from "./machine/redact.ts";
import type { Goal, Look } from "./reconcile.ts";
import { blocking, describe, digest, drifted, isFailing, Reconciler, refusal, waiting } from "./reconcile.ts";
import { scanned, unscanned } from "./scan.ts";

/**
 * The dynamic provider behind every resource of TeeUp. Its specifier, `teeup/host-provider`, and the name `provider`
 * are an ABI: the text kept in old states resolves them. Every older `stateVersion` stays readable.
 */
export const STATE_VERSION = 1;

/** Name of the resource that shows a node's whole plan and refuses it before anything is touched. */
export const NODE_PLAN = "node-plan";

/** How Pulumi writes a value that preview cannot know yet. */
const UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9";

const Want = z.record(z.string(), z.unknown());
const GoalSchema = z.strictObject({ facet: z.string(), want: Want });
const PlaceSchema = z.strictObject({ host: z.string().min(1), hostKeys: z.array(z.string()).optional() });
const InputsSchema = z.looseObject({
  node: z.string(),
  /** Where an instance is that the stack itself makes; otherwise the stack config says it. */
  at: PlaceSchema.optional(),
  facet: z.string(),
  want: Want.optional(),
  /** A digest once check has seen them: see {@link goalsSeen}. */
  goals: z.union([z.array(GoalSchema), z.string()]).optional(),
});
type Inputs = z.infer<typeof InputsSchema>;
type Props = Record<string, unknown>;

interface Configured {
  readonly reconciler: Reconciler;
  readonly permit: Permit;
  /** Facts are of records: nothing may change, neither a node nor the state. */
  readonly recorded: boolean;
  /** Hash of the reviewed plan of each node; undefined when no review is asked for. */
  readonly approved: ReadonlyMap<string, string> | undefined;
  /** Which machine each node is: the same plan of another one was not reviewed. */
  readonly places: ReadonlyMap<string, { readonly hostKey?: string | undefined }>;
  /** Nodes that this process may look at. */
  readonly names: ReadonlySet<string>;
}
interface CheckFailure {
  readonly property: string;
  readonly reason: string;
}

/**
 * Goals of the node plans that this process has checked, by their digest. Every facet shows its own want: in the plan
 * resource's inputs all of them again would bury the plan under hundreds of lines.
 */
const goalsSeen = new Map<string, readonly z.infer<typeof GoalSchema>[]>();
/** Nodes that this process has said cannot be reached. */
const missed = new Set<string>();

/** `node/facet` of every resource that the program of this run has: what delete must leave alone. */
const managed = new Set<string>();

/** Set in a read-only scan (`teeup drift`): the nodes to look at. */
const scan = env["TEEUP_SCAN"];

let configured: Configured | undefined;
/** Wrong stack config; kept, since only check can show it well. */
let misconfigured: Error | undefined;
const engine = connectEngine(argv[2]);

export const provider = {
  /** Called once per process. Synchronous: Pulumi does not wait for it before the next call. */
  configure(request: { readonly config: { get(key: string): unknown } }): void {
    try {
      const config = readStackConfig((key) => request.config.get(key));
      // An up that changed nothing keeps the setting in the state, and what a scan says is of the nodes themselves.
      const recorded = config.facts === "recorded" && scan === undefined;
      // A scan of some nodes has no connection to the others.
      const nodes = scan === undefined ? config : scanConfig(config, scan);
      const fleet = recorded ? openRecorded(config, config.records) : openFleet(nodes, env);
      const reconciler = new Reconciler(
        fleet,
        recorded ? {} : { appraise: appraiseOf(config, env), references: referencesOf(config) },
      );
      reconciler.prefetch(FACETS);
      const approved =
        config.approved === undefined
          ? undefined
          : new Map(config.approved.split(",").map((one) => one.split("=") as [string, string]));
      const places = new Map(
        config.nodes.map(({ name, ssh: { host, port, hostKey }, bmc }) => [
          name,
          { host, port, hostKey, bmc: bmc?.url },
        ]),
      );
      configured = { reconciler, permit: config.permit, recorded, approved, places, names: new Set(fleet.names) };
    } catch (error) {
      misconfigured = error instanceof TeeUpError ? error : new Error(message(error));
    }
  },

  /** Adds `plan`, what would be done now, so that even the first preview shows it. */
  async check(olds: Props, news: Props): Promise<{ inputs: Props; failures: CheckFailure[] }> {
    programRan = true;
    const { __provider, plan: _plan, review, measurement: _measurement, ...rest } = news;
    // A refresh checks nothing: this is a preview or an update, and would find that nothing drifted.
    if (scan !== undefined) return { inputs: rest, failures: [{ property: "", reason: notReadOnly().message }] };
    if (JSON.stringify(rest).includes(UNKNOWN)) return { inputs: laterInputs(rest), failures: [] };
    if (isInstancePart(rest)) return { inputs: checkInstancePart(olds, rest), failures: [] };
    try {
      const inputs = parseInputs(rest);
      if (isSession(rest)) return { inputs: { ...rest, ...(await sessionPlan(olds, inputs)) }, failures: [] };
      managed.add(keyOf(inputs));
      const kept = {
        ...rest,
        ...pinOf(inputs),
        ...(inputs.goals === undefined ? {} : { goals: keepGoals(inputs.goals) }),
      };
      const plan = await planOf(inputs);
      const measured = await measurement(inputs);
      return {
        inputs: { ...kept, plan, ...measured, ...(review === true ? { review: await reviewed(inputs) } : {}) },
        failures: [],
      };
    } catch (error) {
      // Without a property: Pulumi would put its name and value before a message that names all it has to.
      return { inputs: rest, failures: [{ property: "", reason: message(error) }] };
    }
  },

  /** Drift is what the machine shows now, never a difference of remembered plans. */
  async diff(
    _id: string,
    olds: Props,
    news: Props,
  ): Promise<{ changes: boolean; replaces: string[]; deleteBeforeReplace: boolean }> {
    if (scan !== undefined) return { changes: false, replaces: [], deleteBeforeReplace: true };
    if (JSON.stringify(news).includes(UNKNOWN)) return { changes: true, replaces: [], deleteBeforeReplace: true };
    if (isInstancePart(news))
      return { changes: changedInputs(olds, news) || mustShow(news), replaces: [], deleteBeforeReplace: true };
    const inputs = parseInputs(news);
    if (isSession(news)) {
      const changes =
        (await sessionPlan(olds, inputs)).plan.length > 0 || digest(olds["at"] ?? {}) !== digest(news["at"] ?? {});
      return { changes, replaces: [], deleteBeforeReplace: true };
    }
    const replaces = ["node", "facet"].filter((key) => olds[key] !== news[key]);
    const wantChanged =
      inputs.facet === NODE_PLAN
        ? olds["goals"] !== keepGoals(inputs.goals ?? [])
        : digest(olds["want"]) !== digest(news["want"]);
    const moved = digest(olds["at"] ?? {}) !== digest(news["at"] ?? {});
    const changes =
      replaces.length > 0 ||
      wantChanged ||
      moved ||
      ("measurement" in news && olds["measurement"] !== news["measurement"]) ||
      lostItsEvidence(inputs, olds) ||
      (await hasDrifted(inputs));
    return { changes, replaces, deleteBeforeReplace: true };
  },

  async create(inputs: Props): Promise<{ id: string; outs: Props }> {
    refuseRecorded(inputs);
    if (isInstancePart(inputs)) return { id: keyOf(InputsSchema.parse(inputs)), outs: instancePart(undefined, inputs) };
    const id = keyOf(InputsSchema.parse(inputs));
    if (isSession(inputs)) return { id, outs: await session(inputs) };
    return { id, outs: await underWay(bring(id, inputs, true)) };
  },

  async update(id: string, olds: Props, news: Props): Promise<{ outs: Props }> {
    refuseRecorded(news);
    if (isInstancePart(news)) return { outs: instancePart(olds, news) };
    if (isSession(news)) return { outs: await session(news) };
    const moved = digest(olds["at"] ?? {}) !== digest(news["at"] ?? {});
    return { outs: await underWay(bring(id, news, moved)) };
  },

  async read(id: string, props: Props): Promise<{ id: string; props: Props }> {
    if (scan !== undefined) return { id, props: { ...props, ...(await scanOf(props)) } };
    try {
      refuseRecorded(props);
      // What is still to be done shows in diff, which has the goals; the plan resource itself holds nothing seen.
      if (props["facet"] === NODE_PLAN || isInstancePart(props) || isSession(props)) return { id, props };
      const inputs = parseInputs(props);
      const lost = await lostInstance(inputs.node);
      if (lost !== undefined) return { id, props: { ...props, ...lost } };
      await ready().reconciler.reach(inputs.node);
      const looks = await lookAll(inputs, true);
      return {
        id,
        props: {
          ...outputsOf(
            inputs,
            looks.map(({ look }) => look),
          ),
          ...("measurement" in props ? { measurement: props["measurement"] } : {}),
        },
      };
    } catch (error) {
      throw quiet(error);
    }
  },

  async delete(_id: string, props: Props): Promise<void> {
    try {
      refuseRecorded(props);
      if (props["facet"] === INSTANCE_PLACE) {
        // Its place goes before the instance does, in a replacement too.
        refuseOfInstance(props, "releasing its instance");
        refuseOldConfig(props);
        mayRelease(props, ready().permit);
      }
      if (props["facet"] === NODE_PLAN || isInstancePart(props) || isSession(props)) return;
      refuseOldConfig(props);
      const inputs = parseInputs(props);
      const { reconciler } = ready();
      if (managed.has(keyOf(inputs))) {
        // A resource that got another name or parent: undoing the old one would tear down what the new one has.
        engine.progress(`${keyOf(inputs)} stays: another resource of this stack manages it now`);
        return;
      }
      if (await wentWithItsInstance(inputs, props)) {
        engine.warn(
          `${keyOf(inputs)}: its instance cannot be reached, now as at the last refresh, so nothing was undone; if it still runs, what up made there stays`,
        );
        return;
      }
      if (ready().approved !== undefined) throw unreviewed(inputs.node, `undoing ${inputs.facet}`);
      await reconciler.reach(inputs.node);
      await underWay(reconciler.undo(goalOf(inputs.node, inputs.facet, inputs.want), run()));
    } catch (error) {
      throw quiet(error);
    }
  },
};

/** Set once the program of this run has registered something: then the config is today's. */
let programRan = false;

/**
 * A destroy that does not run the program is given the config of the last up: a permit that was taken back since would
 * still hold, and one that was given would not.
 */
function refuseOldConfig(props: Props): void {
  if (programRan || /^(1|true)$/i.test(env["PULUMI_RUN_PROGRAM"] ?? "")) return;
  throw new TeeUpError({
    code: "destroy.old-config",
    node: String(props["node"]),
    saw: "without the program Pulumi destroys by the config of the last up, its teeup:permit and teeup:nodes too; nothing was changed",
    next: "PULUMI_RUN_PROGRAM=true pulumi destroy (npm run pulumi -- destroy sets it)",
  });
}

function ready(): Configured {
  if (misconfigured !== undefined) throw misconfigured;
  if (configured === undefined) throw new Error("the provider was not configured");
  return configured;
}

const keyOf = ({ node, facet }: Inputs): string => `${node}/${facet}`;

/** Changes of nodes that this process is at. */
const changing = new Set<Promise<unknown>>();

async function underWay<T>(change: Promise<T>): Promise<T> {
  changing.add(change);
  try {
    return await change;
  } finally {
    changing.delete(change);
  }
}

/** How long a step that cannot be interrupted may take after the engine has gone; a node stands a kill in any step. */
const LEAVE_MS = 120_000;

/** An engine that is gone ends no provider, and this one holds locks of nodes: it leaves once its changes have ended. */
engine.gone.addEventListener("abort", async () => {
  const ended = Promise.allSettled(changing).then(() => configured?.reconciler.close());
  await Promise.race([ended.catch(() => undefined), setTimeout(LEAVE_MS)]);
  exit(1);
});

function run() {
  const { progress, gone, listens } = engine;
  return { permit: ready().permit, onProgress: (line: string) => progress(redact(line)), signal: gone, listens };
}

/** Outputs of instance-plan and instance-place keep what they were made with under the names of their inputs. */
function changedInputs(olds: Props, news: Props): boolean {
  const keys = ["shape", "instanceId", "host", "said", "image"] as const;
  return keys.some((key) => key in news && digest(olds[key] ?? null) !== digest(news[key] ?? null));
}

/** A review is of a node's plan; what is done to the instance around it, no review holds. */
function refuseOfInstance(props: Props, what: string): void {
  if (ready().approved !== undefined) throw unreviewed(String(props["node"]), what);
}

function instancePart(olds: Props | undefined, news: Props): Props {
  if (news["facet"] === INSTANCE_PLAN) refuseOfInstance(news, "making or changing its instance");
  const outs = bringInstancePart(olds, news, ready().permit, (line) => engine.say(line));
  const { said, host } = news;
  return { ...outs, ...(said === undefined ? {} : { said, host }), stateVersion: STATE_VERSION };
}

/**
 * What a scan sees. Never throws: one node's trouble would end the engine's look at all others. A plan, the parts of an
 * instance and its session show nothing of a machine.
 */
async function scanOf(props: Props): Promise<{ scan?: FacetScan }> {
  const { node, facet } = InputsSchema.parse(props);
  if (facet === NODE_PLAN || isInstancePart(props) || isSession(props)) return {};
  try {
    if (!ready().names.has(node)) return {};
    const inputs = parseInputs(props);
    await ready().reconciler.reach(node);
    const look = await ready().reconciler.look(goalOf(node, facet, inputs.want), { evidence: true });
    return { scan: scanned(facet, look) };
  } catch (error) {
    return { scan: unscanned(facet, error) };
  }
}

const notReadOnly = (): TeeUpError =>
  new TeeUpError({
    code: "scan.not-read-only",
    subject: "TEEUP_SCAN",
    saw: "it is set, and this is no scan",
    next: "unset TEEUP_SCAN; teeup drift sets it for itself",
  });

/** What a record says is good for a preview, and for nothing that is kept. */
function refuseRecorded(props: Props): void {
  if (ready().recorded) throw quiet(readOnly(String(props["node"])));
}

/** The boot that it is in, and lines that say why commands would run or that it cannot be asked. */
async function sessionPlan(olds: Props, inputs: Inputs): Promise<{ bootId?: string; plan: string[] }> {
  const { reconciler } = ready();
  try {
    await reconciler.reach(inputs.node);
    const bootId = await reconciler.bootId(inputs.node);
    return { ...(bootId === undefined ? {} : { bootId }), plan: againBecause(olds, inputs, bootId) };
  } catch (error) {
    if (!isUnreachable(error)) throw quiet(error);
    return { plan: [`[unknown] ${inputs.node} cannot be reached: ${redact(error.parts.saw)}`] };
  }
}

async function session(props: Props): Promise<Props> {
  try {
    const inputs = parseInputs(props);
    const { reconciler } = ready();
    await reconciler.reach(inputs.node);
    const bootId = await reconciler.bootId(inputs.node);
    const outs = openSession(inputs, bootId, await reconciler.door(inputs.node), env["SSH_AUTH_SOCK"]);
    return { ...outs, ...(inputs.at === undefined ? {} : { at: inputs.at }), stateVersion: STATE_VERSION };
  } catch (error) {
    throw error instanceof TeeUpError ? new Error(redact(error.message)) : error;
  }
}

/** Every operation begins here, so that the node is found where this resource says it is. */
function parseInputs(props: Props): Inputs {
  const inputs = InputsSchema.parse(props);
  if (inputs.at !== undefined) ready().reconciler.locate(inputs.node, inputs.at, FACETS);
  return inputs;
}

/** Inputs that a preview does not know yet, with what it can say. */
function laterInputs(props: Props): Props {
  const goals = z.array(GoalSchema).safeParse(props["goals"]);
  return { ...props, ...(goals.success ? { goals: keepGoals(goals.data) } : {}), plan: laterPlan(props) };
}

/** What a preview can say of a node that the same stack has yet to make. */
function laterPlan(props: Props): string[] {
  const { facet, goals } = z
    .looseObject({ facet: z.string(), goals: z.array(z.looseObject({ facet: z.string() })).optional() })
    .catch({ facet: "" })
    .parse(props);
  if (facet === INSTANCE_PLACE) return [];
  if (facet === NODE_SESSION) return ["[later] its commands: once it is attested"];
  const names = facet === NODE_PLAN ? (goals ?? []).map((goal) => goal.facet) : [facet];
  return names.map((name) => `[later] ${name}: decided when the instance exists`);
}

function goalsOf(inputs: Inputs): Goal[] {
  if (inputs.facet !== NODE_PLAN) return [goalOf(inputs.node, inputs.facet, inputs.want)];
  const { goals = [] } = inputs;
  // A refresh has the digest alone: there every facet speaks for itself.
  const all = typeof goals === "string" ? (goalsSeen.get(goals) ?? []) : goals;
  return all.map(({ facet, want }) => goalOf(inputs.node, facet, want));
}

/** Asked once per process, and only where the stack asks for evidence of GPUs. */
function referencesOf(config: StackConfig): (() => Promise<readonly string[]>) | undefined {
  if (config.attestation?.gpus !== true) return undefined;
  let ids: Promise<readonly string[]> | undefined;
  return () => {
    ids ??= import("./appraise.ts").then(({ publishedReferences }) => publishedReferences(config, env));
    return ids;
  };
}

/** What the guest will measure, for inputs and outputs: known before it boots, so that a preview shows a change of it. */
async function measurement({ facet, want }: Inputs): Promise<{ measurement?: string }> {
  if (facet === NODE_PLAN) return {};
  const { launch, want: schema } = facetNamed(facet);
  const parsed = launch === undefined ? undefined : schema.safeParse(want);
  const how = parsed?.success === true ? launch?.(parsed.data) : undefined;
  if (how === undefined) return {};
  // Without the rest of the verifier, which a preview does not need.
  const [{ measurementOf }, { readHere }] = await Promise.all([
    import("./attest/launch-file.ts"),
    import("./machine/collateral.ts"),
  ]);
  return { measurement: await measurementOf(how, readHere) };
}

/** The last look at its evidence, be it a refresh of another process, was no pass: then a look that asks for none proves nothing. */
function lostItsEvidence({ facet }: Inputs, olds: Props): boolean {
  if (facet === NODE_PLAN || facetNamed(facet).evidence === undefined) return false;
  return z.looseObject({ observed: z.looseObject({ verdict: z.literal("pass") }) }).safeParse(olds).success === false;
}

/** In order: facets that stage come before the one that boots. */
async function lookAll(inputs: Inputs, evidence = false): Promise<{ goal: Goal; look: Look }[]> {
  const looks: { goal: Goal; look: Look }[] = [];
  for (const goal of goalsOf(inputs)) looks.push({ goal, look: await ready().reconciler.look(goal, { evidence }) });
  return looks;
}

/**
 * What would be done now, a line each. A node that cannot be reached fails no check, since that would end the whole
 * deployment, the other nodes' part too: it is said here, and is the error of that node's first change.
 */
async function planOf(inputs: Inputs): Promise<string[]> {
  try {
    await ready().reconciler.reach(inputs.node);
  } catch (error) {
    if (!isUnreachable(error)) throw error;
    const { saw, next } = error.parts;
    const todo = ready().reconciler.cloud(inputs.node) === undefined ? "" : `; ${next}`;
    const line = `${inputs.node} cannot be reached, so nothing is known of it: ${redact(saw)}${todo}`;
    if (!missed.has(inputs.node)) engine.warn(line);
    missed.add(inputs.node);
    return [`[unknown] ${line}`];
  }
  await sayAge(inputs.node);
  const looks = await lookAll(inputs);
  const lines = looks.map(({ look }) => planLines(look));
  // In a node's plan a check that fails now is one line: what comes before it mends it, or its own resource says all.
  return (inputs.facet === NODE_PLAN ? lines.map(inShort) : lines).flat().map(redact);
}

/** For a preview that was asked for it. Loaded only then: what compares files costs every other run its start. */
async function reviewed(inputs: Inputs): Promise<NodeReview> {
  const { planHash, reviewOf, unreachedReview } = await import("./review.ts");
  const { reconciler, permit } = ready();
  try {
    await reconciler.reach(inputs.node);
    const seen = await lookAll(inputs);
    if (inputs.facet !== NODE_PLAN) return await reviewOf(reconciler, inputs.node, seen, permit);
    // Its parts say theirs themselves.
    return {
      ...(await reviewOf(reconciler, inputs.node, [], permit)),
      hash: planHash(inputs.node, seen, placeOf(inputs)),
    };
  } catch (error) {
    if (!isUnreachable(error)) throw error;
    return unreachedReview(inputs.node, permit, error);
  }
}

async function hasDrifted(inputs: Inputs): Promise<boolean> {
  try {
    await ready().reconciler.reach(inputs.node);
    return (await lookAll(inputs)).some(({ look }) => drifted(look));
  } catch (error) {
    if (isUnreachable(error)) return true;
    throw quiet(error);
  }
}

/**
 * What a refresh sees of an instance that is stopped or was released: that is drift like any other, and no reason to end
 * the refresh of what else there is. Undefined for an instance that answers, and for a machine of one's own.
 */
async function lostInstance(node: string): Promise<Props | undefined> {
  const { reconciler } = ready();
  if (reconciler.cloud(node) === undefined) return undefined;
  try {
    await reconciler.reach(node);
    return undefined;
  } catch (error) {
    if (!isUnreachable(error)) throw error;
    const { saw, next } = error.parts;
    const why = redact(`cannot be reached: ${saw}`);
    return { observed: { unreachable: why }, findings: [`unknown ${error.code}: ${why}; ${next}`] };
  }
}

/** Nodes of which this process has said how old their facts are. */
const dated = new Set<string>();

async function sayAge(node: string): Promise<void> {
  const record = await ready().reconciler.recorded(node);
  if (record === undefined || dated.has(node)) return;
  dated.add(node);
  engine.warn(`${node}: its facts were recorded ${ago(record.at)} (${record.at}); the node itself is not looked at`);
}

/**
 * A part of an instance that the stack made, which the last refresh could not reach and which cannot be reached now:
 * Pulumi only asks to delete it alone when that refresh took the instance, with which it ends, out of the state.
 */
async function wentWithItsInstance(inputs: Inputs, props: Props): Promise<boolean> {
  const seen = z.looseObject({ observed: z.looseObject({ unreachable: z.string() }) }).safeParse(props);
  return inputs.at !== undefined && seen.success && (await lostInstance(inputs.node)) !== undefined;
}

const isUnreachable = (error: unknown): error is TeeUpError =>
  error instanceof TeeUpError && error.code === "node.unreachable";

/** The digest of goals, under which this process finds them again. */
function keepGoals(goals: NonNullable<Inputs["goals"]>): string {
  if (typeof goals === "string") return goals;
  const key = digest(goals);
  goalsSeen.set(key, goals);
  return key;
}

/** Steps, and what fails without a step that would mend it. */
function planLines(look: Look): string[] {
  const steps = look.steps.map(describe);
  const failing = look.findings.filter(isFailing);
  return steps.length > 0
    ? steps
    : failing.map((f) => `[${f.level === "unknown" ? "unknown" : "check"}] ${f.code}: want ${f.want}, saw ${f.saw}`);
}

/** Steps as they are; of findings the first, and how many more there are. */
function inShort(lines: readonly string[]): readonly string[] {
  const [first, ...more] = lines;
  if (first === undefined || more.length === 0 || !/^\[(check|unknown)\]/.test(first)) return lines;
  return [`${first} (and ${more.length} more)`];
}

/** `arrives`: the node may be an instance that was made a moment ago. */
async function bring(id: string, props: Props, arrives: boolean): Promise<Props> {
  try {
    const inputs = parseInputs(props);
    if (arrives && inputs.at !== undefined && inputs.facet === NODE_PLAN)
      await ready().reconciler.arrive(inputs.node, run());
    await ready().reconciler.reach(inputs.node);
    if (inputs.facet === NODE_PLAN) return await gate(inputs);
    if (ready().approved !== undefined && !gated.has(inputs.node)) throw unreviewed(inputs.node, inputs.facet);
    const done = await ready().reconciler.reconcile(goalOf(inputs.node, inputs.facet, inputs.want), run());
    const outs = { ...outputsOf(inputs, [done]), ...(await measurement(inputs)) };
    const failing = blocking(done);
    if (failing.length === 0) return outs;
    const reasons = failing.map((f) =>
      redact(`${inputs.node} · ${f.code}: want ${f.want}, saw ${f.saw}\n  next: ${f.hint} (${f.source})`),
    );
    // Recorded as made but not well: the next up goes on here. Without __provider no later operation could run.
    throw Object.assign(new Error(reasons.join("\n")), {
      id,
      properties: { ...outs, __provider: props["__provider"] },
      reasons,
    });
  } catch (error) {
    throw error instanceof TeeUpError ? new Error(redact(error.message)) : error;
  }
}

/** Nodes whose whole plan was let pass in this process. */
const gated = new Set<string>();

/** By what the node is known, for policies: nothing else of how it is reached is an input. */
const pinOf = ({ node, facet, at }: Inputs): { hostKey?: string } =>
  facet === NODE_PLAN && at === undefined ? { hostKey: ready().places.get(node)?.hostKey ?? "known_hosts" } : {};

const placeOf = ({ node, at }: Inputs): object => ({ ...ready().places.get(node), at });

/** Throws `approval.other-plan` when the node's plan is not the one that was reviewed. */
async function refuseUnreviewed(inputs: Inputs, looks: readonly { goal: Goal; look: Look }[]): Promise<void> {
  const { node } = inputs;
  const { approved } = ready();
  if (approved === undefined) return;
  const { planHash } = await import("./review.ts");
  const hash = planHash(node, looks, placeOf(inputs));
  if (approved.get(node) === hash) return;
  const lines = looks.flatMap(({ look }) => look.steps).map((step) => `\n    ${describe(step)}`);
  throw new TeeUpError({
    code: "approval.other-plan",
    node,
    subject: "teeup:approved",
    saw: `${approved.has(node) ? "its plan is not the one that was reviewed" : "no plan of it was reviewed"}; nothing was changed. It is now ${hash}:${lines.join("")}`,
    next: `teeup report, and once that is reviewed: pulumi config set teeup:approved ${node}=${hash}`,
  });
}

/** What no reviewed plan has is not done either: a part without its node's plan, or what a delete undoes. */
function unreviewed(node: string, what: string): TeeUpError {
  return new TeeUpError({
    code: "approval.not-in-plan",
    node,
    subject: "teeup:approved",
    saw: `${what} is in no plan that was reviewed; nothing was changed`,
    next: "pulumi config rm teeup:approved allows it, without a review; for a part of a node, up without --target",
  });
}

/** Refuses a node's whole plan when any step is above the permit, before anything is touched. */
async function gate(inputs: Inputs): Promise<Props> {
  const { permit } = ready();
  if (typeof inputs.goals === "string" && !goalsSeen.has(inputs.goals))
    throw new Error(`${inputs.node}: this run has not seen the goals of its plan; run pulumi up again`);
  const looks = await lookAll(inputs);
  const steps: readonly Step[] = looks.flatMap(({ look }) => look.steps);
  // A person's step that comes after others stops the run where it comes, not before it begins.
  const over = steps.filter((step) => !permits(permit, step.disruption) && step.afterOthers !== true);
  if (over.length > 0) throw refusal(inputs.node, NODE_PLAN, over, permit);
  if (steps.length > 0 && ready().approved !== undefined) {
    await refuseUnreviewed(inputs, looks);
    // What was seen so far may be another run's past; what is let pass has to be what its parts then see.
    await ready().reconciler.hold(inputs.node);
    await refuseUnreviewed(inputs, await lookAll(inputs));
  }
  gated.add(inputs.node);
  return {
    node: inputs.node,
    facet: inputs.facet,
    ...(inputs.at === undefined ? {} : { at: inputs.at }),
    goals: keepGoals(inputs.goals ?? []),
    // A run that ends half-way leaves a node of which the state has a part only: who scans it can tell by this.
    facets: looks.map(({ goal }) => goal.facet.name).join(" "),
    stateVersion: STATE_VERSION,
    permitted: permit,
    worst: worst(steps.map((step) => step.disruption)),
  };
}

function outputsOf(inputs: Inputs, looks: readonly Look[]): Props {
  const findings = looks.flatMap((look) =>
    waiting(look).length > 0
      ? [`waits for a restart: ${waiting(look).length} settings, see host-boot`]
      : look.findings.filter((f) => f.level !== "pass").map((f) => `${f.level} ${f.code}: ${redact(f.saw)}`),
  );
  return {
    node: inputs.node,
    facet: inputs.facet,
    ...(inputs.at === undefined ? {} : { at: inputs.at }),
    want: inputs.want ?? {},
    stateVersion: STATE_VERSION,
    observed: JSON.parse(redact(JSON.stringify(Object.assign({}, ...looks.map((look) => look.observed))))) as Props,
    findings,
  };
}

function message(error: unknown): string {
  if (error instanceof z.ZodError) return error.issues.map((i) => `${i.path.join(".")}: ${i.message}`).join("; ");
  return redact(error instanceof Error ? error.message : String(error));
}

/** Pulumi prints message and stack of what read and delete throw; the stack says nothing to a person. */
function quiet(error: unknown): Error {
  const out = new Error(message(error));
  out.stack = "";
  return out;
}
