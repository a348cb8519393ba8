import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { configOf, MINUTES, ROOT, Site, Stack } from "./harness.ts";

/** The example's policy pack, loaded by the real engine and asked about the resources of a real preview. */
let site: Site;
let stack: Stack;
let node: Record<string, unknown>;
let pack: string;

beforeAll(async () => {
  site = new Site();
  const twin = await site.twin({ name: "gpu-01" });
  node = site.node("gpu-01", twin);
  stack = await Stack.create(site, { config: configOf([node]), env: { TEEUP_BMC_PASSWORD: twin.bmc?.password ?? "" } });
  // A language host built from modules starts no packs; an executable in the pack's place is started as it is.
  pack = site.path("pack");
  writeFileSync(
    pack,
    [
      "#!/bin/sh",
      `cd '${join(ROOT, "examples/policy")}'`,
      `exec node "$(node -p 'require.resolve("@pulumi/pulumi/cmd/run-policy-pack")')" "$1" .`,
      "",
    ].join("\n"),
  );
  chmodSync(pack, 0o755);
}, MINUTES);
afterAll(() => site.close());

/** Names of the policies that are violated. */
async function violated(config: Record<string, unknown>, packConfig: object) {
  stack.configure({ ...configOf([node]), ...config });
  const file = site.path("pack.json");
  writeFileSync(file, JSON.stringify(packConfig));
  const { status, said } = await stack.preview("--policy-pack", pack, "--policy-pack-config", file);
  return {
    status,
    policies: [
      ...new Set(said.match(/pinned-host-keys|no-devtools-mode|attestation-required|disruption-limit/g)),
    ].sort(),
    said,
  };
}

test(
  "devtools mode, which needs no attestation, is refused; so is a step worse than the limit",
  async () => {
    const { status, policies, said } = await violated({ "teeup:gpuMode": "devtools" }, {});
    expect([status === 0, policies]).toEqual([false, ["attestation-required", "disruption-limit", "no-devtools-mode"]]);
    expect(said).toContain("gpu-01: the GPUs' mode is devtools");
    expect(said).toContain("gpu-01 has no attestation");
    expect(said).toMatch(/gpu-01: \[reboot\] restart the host .* is worse than service/);
  },
  MINUTES,
);

test(
  "a stack as the guides want it passes, where restarts are allowed",
  async () => {
    const { status, policies, said } = await violated({}, { "disruption-limit": { worst: "reboot" } });
    expect([status, policies, status === 0 ? "" : said]).toEqual([0, [], ""]);
  },
  MINUTES,
);

test(
  "a node whose host key only a known_hosts file has is refused, and nothing of how to reach it is said",
  async () => {
    const { hostKey, ...ssh } = node["ssh"] as Record<string, unknown>;
    const known = site.path("known_hosts");
    writeFileSync(known, site.twins[0]?.ssh.knownHosts ?? "");
    const { status, policies, said } = await violated(
      { "teeup:nodes": [{ ...node, ssh: { ...ssh, knownHosts: known } }] },
      { "disruption-limit": { worst: "reboot" } },
    );
    expect([status === 0, policies]).toEqual([false, ["pinned-host-keys"]]);
    expect(said).toContain("gpu-01: its host key is not pinned");
    expect(said).not.toContain(String(ssh["keyFile"]));
    expect(hostKey).toMatch(/^SHA256:/);
  },
  MINUTES,
);
