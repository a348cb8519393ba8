import * as pulumi from "@pulumi/pulumi";
import type { Place } from "../providers/kit/machine.ts";
import { PARTS } from "../providers/kit/names.ts";
import { FacetResource, NodePlan } from "../providers/resource.ts";
import type { NodeGoal } from "../stacks/profiles/goals.ts";

/** What is known of an attestation: verdict and claims, or why there are none. */
export type Verdict = Readonly<Record<string, unknown>>;

export interface NodePartsArgs {
  /** Name of the node in `teeup:nodes`. */
  readonly node: string;
  /** Goals by the guides' persona, in the order in which they are brought about. */
  readonly groups: Readonly<Record<string, readonly NodeGoal[]>>;
  /** Where the node is, when the stack itself makes it. */
  readonly at?: pulumi.Input<Place> | undefined;
  /** Of every part, e.g. what it ends with. */
  readonly options?: pulumi.CustomResourceOptions;
}

export interface NodeParts {
  /** Verdict and claims of the last attestation, as seen; `not attested: <why>` when there is none. */
  readonly attestation: pulumi.Output<Verdict>;
  /** What the controller found out by evidence, with the signed result; undefined where the stack asks for none. */
  readonly evidence: pulumi.Output<Verdict> | undefined;
  /** What the confidential VM will measure as, from its pinned firmware; undefined where none is pinned. */
  readonly measurement: pulumi.Output<string | undefined> | undefined;
  /** What would be done, in order, each with its disruption. */
  readonly plan: pulumi.Output<readonly string[]>;
  /** The last part: what comes after the node waits for it. */
  readonly last: pulumi.Resource;
}

/** The plan of a node and its parts, one after the other. `unattested` says why there is no attestation among them. */
export const nodeParts: typeof makeParts = (...args) => seenFromTheProgram(() => makeParts(...args));

function makeParts(
  parent: pulumi.ComponentResource,
  name: string,
  { node, groups, at, options }: NodePartsArgs,
  unattested = "the recipe has no attestation",
): NodeParts {
  const where = at === undefined ? {} : { at };
  const goals = Object.values(groups).flat();
  const plan = new NodePlan(`${name}-plan`, { node, goals, ...where }, { parent, ...options });
  let before: pulumi.Resource = plan;
  const made = new Map<string, FacetResource>();
  for (const [persona, group] of Object.entries(groups)) {
    const box = new NodeGroup(persona, name, parent);
    for (const { facet, want } of group) {
      const opts = { ...options, parent: box, dependsOn: before };
      const part = new FacetResource(PARTS[facet], facet, `${name}-${facet}`, { node, want, ...where }, opts);
      made.set(facet, part);
      before = part;
    }
  }
  // With --continue-on-error a node may fail while the program goes on: that is an answer, not a stack trace.
  const seen = (part: FacetResource) =>
    pulumi
      .recover<Verdict>(part.observed, () => none("this run did not get that far"))
      .apply((observed) =>
        observed !== undefined && "unreachable" in observed ? none(`it ${String(observed["unreachable"])}`) : observed,
      );
  const [attestation, evidence, vm] = (["attestation", "guest-attestation", "confidential-vm"] as const).map((facet) =>
    made.get(facet),
  );
  const pinned = goals.some(({ facet, want }) => facet === "confidential-vm" && want["firmware"] !== undefined);
  return {
    attestation:
      attestation === undefined
        ? (pulumi.output(none(unattested)) as unknown as pulumi.Output<Verdict>)
        : seen(attestation),
    evidence: evidence === undefined ? undefined : seen(evidence),
    measurement:
      pinned && vm !== undefined ? pulumi.recover<string | undefined>(vm.measurement, () => undefined) : undefined,
    plan: pulumi.recover<readonly string[]>(plan.plan, () => []),
    last: before,
  };
}

const none = (why: string): Verdict => ({ verdict: `not attested: ${why}` });

/**
 * Pulumi keeps the call stack of every resource in the state. What is said there of the parts is where the program makes
 * the node: our own frames would be the same at each of them, and a tenth of the state.
 */
function seenFromTheProgram<T>(make: () => T): T {
  const before = Error.prepareStackTrace;
  Error.prepareStackTrace = (error, sites) => {
    // Of frames that stand without brackets, or without a file, Pulumi keeps an empty entry.
    const says = (site: NodeJS.CallSite) => /\(.+:\d+:\d+\)$/.test(String(site));
    const kept = sites.filter((site) => says(site) && !site.getFileName()?.startsWith(OWN));
    return before?.(error, kept) ?? [String(error), ...kept.map((site) => `    at ${String(site)}`)].join("\n");
  };
  try {
    return make();
  } finally {
    Error.prepareStackTrace = before;
  }
}
const OWN = new URL(".", import.meta.url).href;

/** The parts of one persona, so that the tree of a preview reads like the guide. */
class NodeGroup extends pulumi.ComponentResource {
  constructor(persona: string, node: string, parent: pulumi.Resource) {
    super(`teeup:node:${persona.replace(/^./, (c) => c.toUpperCase())}`, `${node}-${persona}`, {}, { parent });
    this.registerOutputs({});
  }
}
