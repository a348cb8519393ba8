/**
 * What the stacks ask of Pulumi plugins that are not ours, and what tried it. The plugins cannot be had where the tests
 * run: a row with a test says that the test went through the real Pulumi and the real package to a stand-in of the plugin
 * (sim/stand-in). Nothing here was ever asked of a real plugin.
 */
export interface PluginUse {
  /** As in a URN, or of a function. */
  readonly token: string;
  readonly what: string;
  /** The test that asked a stand-in for it. */
  readonly test?: { readonly file: string; readonly title: string };
  /** What a real plugin or cloud may do otherwise; the first thing to look at. */
  readonly unknown: string;
}

const ALIBABA = "test/pulumi/alibaba.test.ts";
const ONE_SHOTS = "test/pulumi/one-shots.test.ts";
const alibaba = (title: string) => ({ test: { file: ALIBABA, title } });
const oneShots = (title: string) => ({ test: { file: ONE_SHOTS, title } });

const UP =
  "up makes it, waits until it runs, reaches it by the keys that the cloud says, and brings it to an attested GPU";
const INPUTS = "the package's own types know each input, and these are they";
const DESTROY =
  "destroy leaves nothing in the cloud, also when it was released again and a refresh took it out of the state";
const instance = "alicloud:ecs/instance:Instance";

export const PLUGIN_USES: readonly PluginUse[] = [
  {
    token: instance,
    what: "make, wait until it runs",
    ...alibaba(UP),
    unknown: "how long it takes, and the defaults that the plugin fills in: a second up may show them",
  },
  { token: instance, what: "inputs", ...alibaba(INPUTS), unknown: "what may not be combined" },
  { token: instance, what: "quota used up", ...alibaba("quota"), unknown: "the error's exact code and words" },
  {
    token: instance,
    what: "sold out",
    ...alibaba("stock: a preview says it before up asks"),
    unknown: "the error's exact code and words",
  },
  {
    token: instance,
    what: "wrong zone",
    ...alibaba("a zone that does not sell the type"),
    unknown: "the error's exact code and words",
  },
  {
    token: instance,
    what: "released behind Pulumi's back",
    ...alibaba("a refresh shows it as drift: the instance is gone, and its parts cannot be reached"),
    unknown: "nothing known",
  },
  {
    token: instance,
    what: "stopped behind Pulumi's back",
    unknown: "the plugin's status input may start it again at the next up --refresh",
  },
  {
    token: instance,
    what: "another image",
    ...alibaba("another image: the same instance with another system and other host keys, attested again"),
    unknown: "whether the instance stops first, and for how long",
  },
  {
    token: instance,
    what: "another type",
    unknown: "only the plan and its refusal were tried: the stand-in changes the number alone",
  },
  { token: instance, what: "another zone", unknown: "only the plan, its refusal and the way back were tried" },
  {
    token: instance,
    what: "another key pair",
    unknown: "said by the plugin's page: from 1.268 on the instance restarts",
  },
  { token: instance, what: "release", ...alibaba(DESTROY), unknown: "what holds a release back" },
  {
    token: "alicloud:vpc/network:Network",
    what: "make, destroy",
    ...alibaba(DESTROY),
    unknown: "order in which the cloud lets go of them",
  },
  {
    token: "alicloud:vpc/switch:Switch",
    what: "make, destroy",
    ...alibaba(DESTROY),
    unknown: "order in which the cloud lets go of them",
  },
  {
    token: "alicloud:ecs/securityGroup:SecurityGroup",
    what: "make, inputs, destroy",
    ...alibaba(INPUTS),
    unknown: "whether it takes nothing from its own members before the policy is set",
  },
  {
    token: "alicloud:ecs/securityGroupRule:SecurityGroupRule",
    what: "make, inputs, destroy",
    ...alibaba(INPUTS),
    unknown: "defaults of priority and NIC type",
  },
  {
    token: "alicloud:ecs/keyPair:KeyPair",
    what: "make, inputs, destroy",
    ...alibaba(INPUTS),
    unknown: "whether it takes every type of key",
  },
  {
    token: "alicloud:ecs/command:Command",
    what: "make, replace, destroy",
    ...alibaba("another image: the same instance with another system and other host keys, attested again"),
    unknown: "limits of names",
  },
  {
    token: "alicloud:ecs/ecsInvocation:EcsInvocation",
    what: "ask an instance for its host keys",
    ...alibaba(UP),
    unknown: "how long the agent takes to be online: the plugin may give up first, then up again",
  },
  {
    token: "alicloud:ecs/getEcsInvocations:getEcsInvocations",
    what: "read what it said",
    ...alibaba(UP),
    unknown: "how long the cloud keeps it",
  },
  {
    token: "alicloud:ecs/getInstances:getInstances",
    what: "instances of a node, by tag",
    ...alibaba("a preview says it, and so does each of its parts; nothing throws"),
    unknown: "how soon a released one is no longer listed",
  },
  {
    token: "alicloud:ecs/getInstanceTypes:getInstanceTypes",
    what: "whether a zone sells a type",
    ...alibaba("stock: a preview says it before up asks"),
    unknown: "whether types by invitation are listed: what it does not list is said, never refused",
  },
  {
    token: "command:remote:Command",
    what: "run after the attestation",
    ...oneShots("up runs each of them once, after the attestation, and keeps what they said"),
    unknown: "what it shows while a command runs",
  },
  {
    token: "command:remote:Command",
    what: "run again after a restart",
    ...oneShots("after a restart they run again, in the boot that is attested anew"),
    unknown: "nothing known",
  },
  {
    token: "command:remote:Command",
    what: "refuse another host key",
    ...oneShots("another host key than the given one is refused before anything runs"),
    unknown: "nothing known: its source at 1.2.1 was read",
  },
  { token: "command:remote:Command", what: "through a bastion", unknown: "never asked of a stand-in" },
];
