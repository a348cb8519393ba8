import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "@jest/globals";
import { isDrifted, nameOf } from "../../bench/fleet/addresses.ts";
import { Fleet } from "../../bench/fleet/stacks.ts";
import { DRIFTED, measureFleet, scan, startMachines } from "../../bench/fleet.ts";
import { fleetOptions } from "../../providers/machine/options.ts";

const folder = mkdtempSync(join(tmpdir(), "teeup-fleet-test-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Seconds until a connection that hears nothing is given up. */
const TIME_OUT = fleetOptions({}).connectMs / 1000;

test("of 100 nodes one is silent: every other's result is there, and the scan takes its time-out longer at most", async () => {
  const silent = 42;
  const { machines, close } = await startMachines("--nodes", "100", "--drifted", `${DRIFTED}`, "--silent", `${silent}`);
  try {
    const fleet = await Fleet.create(join(folder, "fleet"), machines);
    const nodes = fleet.nodes(100);
    const all = await fleet.stacks("all", nodes, 2);
    const alive = await fleet.stacks(
      "alive",
      nodes.filter(({ name }) => name !== nameOf(silent)),
      2,
    );
    const without = await scan(alive);
    const withIt = await scan(all);
    expect(withIt.report.nodes.map(({ node, status }) => [node, status])).toEqual(
      nodes.map(({ name }, n) => [name, n === silent ? "unreachable" : isDrifted(n, DRIFTED) ? "drifted" : "clean"]),
    );
    for (const { facets, node } of withIt.report.nodes) expect([node, facets.length]).toEqual([node, fleet.facets]);
    const dead = withIt.report.nodes[silent];
    expect(dead?.error).toMatchObject({ code: "node.unreachable", saw: expect.stringMatching(/ssh\.timeout/) });
    // What this machine does besides may double the time of the others.
    expect(withIt.seconds).toBeLessThan(2 * without.seconds + TIME_OUT);
  } finally {
    await close();
  }
}, 300_000);

test("a fleet is measured beside its floor, and a node that is not what it was made to be ends the run", async () => {
  const { machines, close } = await startMachines("--nodes", "4", "--drifted", "2");
  try {
    const fleet = await Fleet.create(join(folder, "small"), machines);
    // Twins that drift more often than they should.
    await expect(measureFleet(fleet, 4, 1)).rejects.toThrow(/2 nodes are not what they are: .*n00001.*drifted/);
    expect(await measureFleet(fleet, 1, 1)).toEqual({
      nodes: 1,
      seconds: expect.any(Number),
      floorSeconds: expect.any(Number),
      rssMiB: expect.any(Number),
    });
  } finally {
    await close();
  }
}, 300_000);
