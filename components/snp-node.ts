import * as pulumi from "@pulumi/pulumi";
import { PARTS } from "../providers/kit/names.ts";
import { FacetResource, NodePlan } from "../providers/resource.ts";
import { type Pins, profileByName, resolveProfile } from "../stacks/profiles/resolve.ts";
import { type NodeGoal, type Persona, type SnpSettings, snpGoals } from "../stacks/profiles/snp-goals.ts";

export interface SnpNodeArgs {
  /** Name of a node in `teeup:nodes`. */
  readonly node: string;
  /** Profile of stacks/profiles, e.g. `snp-upstream`. */
  readonly profile: string;
  /** GPU confidential computing mode; production is `on`, the default. */
  readonly gpuMode?: SnpSettings["gpuMode"];
  /** `all`, the default, or the BDFs to pass to the confidential VM. */
  readonly gpus?: SnpSettings["gpus"];
  /** Size of the confidential VM: vCPUs, GiB of memory and of disk. Default 16, 64, 100. */
  readonly vm?: Partial<SnpSettings["vm"]>;
  /** How the guest is reached; default user `teeup`, port 2222 on the host's loopback. `publicKey` is required. */
  readonly guest?: Partial<SnpSettings["guest"]>;
  /** Values that the profile leaves open, by their path in it. */
  readonly pins?: Pins;
}

type Verdict = Readonly<Record<string, unknown>>;

/**
 * One on-prem SEV-SNP GPU node, from BIOS to attested GPU (seed 001, all personas but the container user).
 *
 * Throws TeeUpError `config.unknown-profile`, `config.missing-pin` or `config.bad-pin` before any resource is made.
 */
export class SnpNode extends pulumi.ComponentResource {
  /** Verdict and claims of the last attestation, as seen; `not attested: <why>` when there is none. */
  readonly attestation: pulumi.Output<Verdict>;
  /** What would be done, in order, each with its disruption. */
  readonly plan: pulumi.Output<readonly string[]>;

  constructor(name: string, args: SnpNodeArgs, opts?: pulumi.ComponentResourceOptions) {
    super("teeup:node:SnpNode", name, {}, opts);
    const profile = resolveProfile(profileByName(args.profile), args.pins ?? {});
    const groups = snpGoals(profile, {
      gpus: args.gpus ?? "all",
      gpuMode: args.gpuMode ?? "on",
      vm: { cpus: 16, memoryGiB: 64, diskGiB: 100, ...args.vm },
      guest: { user: "teeup", port: 2222, ...args.guest },
    });
    const goals = Object.values(groups).flat();
    const plan = new NodePlan(`${name}-plan`, { node: args.node, goals }, { parent: this });

    let before: pulumi.Resource = plan;
    let attestation: FacetResource | undefined;
    for (const [persona, group] of Object.entries(groups) as [Persona, readonly NodeGoal[]][]) {
      const parent = new NodeGroup(persona, name, this);
      for (const { facet, want } of group) {
        const options = { parent, dependsOn: before };
        const part = new FacetResource(PARTS[facet], facet, `${name}-${facet}`, { node: args.node, want }, options);
        if (facet === "attestation") attestation = part;
        before = part;
      }
    }
    // With --continue-on-error a node may fail while the program goes on: that is an answer, not a stack trace.
    this.attestation =
      attestation === undefined
        ? (pulumi.output(none(`the GPUs' CC mode is ${args.gpuMode}`)) as unknown as typeof this.attestation)
        : pulumi.recover<Verdict>(attestation.observed, () => none("this run did not get that far"));
    this.plan = pulumi.recover<readonly string[]>(plan.plan, () => []);
    this.registerOutputs({ attestation: this.attestation, plan: this.plan });
  }
}

const none = (why: string): Verdict => ({ verdict: `not attested: ${why}` });

/** The parts of one persona, so that the tree of a preview reads like the guide. */
class NodeGroup extends pulumi.ComponentResource {
  constructor(persona: Persona, node: string, parent: pulumi.Resource) {
    super(`teeup:node:${persona.replace(/^./, (c) => c.toUpperCase())}`, `${node}-${persona}`, {}, { parent });
    this.registerOutputs({});
  }
}
