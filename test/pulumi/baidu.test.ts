import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import type { Twin } from "../../sim/twin.ts";
import { askedOf } from "../../stacks/profiles/cloud-goals.ts";
import { CLOUD_PROFILES } from "../../stacks/profiles/resolve.ts";
import { pinsFor } from "../e2e/drive.ts";
import { isFacet, nameOf, Site, Stack } from "./harness.ts";

/** An instance of Baidu BCC, adopted by its address, through the real Pulumi. Each test goes on where the last ended. */

const PROFILE = CLOUD_PROFILES.find((p) => p.name === "baidu-bcc-gen7");
if (PROFILE === undefined) throw new Error("no such profile");

let site: Site;
let twin: Twin;
let stack: Stack;
const config = (permit: string, instance: object = {}) => {
  const { name, ssh } = site.node("gpu-01", twin);
  return {
    "teeup:platform": "baidu-bcc",
    "teeup:permit": permit,
    "teeup:pins": pinsFor(askedOf(PROFILE, {})),
    "teeup:instance": instance,
    "teeup:nodes": [{ name, ssh }],
  };
};

beforeAll(async () => {
  site = new Site();
  twin = await site.twin({ name: "gpu-01", cloud: "baidu", gpus: 8, switches: 4 });
  stack = await Stack.create(site, { config: config("service") });
}, 60_000);
afterAll(() => site.close());

const steps = (plan: readonly string[] = []) => plan.filter((line) => !/^\[(check|unknown)\]/.test(line));

/** Runs a command and counts what it does to the instance. */
async function counted(command: () => ReturnType<Stack["run"]>) {
  twin.journal.clear();
  const ran = await command();
  expect(twin.journal.unmodelled).toEqual([]);
  return { ...ran, ...twin.journal.counts() };
}

describe("an instance that exists", () => {
  let whole: readonly string[];

  test("a preview lists every step, and changes nothing", async () => {
    twin.journal.clear();
    const { plans } = await stack.plans();
    whole = steps(plans["gpu-01-plan"]);
    expect(whole).toEqual([
      "[service] install packages build-essential",
      expect.stringMatching(/^\[none\] write \/etc\/modprobe.d\/nvidia-lkca.conf/),
      "[service] stop bcm-agent.service, has-agent.service until nvidia-persistenced runs",
      "[none] driver: absent → 570.195.03 (runfile, open kernel modules)",
      "[none] load the driver",
      "[none] fabric manager: absent → 570.195.03",
      "[none] start nvidia-fabricmanager.service, also at every boot",
      "[none] write and enable nvidia-persistenced.service",
      "[none] start nvidia-persistenced",
      "[none] install nvattest",
      expect.stringMatching(/^\[none\] install the attestation policy/),
    ]);
    expect(twin.journal.counts()).toMatchObject({ mutations: 0, connections: 1 });
  }, 120_000);

  test("up brings it to attested GPUs, with no restart and no Redfish", async () => {
    const { status, said, reboots } = await counted(() => stack.up());
    expect([status, status === 0 ? "" : said]).toEqual([0, ""]);
    expect(reboots).toBe(0);
    expect(await stack.outputs()).toEqual({
      nodes: {
        "gpu-01": {
          attestation: {
            verdict: "pass",
            claims: expect.objectContaining({ gpus: 8, measurements: "success" }),
            switches: "4 pass",
          },
        },
      },
    });
  }, 120_000);

  test("a second up changes nothing, neither in Pulumi nor in the instance", async () => {
    const { status, stdout, mutations } = await counted(() => stack.up());
    expect([status, mutations]).toEqual([0, 0]);
    expect(stdout).toMatch(/Resources:\n +\d+ unchanged\n/);
  }, 120_000);

  test("a drift in the instance shows in a refresh, and up mends it", async () => {
    twin.drift("lkca");
    expect(await counted(() => stack.run("refresh", "--preview-only", "--expect-no-changes"))).toMatchObject({
      status: 7,
      mutations: 0,
    });
    expect(await counted(() => stack.up())).toMatchObject({ status: 0 });
    expect((await stack.plans()).plans).toEqual({});
  }, 180_000);
});

describe("more memory for device I/O", () => {
  test("the restart it takes is a person's: the plan says so, up does what comes before it and stops", async () => {
    stack.configure(config("reboot", { swiotlbMiB: 4096 }));
    const human = /\[human\] restart the host.*In the BCC console, .*no restart from inside \(seed 003/;
    expect((await stack.plans()).plans["gpu-01-plan"]).toEqual([
      "[none] stage kernel command line: swiotlb=2097152",
      expect.stringMatching(human),
      "[check] guest-evidence.swiotlb: want bounce buffers (software IO TLB) of 4096 MiB, saw 1024 MiB",
    ]);
    const { status, stdout, reboots } = await counted(() => stack.up());
    expect([status === 0, reboots]).toEqual([false, 0]);
    expect(stdout).toMatch(human);
    expect(stdout).toContain("what could be done before is done");
    expect(twin.host.files.read("/etc/default/grub.d/50-teeup.cfg")).toContain("swiotlb=2097152");
  }, 180_000);

  test("once somebody restarted it in the console, up goes on to the end", async () => {
    twin.node.reset("ForceRestart", "bmc");
    twin.node.settle();
    expect(twin.host.now.cmdline).toContain("swiotlb=2097152");
    const { status, said, reboots } = await counted(() => stack.up());
    expect([status, status === 0 ? "" : said, reboots]).toEqual([0, "", 0]);
    expect((await stack.plans()).plans).toEqual({});
  }, 180_000);
});

test("destroy leaves the instance running, and its driver", async () => {
  const { status, said } = await counted(() => stack.destroy());
  expect([status, status === 0 ? "" : said]).toEqual([0, ""]);
  expect(twin.node.up).toBe(true);
  expect(twin.node.nvidiaLoaded).toBeDefined();
  expect((await stack.export()).resources.filter(isFacet).map(({ urn }) => nameOf(urn))).toEqual([]);
}, 120_000);
