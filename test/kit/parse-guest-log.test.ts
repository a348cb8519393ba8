import { expect, test } from "@jest/globals";
import fc from "fast-check";
import type { BadKind } from "../../providers/kit/parse-guest-log.ts";
import { BAD_LINES, LOG_PATTERN, parseGuestLog } from "../../providers/kit/parse-guest-log.ts";

const GOOD = [
  "Memory Encryption Features active: AMD SEV SEV-ES SEV-SNP",
  "software IO TLB: mapped [mem 0x000000003bd00000-0x000000007bd00000] (1024MB)",
];
const BAD: Readonly<Record<BadKind, string>> = {
  "swiotlb-full":
    "nvidia 0000:01:00.0: swiotlb buffer is full (sz: 4096 bytes), total 32768 (slots), used 32768 (slots)",
  "lkca-stubs": "NVRM: libspdm expects LKCA but found stubs!",
  "mmio-window": "NVRM: BAR1 is 0M @ 0x0 (PCI:0000:01:00.0)",
  "spdm-session": "NVRM: confComputeEstablishSpdmSessionAndKeys: Failed to establish session and keys",
  "gpu-init": "NVRM: GPU 0000:01:00.0: RmInitAdapter failed! (0x62:0x40:1924)",
};
const kinds = Object.keys(BAD) as BadKind[];
const order = Object.keys(BAD_LINES) as BadKind[];

test("a good log", () => {
  expect(parseGuestLog(GOOD.join("\n"))).toEqual({ snp: true, tdx: false, swiotlbMiB: 1024, bad: [] });
  expect(parseGuestLog("tdx: Guest detected\nMemory Encryption Features active: Intel TDX\n")).toMatchObject({
    snp: false,
    tdx: true,
  });
  expect(parseGuestLog("Memory Encryption Features active: AMD SEV\n").snp).toBe(false);
});

test("each bad kind is found once, wherever and however often its line stands", () => {
  const line = fc.constantFrom(...kinds);
  fc.assert(
    fc.property(fc.array(line, { maxLength: 12 }), (some) => {
      const text = [...GOOD, ...some.map((kind) => BAD[kind])].join("\n");
      const seen = parseGuestLog(text);
      expect(seen.snp).toBe(true);
      expect(seen.bad.map((b) => b.kind)).toEqual(order.filter((k) => some.includes(k)));
    }),
  );
});

test("the question asks for every line that the parser knows", () => {
  const asked = new RegExp(LOG_PATTERN);
  for (const line of [...GOOD, ...Object.values(BAD)]) expect([line, asked.test(line)]).toEqual([line, true]);
});
