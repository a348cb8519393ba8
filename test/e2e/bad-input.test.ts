import { createServer } from "node:net";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "@jest/globals";
import { FACETS, facetNamed } from "../../providers/facets/index.ts";
import { StackConfigSchema } from "../../providers/kit/config.ts";
import { TeeUpError } from "../../providers/kit/errors.ts";
import { openFleet } from "../../providers/machine/fleet.ts";
import { Reconciler } from "../../providers/reconcile.ts";
import { profileByName, resolveProfile } from "../../stacks/profiles/resolve.ts";
import { viaAbi } from "./abi.ts";
import { type Bench, bench, goalsOf, look, NODE, pinsOf, QUICK, up } from "./drive.ts";

/** One twin for all: nothing of this changes it. */
let b: Bench;
beforeAll(async () => {
  b = await bench();
});
afterAll(() => b.close());
beforeEach(() => b.twin.journal.clear());
afterEach(() => {
  delete b.twin.faults.bmc;
  expect(b.twin.journal.mutations()).toEqual([]);
  expect(b.twin.journal.counts()).toMatchObject({ mutations: 0, reboots: 0, gpuResets: 0 });
  expect(b.twin.journal.unmodelled).toEqual([]);
});

async function thrown(work: () => unknown): Promise<TeeUpError> {
  try {
    await work();
  } catch (error) {
    if (error instanceof TeeUpError) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}

const withNode = (change: (node: Bench["config"]["nodes"][number]) => object): Bench => ({
  ...b,
  config: { ...b.config, nodes: b.config.nodes.map((n) => ({ ...n, ...change(n) })) },
});

async function reach(on: Bench, node = NODE): Promise<void> {
  const reconciler = new Reconciler(openFleet(on.config, on.env, QUICK));
  try {
    await reconciler.reach(node);
  } finally {
    await reconciler.close();
  }
}

/** A port of this machine where nothing listens. */
async function deadPort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

describe("a profile", () => {
  test("that does not exist: the field, the name, and the names there are", async () => {
    const error = await thrown(() => profileByName("snp-upstraem"));
    expect(error.code).toBe("config.unknown-profile");
    expect(error.message).toContain("teeup:profile");
    expect(error.message).toContain('"snp-upstraem"');
    expect(error.message).toMatch(/next: pulumi config set teeup:profile snp-upstream .*nvidia-du-11462-001-v1\.0/);
  });

  test("with a missing pin: which one, and the command that sets it", async () => {
    const [missing = "", ...others] = Object.keys(b.config.pins);
    const pins = Object.fromEntries(others.map((name) => [name, b.config.pins[name] ?? ""]));
    const error = await thrown(() => resolveProfile(profileByName("snp-upstream"), pins));
    expect(error.code).toBe("config.missing-pin");
    expect(error.message).toContain(`teeup:pins: profile snp-upstream does not know ${missing} `);
    expect(error.message).toContain(`pulumi config set --path 'teeup:pins["${missing}"]' <value>`);
  });

  test("with a pin that does not fit: which one, and where to mend it", async () => {
    const path = Object.keys(pinsOf("snp-upstream")).find((p) => p.endsWith("sha256")) ?? "";
    const error = await thrown(() =>
      resolveProfile(profileByName("snp-upstream"), { ...b.config.pins, [path]: "not a sum" }),
    );
    expect(error.code).toBe("config.bad-pin");
    expect(error.message).toContain(`teeup:pins["${path}"]`);
    expect(error.message).toContain("stacks/Pulumi.<stack>.yaml");
  });

  test("with a pin for nothing: its name", async () => {
    const error = await thrown(() =>
      resolveProfile(profileByName("snp-upstream"), { ...b.config.pins, "guest.image.sha265": "0".repeat(64) }),
    );
    expect(error.code).toBe("config.bad-pin");
    expect(error.message).toContain('teeup:pins["guest.image.sha265"]');
  });
});

describe("a node", () => {
  test("that the stack config does not have: its name, and the names there are", async () => {
    const error = await thrown(() => reach(b, "gpu-02"));
    expect(error.code).toBe("config.unknown-node");
    expect(error.message).toMatch(/gpu-02 · teeup:nodes: no node of that name; known: gpu-01 .*\n {2}next: .*Pulumi/);
  });

  test("that cannot be reached: node, address, reason, and what to do", async () => {
    const port = await deadPort();
    const on = withNode((n) => ({ ssh: { ...n.ssh, port } }));
    const error = await thrown(() => reach(on));
    expect(error.message).toContain(NODE);
    expect(error.message).toContain(`127.0.0.1:${port}`);
    expect(error.message).toMatch(/refuses connections/);
    expect(error.message).toMatch(/\n {2}next: \S/);
    // A preview goes on for the other nodes and says it in the plan; the node's first change is an error.
    const goals = goalsOf(on).filter((g) => g.facet.name === "packages");
    expect((await viaAbi(on, goals, { create: true })).answers["packages"]?.error).toContain(`127.0.0.1:${port}`);
  });

  test("whose BMC refuses the password: field, user, address and what to set", async () => {
    b.twin.faults.bmc = "401";
    const said = [await thrown(() => look(b)), await thrown(() => up(b))];
    for (const error of said) {
      expect(error.code).toBe("bmc.unauthorized");
      expect(error.message).toContain("gpu-01 · bmc: ");
      expect(error.message).toContain(`${b.twin.bmc?.url} refuses user ${b.twin.bmc?.user}`);
      expect(error.message).toMatch(/\n {2}next: set TEEUP_BMC_PASSWORD_GPU_01 .*pulumi config set --secret/);
    }
  });

  test("without a public key for its guest: the field and how to give it", async () => {
    const [goal] = goalsOf(b).filter((g) => g.facet.name === "guest-image");
    if (goal === undefined) throw new Error("no goal");
    const { publicKey: _, ...want } = goal.want as Record<string, unknown>;
    const { answers } = await viaAbi(b, [{ ...goal, want }]);
    const reasons = answers["guest-image"]?.failures.map((f) => f.reason) ?? [];
    expect(reasons).toHaveLength(1);
    expect(reasons[0]).toMatch(
      /^gpu-01 · guest-image: want\.publicKey: .*guest\.publicKey.*\[want\.invalid\]\n {2}next: /,
    );
  });
});

describe("GPUs", () => {
  const GPU_FACETS = ["gpu-inventory", "gpu-cc-mode", "vfio-binding"];
  const gpuGoals = (gpus: "all" | string[], on: Bench = b) =>
    goalsOf(on, "snp-upstream", { gpus }).filter((g) => GPU_FACETS.includes(g.facet.name));

  test("a BDF that no GPU has: it, the GPUs there are, and what to do", async () => {
    const { findings } = await up(b, "reboot", gpuGoals(["0000:99:00.0"]));
    expect(findings).toHaveLength(1);
    expect(findings[0]?.code).toMatch(/^gpu-inventory\./);
    expect(`${findings[0]?.want} ${findings[0]?.saw}`).toContain("0000:99:00.0");
    expect(`${findings[0]?.saw} ${findings[0]?.hint}`).toContain("0000:81:00.0");
    expect(findings[0]?.hint).not.toBe("");
  });

  test.each(["81:00", "0000:81:00", "GPU0"])("a BDF that is none: %s", (bdf) => {
    for (const name of GPU_FACETS) {
      const parsed = facetNamed(name).want.safeParse({ gpus: [bdf], mode: "on" });
      expect(parsed.success).toBe(false);
      expect(parsed.error?.issues[0]?.path).toEqual(["gpus", 0]);
      expect(parsed.error?.issues[0]?.message).toMatch(/0000:\w\w:00\.0/);
    }
  });

  test("none in the machine", async () => {
    const none = await bench({ scenario: "gpu-absent" });
    try {
      const { findings } = await up(none, "reboot", gpuGoals("all", none));
      expect(findings.map((f) => f.code)).toEqual(["gpu-inventory.absent"]);
      expect(findings[0]?.hint).not.toBe("");
      expect(none.twin.journal.counts().mutations).toBe(0);
    } finally {
      await none.close();
    }
  });
});

describe("stack config", () => {
  const node = { name: "gpu-01", ssh: { host: "gpu-01.rack7" } };
  test.each<[string, unknown, string, RegExp]>([
    ["no nodes", {}, "nodes", /array|required/i],
    [
      "a node without a host",
      { nodes: [{ name: "gpu-01", ssh: {} }] },
      "nodes.0.ssh.host",
      /required: no program of onprem-snp makes/,
    ],
    ["a field of another name", { nodes: [{ ...node, shh: {} }] }, "nodes.0", /"shh"/],
    ["a permit that is none", { permit: "reboots", nodes: [node] }, "permit", /"reboot"/],
    [
      "a BMC without https",
      { nodes: [{ ...node, bmc: { url: "http://bmc", user: "ops" } }] },
      "nodes.0.bmc.url",
      /URL/i,
    ],
    ["a port out of range", { nodes: [{ ...node, ssh: { host: "h", port: 70_000 } }] }, "nodes.0.ssh.port", /65535/],
    [
      "no fingerprint",
      { nodes: [{ ...node, ssh: { host: "h", hostKey: "MD5:11" } }] },
      "nodes.0.ssh.hostKey",
      /SHA256/,
    ],
    ["a name with capitals", { nodes: [{ ...node, name: "GPU 01" }] }, "nodes.0.name", /lower-case/],
    ["two nodes of one name", { nodes: [node, node] }, "nodes", /same name/],
    ["memory as text", { nodes: [node], vm: { memoryGiB: "64G" } }, "vm.memoryGiB", /number/],
  ])("%s: one issue, at its field, that says what is right", async (_name, config, field, says) => {
    const parsed = StackConfigSchema.safeParse(config);
    expect(parsed.error?.issues.map((i) => i.path.join("."))).toEqual([field]);
    expect(parsed.error?.issues[0]?.message).toMatch(says);
    // The provider says it with the field and the file to mend, and asks no machine.
    const goals = [{ facet: facetNamed("cpu"), node: "gpu-01", want: {} }];
    const { answers } = await viaAbi({ ...b, config: config as never }, goals);
    const reasons = answers["cpu"]?.failures.map((f) => f.reason) ?? [];
    expect(reasons).toHaveLength(1);
    expect(reasons[0]).toContain(`teeup:${field}`);
    expect(reasons[0]).toMatch(says);
    expect(reasons[0]).toMatch(/\[config\.invalid\]\n {2}next: mend (stacks\/)?Pulumi\.<stack>\.yaml/);
    expect(b.twin.journal.counts().connections).toBe(0);
  });

  test("a wanted state with a wrong field: facet, field, and where it is described", async () => {
    const goals = [{ facet: facetNamed("gpu-cc-mode"), node: NODE, want: { gpus: "all", mode: "protected" } }];
    const { answers } = await viaAbi(b, goals);
    const [reason = ""] = answers["gpu-cc-mode"]?.failures.map((f) => f.reason) ?? [];
    expect(reason).toMatch(
      /gpu-01 · gpu-cc-mode: want\.mode: .*"devtools".*\[want\.invalid\]\n {2}next: docs\/facets\.md#gpu-cc-mode/,
    );
  });

  test("a facet that does not exist: its name and the names there are", async () => {
    const error = await thrown(() => facetNamed("gpu-mode"));
    expect(error.message).toContain('"gpu-mode"');
    for (const { name } of FACETS) expect(error.message).toContain(name);
  });
});
