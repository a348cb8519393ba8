import { afterEach, describe, expect, test } from "@jest/globals";
import { worst } from "../../providers/kit/disruption.ts";
import type { Step } from "../../providers/kit/facet.ts";
import type { BiosVendor } from "../../sim/model/bios.ts";
import { type Bench, bench, look, PLATFORMS, type Platform, SNP, TDX, up } from "./drive.ts";

let b: Bench | undefined;
afterEach(async () => {
  await b?.close();
  b = undefined;
});

describe("an untouched twin", () => {
  test.each(PLATFORMS.map((p) => [p.name, p] as const))(
    "%s: a preview lists every step with its disruption and writes nothing; up does them; then nothing is left",
    async (_name, on) => {
      b = await bench({}, on);
      const { journal } = b.twin;
      const first = await look(b);
      expect(first.steps.length).toBeGreaterThan(20);
      expect(worst(first.steps.map((s) => s.disruption))).toBe("reboot");
      expect(journal.counts()).toMatchObject({ mutations: 0, reboots: 0, hostExecs: 1 });

      const { ran, findings } = await up(b);
      expect(findings).toEqual([]);
      // One restart for kernel, command line, modules and BIOS, but for settings that open only once others are in
      // force: the plan says how many.
      expect(journal.counts().reboots).toBe(restartsSaid(first.steps));
      expect(restartsSaid(first.steps)).toBe(on.restarts);
      // Each device of the node once: a mode change over a whole board is one step.
      const { gpus = 1, switches = 0 } = on.twin;
      expect(journal.counts().gpuResets).toBe(gpus + switches);
      expect(ran.filter((code) => code === "gpu-cc-mode.set")).toHaveLength(1);
      expect(journal.unmodelled).toEqual([]);
      // Nothing ran that the preview had not shown, but for the restart's own afterwork.
      const shown = first.steps.map((s) => s.code);
      expect(ran.filter((code) => !shown.includes(code))).toEqual(["host-boot.keep", "host-boot.clear"]);

      journal.clear();
      const again = await look(b);
      expect(again.byFacet).toEqual({});
      expect(journal.counts()).toMatchObject({ mutations: 0, hostExecs: 1, guestExecs: 1 });
      expect(await up(b)).toEqual({ ran: [], findings: [] });
      expect(journal.counts()).toMatchObject({ mutations: 0, reboots: 0 });
    },
  );

  const boards: [BiosVendor, Platform][] = [
    ["supermicro", SNP],
    ["asrockrack", SNP],
    ["hpe", SNP],
    ["lenovo", SNP],
    ["dell", SNP],
    ["lenovo", TDX],
    ["dell", TDX],
  ];
  test.each(boards.map(([vendor, on]) => [vendor, on.name, on] as const))(
    "with the BIOS of %s, %s: the plan says how many restarts, and so many there are",
    async (vendor, _name, on) => {
      b = await bench({ vendor }, on);
      const first = await look(b);
      const { findings } = await up(b);
      expect(findings).toEqual([]);
      expect(b.twin.journal.counts().reboots).toBe(restartsSaid(first.steps));
    },
  );

  test("by the recipe of seed 004: sources and series built, libvirt as the seed has it, a TD attested", async () => {
    const profile = "intel-tdx-kvm-coco-20240512";
    b = await bench({ os: "ubuntu-24.04" }, { ...TDX, stack: { ...TDX.stack, profile } });
    const first = await look(b);
    expect(first.steps.filter((s) => /build/.test(s.code)).map((s) => s.code)).toEqual([
      "kernel-build.build",
      "vm-stack.build-qemu",
      "vm-stack.build-ovmf",
    ]);
    expect((await up(b)).findings).toEqual([]);
    expect(b.twin.host.now.kernel.release).toBe("6.9.0-rc7-tdx-698ca1e40357");
    expect(b.twin.host.now.cmdline).toContain("console=ttyS0,115200 kvm_intel.tdx=on nohibernate");
    expect((await look(b)).byFacet).toEqual({});
    expect(b.twin.journal.unmodelled).toEqual([]);
  });
});

/** How many restarts the plan announces. */
function restartsSaid(steps: readonly Step[]): number {
  const boot = steps.find((s) => s.disruption === "reboot");
  return Number(/first of (\d+) times/.exec(boot?.title ?? "")?.[1] ?? "1");
}
