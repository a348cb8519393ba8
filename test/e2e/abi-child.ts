/** The provider as the engine calls it: `configure`, then every resource of one node. argv: a file with {@link AbiOrder}. */
import { readFileSync } from "node:fs";
import { inspect } from "node:util";
import type { StackConfig } from "../../providers/kit/config.ts";

export interface AbiOrder {
  readonly config: StackConfig;
  readonly env: NodeJS.ProcessEnv;
  readonly goals: readonly { readonly facet: string; readonly node: string; readonly want: unknown }[];
  /** Bring every goal about instead of looking. */
  readonly create?: boolean;
}

export interface AbiAnswer {
  readonly failures: readonly { readonly reason: string }[];
  readonly plan: readonly string[];
  /** What `diff` says in a preview. */
  readonly changes: boolean;
  /** What `diff` says of what `read` gave, as in a refresh. */
  readonly changesAfterRead: boolean;
  readonly read: Readonly<Record<string, unknown>>;
  /** What was thrown, whole. */
  readonly error?: string;
}

const { config, env, goals, create } = JSON.parse(readFileSync(process.argv[2] ?? "", "utf8")) as AbiOrder;
for (const name of Object.keys(process.env)) if (name.startsWith("TEEUP_")) delete process.env[name];
Object.assign(process.env, env);
// Config reaches the provider as text; structured values as JSON.
const text = Object.fromEntries(
  Object.entries(config).map(([key, v]) => [`teeup:${key}`, typeof v === "string" ? v : JSON.stringify(v)]),
);
const { provider } = await import("../../providers/host-provider.ts");
provider.configure({ config: { get: (key: string) => text[key] } });

const answers: Record<string, AbiAnswer> = {};
async function answerOf(goal: AbiOrder["goals"][number]): Promise<AbiAnswer> {
  const news = { ...goal, __provider: "text" };
  const { inputs, failures } = await provider.check({}, news);
  const plan = (inputs["plan"] ?? []) as string[];
  // As the engine: what check refuses goes no further.
  if (failures.length > 0) return { failures, plan, changes: false, changesAfterRead: false, read: {} };
  if (create === true) {
    const { outs } = await provider.create(inputs);
    return { failures, plan, changes: true, changesAfterRead: false, read: outs };
  }
  const id = `${goal.node}/${goal.facet}`;
  // The state of a good `up`: the same inputs, whatever was observed then.
  const { changes } = await provider.diff(id, inputs, inputs);
  const { props } = await provider.read(id, inputs);
  const { changes: changesAfterRead } = await provider.diff(id, props, inputs);
  return { failures, plan, changes, changesAfterRead, read: props };
}
for (const goal of goals)
  answers[goal.facet] = await answerOf(goal).catch((error: unknown) => ({
    failures: [],
    plan: [],
    changes: false,
    changesAfterRead: false,
    read: {},
    error: inspect(error, { depth: null }),
  }));
process.send?.(answers, () => process.exit(0));
