import { beforeEach, describe, expect, test } from "@jest/globals";
import * as pulumi from "@pulumi/pulumi";
import { AlibabaNode, type AlibabaNodeArgs } from "../../components/alibaba-node.ts";
import { askedOf } from "../../stacks/profiles/cloud-goals.ts";
import { CLOUD_PROFILES } from "../../stacks/profiles/resolve.ts";
import { pinsFor } from "../e2e/drive.ts";

/** What the program asks for, with mocks in place of the engine and of the cloud. */
const PROFILE = CLOUD_PROFILES.find((p) => p.name === "alibaba-gn8v-tee-1gpu");
if (PROFILE === undefined) throw new Error("no such profile");

type Inputs = Readonly<Record<string, unknown>>;
/** Inputs of what was made, by the last part of its type and its name. */
const made = new Map<string, Inputs>();
/** Answer of getInstances to a question by tags and to one by name. */
let listed: (question: Inputs) => readonly string[] | undefined;

beforeEach(async () => {
  made.clear();
  listed = () => [];
  await pulumi.runtime.setMocks({
    newResource: ({ type, name, inputs }) => {
      made.set(`${type.split(":").at(-1)} ${name}`, inputs as Inputs);
      const at = { host: "203.0.113.9", hostKeys: [] };
      return { id: `${name}-id`, state: { ...inputs, publicIp: at.host, at } };
    },
    call: ({ token, inputs }) => {
      if (token.endsWith("getEcsInvocations")) return { invocations: [] };
      if (token.endsWith("getInstanceTypes")) return { ids: [inputs["instanceType"]] };
      const ids = listed(inputs as Inputs);
      if (ids === undefined) throw new Error("Forbidden.RAM");
      const what = { instanceType: "ecs.gn8v-tee.4xlarge", imageId: "a.vhd", availabilityZone: "cn-beijing-l" };
      return { ids, instances: ids.map((id) => ({ id, ...what })) };
    },
  });
});

async function make(more: Partial<AlibabaNodeArgs> = {}, options: pulumi.ComponentResourceOptions = {}): Promise<void> {
  const args = {
    node: "gpu-01",
    profile: "alibaba-gn8v-tee-1gpu",
    pins: pinsFor(askedOf(PROFILE!, {})),
    publicKey: "ssh-ed25519 AAAA ops@rack7",
    sshFrom: ["203.0.113.7/32"],
    ...more,
  };
  const node = new AlibabaNode("gpu-01", args, options);
  await new Promise((resolve) => node.instanceId.apply(resolve));
}

describe("who may knock", () => {
  const rules = () =>
    Object.fromEntries(
      [...made].flatMap(([name, { cidrIp }]) => (name.startsWith("SecurityGroupRule ") ? [[cidrIp, name]] : [])),
    );

  test("a range keeps its rule when another one goes: the cloud takes two alike for one, and deletes both", async () => {
    await make({ sshFrom: ["203.0.113.7/32", "198.51.100.0/24"] });
    const before = rules();
    made.clear();
    await make({ sshFrom: ["198.51.100.0/24"] });
    expect(Object.keys(rules())).toEqual(["198.51.100.0/24"]);
    expect(rules()["198.51.100.0/24"]).toBe(before["198.51.100.0/24"]);
  });

  test("a range that is named twice is one rule", async () => {
    await make({ sshFrom: ["203.0.113.7/32", "203.0.113.7/32"] });
    expect([...made.keys()].filter((name) => name.startsWith("SecurityGroupRule "))).toHaveLength(1);
  });
});

describe("what the cloud says of the instance before anything is asked of it", () => {
  const seen = () => made.get("InstancePlan gpu-01-instance-plan")?.["seen"];
  const byTags = ({ tags }: Inputs) => tags !== undefined;

  test("by its tags it is there", async () => {
    listed = (question) => (byTags(question) ? ["i-1"] : []);
    await make();
    const shape = { type: "ecs.gn8v-tee.4xlarge", image: "a.vhd", zone: "cn-beijing-l" };
    expect(seen()).toEqual({ instances: ["i-1"], shape });
  });

  test("of two nobody can say what the one is", async () => {
    listed = (question) => (byTags(question) ? ["i-1", "i-2"] : []);
    await make();
    expect(seen()).toEqual({ instances: ["i-1", "i-2"] });
  });

  test("none by its tags and none by its name: there is none", async () => {
    await make();
    expect(seen()).toEqual({ instances: [], offered: true });
  });

  test("one by its name alone is perhaps it: a stack that was renamed, or tags that somebody took off", async () => {
    listed = (question) => (question["nameRegex"] === "^teeup-gpu-01$" ? ["i-1"] : []);
    await make();
    expect(seen()).toEqual({ offered: true });
  });

  test.each([
    ["by tags", (question: Inputs) => (byTags(question) ? undefined : [])],
    ["by name", (question: Inputs) => (byTags(question) ? [] : undefined)],
  ])("a question %s that is not answered is no absence", async (_what, answer) => {
    listed = answer;
    await make();
    expect(seen()).toEqual({ offered: true });
  });
});

test.each(["m-1\nreboot", "m-1\r\nreboot", "m-1$(reboot)"])(
  "what is asked inside the instance, as root, is the same whatever the image is called: %j",
  async (image) => {
    await make({ image });
    const commandContent = made.get("Command gpu-01-host-keys")?.["commandContent"];
    const [comment, ...lines] = Buffer.from(String(commandContent), "base64")
      .toString("utf8")
      .split(/[\r\n]+/);
    expect(comment).toMatch(/^# [\w.?-]+$/);
    expect(lines).toEqual([expect.stringMatching(/^cat \/etc\/ssh\/ssh_host_ed25519_key\.pub /)]);
  },
);

test("the instance's place is taken away before the instance: there a release without a review is refused", async () => {
  const skipped = new Map<string, boolean>();
  const look = ({ name, opts }: pulumi.ResourceTransformationArgs) => {
    skipped.set(name, "deletedWith" in opts && opts.deletedWith !== undefined);
    return undefined;
  };
  await make({}, { transformations: [look] });
  expect([skipped.get("gpu-01-instance-place"), skipped.get("gpu-01-plan")]).toEqual([false, true]);
});
