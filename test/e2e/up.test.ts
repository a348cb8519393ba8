import { afterEach, describe, expect, test } from "@jest/globals";
import { worst } from "../../providers/kit/disruption.ts";
import type { BiosVendor } from "../../sim/model/bios.ts";
import { type Bench, bench, look, up } from "./drive.ts";

let b: Bench | undefined;
afterEach(async () => {
  await b?.close();
  b = undefined;
});

describe("an untouched twin", () => {
  test("a preview lists every step with its disruption and writes nothing; up does them with one restart; then nothing is left", async () => {
    b = await bench();
    const { journal } = b.twin;
    const first = await look(b);
    expect(first.steps.length).toBeGreaterThan(20);
    expect(worst(first.steps.map((s) => s.disruption))).toBe("reboot");
    expect(journal.counts()).toMatchObject({ mutations: 0, reboots: 0, hostExecs: 1 });

    const { ran, findings } = await up(b);
    expect(findings).toEqual([]);
    expect(journal.counts()).toMatchObject({ reboots: 1, gpuResets: 1 });
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
  });

  test.each<BiosVendor>(["supermicro", "asrockrack", "hpe", "lenovo", "dell"])(
    "with the BIOS of %s: the plan says how many restarts, and so many there are",
    async (vendor) => {
      b = await bench({ vendor });
      const first = await look(b);
      const boot = first.steps.find((s) => s.disruption === "reboot");
      const said = /first of (\d+) times/.exec(boot?.title ?? "")?.[1] ?? "1";
      const { findings } = await up(b);
      expect(findings).toEqual([]);
      expect(b.twin.journal.counts().reboots).toBe(Number(said));
    },
  );
});
