import { runExample } from "../../cli/pages/facets.ts";
import { facetNamed } from "../../providers/facets/index.ts";
import type { Action } from "../../providers/kit/action.ts";
import type { Answer } from "../../providers/kit/ask.ts";
import { missing } from "../../providers/kit/ask.ts";
import type { Facet, Step } from "../../providers/kit/facet.ts";
import { type NodeGoal, type NodeSettings, nodeGoals } from "../../stacks/profiles/goals.ts";
import { resolveProfile, unknowns } from "../../stacks/profiles/resolve.ts";
import type { Profile } from "../../stacks/profiles/schema.ts";

/** What TeeUp does, asks and finds, as text beside which a document's own commands can be held. */

export const exampleOf = (facet: Facet, name: string) => {
  const found = facet.examples.find((e) => e.name === name);
  if (found === undefined) throw new Error(`${facet.name} has no example "${name}"`);
  return found;
};

interface Over {
  readonly want?: Readonly<Record<string, unknown>>;
  readonly answers?: Readonly<Record<string, Answer>>;
}

export interface OnNode {
  readonly goals: readonly NodeGoal[];
  /** What would be done on a machine that answers as that example, for the wants of the profile. */
  plan(facet: string, example: string, over?: Over): string;
}

/** A node of a recipe; what it leaves open is pinned to something of the right shape. */
export function onNodeOf(profile: Profile, settings: Partial<NodeSettings> = {}): OnNode {
  const pins = Object.fromEntries(
    unknowns(profile).map((name) => [name, name.endsWith("commit") ? "a".repeat(40) : "b".repeat(64)]),
  );
  const goals = Object.values(
    nodeGoals(resolveProfile(profile, pins), {
      gpus: "all",
      gpuMode: "on",
      vm: { cpus: 32, memoryGiB: 256, diskGiB: 500 },
      guest: { user: "guest", port: 9899, publicKey: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExample ops@example" },
      ...settings,
    }),
  ).flat();
  return {
    goals,
    plan(name, example, over = {}) {
      const facet = facetNamed(name);
      const want = facet.want.parse({ ...goals.find((goal) => goal.facet === name)?.want, ...over.want });
      const given = exampleOf(facet, example);
      return written(runExample(facet, { ...given, answers: { ...given.answers, ...over.answers }, want }).steps);
    },
  };
}

/** As {@link OnNode.plan}, for the wants of the example itself. */
export const ownPlan = (name: string, example: string): string =>
  written(runExample(facetNamed(name), exampleOf(facetNamed(name), example)).steps);

export const written = (steps: readonly Step[]): string =>
  steps.map((s) => [`[${s.disruption}] ${s.code}: ${s.title}`, ...s.actions.flatMap(lines)].join("\n")).join("\n");

/** One line per command, as a person would type it. */
function lines(action: Action): string[] {
  switch (action.do) {
    case "run":
    case "wait":
      return [action.argv.join(" ")];
    case "job":
      return action.lines.map(({ argv, cwd }) => `${cwd === undefined ? "" : `cd ${cwd} && `}${argv.join(" ")}`);
    case "write":
      return [`write ${action.path}`, action.content];
    case "stage-bios":
      return Object.entries(action.settings).map(([key, value]) => `${key} = ${value}`);
    default:
      return [JSON.stringify(action)];
  }
}

/** What is found on a machine that answers as that example. */
export const found = (name: string, example: string, over: Over = {}): string => {
  const facet = facetNamed(name);
  const given = exampleOf(facet, example);
  const { findings } = runExample(facet, {
    ...given,
    answers: { ...given.answers, ...over.answers },
    want: { ...(given.want as object), ...over.want },
  });
  return findings.map((f) => `${f.level} ${f.code}: want ${f.want}; saw ${f.saw}; ${f.hint}`).join("\n");
};

export const asks = (name: string): string =>
  Object.values(facetNamed(name).asks)
    .map((ask) => (ask.kind === "argv" ? ask.argv.join(" ") : ask.kind === "file" ? ask.path : "bios"))
    .join("\n");

/** The one restart, when a facet has something that waits for it. */
export function restartFor({ facet, reason }: { readonly facet: string; readonly reason: string }): string {
  const boot = facetNamed("host-boot");
  const answers = exampleOf(boot, "the running kernel is the default").answers;
  const facts = boot.parse(Object.fromEntries(Object.keys(boot.asks).map((name) => [name, answers[name] ?? missing])));
  const pending = [{ facet, reasons: [reason], boots: 1 }];
  return written(boot.plan?.(boot.want.parse({}), facts, { node: "gpu-01", pending, guestRunning: false }) ?? []);
}
