import { facetNamed } from "../../providers/facets/index.ts";
import type { Action } from "../../providers/kit/action.ts";
import { StackConfigSchema } from "../../providers/kit/config.ts";
import type { Permit } from "../../providers/kit/disruption.ts";
import { TeeUpError } from "../../providers/kit/errors.ts";
import type { Finding, Step } from "../../providers/kit/facet.ts";
import type { Fleet, Machine } from "../../providers/kit/machine.ts";
import type { FacetName } from "../../providers/kit/names.ts";
import { openFleet } from "../../providers/machine/fleet.ts";
import type { FleetOptions } from "../../providers/machine/options.ts";
import { blocking, digest, type Goal, isFailing, Reconciler } from "../../providers/reconcile.ts";

/** A facet with its wanted state, as a stack has it. */
export type Want = readonly [facet: FacetName, want: unknown];

export interface Production {
  /** Entry of `teeup:nodes`. */
  readonly node: Readonly<Record<string, unknown>>;
  readonly wants: readonly Want[];
  readonly permit?: Permit;
  readonly env?: NodeJS.ProcessEnv;
  readonly options?: Partial<FleetOptions>;
  /** After an action of a host was done. */
  readonly onDone?: (action: Action) => Promise<void>;
  readonly onProgress?: (line: string) => void;
}

/** How an `up` ended. */
export interface Ended {
  readonly ran: readonly string[];
  /** What blocked it. */
  readonly findings: readonly Finding[];
  readonly error: TeeUpError | undefined;
  readonly progress: readonly string[];
}

/** What a preview sees. */
export interface Seen {
  readonly steps: readonly Step[];
  /** Failed checks and those that could not be made. */
  readonly findings: readonly Finding[];
  /** Of all facts: another one means drift. */
  readonly digest: string;
}

function goalsOf({ node, wants }: Production): Goal[] {
  return wants.map(([name, want]) => {
    const facet = facetNamed(name);
    return { facet, node: String(node["name"]), want: facet.want.parse(want) };
  });
}

function open({ node, env = {}, options, onDone }: Production): Reconciler {
  const config = StackConfigSchema.parse({ nodes: [node] });
  const fleet = openFleet(config, { PATH: process.env["PATH"], TEEUP_SSH_CONFIG: "/dev/null", ...env }, options);
  return new Reconciler(onDone === undefined ? fleet : watched(fleet, onDone));
}

function watched(fleet: Fleet, onDone: (action: Action) => Promise<void>): Fleet {
  const watch = (machine: Machine): Machine => ({
    id: machine.id,
    observe: (asks) => machine.observe(asks),
    forget: () => machine.forget(),
    lock: (purpose) => machine.lock(purpose),
    act: async (action, options) => {
      await machine.act(action, options);
      await onDone(action);
    },
  });
  return {
    names: fleet.names,
    node: (name) => ({ host: watch(fleet.node(name).host), guest: fleet.node(name).guest }),
    close: () => fleet.close(),
  };
}

/** One whole `up` in what is a process of its own as far as memory goes: stops at the first error, as Pulumi does. */
export async function up(how: Production): Promise<Ended> {
  return run(how, (reconciler, goal, work) => reconciler.reconcile(goal, work));
}

/** One whole `destroy`. */
export async function destroy(how: Production): Promise<Ended> {
  return run({ ...how, wants: [...how.wants].reverse() }, async (reconciler, goal, work) => {
    return { ran: await reconciler.undo(goal, work), facts: undefined, findings: [], steps: [], pending: undefined };
  });
}

type Reconcile = Reconciler["reconcile"];
type Did = Pick<Awaited<ReturnType<Reconcile>>, "ran" | "facts" | "findings" | "steps" | "pending">;

async function run(
  how: Production,
  one: (reconciler: Reconciler, goal: Goal, work: Parameters<Reconcile>[1]) => Promise<Did>,
): Promise<Ended> {
  const [ran, findings, progress]: [string[], Finding[], string[]] = [[], [], []];
  const onProgress = (line: string) => {
    progress.push(line);
    how.onProgress?.(line);
  };
  const reconciler = open(how);
  let error: TeeUpError | undefined;
  try {
    const goals = goalsOf(how);
    for (const goal of goals) await reconciler.look(goal);
    for (const goal of goals) {
      const work = { permit: how.permit ?? "reboot", onProgress, signal: new AbortController().signal };
      const done = await one(reconciler, goal, work);
      ran.push(...done.ran);
      findings.push(...blocking({ ...done, observed: {} }));
      if (findings.length > 0) break;
    }
  } catch (e) {
    if (!(e instanceof TeeUpError)) throw e;
    error = e;
  } finally {
    await reconciler.close();
  }
  return { ran, findings, error, progress };
}

/** What a preview or a refresh sees; changes nothing. */
export async function look(how: Production): Promise<Seen> {
  const reconciler = open(how);
  try {
    const looks = [];
    for (const goal of goalsOf(how)) looks.push(await reconciler.look(goal));
    return {
      steps: looks.flatMap(({ steps }) => steps),
      findings: looks.flatMap(({ findings }) => findings.filter(isFailing)),
      digest: digest(looks.map(({ facts }) => facts)),
    };
  } finally {
    await reconciler.close();
  }
}
