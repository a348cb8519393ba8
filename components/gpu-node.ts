import * as pulumi from "@pulumi/pulumi";
import { type NodeSettings, nodeGoals } from "../stacks/profiles/goals.ts";
import { type Pins, profileFor, resolveProfile } from "../stacks/profiles/resolve.ts";
import type { Profile } from "../stacks/profiles/schema.ts";
import { nodeParts, type Verdict } from "./node-parts.ts";

export interface GpuNodeArgs {
  /** Name of a node in `teeup:nodes`. */
  readonly node: string;
  /** Profile of stacks/profiles by its name, e.g. `snp-upstream`, or a recipe of your own. */
  readonly profile: string | Profile;
  /**
   * GPU confidential computing mode. Production is `on`, the default, or for Hopper GPUs behind NVSwitches `ppcie`: all
   * GPUs and switches together.
   */
  readonly gpuMode?: NodeSettings["gpuMode"];
  /** `all`, the default, or the BDFs to pass to the confidential VM. */
  readonly gpus?: NodeSettings["gpus"];
  /** Size of the confidential VM: vCPUs, GiB of memory and of disk. Default 16, 64, 100. */
  readonly vm?: Partial<NodeSettings["vm"]>;
  /** How the guest is reached; default user `teeup`, port 2222 on the host's loopback. `publicKey` is required. */
  readonly guest?: Partial<NodeSettings["guest"]>;
  /** What the guest has to prove to whoever runs the program, and what it gets then; default: nothing is asked of it. */
  readonly attestation?: NodeSettings["attestation"];
  /** Values that the profile leaves open, by their path in it. */
  readonly pins?: Pins;
}

/**
 * One on-prem confidential GPU node, from BIOS to attested GPU: what SnpNode and TdxNode are.
 *
 * Throws TeeUpError `config.unknown-profile`, `config.wrong-profile`, `config.missing-pin` or `config.bad-pin` before any
 * resource is made.
 */
export abstract class GpuNode extends pulumi.ComponentResource {
  /** Verdict and claims of the last attestation, as seen; `not attested: <why>` when there is none. */
  readonly attestation: pulumi.Output<Verdict>;
  /** What the controller found out by evidence, with the signed result; undefined where the stack asks for none. */
  readonly evidence: pulumi.Output<Verdict> | undefined;
  /** What the confidential VM will measure as, from its pinned firmware; known before it boots. */
  readonly measurement: pulumi.Output<string | undefined> | undefined;
  /** What would be done, in order, each with its disruption. */
  readonly plan: pulumi.Output<readonly string[]>;

  /** `type` is the last part of the component's token, which states keep. */
  protected constructor(
    type: "SnpNode" | "TdxNode",
    cpu: Profile["cpu"],
    name: string,
    args: GpuNodeArgs,
    opts?: pulumi.ComponentResourceOptions,
  ) {
    super(`teeup:node:${type}`, name, {}, opts);
    const profile = resolveProfile(profileFor(cpu, args.profile), args.pins ?? {});
    const groups = nodeGoals(profile, {
      gpus: args.gpus ?? "all",
      gpuMode: args.gpuMode ?? "on",
      vm: { cpus: 16, memoryGiB: 64, diskGiB: 100, ...args.vm },
      guest: { user: "teeup", port: 2222, ...args.guest },
      attestation: args.attestation,
    });
    const parts = nodeParts(this, name, { node: args.node, groups }, `the GPUs' CC mode is ${args.gpuMode}`);
    this.attestation = parts.attestation;
    this.evidence = parts.evidence;
    this.measurement = parts.measurement;
    this.plan = parts.plan;
    this.registerOutputs({ attestation: this.attestation, plan: this.plan });
  }
}
