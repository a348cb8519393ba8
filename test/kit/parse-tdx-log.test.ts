import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { failed, ok } from "../../providers/kit/ask.ts";
import { parseTdxLog, tdxLog } from "../../providers/kit/parse-tdx-log.ts";

/** What is said of nothing. */
const SILENT = { tooFewKeys: false, hibernation: false, notLoaded: false, notEnabled: false, initialized: false };

// Lines as they stand in the threads that are named; time stamps are part of some of them.
test.each<[string, string, object]>([
  [
    "canonical/tdx README",
    "[    5.205693] virt/tdx: BIOS enabled: private KeyID range [64, 128)\n[   29.884504] virt/tdx: 1050644 KB allocated for PAMT\n[   29.884513] virt/tdx: module initialized\n",
    { ...SILENT, keys: 64, initialized: true },
  ],
  [
    "canonical/tdx#331: a module of 1.0",
    "virt/tdx: BIOS enabled: private KeyID range [1, 128)\nvirt/tdx: TDX module: attributes 0x0, vendor_id 0x8086, major_version 1, minor_version 0, build_date 20230206, build_num 457\nvirt/tdx: CMR: [0x100000, 0x77800000)\nvirt/tdx: SEAMCALL (0x0000000000000022) failed: 0xc000050500000000\nvirt/tdx: RCX 0x0000000000000000 RDX 0x9100000100000008 R08 0x0000000000000000\nvirt/tdx: module initialization failed (-5)\nkvm_intel: Failed to initialize TDX module.\n",
    {
      ...SILENT,
      keys: 127,
      module: "1.0.457",
      failed: 5,
      reason: "SEAMCALL (0x0000000000000022) failed: 0xc000050500000000",
    },
  ],
  [
    "canonical/tdx#415: Granite Rapids",
    "virt/tdx: BIOS enabled: private KeyID range [32, 64)\nvirt/tdx: TDX module 2.0.08.00, build number 882, build date 0134fed5\nvirt/tdx: initialization failed: TDMR [0x40000000, 0x80000000): reserved areas exhausted.\nvirt/tdx: module initialization failed (-28)\n",
    {
      ...SILENT,
      keys: 32,
      module: "2.0.08.00",
      failed: 28,
      reason: "initialization failed: TDMR [0x40000000, 0x80000000): reserved areas exhausted.",
    },
  ],
  [
    "canonical/tdx#102: the kernels of 2023 say tdx:",
    "[    1.387218] tdx: BIOS enabled: private KeyID range [32, 64)\n[   10.348460] tdx: not enabled by BIOS.\n",
    { ...SILENT, keys: 32, notEnabled: true },
  ],
  [
    "intel/td-partitioning#1: no loader",
    "tdx: BIOS enabled: private KeyID range [32, 64)\ntdx: [firmware bug]: TDX is not enabled by BIOS.\ntdx: initialization failed (-19)\nkvm_intel: Failed to initialize TDX module.\n",
    { ...SILENT, keys: 32, notEnabled: true, failed: 19 },
  ],
  [
    "Linux, tdx.c: hibernation",
    "virt/tdx: BIOS enabled: private KeyID range [32, 64)\nvirt/tdx: initialization failed: Hibernation support is enabled\n",
    { ...SILENT, keys: 32, hibernation: true },
  ],
  [
    "Linux, tdx.c: one key only",
    "virt/tdx: BIOS enabled: private KeyID range [63, 64)\nvirt/tdx: initialization failed: too few private KeyIDs available.\n",
    { ...SILENT, keys: 1, tooFewKeys: true },
  ],
  ["Linux, tdx.c: no module", "virt/tdx: module not loaded\n", { ...SILENT, notLoaded: true }],
  [
    "kernels that name the version",
    "virt/tdx: TDX module version: 1.5.24\nvirt/tdx: module initialized\n",
    { ...SILENT, module: "1.5.24", initialized: true },
  ],
  ["a command line is no message of TDX", "Kernel command line: ro kvm_intel.tdx=1 nohibernate\n", SILENT],
  ["a guest's own line", "tdx: Guest detected\n", SILENT],
])("%s", (_source, text, expected) => {
  expect(parseTdxLog(text)).toEqual(expected);
});

describe("the answer", () => {
  test("a journal that lost the first lines of this boot proves nothing", () => {
    expect(tdxLog(ok("virt/tdx: module initialized\n"))).toMatchObject({ state: "unknown" });
    expect(tdxLog(ok("Linux version 7.0.0\n"))).toEqual({ state: "known", value: SILENT });
    expect(tdxLog(failed("no answer within 20 s"))).toMatchObject({ state: "unknown" });
    // journalctl exits 1 when nothing matches.
    expect(tdxLog(ok("-- No entries --\n", 1))).toMatchObject({ state: "unknown" });
  });

  test("whatever stands there, the parser ends, and says initialised only where the kernel did", () => {
    fc.assert(
      fc.property(fc.array(fc.string()), (lines) => {
        const text = lines.join("\n");
        const log = parseTdxLog(text);
        if (!/module initialized/i.test(text)) expect(log.initialized).toBe(false);
        expect(log.keys === undefined || Number.isInteger(log.keys)).toBe(true);
      }),
    );
  });
});
