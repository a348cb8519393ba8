import { afterEach, beforeEach, expect, jest, test } from "@jest/globals";
import type { NodeReview } from "../../providers/kit/review.ts";
import { type Bench, bench, NODE } from "../e2e/drive.ts";

let b: Bench;
const before = { ...process.env };
beforeEach(async () => {
  b = await bench();
  // As `npm run pulumi -- destroy` has it.
  Object.assign(process.env, b.env, { PULUMI_RUN_PROGRAM: "true" });
});
afterEach(async () => {
  await b.close();
  process.env = { ...before };
});

/** The provider as a process of its own has it: no memory of an earlier run. */
async function freshProvider(overrides: Record<string, unknown> = {}) {
  // The process before it has ended, and its lock with it.
  b.twin.dropConnections();
  jest.resetModules();
  const { provider } = await import("../../providers/host-provider.ts");
  const { nodes, pins, permit } = b.config;
  const config: Record<string, unknown> = {
    nodes: JSON.stringify(nodes),
    pins: JSON.stringify(pins),
    permit,
    ...overrides,
  };
  provider.configure({ config: { get: (key) => config[key.replace("teeup:", "")] } });
  return provider;
}

const MODPROBE = "/etc/modprobe.d/teeup.conf";
const resource = {
  node: NODE,
  facet: "module-options",
  want: { options: [{ module: "kvm_amd", option: "sev_snp", value: "1" }], load: [] },
};

test("a resource that gets another name is not undone under its new one; a deleted one is", async () => {
  const first = await freshProvider();
  const { id, outs } = await first.create((await first.check({}, resource)).inputs);
  expect(b.twin.host.files.readIf(MODPROBE)).toContain("sev_snp=1");

  const renamed = await freshProvider();
  await renamed.create((await renamed.check({}, resource)).inputs);
  await renamed.delete(id, outs);
  expect(b.twin.host.files.readIf(MODPROBE)).toContain("sev_snp=1");

  const destroy = await freshProvider();
  await destroy.delete(id, outs);
  expect(b.twin.host.files.readIf(MODPROBE)).toBeUndefined();
});

test("a stack config that is no JSON is named, and none of its text is shown", async () => {
  const provider = await freshProvider({ nodes: '[{"name":"gpu-01","bmc":{"password":hunter2}}]' });
  const { failures } = await provider.check({}, resource);
  expect(failures).toHaveLength(1);
  expect(failures[0]?.reason).toContain("teeup:nodes");
  expect(failures[0]?.reason).toContain("config.invalid");
  expect(JSON.stringify(failures)).not.toContain("hunter2");
});

test("every step of a node's plan is one of its parts' in a review, and the plan keeps which parts there are to be", async () => {
  const provider = await freshProvider();
  const { goalsOfNode } = await import("../../stacks/profiles/resolve.ts");
  const { reviewReport } = await import("../../cli/formats/review-facts.ts");
  const [node] = b.config.nodes;
  if (node === undefined) throw new Error("no node");
  const goals = goalsOfNode(b.config, node.guest).map(({ facet, want }) => ({ facet, want }));
  const wanted = [{ facet: "node-plan", goals }, ...goals].map((props) => ({ node: NODE, review: true, ...props }));
  const steps: object[] = [];
  for (const props of wanted) {
    const { inputs, failures } = await provider.check({}, props);
    expect(failures).toEqual([]);
    const urn = `urn:pulumi:dev::teeup::pulumi-nodejs:dynamic/x:X::${NODE}-${props.facet}`;
    steps.push({ op: "create", urn, newState: { inputs } });
  }
  const report = reviewReport(JSON.stringify({ steps }));
  expect(report.nodes[0]?.facets.map(({ facet }) => facet)).toEqual(goals.map(({ facet }) => facet));
  expect(report.approval).toMatch(/^gpu-01=[0-9a-f]{32}$/);

  const { outs } = await provider.create({ node: NODE, facet: "node-plan", goals });
  expect(outs["facets"]).toBe(goals.map(({ facet }) => facet).join(" "));
});

test("a scan says nothing of a session, and asks nothing for it", async () => {
  const { nodes } = b.config;
  process.env["TEEUP_SCAN"] = JSON.stringify(nodes);
  const provider = await freshProvider();
  const scanOf = async (props: object) => (await provider.read("x", { node: NODE, ...props })).props["scan"];
  expect(await scanOf({ facet: "node-session", verdict: "pass" })).toBeUndefined();
  expect(await scanOf(resource)).toMatchObject({ facet: "module-options", status: "drifted" });
  b.twin.dropConnections();
});

test("a part of an instance that cannot be reached is left alone, and nobody says that the instance is gone", async () => {
  const warned: string[] = [];
  jest.unstable_mockModule("../../providers/engine.ts", () => ({
    connectEngine: () => ({
      progress: () => undefined,
      say: () => undefined,
      warn: (line: string) => warned.push(line),
      gone: new AbortController().signal,
      listens: async () => undefined,
    }),
  }));
  const [node] = b.config.nodes;
  // As seen from an address that sshFrom does not hold: nobody answers, and the instance runs.
  const nodes = JSON.stringify([{ ...node, cloud: "alibaba", ssh: { ...node?.ssh, port: 1 } }]);
  const provider = await freshProvider({ nodes });
  const at = { host: "127.0.0.1", hostKeys: [] };
  await provider.delete(`${NODE}/lkca`, { node: NODE, facet: "lkca", want: {}, at, observed: { unreachable: "so" } });
  jest.unstable_unmockModule("../../providers/engine.ts");
  expect(warned).toEqual([expect.stringMatching(/^gpu-01\/lkca: its instance cannot be reached.*nothing was undone/)]);
});

test("a plan that was reviewed for one machine is not approved for another under its name", async () => {
  const { nodes } = b.config;
  const hashOf = async (change: (ssh: Record<string, unknown>) => object) => {
    const moved = nodes.map((node) => ({ ...node, ssh: { ...node.ssh, ...change(node.ssh) } }));
    const provider = await freshProvider({ nodes: JSON.stringify(moved) });
    const goals = [{ facet: resource.facet, want: resource.want }];
    const { inputs } = await provider.check({}, { node: NODE, facet: "node-plan", goals, review: true });
    return (inputs["review"] as { hash?: string }).hash;
  };
  const reviewed = await hashOf(() => ({}));
  expect(reviewed).toMatch(/^[0-9a-f]{32}$/);
  // Who logs in, and with which key, changes nothing of what is done.
  expect(await hashOf(() => ({ sudo: true }))).toBe(reviewed);
  const other = await hashOf(() => ({ host: "localhost" }));
  expect(other).toMatch(/^[0-9a-f]{32}$/);
  expect(other).not.toBe(reviewed);
});

test("a scan looks at the node itself, also when the state's config says that facts are recorded", async () => {
  process.env["TEEUP_SCAN"] = JSON.stringify(b.config.nodes);
  // Records in which nothing drifted would otherwise be taken for the node.
  const provider = await freshProvider({ facts: "recorded", records: b.folder });
  const { props } = await provider.read("x", resource);
  expect(props["scan"]).toMatchObject({ facet: "module-options", status: "drifted" });
  expect(b.twin.journal.counts().hostExecs).toBeGreaterThan(0);
  b.twin.dropConnections();
});

test("a plan that was approved is that of the node as it is once its lock is held, not as this run saw it before", async () => {
  const plan = { node: NODE, facet: "node-plan", goals: [{ facet: resource.facet, want: resource.want }] };
  const reviewer = await freshProvider();
  const { inputs } = await reviewer.check({}, { ...plan, review: true });
  const { hash } = inputs["review"] as { hash: string };
  const part = (await reviewer.check({}, { ...resource, review: true })).inputs["review"] as NodeReview;
  const file = part.facets
    .flatMap(({ steps }) => steps.flatMap(({ files }) => files))
    .find(({ path }) => path === MODPROBE);
  const wanted = [...(file?.diff ?? "").matchAll(/^\+(?!\+\+ )(.*\n)/gm)].map(([, line = ""]) => line).join("");
  expect(wanted).toContain("sev_snp=1");

  const provider = await freshProvider({ approved: `${NODE}=${hash}` });
  await provider.check({}, plan);
  // While the rest of the stack takes its time, another run does a part of it.
  b.twin.host.files.write(MODPROBE, wanted);
  b.twin.journal.clear();
  await expect(provider.create(plan)).rejects.toThrow(
    /its plan is not the one that was reviewed.*approval\.other-plan/s,
  );
  await expect(provider.create(resource)).rejects.toThrow(/approval\.not-in-plan/);
  b.twin.dropConnections();
});

test("an instance is released with its disk only where the stack permits the most", async () => {
  const place = { facet: "instance-place", node: NODE, instanceId: "i-1" };
  const reboot = await freshProvider({ permit: "reboot" });
  await expect(reboot.delete("x", place)).rejects.toThrow(
    /\[permit\.refused\]\n +\[power-cycle\] release the instance i-1 with its disk/,
  );
  const most = await freshProvider({ permit: "power-cycle" });
  await most.delete("x", place);
});

test("by the config of the last up nothing is undone and no instance is released", async () => {
  const provider = await freshProvider({ permit: "power-cycle" });
  delete process.env["PULUMI_RUN_PROGRAM"];
  for (const props of [{ facet: "instance-place", node: NODE, instanceId: "i-1" }, resource])
    await expect(provider.delete("x", props)).rejects.toThrow(/\[destroy\.old-config\]/);
});

test("what a review does not hold is not done to an instance either: it is not made, changed or released", async () => {
  const provider = await freshProvider({ approved: `${NODE}=${"ab".repeat(16)}` });
  const shape = {
    type: "ecs.gn8v-tee.4xlarge",
    image: "a.vhd",
    zone: "cn-beijing-l",
    diskCategory: "cloud_essd",
    diskGiB: 200,
    keyPair: "ssh-ed25519 AAAA",
  };
  const plan = { facet: "instance-plan", node: NODE, shape };
  const place = { facet: "instance-place", node: NODE, instanceId: "i-1" };
  const refused = /is in no plan that was reviewed; nothing was changed \[approval.not-in-plan\]/;
  await expect(provider.create(plan)).rejects.toThrow(refused);
  const larger = { ...plan, shape: { ...shape, diskGiB: 300 } };
  await expect(provider.update("x", plan, larger)).rejects.toThrow(refused);
  await expect(provider.delete("x", place)).rejects.toThrow(refused);
  await provider.delete("x", plan);
});
