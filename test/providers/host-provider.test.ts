import { afterEach, beforeEach, expect, jest, test } from "@jest/globals";
import { type Bench, bench, NODE } from "../e2e/drive.ts";

let b: Bench;
const before = { ...process.env };
beforeEach(async () => {
  b = await bench();
  Object.assign(process.env, b.env);
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
