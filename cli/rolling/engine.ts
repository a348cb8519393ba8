import { hostname } from "node:os";
import type { EngineEvent, StepEventStateMetadata } from "@pulumi/pulumi/automation/index.js";
import { CommandError, ConcurrentUpdateError, LocalWorkspace, Stack } from "@pulumi/pulumi/automation/index.js";
import pRetry, { AbortError } from "p-retry";
import { z } from "zod";
import { TeeUpError } from "../../providers/kit/errors.ts";
import { redact } from "../../providers/machine/redact.ts";
import type { StackEntry } from "../fleet.ts";
import { isAlive } from "./journal.ts";

/** What a preview says of one node. */
export interface NodeParts {
  /** URNs of all that is the node's: its resources and the components around them. */
  readonly urns: readonly string[];
  /** `up` would change something of it. */
  readonly changes: boolean;
}

export interface StackPreview {
  readonly nodes: ReadonlyMap<string, NodeParts>;
  /** What `up` would change and no node has: a network that nodes share. */
  readonly shared: readonly string[];
}

/** Why nodes of an `up` failed. Empty when all is well. */
export type Failures = ReadonlyMap<string, string>;

export interface WalkStack {
  preview(): Promise<StackPreview>;
  /**
   * Brings these nodes up, and no other. `since`: nodes among them were being worked on by a run that began then and was
   * killed (ISO 8601), so what it left locked is waited for or, once its process is dead, given free. `say` hears once what
   * is waited for.
   */
  up(
    nodes: ReadonlyMap<string, NodeParts>,
    since: string | undefined,
    signal: AbortSignal,
    say: (line: string) => void,
  ): Promise<Failures>;
}

const OWN = /^pulumi-nodejs:dynamic\//;
const InputsSchema = z.looseObject({ node: z.string() });
/** How long what a killed run left behind may take to end: a step of it that cannot be interrupted. */
const LEFT_BEHIND_MS = 600_000;

/** The stack through Pulumi's Automation API; which stack the user has selected stays as it is. */
export async function openStack(entry: StackEntry): Promise<WalkStack> {
  const workspace = await LocalWorkspace.create({
    workDir: entry.project,
    envVars: {
      PULUMI_SKIP_UPDATE_CHECK: "true",
      ...(entry.backend === undefined ? {} : { PULUMI_BACKEND_URL: entry.backend }),
      ...(entry.passphraseFile === undefined ? {} : { PULUMI_CONFIG_PASSPHRASE_FILE: entry.passphraseFile }),
    },
  });
  // Every command names its stack.
  workspace.selectStack = async () => undefined;
  const stack = await Stack.select(entry.stack, workspace);
  // Asked after every up, of nobody here; and asked without the config file, Pulumi makes one in the project's folder.
  Object.assign(stack, { outputs: async () => ({}), info: async () => undefined });
  const config = entry.file === undefined ? {} : { configFile: entry.file };

  const once = async (targets: ReadonlyMap<string, NodeParts>, signal: AbortSignal): Promise<Failures> => {
    const said: Diagnostic[] = [];
    try {
      await stack.up({
        ...config,
        target: [...new Set([...targets.values()].flatMap(({ urns }) => urns))],
        // One node's failure is no reason to leave another half-way.
        continueOnError: true,
        suppressOutputs: true,
        suppressProgress: true,
        color: "never",
        signal,
        onEvent: (event) => void said.push(...diagnosticOf(event)),
      });
      return new Map();
    } catch (error) {
      if (!(error instanceof CommandError) || error instanceof ConcurrentUpdateError) throw error;
      return failuresOf(targets, said, error.message);
    }
  };

  return {
    preview: async () => {
      const said: Diagnostic[] = [];
      const steps: EngineEvent[] = [];
      try {
        await stack.preview({
          ...config,
          color: "never",
          onEvent: (event) => {
            steps.push(event);
            said.push(...diagnosticOf(event));
          },
        });
      } catch (error) {
        if (!(error instanceof CommandError)) throw error;
        throw new TeeUpError({
          code: "rolling.preview-failed",
          subject: `stack ${entry.stack}`,
          saw: firstLines(said.map(({ message }) => message).join("\n") || error.message),
          next: `pulumi preview --stack ${entry.stack} (in ${entry.project}) says more; no node was taken`,
        });
      }
      return partsOf(steps);
    },
    up: (targets, since, signal, say) =>
      pRetry(
        async () => {
          try {
            const failures = await once(targets, signal);
            // Its provider ends after the step that it is at, and holds the node's lock until then.
            if (since !== undefined && [...failures.values()].some((why) => why.includes("[lock.held]")))
              throw new Error([...failures.values()].join("\n"));
            return failures;
          } catch (error) {
            if (!(error instanceof ConcurrentUpdateError))
              throw error instanceof Error ? error : new Error(String(error));
            const holder = since === undefined ? "others" : holderOf(error.message, since);
            if (holder === "others") throw new AbortError(locked(entry.stack, error.message));
            if (holder === "dead") await stack.cancel();
            throw error;
          }
        },
        {
          retries: Number.POSITIVE_INFINITY,
          minTimeout: 500,
          factor: 1,
          maxRetryTime: LEFT_BEHIND_MS,
          signal,
          onFailedAttempt: ({ attemptNumber, error }) => {
            if (attemptNumber !== 1 || since === undefined || signal.aborted) return;
            const what = error instanceof ConcurrentUpdateError ? "the stack's lock" : firstLines(error.message);
            say(`what the killed run left behind is waited for, up to ${LEFT_BEHIND_MS / 60_000} min: ${what}`);
          },
          shouldRetry: ({ error }) =>
            since !== undefined &&
            !signal.aborted &&
            !(error instanceof CommandError && !(error instanceof ConcurrentUpdateError)),
        },
      ),
  };
}

interface Diagnostic {
  readonly urn: string | undefined;
  readonly message: string;
}

const diagnosticOf = ({ diagnosticEvent }: EngineEvent): Diagnostic[] =>
  diagnosticEvent?.severity === "error" ? [{ urn: diagnosticEvent.urn, message: diagnosticEvent.message.trim() }] : [];

/** What nobody's resource said is everybody's trouble. */
function failuresOf(targets: ReadonlyMap<string, NodeParts>, said: readonly Diagnostic[], message: string): Failures {
  const own = [...targets].flatMap(([node, { urns }]) => {
    const errors = said.filter(({ urn }) => urn !== undefined && urns.includes(urn));
    return errors.length === 0 ? [] : [[node, firstLines(errors.map((one) => one.message).join("\n"))] as const];
  });
  if (own.length > 0) return new Map(own);
  const why = firstLines(said.map((one) => one.message).join("\n") || message);
  return new Map([...targets.keys()].map((node) => [node, why]));
}

const firstLines = (text: string): string =>
  redact(text)
    .split("\n")
    .filter((line) => line.trim() !== "" && !/^\s+at /.test(line))
    .slice(0, 6)
    .join("\n");

/** Every resource of a preview, by the node that it is a part of. */
export function partsOf(events: readonly EngineEvent[]): StackPreview {
  const steps = events.flatMap(({ resourcePreEvent }) => resourcePreEvent?.metadata ?? []);
  const states = new Map(steps.map((step) => [step.urn, step.new ?? step.old] as const));
  const nodes = new Map<string, { urns: Set<string>; changes: boolean }>();
  const ours = new Set<string>();
  for (const { type, urn, op } of steps) {
    const state = states.get(urn);
    const inputs = InputsSchema.safeParse(state?.inputs);
    if (!OWN.test(type) || !inputs.success) continue;
    const of = nodes.get(inputs.data.node) ?? { urns: new Set(), changes: false };
    of.changes ||= op !== "same";
    for (const each of [urn, ...ancestors(state, states)]) {
      of.urns.add(each);
      ours.add(each);
    }
    nodes.set(inputs.data.node, of);
  }
  return {
    nodes: new Map([...nodes].map(([node, { urns, changes }]) => [node, { urns: [...urns], changes }])),
    shared: steps
      .filter(
        ({ urn, op, type }) =>
          op !== "same" && op !== "read" && !ours.has(urn) && !/^pulumi:(pulumi:Stack|providers:)/.test(type),
      )
      .map(({ urn }) => urn),
  };
}

/** The components around a resource, the stack left out. */
function ancestors(
  state: StepEventStateMetadata | undefined,
  states: ReadonlyMap<string, StepEventStateMetadata | undefined>,
): string[] {
  const urn = state?.parent;
  if (urn === undefined || urn === "" || urn.includes("::pulumi:pulumi:Stack::")) return [];
  return [urn, ...ancestors(states.get(urn), states)];
}

/**
 * Whose locks of a stack these are, as Pulumi's message names them. `dead`: all were made on this machine after `since` by
 * processes that have ended, so nobody holds them. `alive`: one of those is still there. `others`: anything else.
 */
export function holderOf(
  message: string,
  since: string,
  here: { readonly host: string; readonly alive: (pid: number) => boolean } = { host: hostname(), alive: isAlive },
): "dead" | "alive" | "others" {
  const count = Number(/locked by (\d+) lock/.exec(message)?.[1]);
  // The Automation API repeats what Pulumi said, so each lock may stand there more than once.
  const said = new Set([...message.matchAll(/\S+: created by \S+@\S+ \(pid \d+\) at \S+/g)].map(([one]) => one));
  const locks = [...said].map((one) => {
    const [, host, pid, at = ""] = /created by \S+@(\S+) \(pid (\d+)\) at (\S+)/.exec(one) ?? [];
    return { host, pid: Number(pid), at: Date.parse(at) };
  });
  // Pulumi's own time stamps are whole seconds.
  const own = locks.every(({ host, at }) => host === here.host && at >= Date.parse(since) - 1000);
  if (locks.length === 0 || locks.length !== count || !own) return "others";
  return locks.some(({ pid }) => here.alive(pid)) ? "alive" : "dead";
}

const locked = (stack: string, message: string): TeeUpError =>
  new TeeUpError({
    code: "rolling.locked",
    subject: `stack ${stack}`,
    saw: firstLines(
      /the stack is currently locked.*?(?=\n\s*(?:err\?|stderr|error):|$)/s.exec(message)?.[0] ?? message,
    ),
    next: `wait until that run has ended; when it is dead: pulumi cancel --stack ${stack}`,
  });
