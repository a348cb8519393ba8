import { writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { freshKeyPair } from "../../sim/model/keys.ts";
import { startTwin } from "../../sim/twin.ts";
import { askedOf } from "../../stacks/profiles/cloud-goals.ts";
import { CLOUD_PROFILES } from "../../stacks/profiles/resolve.ts";
import { pinsFor } from "../e2e/drive.ts";
import { AliCloud } from "../../sim/stand-in/alicloud.ts";
import { type Plugin, servePlugin } from "../../sim/stand-in/plugin.ts";
import { Site, Stack } from "./harness.ts";

/**
 * An instance of Alibaba Cloud from nothing, through the real Pulumi and @pulumi/alicloud. The plugin and the cloud behind
 * it are stand-ins (sim/stand-in says what they do not cover); the instance is a twin.
 */
const PROFILE = CLOUD_PROFILES.find((p) => p.name === "alibaba-gn8v-tee-1gpu");
if (PROFILE === undefined) throw new Error("no such profile");

let site: Site;
let cloud: AliCloud;
let plugin: Plugin;
let stack: Stack;
const config = (permit: string, instance: object = {}) => ({
  "teeup:platform": "alibaba-gn8v-tee",
  "teeup:permit": permit,
  "teeup:pins": pinsFor(askedOf(PROFILE, {})),
  "teeup:instance": { sshFrom: ["203.0.113.7/32"], ...instance },
  "teeup:nodes": [{ name: "gpu-01", ssh: { user: "root", port, keyFile }, guest: { publicKey } }],
});
let port = 0;
let keyFile = "";
let publicKey = "";

beforeAll(async () => {
  site = new Site();
  const keys = freshKeyPair("alibaba");
  publicKey = keys.public.trim();
  keyFile = site.path("keys", "alibaba");
  writeFileSync(keyFile, keys.private, { mode: 0o600 });
  port = await freePort();
  cloud = new AliCloud(
    async (spec) => {
      // The data centre gives a new machine, with host keys of its own, at the one address that loopback has.
      const made = await startTwin({
        name: "gpu-01",
        cloud: "alibaba",
        authorizedKeys: [spec.publicKey],
        sshPort: port,
      });
      return {
        address: "127.0.0.1",
        hostKeys: () => [made.ssh.knownHosts.replace(/^\S+ /, "")],
        stop: () => made.stop(),
      };
    },
    { agentIn: 0 },
  );
  plugin = await servePlugin(cloud.cloud());
  stack = await Stack.create(site, { config: config("reboot"), env: { PULUMI_DEBUG_PROVIDERS: plugin.attach } });
}, 60_000);
afterAll(async () => {
  plugin.close();
  await cloud.close();
  await site.close();
});

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return address !== null && typeof address === "object" ? address.port : 0;
}

describe("nothing there yet", () => {
  test("the plan says what would be made, and what is decided when it exists", async () => {
    const { plans } = await stack.plans();
    expect(plans["gpu-01-instance-plan"]).toEqual([
      "[none] make an instance ecs.gn8v-tee.4xlarge in cn-beijing-l from aliyun_3_x64_20G_alibase_20250117.vhd",
    ]);
    expect(plans["gpu-01-plan"]?.slice(0, 2)).toEqual([
      "[later] instance-system: decided when the instance exists",
      "[later] packages: decided when the instance exists",
    ]);
    expect(plans["gpu-01-attestation"]).toEqual(["[later] attestation: decided when the instance exists"]);
    expect(cloud.instances()).toEqual([]);
  }, 120_000);

  test("quota: the cloud's error with its request id, and what to do for each of its refusals", async () => {
    cloud.faults.quota = true;
    const { status, stdout } = await stack.up();
    delete cloud.faults.quota;
    expect(status).not.toBe(0);
    expect(stdout).toContain("ErrorCode: QuotaExceed.ElasticQuota");
    expect(stdout).toContain(`RequestId: ${cloud.refused.at(-1)}`);
    expect(stdout).toMatch(/if the cloud says QuotaExceed: .*raise it in the ECS console/);
    expect(stdout).toMatch(/if the cloud says OperationDenied.NoStock: sold out in this zone/);
    expect(cloud.instances()).toEqual([]);
  }, 120_000);

  test("stock: the cloud's error with its request id", async () => {
    cloud.faults.stock = true;
    const { status, stdout } = await stack.up();
    delete cloud.faults.stock;
    expect(status).not.toBe(0);
    expect(stdout).toContain("ErrorCode: OperationDenied.NoStock");
    expect(stdout).toContain(`RequestId: ${cloud.refused.at(-1)}`);
    expect(cloud.instances()).toEqual([]);
  }, 120_000);

  test("up makes the instance, reaches it by the keys that the cloud says, and stops at its foreign system", async () => {
    const { status, stdout } = await stack.up();
    expect(cloud.statuses).toEqual(["Pending", "Starting", "Running"]);
    expect(cloud.instances()).toHaveLength(1);
    // The twin runs Ubuntu: the recipe's Alibaba Cloud Linux is not simulated yet.
    expect(status).not.toBe(0);
    expect(stdout).toContain("gpu-01 · instance-system.os: want alinux 3, saw ubuntu 22.04");
  }, 240_000);
});

describe("an instance that exists", () => {
  test("what a change of the instance costs is in the plan, and refused with nothing touched when not permitted", async () => {
    stack.configure(config("none", { type: "ecs.gn8v-tee.6xlarge" }));
    const { plans } = await stack.plans();
    expect(plans["gpu-01-instance-plan"]).toEqual([
      "[guest-stop] stop the instance, change its type ecs.gn8v-tee.4xlarge → ecs.gn8v-tee.6xlarge, start it",
    ]);
    const [before] = cloud.instances();
    const { status, stdout } = await stack.up();
    stack.configure(config("reboot"));
    expect(status).not.toBe(0);
    expect(stdout).toContain("teeup:permit is none; nothing was changed");
    expect(cloud.instances()).toEqual([before]);
    expect(cloud.made.get(before ?? "")?.props["instanceType"]).toBe("ecs.gn8v-tee.4xlarge");
  }, 240_000);
});
