import { afterEach, expect, test } from "@jest/globals";
import { configOf, isFacet, nameOf, Site, Stack } from "./harness.ts";

let site: Site;
afterEach(() => site.close());

test("of two nodes one cannot be reached: the other is brought up, and one error names the dead one", async () => {
  site = new Site();
  const dead = await site.twin({ name: "gpu-01" });
  const alive = await site.twin({ name: "gpu-02" });
  const nodes = [site.node("gpu-01", dead), site.node("gpu-02", alive)];
  const { port } = dead.ssh;
  await dead.stop();
  const stack = await Stack.create(site, {
    config: configOf(nodes),
    env: { TEEUP_BMC_PASSWORD: "nobody's", TEEUP_BMC_PASSWORD_GPU_02: alive.bmc?.password ?? "" },
  });

  const up = await stack.up("--continue-on-error");
  expect(up.status).toBe(1);
  const errors = up.said
    .slice(up.said.indexOf("Diagnostics:"))
    .split("\n")
    .filter((line) => /\berror:/i.test(line))
    .map((line) => line.trim());
  expect(errors.sort()).toEqual([
    `error: gpu-01: ssh: 127.0.0.1:${port} refuses connections: nothing listens there (ssh.refused) [node.unreachable]`,
    // The SDK's own word on what depends on it.
    "error: resource gpu-01-plan [pulumi-nodejs:dynamic/node:NodePlan] failed to register",
  ]);
  expect(up.said).toMatch(/\[node\.unreachable\]\n +next: .*ssh -v -p \d+ ops@127\.0\.0\.1/);
  // No stack trace, and no text of ours that only a program reads.
  expect(up.said).not.toMatch(/\n +at |__provider|unhandled/);

  expect(await stack.outputs()).toMatchObject({
    nodes: {
      "gpu-01": { attestation: { verdict: "not attested: this run did not get that far" }, plan: [] },
      "gpu-02": { attestation: { verdict: "pass" } },
    },
  });
  const made = (await stack.export()).resources.filter(isFacet).map(({ urn }) => nameOf(urn));
  expect(made.filter((name) => name.startsWith("gpu-01"))).toEqual([]);
  expect(made.length).toBeGreaterThan(20);
  expect(alive.journal.counts()).toMatchObject({ reboots: 1, guestStarts: 2 });
}, 90_000);
