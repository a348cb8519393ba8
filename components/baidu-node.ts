import * as pulumi from "@pulumi/pulumi";
import { type InstanceSettings, instanceGoals } from "../stacks/profiles/cloud-goals.ts";
import type { CloudProfile } from "../stacks/profiles/cloud-schema.ts";
import { cloudProfileFor, type Pins, resolveCloudProfile } from "../stacks/profiles/resolve.ts";
import { nodeParts, type Verdict } from "./node-parts.ts";
import { type OneShotSettings, oneShots } from "./one-shots.ts";

export interface InstanceNodeArgs extends InstanceSettings, OneShotSettings {
  /** Name of a node in `teeup:nodes`. */
  readonly node: string;
  /** Recipe of a cloud by its name, or one of your own; default: the cloud's first. */
  readonly profile?: string | CloudProfile | undefined;
  /** Values that the recipe leaves open, by their path in it. */
  readonly pins?: Pins;
}

/**
 * An instance of Baidu BCC that exists already: no Pulumi provider makes one. It is found by the address in
 * `teeup:nodes`, and deleting this component leaves it running (seed 003).
 *
 * Throws TeeUpError `config.unknown-profile`, `config.wrong-profile`, `config.missing-pin` or `config.bad-pin`.
 */
export class BaiduNode extends pulumi.ComponentResource {
  readonly attestation: pulumi.Output<Verdict>;
  /** What the controller found out by evidence, with the signed result; undefined where the stack asks for none. */
  readonly evidence: pulumi.Output<Verdict> | undefined;
  readonly plan: pulumi.Output<readonly string[]>;

  constructor(name: string, args: InstanceNodeArgs, opts?: pulumi.ComponentResourceOptions) {
    super("teeup:node:BaiduNode", name, {}, opts);
    const profile = resolveCloudProfile(cloudProfileFor("baidu-bcc", args.profile), args.pins ?? {}, args);
    const parts = nodeParts(this, name, { node: args.node, groups: instanceGoals(profile, args) });
    oneShots(this, name, { ...args, parts });
    this.attestation = parts.attestation;
    this.evidence = parts.evidence;
    this.plan = parts.plan;
    this.registerOutputs({ attestation: this.attestation, plan: this.plan });
  }
}
