import { createHash } from "node:crypto";
import { Command } from "@pulumi/alicloud/ecs/command.js";
import { EcsInvocation } from "@pulumi/alicloud/ecs/ecsInvocation.js";
import { getEcsInvocationsOutput } from "@pulumi/alicloud/ecs/getEcsInvocations.js";
import { type GetInstancesArgs, type GetInstancesResult, getInstances } from "@pulumi/alicloud/ecs/getInstances.js";
import { getInstanceTypes } from "@pulumi/alicloud/ecs/getInstanceTypes.js";
import { Instance } from "@pulumi/alicloud/ecs/instance.js";
import { KeyPair } from "@pulumi/alicloud/ecs/keyPair.js";
import { SecurityGroup } from "@pulumi/alicloud/ecs/securityGroup.js";
import { SecurityGroupRule } from "@pulumi/alicloud/ecs/securityGroupRule.js";
import { Network } from "@pulumi/alicloud/vpc/network.js";
import { Switch } from "@pulumi/alicloud/vpc/switch.js";
import * as pulumi from "@pulumi/pulumi";
import { TeeUpError } from "../providers/kit/errors.ts";
import { type Seen, type Shape, wideRanges } from "../providers/kit/instance.ts";
import type { Place } from "../providers/kit/machine.ts";
import { InstancePlace, InstancePlan } from "../providers/resource.ts";
import { instanceGoals } from "../stacks/profiles/cloud-goals.ts";
import { cloudProfileFor, resolveCloudProfile } from "../stacks/profiles/resolve.ts";
import type { InstanceNodeArgs } from "./baidu-node.ts";
import { nodeParts, type Verdict } from "./node-parts.ts";
import { oneShots } from "./one-shots.ts";

export interface AlibabaNodeArgs extends InstanceNodeArgs {
  /** OpenSSH public key line that may log in as root; its private half is the node's `ssh.keyFile` or in the agent. */
  readonly publicKey: string;
  /** Address ranges that may reach sshd, e.g. `203.0.113.7/32`. Nobody else reaches anything. */
  readonly sshFrom: readonly string[];
  /** Said by somebody who really means a range that holds about everybody, such as 0.0.0.0/0; default no. */
  readonly sshFromAnyone?: boolean | undefined;
  /** Zone; default: the recipe's. */
  readonly zone?: string | undefined;
  /** Image id; default: the recipe's. Another one replaces the system disk. */
  readonly image?: string | undefined;
  /** Instance type; default: the recipe's first. */
  readonly type?: string | undefined;
  /** GiB of the system disk; default: the recipe's. */
  readonly diskGiB?: number | undefined;
  /** Mbit/s of the public address; default 10. */
  readonly bandwidth?: number | undefined;
}

/** What the instance says of its own host keys, through Cloud Assistant: the cloud's own way into it. */
const hostKeys = (image: string): string =>
  // Another image is another system with other keys: another command, so that it is asked again.
  // Nothing of its name may end the comment: this runs as root.
  `# ${image.replace(/[^\w.-]/g, "?")}\ncat /etc/ssh/ssh_host_ed25519_key.pub /etc/ssh/ssh_host_ecdsa_key.pub 2>/dev/null`;

/**
 * One gn8v-tee instance of Alibaba Cloud with its own network, reachable by SSH from the given addresses only, brought to
 * an attested GPU (seed 002). Everything the stack makes ends with it.
 *
 * Throws TeeUpError `config.unknown-profile`, `config.wrong-profile`, `config.missing-pin`, `config.bad-pin`, or
 * `config.instance` for ssh from about everybody.
 */
export class AlibabaNode extends pulumi.ComponentResource {
  readonly attestation: pulumi.Output<Verdict>;
  /** What the controller found out by evidence, with the signed result; undefined where the stack asks for none. */
  readonly evidence: pulumi.Output<Verdict> | undefined;
  readonly plan: pulumi.Output<readonly string[]>;
  readonly instanceId: pulumi.Output<string>;
  readonly address: pulumi.Output<string>;
  /** The key that the instance is known by, for what connects to it later. */
  readonly hostKey: pulumi.Output<string>;

  constructor(name: string, args: AlibabaNodeArgs, opts?: pulumi.ComponentResourceOptions) {
    super("teeup:node:AlibabaNode", name, {}, opts);
    const profile = resolveCloudProfile(cloudProfileFor("alibaba-gn8v-tee", args.profile), args.pins ?? {}, args);
    const { instance: recipe } = profile;
    if (recipe === undefined) throw new pulumi.RunError(`profile ${profile.name} says nothing of the instance itself`);
    refuseAnyone(args);
    const { types, systemDisk } = recipe.value;
    const image = args.image ?? recipe.value.image;
    const zone = args.zone ?? recipe.value.zone;
    const shape: Shape = {
      type: args.type ?? types[0] ?? "",
      image,
      zone,
      diskCategory: systemDisk.category,
      diskGiB: args.diskGiB ?? systemDisk.sizeGiB,
      keyPair: args.publicKey,
    };
    const parent = { parent: this };
    // Before anything of the cloud: what the stack does not permit is refused with nothing touched.
    const tags = { "teeup:stack": `${pulumi.getProject()}/${pulumi.getStack()}`, "teeup:node": args.node };
    const seen = pulumi.output(seenOf(tags, `teeup-${name}`, shape, parent));
    const plan = new InstancePlan(`${name}-instance-plan`, { node: args.node, shape, seen }, parent);

    const after = { ...parent, dependsOn: plan };
    const vpc = new Network(`${name}-vpc`, { vpcName: `teeup-${name}`, cidrBlock: "10.0.0.0/16" }, after);
    // One for each zone: while the instance moves, both stand side by side; going back finds the first one still there.
    const vswitch = new Switch(
      `${name}-vswitch-${zone}`,
      { vswitchName: `teeup-${name}`, vpcId: vpc.id, cidrBlock: cidrOf(zone), zoneId: zone },
      after,
    );
    const group = new SecurityGroup(
      `${name}-group`,
      { securityGroupName: `teeup-${name}`, vpcId: vpc.id, innerAccessPolicy: "Drop" },
      after,
    );
    // Named by their range: a rule is known to the cloud by what it says, so that one that moves to another name is made
    // by the one and then deleted by the other.
    const rules = [...new Set(args.sshFrom)].map(
      (cidrIp) =>
        new SecurityGroupRule(
          `${name}-ssh-${cidrIp.replace("/", "-")}`,
          {
            type: "ingress",
            ipProtocol: "tcp",
            portRange: "22/22",
            policy: "accept",
            cidrIp,
            securityGroupId: group.id,
            description: "ssh, for TeeUp",
          },
          after,
        ),
    );
    // Another key is another pair: under the same name the instance would not notice, and keep the old one.
    const pairName = `teeup-${name}-${createHash("sha256").update(args.publicKey.trim()).digest("hex").slice(0, 8)}`;
    const pair = new KeyPair(`${name}-key`, { keyPairName: pairName, publicKey: args.publicKey }, after);
    const instance = new Instance(
      `${name}-instance`,
      {
        instanceName: `teeup-${name}`,
        instanceType: shape.type,
        imageId: image,
        // A change of it makes another instance; a change of the vSwitch alone would not.
        availabilityZone: zone,
        vswitchId: vswitch.id,
        securityGroups: [group.id],
        keyName: pair.keyPairName,
        systemDiskCategory: shape.diskCategory,
        systemDiskSize: shape.diskGiB,
        internetMaxBandwidthOut: args.bandwidth ?? 10,
        tags,
      },
      // Two at a time would need the quota and the stock of two.
      { ...parent, dependsOn: [plan, ...rules], deleteBeforeReplace: true },
    );
    this.instanceId = instance.id;
    this.address = instance.publicIp;

    const ask = new Command(
      `${name}-host-keys`,
      { name: `teeup-${name}-host-keys`, type: "RunShellScript", commandContent: base64(hostKeys(image)) },
      after,
    );
    const asked = new EcsInvocation(
      `${name}-host-keys-asked`,
      { commandId: ask.id, instanceIds: [instance.id] },
      { ...parent, deletedWith: instance },
    );
    const { invocations } = getEcsInvocationsOutput({ ids: [asked.id], contentEncoding: "PlainText" }, parent);
    const place = new InstancePlace(
      `${name}-instance-place`,
      {
        node: args.node,
        instanceId: instance.id,
        host: instance.publicIp,
        said: invocations.apply((all) => all[0]?.invokeInstances[0]?.output ?? ""),
        image,
      },
      // Not deletedWith: deleted before the instance, it is where a release that nobody reviewed is refused.
      parent,
    );
    const at: pulumi.Output<Place> = place.at;
    this.hostKey = at.apply(({ hostKeys }) => hostKeys?.[0] ?? "");

    const parts = nodeParts(this, name, {
      node: args.node,
      groups: instanceGoals(profile, args),
      at,
      // What is undone on a system whose instance goes is time lost.
      options: { deletedWith: instance },
    });
    oneShots(this, name, { ...args, parts, at, options: { deletedWith: instance } });
    this.attestation = parts.attestation;
    this.evidence = parts.evidence;
    this.plan = pulumi
      .all([pulumi.recover<readonly string[]>(plan.plan, () => []), parts.plan])
      .apply(([own, node]) => [...(own ?? []), ...(node ?? [])]);
    this.registerOutputs({ attestation: this.attestation, plan: this.plan });
  }
}

/** Each zone has a range of its own: two vSwitches of a VPC must not overlap. */
const cidrOf = (zone: string): string => `10.0.${zone.charCodeAt(zone.length - 1) % 256}.0/24`;

/** What the cloud says, as far as the account may ask; a question that fails stops nothing. */
async function seenOf(
  tags: Record<string, string>,
  instanceName: string,
  { zone, type }: Shape,
  options: pulumi.InvokeOptions,
): Promise<Seen> {
  const ask = (question: GetInstancesArgs) =>
    getInstances({ ...question, enableDetails: false }, options).then(
      (found) => found,
      () => undefined,
    );
  // A stack that is renamed looks for other tags than its instance has, and anybody may take them off: what is there by
  // its name is perhaps it, and only what is there by neither is not there.
  const [tagged, named] = await Promise.all([ask({ tags }), ask({ nameRegex: `^${instanceName}$` })]);
  const instances = tagged?.ids.length === 0 && named?.ids.length !== 0 ? undefined : tagged?.ids;
  const [one, ...more] = tagged?.instances ?? [];
  if (instances !== undefined && instances.length > 0)
    return { instances, ...(one === undefined || more.length > 0 ? {} : { shape: shapeOf(one) }) };
  const offered = await getInstanceTypes({ availabilityZone: zone, instanceType: type }, options).then(
    ({ ids }) => ids.includes(type),
    (error: unknown) => (/returned no results/.test(String(error)) ? false : undefined),
  );
  return { ...(instances === undefined ? {} : { instances }), ...(offered === undefined ? {} : { offered }) };
}

type Found = GetInstancesResult["instances"][number];
const shapeOf = ({ instanceType: type, imageId: image, availabilityZone: zone }: Found) => ({ type, image, zone });

function refuseAnyone({ node, sshFrom, sshFromAnyone }: AlibabaNodeArgs): void {
  const wide = sshFromAnyone === true ? [] : wideRanges(sshFrom);
  if (wide.length === 0) return;
  throw new TeeUpError({
    code: "config.instance",
    node,
    subject: "teeup:instance.sshFrom",
    saw: `${wide.join(", ")} lets about everybody reach the instance's sshd`,
    next: "name the ranges that you connect from; or, if you mean it, pulumi config set --path teeup:instance.sshFromAnyone true",
  });
}

const base64 = (text: string): string => Buffer.from(text).toString("base64");
