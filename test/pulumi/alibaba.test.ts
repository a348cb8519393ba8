import { writeFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { freshKeyPair } from "../../sim/model/keys.ts";
import { type DataCentre, openDataCentre } from "../../sim/stand-in/data-centre.ts";
import { askedOf } from "../../stacks/profiles/cloud-goals.ts";
import { CLOUD_PROFILES } from "../../stacks/profiles/resolve.ts";
import { run } from "../cli/run.ts";
import { pinsFor } from "../e2e/drive.ts";
import { MINUTES, nameOf, Site, Stack } from "./harness.ts";

/**
 * An instance of Alibaba Cloud from nothing, through the real Pulumi and @pulumi/alicloud. The plugin and the cloud behind
 * it are stand-ins (sim/stand-in says what they do not cover); the instance is a twin. Each test goes on where the last
 * ended.
 */
const PROFILE = CLOUD_PROFILES.find((p) => p.name === "alibaba-gn8v-tee-1gpu");
if (PROFILE === undefined) throw new Error("no such profile");
const IMAGE = "aliyun_3_x64_20G_alibase_20250117.vhd";

let site: Site;
let centre: DataCentre;
let stack: Stack;
let keyFile = "";
let publicKey = "";
const config = (permit: string, instance: object = {}) => ({
  "teeup:platform": "alibaba-gn8v-tee",
  "teeup:permit": permit,
  "teeup:pins": pinsFor(askedOf(PROFILE, {})),
  "teeup:instance": { sshFrom: ["203.0.113.7/32"], ...instance },
  "teeup:nodes": [{ name: "gpu-01", ssh: { user: "root", port: centre.port, keyFile }, guest: { publicKey } }],
});

beforeAll(async () => {
  site = new Site();
  const keys = freshKeyPair("alibaba");
  publicKey = keys.public.trim();
  keyFile = site.path("keys", "alibaba");
  writeFileSync(keyFile, keys.private, { mode: 0o600 });
  centre = await openDataCentre({ name: "gpu-01" });
  stack = await Stack.create(site, { config: config("reboot"), env: { PULUMI_DEBUG_PROVIDERS: centre.attach } });
}, 60_000);
afterAll(async () => {
  await centre.close();
  await site.close();
});

const made = (type: string) => [...centre.cloud.made].filter(([, { type: of }]) => of.endsWith(`:${type}`));
const propsOf = (type: string) => made(type).map(([, { props }]) => props);

describe("nothing there yet", () => {
  test(
    "the plan says what would be made, and what is decided when it exists",
    async () => {
      const { plans } = await stack.plans();
      expect(plans["gpu-01-instance-plan"]).toEqual([
        `[none] make an instance ecs.gn8v-tee.4xlarge in cn-beijing-l from ${IMAGE}`,
      ]);
      expect(plans["gpu-01-plan"]?.slice(0, 2)).toEqual([
        "[later] instance-system: decided when the instance exists",
        "[later] packages: decided when the instance exists",
      ]);
      expect(plans["gpu-01-attestation"]).toEqual(["[later] attestation: decided when the instance exists"]);
      expect(centre.cloud.changes).toBe(0);
    },
    MINUTES,
  );

  test(
    "ssh from everybody is refused, unless somebody says that it is meant",
    async () => {
      stack.configure(config("reboot", { sshFrom: ["203.0.113.7/32", "0.0.0.0/0"] }));
      const { status, stdout } = await stack.preview();
      expect(status).not.toBe(0);
      expect(stdout).toContain("0.0.0.0/0 lets about everybody reach the instance's sshd [config.instance]");
      expect(stdout).toContain("pulumi config set --path teeup:instance.sshFromAnyone true");
      stack.configure(config("reboot", { sshFrom: ["0.0.0.0/0"], sshFromAnyone: true }));
      expect(await stack.preview()).toMatchObject({ status: 0 });
      expect(centre.cloud.changes).toBe(0);
    },
    MINUTES,
  );

  test("teeup check says that there is no instance yet, and the command that makes it", async () => {
    const env = Object.fromEntries(Object.entries(stack.env).map(([name, value]) => [name, value ?? ""]));
    const { status, stderr } = await run(["cli/main.ts", "check", "gpu-01", "--file", stack.configFile], env);
    expect([status, stderr]).toEqual([
      1,
      "gpu-01: the stack makes this instance, and has not made it yet: its outputs have no address [node.no-place]\n  next: pulumi up\n",
    ]);
  }, 120_000);
});

describe("what the cloud refuses, with its request id and what to do about it", () => {
  /** Each of these runs after the first: what to do is said every time, not only when the plan was new. */
  const refusal = async (code: string, todo: RegExp) => {
    const { status, stdout } = await stack.up();
    expect(status).not.toBe(0);
    expect(stdout).toContain(`ErrorCode: ${code}`);
    expect(stdout).toContain(`RequestId: ${centre.cloud.refused.at(-1)}`);
    expect(stdout).toMatch(todo);
    expect(centre.cloud.instances()).toEqual([]);
    return stdout;
  };
  const notOffered = async () =>
    ((await stack.plans()).plans["gpu-01-instance-plan"] ?? []).filter((l) => /offered/.test(l));

  test(
    "quota",
    async () => {
      stack.configure(config("reboot"));
      centre.cloud.faults.quota = true;
      await refusal("QuotaExceed.ElasticQuota", /QuotaExceed: .*raise it in the ECS console/);
      await refusal("QuotaExceed.ElasticQuota", /QuotaExceed: .*raise it in the ECS console/);
      delete centre.cloud.faults.quota;
      expect(await notOffered()).toEqual([]);
    },
    MINUTES,
  );

  test(
    "stock: a preview says it before up asks",
    async () => {
      centre.cloud.faults.stock = true;
      expect(await notOffered()).toEqual([
        expect.stringMatching(
          /^\[check\] instance-plan.not-offered: want ecs.gn8v-tee.4xlarge in cn-beijing-l, .*sold out/,
        ),
      ]);
      await refusal("OperationDenied.NoStock", /OperationDenied.NoStock: sold out in this zone/);
      delete centre.cloud.faults.stock;
    },
    MINUTES,
  );

  test(
    "a zone that does not sell the type",
    async () => {
      stack.configure(config("power-cycle", { zone: "cn-beijing-i" }));
      expect(await notOffered()).toEqual([
        expect.stringMatching(/in cn-beijing-i, .*the wrong zone \(teeup:instance.zone\)/),
      ]);
      await refusal("InvalidResourceType.NotSupported", /gn8v-tee is cn-beijing-l only \(teeup:instance.zone\)/);
    },
    MINUTES,
  );
});

describe("an instance", () => {
  test(
    "up makes it, waits until it runs, reaches it by the keys that the cloud says, and brings it to an attested GPU",
    async () => {
      stack.configure(config("power-cycle"));
      const { status, said } = await stack.up();
      expect([status, status === 0 ? "" : said]).toEqual([0, ""]);
      expect(centre.cloud.statuses).toEqual(["Pending", "Starting", "Running"]);
      const [id] = centre.cloud.instances();
      expect(await stack.outputs()).toEqual({
        nodes: {
          "gpu-01": expect.objectContaining({
            attestation: { verdict: "pass", claims: expect.objectContaining({ gpus: 1, measurements: "success" }) },
            instanceId: id,
            address: "127.0.0.1",
            hostKey: centre.twin()?.ssh.knownHosts.replace(/^\S+ /, ""),
          }),
        },
      });
      expect(centre.twin()?.journal.unmodelled).toEqual([]);
    },
    MINUTES,
  );

  test("the package's own types know each input, and these are they", () => {
    const [[vpc] = []] = made("Network");
    const [[group] = []] = made("SecurityGroup");
    const [[pair] = []] = made("KeyPair");
    const [[vswitch] = []] = made("Switch");
    expect(propsOf("SecurityGroup")).toEqual([
      { securityGroupName: "teeup-gpu-01", vpcId: vpc, innerAccessPolicy: "Drop" },
    ]);
    expect(propsOf("SecurityGroupRule")).toEqual([
      {
        type: "ingress",
        ipProtocol: "tcp",
        portRange: "22/22",
        policy: "accept",
        cidrIp: "203.0.113.7/32",
        securityGroupId: group,
        description: "ssh, for TeeUp",
      },
    ]);
    expect(propsOf("KeyPair")).toEqual([{ keyPairName: pair, publicKey }]);
    expect(propsOf("Instance")).toEqual([
      {
        instanceName: "teeup-gpu-01",
        instanceType: "ecs.gn8v-tee.4xlarge",
        imageId: IMAGE,
        availabilityZone: "cn-beijing-l",
        vswitchId: vswitch,
        securityGroups: [group],
        keyName: pair,
        systemDiskCategory: "cloud_essd",
        systemDiskSize: 200,
        internetMaxBandwidthOut: 10,
        tags: { "teeup:stack": "teeup/dev", "teeup:node": "gpu-01" },
      },
    ]);
  });

  test(
    "a second up changes nothing, neither in Pulumi, nor in the cloud, nor in the instance",
    async () => {
      centre.cloud.changes = 0;
      centre.twin()?.journal.clear();
      const { status, stdout } = await stack.up();
      expect(status).toBe(0);
      expect(stdout).toMatch(/Resources:\n +\d+ unchanged\n/);
      expect([centre.cloud.changes, centre.twin()?.journal.counts().mutations]).toEqual([0, 0]);
      // Nothing is refused any more, so nothing is said of refusals.
      expect(stdout).not.toContain("Should the cloud refuse");
    },
    MINUTES,
  );

  const COSTS: readonly (readonly [what: string, instance: object, line: string])[] = [
    [
      "type",
      { type: "ecs.gn8v-tee.6xlarge" },
      "[guest-stop] stop the instance, change its type ecs.gn8v-tee.4xlarge → ecs.gn8v-tee.6xlarge, start it",
    ],
    [
      "zone",
      { zone: "cn-beijing-i" },
      "[power-cycle] replace the instance, zone cn-beijing-l → cn-beijing-i: it is released with its disk and all that is on it",
    ],
    [
      "a smaller disk",
      { diskGiB: 100 },
      "[human] a system disk does not shrink (200 → 100 GiB): set teeup:instance.diskGiB back",
    ],
  ];
  test.each(COSTS)(
    "what a change of it costs is in the plan, and refused with nothing touched when not permitted: %s",
    async (_what, instance, line) => {
      stack.configure(config("none", instance));
      const { plans } = await stack.plans();
      expect(plans["gpu-01-instance-plan"]?.[0]).toBe(line);
      const before = centre.cloud.instances();
      centre.cloud.changes = 0;
      const { status, stdout } = await stack.up();
      stack.configure(config("power-cycle"));
      expect(status).not.toBe(0);
      expect(stdout).toContain("nothing was changed");
      expect(stdout).toContain(line);
      expect([centre.cloud.instances(), centre.cloud.changes]).toEqual([before, 0]);
      expect(propsOf("Instance")[0]).toMatchObject({ instanceType: "ecs.gn8v-tee.4xlarge", systemDiskSize: 200 });
    },
    MINUTES,
  );
});

test(
  "another image: the same instance with another system and other host keys, attested again",
  async () => {
    const nodes = async () =>
      (await stack.outputs())["nodes"] as Record<string, { hostKey: string; instanceId: string }>;
    const before = (await nodes())["gpu-01"];
    stack.configure(config("power-cycle", { image: "aliyun_3_x64_20G_alibase_20250629.vhd" }));
    expect((await stack.plans()).plans["gpu-01-instance-plan"]).toEqual([
      `[power-cycle] replace the system disk, image ${IMAGE} → aliyun_3_x64_20G_alibase_20250629.vhd: all that is on it is lost`,
    ]);
    const { status, said } = await stack.up();
    expect([status, status === 0 ? "" : said]).toEqual([0, ""]);
    const after = (await nodes())["gpu-01"];
    expect(after).toMatchObject({ attestation: { verdict: "pass" }, instanceId: before?.instanceId });
    expect(after?.hostKey).not.toBe(before?.hostKey);
  },
  MINUTES,
);

describe("an instance that somebody releases in the console", () => {
  test(
    "a preview says it, and so does each of its parts; nothing throws",
    async () => {
      for (const id of centre.cloud.instances()) await centre.cloud.release(id);
      const { text, plans } = await stack.plans();
      expect(plans["gpu-01-instance-plan"]).toEqual([
        expect.stringMatching(/^\[none\] make an instance/),
        expect.stringMatching(
          /^\[check\] instance-plan.absent: .*saw none in the cloud; pulumi up --refresh makes one/,
        ),
      ]);
      expect(plans["gpu-01-plan"]).toEqual([
        expect.stringMatching(/^\[unknown\] gpu-01 cannot be reached, .*pulumi up --refresh asks the cloud/),
      ]);
      expect(text).not.toMatch(/\n +at \S+ \(/);
    },
    MINUTES,
  );

  test(
    "a refresh shows it as drift: the instance is gone, and its parts cannot be reached",
    async () => {
      const ran = await stack.run("refresh", "--preview-only", "--expect-no-changes", "--diff");
      expect(ran.status).toBe(7);
      expect(ran.said).toMatch(/alicloud:ecs\/instance:Instance: \(delete\)/);
      expect(ran.said).toMatch(/unreachable: "cannot be reached: ssh: 127.0.0.1:\d+ refuses connections/);
      expect(ran.said).not.toMatch(/\n +at \S+ \(|unhandled/);
    },
    MINUTES,
  );

  test(
    "up --refresh makes another one, with keys of its own, and attests it",
    async () => {
      const { hostKey: before } = ((await stack.outputs())["nodes"] as Record<string, { hostKey: string }>)["gpu-01"]!;
      const { status, said } = await stack.up("--refresh");
      expect([status, status === 0 ? "" : said]).toEqual([0, ""]);
      const after = (await stack.outputs())["nodes"] as Record<string, { hostKey: string; attestation: object }>;
      expect(after["gpu-01"]).toMatchObject({ attestation: { verdict: "pass" } });
      expect(after["gpu-01"]?.hostKey).not.toBe(before);
      expect(await stack.preview("--expect-no-changes")).toMatchObject({ status: 0 });
    },
    MINUTES,
  );

  test(
    "destroy leaves nothing in the cloud, also when it was released again and a refresh took it out of the state",
    async () => {
      for (const id of centre.cloud.instances()) await centre.cloud.release(id);
      expect(await stack.run("refresh", "--yes")).toMatchObject({ status: 0 });
      await stack.set("teeup:permit", "power-cycle");
      const { status, said } = await stack.destroy();
      expect([status, status === 0 ? "" : said]).toEqual([0, ""]);
      expect((await stack.export()).resources.map(({ urn }) => nameOf(urn))).toEqual([]);
      expect([...centre.cloud.made.values()].map(({ type }) => type)).toEqual([]);
    },
    MINUTES,
  );
});
