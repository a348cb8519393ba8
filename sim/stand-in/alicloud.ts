import { randomBytes, randomUUID } from "node:crypto";
import type { Cloud, Kind, Props } from "./plugin.ts";
import { checkTypes } from "./types.ts";

/**
 * Alibaba Cloud as far as a TeeUp stack uses it: VPC, vSwitch, security group and rules, key pair, ECS instance, and
 * Cloud Assistant. It keeps state, gives ids, waits as the cloud does, and refuses with the cloud's error codes and a
 * request id, in the words in which the plugin hands them on.
 *
 * It does not cover: every other product, prices, real time, permissions (RAM), the defaults that the plugin fills in,
 * instances that are stopped, what another type or key pair does inside an instance, and how the plugin words errors of
 * other API clients. Written from the API's error lists and the plugin's sources;
 * compared with no real account.
 */
export interface Spec {
  readonly instanceType: string;
  readonly imageId: string;
  readonly zone: string;
  /** Public key of the key pair. */
  readonly publicKey: string;
}

/** What runs in the data centre: in tests a twin. */
export interface Server {
  readonly address: string;
  /** Lines of /etc/ssh/ssh_host_*_key.pub. */
  hostKeys(): readonly string[];
  stop(): Promise<void>;
}

export interface AliFaults {
  /** vCPU quota of the account is used up. */
  quota?: boolean;
  /** The family is sold out in the zone. */
  stock?: boolean;
}

const ZONES: Readonly<Record<string, RegExp>> = { "cn-beijing-l": /^ecs\.gn8v-tee/, "cn-beijing-i": /^ecs\.g8i\./ };
/** The recipe's, and a newer one. */
const IMAGES = ["aliyun_3_x64_20G_alibase_20250117.vhd", "aliyun_3_x64_20G_alibase_20250629.vhd"];

const KEY_PAIR = "alicloud:ecs/keyPair:KeyPair";
const VSWITCH = "alicloud:vpc/switch:Switch";
const RULE = "alicloud:ecs/securityGroupRule:SecurityGroupRule";
/** A rule's id, in the plugin too, is what it says: two that say the same are one. */
const RULE_ID = ["securityGroupId", "type", "ipProtocol", "portRange", "nicType", "cidrIp", "policy", "priority"];
/** Things without a life of their own: token, prefix of their ids, inputs whose change makes another one. */
const PLAIN: readonly (readonly [token: string, prefix: string, replaceOn: readonly string[]])[] = [
  ["alicloud:vpc/network:Network", "vpc", []],
  [VSWITCH, "vsw", ["vpcId", "zoneId", "cidrBlock"]],
  ["alicloud:ecs/securityGroup:SecurityGroup", "sg", ["vpcId"]],
  [RULE, "sgr", ["type", "ipProtocol", "portRange", "cidrIp", "securityGroupId", "policy", "priority", "nicType"]],
  ["alicloud:ecs/command:Command", "c", ["commandContent", "type", "name"]],
];

interface Made {
  readonly type: string;
  props: Props;
  status?: "Pending" | "Starting" | "Running";
  server?: Server;
  /** Looks until Cloud Assistant's agent answers. */
  agentIn?: number;
  output?: string;
}

export class AliCloud {
  readonly faults: AliFaults = {};
  readonly made = new Map<string, Made>();
  /** Every status an instance went through, in order. */
  readonly statuses: string[] = [];
  /** Request ids that were given with errors. */
  readonly refused: string[] = [];
  /** Things made, changed and deleted; set it to 0 to count anew. */
  changes = 0;
  readonly #start: (spec: Spec) => Promise<Server>;
  readonly #agentIn: number;

  constructor(start: (spec: Spec) => Promise<Server>, options: { agentIn?: number } = {}) {
    this.#start = start;
    this.#agentIn = options.agentIn ?? 1;
  }

  instances(): readonly string[] {
    return [...this.made.keys()].filter((id) => id.startsWith("i-"));
  }

  /** Somebody releases an instance in the console, or the cloud does. */
  async release(id: string): Promise<void> {
    await this.made.get(id)?.server?.stop();
    this.made.delete(id);
  }

  async close(): Promise<void> {
    for (const { server } of this.made.values()) await server?.stop();
  }

  /** An error as the plugin words it. */
  #refuse(resource: string, action: string, code: string, message: string): Error {
    const request = randomUUID().toUpperCase();
    this.refused.push(request);
    return new Error(
      `[ERROR] terraform-provider-alicloud/alicloud/resource_${resource}.go:372: Resource ${resource} ${action} Failed!!! [SDK alibaba-cloud-sdk-go ERROR]:\nSDK.ServerError\nErrorCode: ${code}\nRecommend: https://api.aliyun.com/troubleshoot?q=${code}&product=Ecs&requestId=${request}\nRequestId: ${request}\nMessage: ${message}`,
    );
  }

  #find(id: unknown, resource: string, action: string, code: string): Made {
    const found = this.made.get(String(id));
    if (found === undefined) throw this.#refuse(resource, action, code, `The specified ${String(id)} does not exist.`);
    return found;
  }

  /** A thing without a life of its own. */
  #plain(
    token: string,
    replaceOn: readonly string[],
    idOf: (inputs: Props) => string = () => `x-${randomBytes(8).toString("hex")}`,
  ): Kind {
    return {
      check: (inputs) => checkTypes(token, inputs),
      replaceOn,
      computed: [],
      create: async (inputs) => {
        const id = idOf(inputs);
        this.made.set(id, { type: token, props: inputs });
        return { id, outputs: inputs };
      },
      read: async (id) => this.made.get(id)?.props,
      update: async (id, inputs) => {
        this.made.set(id, { type: token, props: inputs });
        return inputs;
      },
      delete: async (id) => void this.made.delete(id),
    };
  }

  #specOf(inputs: Props): Spec {
    const propOf = (id: unknown, name: string) => String(this.made.get(String(id))?.props[name]);
    return {
      instanceType: String(inputs["instanceType"]),
      imageId: String(inputs["imageId"]),
      zone: propOf(inputs["vswitchId"], "zoneId"),
      publicKey: propOf(inputs["keyName"], "publicKey"),
    };
  }

  /** A zone's types; `soldOut`: those too of which there are none left. */
  #offers(zone: string, type: string, soldOut = false): boolean {
    return ZONES[zone]?.test(type) === true && (soldOut || this.faults.stock !== true);
  }

  #instance(): Kind {
    const token = "alicloud:ecs/instance:Instance";
    const resource = "alicloud_instance";
    const outputs = (made: Made): Props => ({
      ...made.props,
      status: made.status,
      publicIp: made.server?.address,
      primaryIpAddress: made.server?.address,
    });
    return {
      check: (inputs) => checkTypes(token, inputs),
      // ForceNew in the plugin's schema, of the inputs that TeeUp gives.
      replaceOn: ["availabilityZone", "systemDiskCategory"],
      computed: ["publicIp", "primaryIpAddress", "status", "memory", "cpu"],
      create: async (inputs) => {
        const zone = this.#find(inputs["vswitchId"], resource, "RunInstances", "InvalidVSwitchId.NotFound").props[
          "zoneId"
        ];
        const type = String(inputs["instanceType"]);
        const refuse = (code: string, message: string) => this.#refuse(resource, "RunInstances", code, message);
        for (const group of (inputs["securityGroups"] as string[] | undefined) ?? [])
          this.#find(group, resource, "RunInstances", "InvalidSecurityGroupId.NotFound");
        this.#find(inputs["keyName"], resource, "RunInstances", "InvalidKeyPair.NotFound");
        if (inputs["availabilityZone"] !== undefined && inputs["availabilityZone"] !== zone)
          throw refuse("InvalidVSwitchId.ZoneMismatch", "The specified VSwitch is not in the specified zone.");
        if (!this.#offers(String(zone), type, true))
          throw refuse(
            "InvalidResourceType.NotSupported",
            `user order resource type [ECS] is not exists in [${String(zone)}]`,
          );
        if (!IMAGES.includes(String(inputs["imageId"])))
          throw refuse("InvalidImageId.NotFound", "The specified ImageId does not exist.");
        if (this.faults.quota === true)
          throw refuse(
            "QuotaExceed.ElasticQuota",
            "The number of the specified ECS instances has exceeded the quota of the specified instance type.",
          );
        if (this.faults.stock === true)
          throw refuse(
            "OperationDenied.NoStock",
            "The requested resource is sold out in the specified zone; try other types of resources or other regions and zones.",
          );
        const id = `i-${randomBytes(8).toString("hex")}`;
        const made: Made = { type: token, props: inputs, agentIn: this.#agentIn };
        this.made.set(id, made);
        for (const status of ["Pending", "Starting"] as const) {
          made.status = status;
          this.statuses.push(status);
        }
        made.server = await this.#start(this.#specOf(inputs));
        made.status = "Running";
        this.statuses.push("Running");
        return { id, outputs: outputs(made) };
      },
      read: async (id) => {
        const made = this.made.get(id);
        return made === undefined ? undefined : outputs(made);
      },
      update: async (id, inputs) => {
        const made = this.#find(id, resource, "ModifyInstanceAttribute", "InvalidInstanceId.NotFound");
        const disk = made.props["imageId"] !== inputs["imageId"];
        made.props = inputs;
        // ReplaceSystemDisk: the same instance with another system, and host keys of its own.
        if (disk) {
          await made.server?.stop();
          made.server = await this.#start(this.#specOf(inputs));
        }
        return outputs(made);
      },
      delete: (id) => this.release(id),
    };
  }

  /** Refuses what overlaps another one of its VPC, and to go while an instance is in it. */
  #vswitch(token: string, replaceOn: readonly string[], idOf: () => string): Kind {
    const plain = this.#plain(token, replaceOn, idOf);
    const resource = "alicloud_vswitch";
    return {
      ...plain,
      create: (inputs) => {
        const same = ({ type, props }: Made) =>
          type === token && props["vpcId"] === inputs["vpcId"] && props["cidrBlock"] === inputs["cidrBlock"];
        if ([...this.made.values()].some(same))
          throw this.#refuse(resource, "CreateVSwitch", "InvalidCidrBlock.Overlapped", "The CIDR block is in use.");
        return plain.create(inputs);
      },
      delete: async (id, outputs) => {
        if ([...this.made.values()].some(({ props }) => props["vswitchId"] === id))
          throw this.#refuse(resource, "DeleteVSwitch", "DependencyViolation", "Instances are in the vSwitch.");
        return plain.delete(id, outputs);
      },
    };
  }

  #invocation(): Kind {
    const token = "alicloud:ecs/ecsInvocation:EcsInvocation";
    const resource = "alicloud_ecs_invocation";
    return {
      ...this.#plain(token, ["commandId", "instanceIds"]),
      computed: ["status"],
      create: async (inputs) => {
        this.#find(inputs["commandId"], resource, "InvokeCommand", "InvalidCmdId.NotFound");
        const [instance] = (inputs["instanceIds"] as string[] | undefined) ?? [];
        const {
          server,
          agentIn = 0,
          ...rest
        } = this.#find(instance, resource, "InvokeCommand", "InvalidInstance.NotFound");
        if (agentIn > 0) {
          this.made.set(String(instance), {
            ...rest,
            ...(server === undefined ? {} : { server }),
            agentIn: agentIn - 1,
          });
          throw this.#refuse(
            resource,
            "InvokeCommand",
            "InvalidInstance.NotRunning",
            "ClientNotOnline: the agent is not online.",
          );
        }
        const id = `t-${randomBytes(8).toString("hex")}`;
        const props = { ...inputs, status: "Success" };
        this.made.set(id, { type: token, props, output: `${server?.hostKeys().join("\n") ?? ""}\n` });
        return { id, outputs: props };
      },
    };
  }

  /** Counts what changes something. */
  #counted(kind: Kind): Kind {
    const count = <T>(change: Promise<T>): Promise<T> => {
      this.changes++;
      return change;
    };
    return {
      ...kind,
      create: (...args) => count(kind.create(...args)),
      update: (...args) => count(kind.update(...args)),
      delete: (...args) => count(kind.delete(...args)),
    };
  }

  cloud(): Cloud {
    const kinds: Cloud["kinds"] = {
      ...Object.fromEntries(
        PLAIN.map(([token, prefix, replaceOn]) => {
          const idOf = (inputs: Props = {}) =>
            token === RULE
              ? RULE_ID.map((key) => String(inputs[key] ?? "")).join(":")
              : `${prefix}-${randomBytes(8).toString("hex")}`;
          const kind = token === VSWITCH ? this.#vswitch(token, replaceOn, idOf) : this.#plain(token, replaceOn, idOf);
          return [token, kind];
        }),
      ),
      // A key pair's id is its name.
      [KEY_PAIR]: this.#plain(KEY_PAIR, ["publicKey", "keyPairName"], ({ keyPairName }) => String(keyPairName)),
      "alicloud:ecs/instance:Instance": this.#instance(),
      "alicloud:ecs/ecsInvocation:EcsInvocation": this.#invocation(),
    };
    return {
      package: "alicloud",
      version: "3.108.0",
      kinds: Object.fromEntries(Object.entries(kinds).map(([token, kind]) => [token, this.#counted(kind)])),
      functions: {
        "alicloud:ecs/getInstances:getInstances": async ({ tags = {}, nameRegex = "" }) => {
          const wanted = Object.entries(tags as Props);
          const ids = this.instances().filter((id) => {
            const props: Props = this.made.get(id)?.props ?? {};
            const has = (props["tags"] ?? {}) as Props;
            const tagged = wanted.every(([key, value]) => has[key] === value);
            return tagged && new RegExp(String(nameRegex)).test(String(props["instanceName"]));
          });
          const instances = ids.map((id) => {
            const props: Props = this.made.get(id)?.props ?? {};
            const what = ["instanceType", "imageId", "availabilityZone"].map((key) => [key, props[key]]);
            return { id, ...Object.fromEntries(what) };
          });
          return { id: "all", ids, names: [], instances, tags };
        },
        "alicloud:ecs/getInstanceTypes:getInstanceTypes": async ({ availabilityZone, instanceType }) => {
          const offered = this.#offers(String(availabilityZone), String(instanceType));
          return { id: "all", ids: offered ? [instanceType] : [], instanceTypes: [] };
        },
        "alicloud:ecs/getEcsInvocations:getEcsInvocations": async ({ ids }) => ({
          id: "one",
          ids,
          invocations: ((ids as string[] | undefined) ?? []).flatMap((id) => {
            const made = this.made.get(id);
            if (made === undefined) return [];
            const instances = (made.props["instanceIds"] as string[]).map((instanceId) => ({
              instanceId,
              invocationStatus: "Success",
              exitCode: 0,
              output: made.output ?? "",
            }));
            return [{ id, invocationId: id, invocationStatus: "Success", invokeInstances: instances }];
          }),
        }),
      },
    };
  }
}
