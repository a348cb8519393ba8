import { createHash } from "node:crypto";
import type { Appraisal, Appraise } from "./kit/appraisal.ts";
import { GUEST_HOLDS_GPU } from "./kit/argv.ts";
import type { Ask, Asks } from "./kit/ask.ts";
import { text } from "./kit/ask.ts";
import { CLOUDS, type Cloud, HOST_FACETS_OF_INSTANCES, inCloud } from "./kit/cloud.ts";
import type { Disruption, Permit } from "./kit/disruption.ts";
import { permits, worst } from "./kit/disruption.ts";
import { TeeUpError } from "./kit/errors.ts";
import type { Facet, Finding, Pending, PlanContext, Step } from "./kit/facet.ts";
import type { Fact } from "./kit/facts.ts";
import type { Door, Fleet, Lock, Machine, Place } from "./kit/machine.ts";
import { isPublished } from "./kit/references.ts";

/** Asked of every host in its first batch, whatever facets it has. */
const HOST_PROBE = { reach: { kind: "argv", argv: ["uname", "-r"] } } as const satisfies Asks;
/** Changes with every start of a system. */
const BOOT_PROBE = { boot: { kind: "argv", argv: ["cat", "/proc/sys/kernel/random/boot_id"] } } as const satisfies Asks;
const GUEST_PROBE = { holder: { kind: "argv", argv: GUEST_HOLDS_GPU } } as const satisfies Asks;

/** Rounds of observe → plan → act before a facet that still plans something counts as not converging. */
export const MAX_ROUNDS = 4;
/** The facet that boots gets more: three for BIOS settings that depend on each other, one to keep a trial kernel. */
const MAX_BOOT_ROUNDS = 6;

/** Codes of the machine room for a machine that does not answer at all. */
const NETWORK: ReadonlySet<string> = new Set([
  "ssh.refused",
  "ssh.timeout",
  "ssh.unreachable",
  "ssh.closed",
  "ssh.lost",
]);

/** Seconds until a new instance must take SSH sessions. */
const ARRIVAL_SECONDS = 900;

/** A facet with its wanted state on one node. `want` has been parsed by the facet's schema. */
export interface Goal {
  readonly facet: Facet;
  readonly node: string;
  readonly want: unknown;
}

/** What one observation says. */
export interface Look {
  readonly facts: unknown;
  readonly findings: readonly Finding[];
  readonly steps: readonly Step[];
  readonly pending: Pending | undefined;
  /** {@link Facet.show} of the facts. */
  readonly observed: Readonly<Record<string, unknown>>;
}

export interface Done extends Look {
  /** Codes of the steps that ran, in order. */
  readonly ran: readonly string[];
}

export interface Run {
  readonly permit: Permit;
  readonly onProgress: (line: string) => void;
  /** Aborted when the engine is gone. */
  readonly signal: AbortSignal;
  /** Looks before each change whether the engine is still there, and aborts `signal` when it is not. */
  readonly listens?: () => Promise<void>;
}

/** A finding that a person must act on: a failed check, or one that could not be made. */
export const isFailing = (finding: Finding): boolean => finding.level === "fail" || finding.level === "unknown";

/** What waits for a restart of the machine; empty when nothing does. */
export const waiting = (look: Look): readonly string[] => look.pending?.reasons ?? [];

/** Findings that make a facet fail: what only waits for the restart does not, the facet that boots sees to that. */
export const blocking = (look: Look): readonly Finding[] =>
  waiting(look).length > 0 ? [] : look.findings.filter(isFailing);

/** The machine is not as wanted, whoever changed it. */
export const drifted = (look: Look): boolean =>
  look.steps.length > 0 || waiting(look).length > 0 || look.findings.some(isFailing);

export interface ReconcilerOptions {
  /** Without it no evidence is asked for, and what goes by it stays unknown. */
  readonly appraise?: Appraise | undefined;
  /**
   * Ids of published reference values; rejects when they cannot be had. Without it versions are planned whether or not
   * anybody could attest them.
   */
  readonly references?: (() => Promise<readonly string[]>) | undefined;
}

/**
 * The one loop that brings machines to a wanted state: observe → plan → permit → act → observe again.
 * It never distinguishes create from update and never replays an earlier plan. One instance per provider process.
 */
export class Reconciler {
  readonly #fleet: Fleet;
  /** Facets of a machine that stage something, so that the facet that boots knows what waits for it. */
  readonly #stagers = new Map<string, Map<string, Goal>>();
  readonly #locks = new Map<string, Promise<Lock>>();
  /** One change at a time per node, whatever the engine runs in parallel. */
  readonly #turns = new Map<string, Promise<unknown>>();

  readonly #reached = new Set<string>();
  readonly #places = new Map<string, Place>();

  /** What evidence came to, by goal, until something on the node changed or was to be looked at anew. */
  readonly #appraisals = new Map<string, Promise<Appraisal>>();
  readonly #appraise: Appraise | undefined;

  readonly #references: ReconcilerOptions["references"];

  constructor(fleet: Fleet, { appraise, references }: ReconcilerOptions = {}) {
    this.#fleet = fleet;
    this.#appraise = appraise;
    this.#references = references;
  }

  /**
   * Starts the observation of all that `facets` may ask, on every node at once (or on `nodes`), so that the engine's
   * serial calls find the answers there. Failures come up again where the answers are used.
   */
  prefetch(facets: readonly Facet[], nodes: readonly string[] = this.#fleet.names): void {
    for (const name of nodes) if (this.located(name)) this.#prefetch(name, facets);
  }

  #prefetch(name: string, facets: readonly Facet[]): void {
    const { host, guest, cloud } = this.#fleet.node(name);
    const ask = (machine: Machine, asks: Asks) => void machine.observe(asks).catch(() => undefined);
    ask(host, HOST_PROBE);
    ask(host, GUEST_PROBE);
    for (const facet of facets) {
      // What only a machine of one's own has is not there to be asked.
      if (cloud !== undefined && !looksAtInstances(facet)) continue;
      ask(facet.on === "host" ? host : guest, facet.asks);
    }
  }

  /** False while nobody has said where the node is: an instance that the stack has yet to make. */
  located(node: string): boolean {
    return this.#fleet.located?.(node) ?? true;
  }

  /** The cloud that the node is an instance of. */
  cloud(node: string): Cloud | undefined {
    return this.#fleet.node(node).cloud;
  }

  /** The boot that the node's confidential system is in; undefined when it does not say. */
  async bootId(node: string): Promise<string | undefined> {
    const { boot } = await this.#fleet.node(node).guest.observe(BOOT_PROBE);
    return boot.kind === "ran" && boot.status === 0 ? boot.stdout.trim() : undefined;
  }

  /** How the node is reached; undefined for a fleet that reaches nothing. */
  async door(node: string): Promise<Door | undefined> {
    return this.#fleet.door?.(node);
  }

  /** Says where a node is, and starts its observation; a later call moves it. */
  locate(node: string, place: Place, facets: readonly Facet[]): void {
    const before = JSON.stringify(this.#places.get(node));
    if (before === JSON.stringify(place)) return;
    this.#places.set(node, place);
    this.#reached.delete(node);
    this.#locks.delete(node);
    this.#fleet.locate?.(node, place);
    // It is another machine under the same name: what the last one proved says nothing of it.
    this.#forgetEvidence(node);
    this.#prefetch(node, facets);
  }

  /** Once per process. Throws `node.unreachable` with the reason when the node's host does not answer. */
  async reach(node: string): Promise<void> {
    if (this.#reached.has(node)) return;
    const { reach } = await this.#fleet.node(node).host.observe(HOST_PROBE);
    if (reach.kind === "ran") {
      this.#reached.add(node);
      return;
    }
    const error = reach.kind === "failed" ? reach.error : undefined;
    const why = "why" in reach ? reach.why : `the host answered: ${reach.kind}`;
    const cloud = this.cloud(node);
    throw new TeeUpError({
      code: "node.unreachable",
      node,
      saw: error === undefined ? why : `${error.subject ?? "ssh"}: ${error.saw} (${error.code})`,
      // Another key than the known one is no instance that is gone.
      next:
        cloud !== undefined && NETWORK.has(error?.code ?? "")
          ? CLOUDS[cloud].lost
          : (error?.next ?? `teeup check ${node}, once it can be reached`),
    });
  }

  /** Waits until an instance that was just made takes an SSH session: it is slow to start, with eight GPUs above all. */
  async arrive(node: string, { onProgress, signal }: Pick<Run, "onProgress" | "signal">): Promise<void> {
    const { host } = this.#fleet.node(node);
    await host.act({ do: "wait-guest", timeoutSeconds: ARRIVAL_SECONDS }, { onProgress, signal });
    host.forget();
  }

  /** Takes the node's lock for this run: what is seen from now on is what will be acted on. */
  async hold(node: string): Promise<void> {
    if ((await this.#held(node)) !== undefined) return;
    await this.#lock(node);
    this.#forget(node);
  }

  /** Of which record the node's facts are; undefined when they are the node's own. */
  async recorded(node: string): Promise<{ readonly at: string; readonly hash: string } | undefined> {
    return this.#fleet.recorded?.(node);
  }

  /** Whether a guest with a passed-through device runs on the node's host. */
  async guest(node: string): Promise<"running" | "none" | "unknown"> {
    const { holder } = await this.#fleet.node(node).host.observe(GUEST_PROBE);
    if (holder.kind !== "ran" || holder.status > 1) return "unknown";
    return holder.status === 0 ? "running" : "none";
  }

  /** Texts of files on the goal's machine, for a reviewer: what a step would write over. */
  async read(goal: Goal, paths: readonly string[]): Promise<ReadonlyMap<string, Fact<string>>> {
    if (paths.length === 0) return new Map();
    const asks = Object.fromEntries(paths.map((path): [string, Ask] => [path, { kind: "file", path }]));
    const answers = await this.#machine(goal).observe(asks);
    return new Map(Object.entries(answers).map(([path, answer]) => [path, text(answer)]));
  }

  /**
   * Observes, judges and plans; changes nothing. With `evidence`, what goes by evidence is asked for it; without, only what
   * this run already knows of it counts: a preview asks nothing that leaves a trace, be it for a moment.
   */
  async look(goal: Goal, { evidence = false }: { readonly evidence?: boolean } = {}): Promise<Look> {
    return (await this.#see(goal, { evidence, gate: true })).look;
  }

  /** A look, with what its plan was told; undo is planned from the same. */
  async #see(
    goal: Goal,
    { evidence, gate }: { readonly evidence: boolean; readonly gate: boolean },
  ): Promise<{ look: Look; context: PlanContext }> {
    if (goal.facet.pending !== undefined) this.#stage(goal);
    const { facet, want } = goal;
    const machine = this.#machine(goal);
    // In one tick, so that everything travels in one exec.
    const [answers, context] = await Promise.all([machine.observe(facet.asks), this.#context(goal)]);
    const appraisal = await this.#appraisalOf(goal, machine, evidence);
    const seen = facet.parse(answers);
    const facts = appraisal === undefined ? seen : Object.assign({}, seen, { appraisal });
    const findings = facet.judge(want, facts);
    const { cloud } = this.#fleet.node(goal.node);
    const wanted = (facet.plan?.(want, facts, context) ?? []).map((step) => inCloud(cloud, step));
    const unattestable = gate && wanted.length > 0 ? await this.#withoutReference(goal) : [];
    const steps = unattestable.length === 0 ? wanted : [];
    const pending = facet.pending?.(want, facts);
    return {
      look: { facts, findings: [...findings, ...unattestable], steps, pending, observed: facet.show(facts) },
      context,
    };
  }

  /** Why the goal's steps must not run: what they bring in could not be attested, or nobody knows whether it could. */
  async #withoutReference({ facet, want }: Goal): Promise<readonly Finding[]> {
    const wanted = this.#references === undefined ? [] : (facet.references?.(want) ?? []);
    if (this.#references === undefined || wanted.length === 0) return [];
    const about = {
      code: `${facet.name}.reference`,
      want: `published reference values for ${wanted.map(({ what, version }) => `${what} ${version}`).join(", ")}`,
      source: "NVIDIA RIM service; NVIDIA/nvtrust#151",
    };
    try {
      const ids = await this.#references();
      const lacking = wanted.filter((one) => !isPublished(one, ids));
      if (lacking.length === 0) return [];
      const saw = `none for ${lacking.map(({ what, version }) => `${what} ${version}`).join(", ")}; its steps are not planned`;
      return [{ ...about, level: "fail", saw, hint: "choose a recipe with a version that can be attested" }];
    } catch (error) {
      const saw = `the list cannot be had (${(error as Error).message}); its steps are not planned`;
      const hint =
        "let the controller reach rim.attestation.nvidia.com, or name a mirror: teeup:attestation.collateral";
      return [{ ...about, level: "unknown", saw, hint }];
    }
  }

  async #appraisalOf({ facet, node, want }: Goal, machine: Machine, ask: boolean): Promise<Appraisal | undefined> {
    const request = facet.evidence?.(want);
    if (request === undefined) return undefined;
    const key = `${machine.id} ${facet.name} ${digest(want)}`;
    const known = this.#appraisals.get(key);
    if (known !== undefined || !ask) return known;
    const made = this.#appraise?.(machine, node, request) ?? Promise.resolve(NOT_VERIFIED);
    this.#appraisals.set(key, made);
    made.catch(() => this.#appraisals.delete(key));
    return made;
  }

  /**
   * Brings the goal about. Throws `permit.refused` before anything is touched when a step is above the permit,
   * `reconcile.human` when only a person can go on, `reconcile.not-converging` when the plan does not empty.
   * Findings of the end state are returned, not thrown: the caller decides.
   */
  async reconcile(goal: Goal, run: Run): Promise<Done> {
    return this.#inTurn(goal.node, () => this.#converge(goal, run, (look) => look.steps));
  }

  /** Restores what the facet's `undo` says; nothing when it has none. */
  async undo(goal: Goal, run: Run): Promise<readonly string[]> {
    const { facet, want } = goal;
    if (facet.undo === undefined) return [];
    this.#stagers.get(this.#machine(goal).id)?.delete(facet.name);
    return this.#inTurn(goal.node, async () => {
      const undo = (look: Look, context: PlanContext): readonly Step[] => {
        const unsure = look.findings.find((finding) => finding.level === "unknown");
        // Nothing seen is not nothing there: what this resource made would stay behind unnoticed.
        if (unsure !== undefined) throw undoUnknown(goal, unsure);
        const { cloud } = this.#fleet.node(goal.node);
        return (facet.undo?.(want, look.facts, context) ?? []).map((step) => inCloud(cloud, step));
      };
      // What is taken back needs no evidence, and brings nothing in.
      const done = await this.#converge(goal, run, undo, false);
      return done.ran;
    });
  }

  /** Releases every lock. */
  async close(): Promise<void> {
    const locks = await Promise.allSettled(this.#locks.values());
    await Promise.all(locks.map((l) => (l.status === "fulfilled" ? l.value.release() : undefined)));
    await this.#fleet.close();
  }

  async #converge(
    goal: Goal,
    run: Run,
    stepsOf: (look: Look, context: PlanContext) => readonly Step[],
    forward = true,
  ): Promise<Done> {
    const ran: string[] = [];
    const rounds = goal.facet.boots === true ? MAX_BOOT_ROUNDS : MAX_ROUNDS;
    for (let round = 0; round < rounds; ) {
      const { look, context } = await this.#see(goal, { evidence: forward, gate: forward });
      const all = stepsOf(look, context);
      if (all.length === 0) return { ...look, ran };
      const steps = nowPossible(all);
      refuse(goal, steps, run.permit);
      const lock = await this.#held(goal.node);
      if (lock === undefined) {
        // What was seen before the lock was had may be another run's past: plan again from what is there now.
        await this.#lock(goal.node);
        this.#forget(goal.node);
        continue;
      }
      for (const step of steps) {
        await this.#act(goal, step, run, lock);
        ran.push(step.code);
      }
      round++;
      if (goal.facet.boots === true) await this.#restage(goal, run, lock);
    }
    const { look, context } = await this.#see(goal, { evidence: forward, gate: forward });
    const steps = stepsOf(look, context);
    if (steps.length === 0) return { ...look, ran };
    throw new TeeUpError({
      code: "reconcile.not-converging",
      node: goal.node,
      subject: goal.facet.name,
      saw: `after ${rounds} rounds still to do: ${steps.map((s) => s.title).join("; ")}`,
      next: `teeup check ${goal.node} shows what the node says now`,
    });
  }

  /** Under the lock that the plan was made under; another one would mean that somebody else may have been here. */
  async #act(goal: Goal, step: Step, run: Run, lock: Lock): Promise<void> {
    const machine = this.#machine(goal);
    const signal = AbortSignal.any([run.signal, lock.lost]);
    const say = (text: string) => run.onProgress(`${machine.id}: ${text}`);
    say(step.title);
    for (const action of step.actions) {
      await run.listens?.();
      if (signal.aborted) throw stopped(goal, step, lock.lost.aborted);
      try {
        await machine.act(action, { onProgress: (line) => say(`${step.title}: ${line}`), signal });
      } catch (error) {
        throw inStep(error, step);
      } finally {
        machine.forget();
        this.#forgetEvidence(goal.node);
      }
    }
  }

  /** Between two boots: let facets stage what the last boot made possible (a BIOS attribute that depends on another). */
  async #restage(goal: Goal, run: Run, lock: Lock): Promise<void> {
    for (const stager of this.#stagersOf(goal)) {
      const { steps } = await this.look(stager);
      refuse(stager, steps, run.permit);
      for (const step of steps) await this.#act(stager, step, run, lock);
    }
  }

  async #context(goal: Goal): Promise<PlanContext> {
    const machine = this.#machine(goal);
    const stagers = goal.facet.boots === true ? this.#stagersOf(goal) : [];
    const [{ holder }, ...pending] = await Promise.all([
      this.#fleet.node(goal.node).host.observe(GUEST_PROBE),
      ...stagers.map(async ({ facet, want }) => ({
        facet: facet.name,
        ...(facet.pending?.(want, facet.parse(await machine.observe(facet.asks))) ?? { reasons: [], boots: 0 }),
      })),
    ]);
    return {
      node: machine.id,
      pending: pending.filter((p) => p.reasons.length > 0),
      // Only a clear "no such process" says that no guest runs.
      guestRunning: !(holder.kind === "ran" && holder.status === 1),
    };
  }

  #stagersOf(goal: Goal): Goal[] {
    return [...(this.#stagers.get(this.#machine(goal).id)?.values() ?? [])];
  }

  #stage(goal: Goal): void {
    const id = this.#machine(goal).id;
    const stagers = this.#stagers.get(id) ?? new Map<string, Goal>();
    this.#stagers.set(id, stagers.set(goal.facet.name, goal));
  }

  #machine(goal: Goal): Machine {
    const machines = this.#fleet.node(goal.node);
    if (machines.cloud !== undefined && !looksAtInstances(goal.facet))
      throw new TeeUpError({
        code: "facet.no-host",
        node: goal.node,
        subject: goal.facet.name,
        saw: "the node is an instance of a cloud: its host is not ours to look at",
        next: "leave this facet out for it",
      });
    return goal.facet.on === "host" ? machines.host : machines.guest;
  }

  /** The live lock of this run, if it has one. */
  async #held(node: string): Promise<Lock | undefined> {
    const lock = await this.#locks.get(node);
    return lock === undefined || lock.lost.aborted ? undefined : lock;
  }

  /** Taken at the first change and held to the end of the run, so that two runs never interleave on a node. */
  async #lock(node: string): Promise<Lock> {
    const lock = this.#fleet.node(node).host.lock("pulumi up");
    this.#locks.set(node, lock);
    lock.catch(() => this.#locks.delete(node));
    return lock;
  }

  #forget(node: string): void {
    const { host, guest } = this.#fleet.node(node);
    host.forget();
    guest.forget();
    this.#forgetEvidence(node);
  }

  #forgetEvidence(node: string): void {
    const { host, guest } = this.#fleet.node(node);
    for (const key of this.#appraisals.keys())
      if ([host.id, guest.id].some((id) => key.startsWith(`${id} `))) this.#appraisals.delete(key);
  }

  #inTurn<T>(node: string, work: () => Promise<T>): Promise<T> {
    const before = this.#turns.get(node) ?? Promise.resolve();
    const mine = before.then(work, work);
    this.#turns.set(
      node,
      mine.catch(() => undefined),
    );
    return mine;
  }
}

const NOT_VERIFIED: Appraisal = {
  verdict: "unknown",
  refusals: [
    {
      code: "evidence.not-asked",
      saw: "this run asks for no evidence",
      next: "teeup attest NODE",
    },
  ],
  gpu: "none",
};

const looksAtInstances = ({ on, name }: Facet): boolean => on === "guest" || HOST_FACETS_OF_INSTANCES.includes(name);

/** Without the person's steps that only have sense once the others were done; those alone when nothing else is left. */
function nowPossible(steps: readonly Step[]): readonly Step[] {
  const own = steps.filter((step) => step.afterOthers !== true);
  return own.length > 0 ? own : steps;
}

function refuse(goal: Goal, steps: readonly Step[], permit: Permit): void {
  const over = steps.filter((step) => !permits(permit, step.disruption));
  if (over.length === 0) return;
  throw refusal(goal.node, goal.facet.name, over, permit);
}

/** The error for steps above the permit: every step, and the one command that permits them. */
export function refusal(node: string, subject: string, over: readonly Step[], permit: Permit): TeeUpError {
  const humans = over.filter((step) => step.disruption === "human");
  const lines = (steps: readonly Step[], more: (step: Step) => string = () => "") =>
    steps.map((step) => `\n    ${describe(step)}${more(step)}`).join("");
  if (humans.length > 0)
    return new TeeUpError({
      code: "reconcile.human",
      node,
      subject,
      saw: `${humans.every((step) => step.afterOthers === true) ? "a person must act now; what could be done before is done" : "a person must act first; nothing was changed"}:${lines(over, (step) => `\n      because: ${step.why}`)}`,
      next: `do that, then run pulumi up again`,
    });
  const needed = worst(over.map((step) => step.disruption));
  return new TeeUpError({
    code: "permit.refused",
    node,
    subject,
    saw: `teeup:permit is ${permit}; nothing was changed. These steps need more:${lines(over)}`,
    next: `pulumi config set teeup:permit ${needed} && pulumi up`,
  });
}

/** One line of a plan: `[reboot] restart gpu-01: …`. */
export function describe(step: { readonly disruption: Disruption; readonly title: string }): string {
  return `[${step.disruption}] ${step.title}`;
}

function undoUnknown(goal: Goal, finding: Finding): TeeUpError {
  return new TeeUpError({
    code: "undo.unknown",
    node: goal.node,
    subject: goal.facet.name,
    saw: `what is to be undone cannot be seen (${finding.code}: ${finding.saw}); nothing was changed`,
    next: `teeup check ${goal.node}, then again; for a node that is gone for good: pulumi state delete <urn>`,
  });
}

/** What an action says, with the step it belongs to. */
function inStep(error: unknown, step: Step): unknown {
  if (!(error instanceof TeeUpError) || error.parts.subject !== undefined) return error;
  return new TeeUpError({ ...error.parts, subject: step.code }, { cause: error });
}

function stopped(goal: Goal, step: Step, lockLost: boolean): TeeUpError {
  return new TeeUpError({
    code: lockLost ? "lock.lost" : "reconcile.stopped",
    node: goal.node,
    subject: step.code,
    saw: lockLost
      ? "the connection that held the node's lock is gone"
      : "the engine is gone; stopped before the next change",
    next: "pulumi up again: it goes on where the node stands",
  });
}

/** Short stable hash of anything JSON can hold; keys in order. `digits` of SHA-256 in hex. */
export function digest(value: unknown, digits = 16): string {
  return createHash("sha256").update(canonical(value)).digest("hex").slice(0, digits);
}

function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, v: unknown) =>
    v !== null && typeof v === "object" && !Array.isArray(v)
      ? Object.fromEntries(Object.entries(v).sort(([a], [b]) => (a < b ? -1 : 1)))
      : v,
  );
}
