import { afterEach, expect, test } from "@jest/globals";
import { TeeUpError } from "../../providers/kit/errors.ts";
import type { JournalEntry } from "../../sim/journal.ts";
import type { TwinOptions } from "../../sim/twin.ts";
import { type Bench, bench, look, type Platform, type Reach, SNP, TDX, up } from "./drive.ts";

const NEW = "6.14.0-37-generic";
const OLD = "6.8.0-45-generic";

let b: Bench | undefined;
afterEach(async () => {
  await b?.close();
  b = undefined;
});

/** A twin on which the new kernel never comes back; waiting for a restart takes some seconds at most. */
async function broken(
  scenario: "trial-kernel-hangs" | "trial-kernel-panics",
  on: Platform = SNP,
  more: TwinOptions = {},
) {
  b = await bench({ scenario, ...more }, on);
  if (on !== SNP) b.twin.faults.brokenKernels = ["7.0.0-31-generic"];
  const reach: Reach = { config: b.config, env: { ...b.env, TEEUP_TIMEOUT_SCALE: "0.002" } };
  return { twin: b.twin, reach };
}

async function errorOf(work: Promise<unknown>): Promise<TeeUpError> {
  const error = await work.then(
    () => undefined,
    (e: unknown) => e,
  );
  if (error instanceof TeeUpError) return error;
  throw new Error(`no TeeUpError: ${String(error)}`);
}

const entryThatBoots = (twin: Bench["twin"]): string =>
  /saved_entry=(\S+)/.exec(twin.node.exec0(["grub-editenv", "list"]))?.[1] ?? "none";
const bmcResets = (entries: readonly JournalEntry[]) =>
  entries.filter((e) => e.machine === "bmc" && e.verb === "reset");

test.each([
  ["trial-kernel-hangs", SNP.name, SNP, 1, NEW, OLD],
  ["trial-kernel-panics", SNP.name, SNP, 0, NEW, OLD],
  ["trial-kernel-hangs", TDX.name, TDX, 1, "7.0.0-31-generic", "7.0.0-14-generic"],
] as const)(
  "%s, %s: the node runs its old kernel, which stays the default, and the error says so",
  async (scenario, _name, on, byBmc, wanted, old) => {
    const { twin, reach } = await broken(scenario, on);
    const { journal } = twin;
    const error = await errorOf(up(reach));
    expect(error.code).toBe("boot.trial-failed");
    expect(error.message).toContain("gpu-01");
    expect(error.message).toContain(`kernel ${wanted} did not come up`);
    expect(error.message).toContain(`runs ${old} now`);
    expect(error.message).toMatch(/next: .*journalctl -k -b -1/);
    expect(error.message.includes("the BMC cut the power")).toBe(byBmc === 1);

    expect(bmcResets(journal.entries)).toHaveLength(byBmc);
    expect(twin.host.now.kernel.release).toBe(old);
    expect(entryThatBoots(twin)).toContain(old);
    // Whatever restarts the node next, it is the old kernel again.
    twin.node.reset("GracefulRestart", "os");
    twin.node.settle();
    expect(twin.host.now.kernel.release).toBe(old);
    expect(journal.unmodelled).toEqual([]);
  },
);

test("a second up does not try again by itself: it says which restart did not help and how to try again", async () => {
  const { twin, reach } = await broken("trial-kernel-panics");
  await errorOf(up(reach));
  twin.journal.clear();

  const seen = await look(reach);
  expect(seen.steps.filter((s) => s.disruption === "reboot")).toEqual([]);
  const { findings } = await up(reach);
  expect(twin.journal.counts()).toMatchObject({ reboots: 0 });
  expect(twin.host.now.kernel.release).toBe(OLD);
  expect(findings.map((f) => f.code)).toEqual(["host-boot.ineffective"]);
  expect(findings[0]?.saw).toContain(`${NEW} is wanted`);
  expect(findings[0]?.hint).toMatch(/to try again: rm \//);
});

test("once the kernel is mended and the person says try again, the node comes up with it", async () => {
  const { twin, reach } = await broken("trial-kernel-panics");
  await errorOf(up(reach));
  const { findings: stuck } = await up(reach);
  twin.faults.brokenKernels = [];
  const file = /rm (\/\S+)/.exec(stuck[0]?.hint ?? "")?.[1] ?? "";
  twin.node.exec0(["rm", file]);
  twin.journal.clear();

  // Jobs and the guest need their time here.
  const patient = { ...reach, env: b?.env ?? {} };
  expect((await up(patient)).findings).toEqual([]);
  expect(twin.journal.counts().reboots).toBe(1);
  expect(twin.host.now.kernel.release).toBe(NEW);
  expect(entryThatBoots(twin)).toContain(NEW);
  expect((await look(patient)).byFacet).toEqual({});
});

test("without a BMC a hanging trial ends with what a person must do, and the old kernel starts after that", async () => {
  const { twin, reach } = await broken("trial-kernel-hangs");
  const { bmc: _, ...node } = reach.config.nodes[0]!;
  // The BIOS was set by hand.
  const { SUPERMICRO_SNP } = await import("../../sim/scenarios.ts");
  twin.node.bios.force(SUPERMICRO_SNP);
  twin.node.reset("GracefulRestart", "os");
  twin.node.settle();
  const error = await errorOf(up({ ...reach, config: { ...reach.config, nodes: [node] } }));
  expect(error.code).toBe("boot.never-returned");
  expect(error.message).toContain("no BMC is configured: cut its power by hand");
  expect(error.message).toContain(`the next start is with the old kernel again (${OLD})`);
  twin.node.reset("ForceRestart", "bmc");
  twin.node.settle();
  expect(twin.host.now.kernel.release).toBe(OLD);
  expect(entryThatBoots(twin)).toContain(OLD);
});
