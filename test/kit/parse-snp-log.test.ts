import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { parseSnphostOk, parseSnpLog } from "../../providers/kit/parse-snp-log.ts";

const NOTHING = { rmpNotReserved: false, iommuSnp: false, iommuPassthrough: false, firmwareUpdated: false };

describe("kernel log", () => {
  test("seed 001, step 3: the guide's own sample, time stamps and all", () => {
    const text = `
[\t0.768000] SEV-SNP: RMP table physical address 0x0000000035600000 - 0x0000000075bfffff
[\t3.868558] ccp 0000:45:00.1: sev enabled
[\t3.918694] ccp 0000:45:00.1: SEV firmware update successful
[\t7.315402] ccp 0000:45:00.1: SEV API:1.51 build:3
[\t7.315410] ccp 0000:45:00.1: SEV-SNP API:1.51 build:3
[\t7.322019] SEV supported: 410 ASIDs
[\t7.322019] SEV-ES and SEV-SNP supported: 99 ASIDs
`;
    expect(parseSnpLog(text)).toEqual({
      ...NOTHING,
      rmp: "0x0000000035600000-0x0000000075bfffff",
      firmwareUpdated: true,
      sevApi: "1.51.3",
      snpApi: "1.51.3",
      sevAsids: 410,
      snpAsids: 99,
    });
  });

  test("seed 001, firmware out of date: ASIDs are there all the same", () => {
    const text = `
[\t0.564845] SEV-SNP: RMP table physical address 0x0000000088900000 - 0x00000000a8efffff
[\t3.257600] ccp 0000:45:00.1: sev enabled
[\t3.274785] ccp 0000:45:00.1: SEV-SNP support requires firmware version >= 1:51
[\t3.284535] ccp 0000:45:00.1: SEV: failed to INIT error 0x1, rc -5
[\t3.284541] ccp 0000:45:00.1: SEV API:1.49 build:3
[\t3.424129] SEV supported: 410 ASIDs
[\t3.424130] SEV-ES and SEV-SNP supported: 99 ASIDs
`;
    const log = parseSnpLog(text);
    expect(log).toMatchObject({
      firmwareTooOld: "1.51",
      initFailed: "failed to INIT error 0x1, rc -5",
      sevApi: "1.49.3",
      snpAsids: 99,
    });
    expect(log).not.toHaveProperty("snpApi");
  });

  test.each([
    [
      "SEV-SNP: RMP table physical range [0x0000000035600000 - 0x0000000075bfffff]",
      { rmp: "0x0000000035600000-0x0000000075bfffff" },
    ],
    ["SEV-SNP: Memory for the RMP table has not been reserved by BIOS", { rmpNotReserved: true }],
    [
      "SEV-SNP: Memory reserved for the RMP table does not cover full system RAM (expected 0x80 got 0x40)",
      { rmpPartial: "expected 0x80, got 0x40" },
    ],
    ["AMD-Vi: IOMMU SNP support enabled.", { iommuSnp: true }],
    [
      "AMD-Vi: SNP: IOMMU is disabled or configured in passthrough mode, SNP cannot be supported.",
      { iommuPassthrough: true },
    ],
    [
      "AMD-Vi: SNP: IOMMU disabled or configured in passthrough mode, SNP cannot be supported.",
      { iommuPassthrough: true },
    ],
    ["kvm_amd: SEV-SNP enabled (ASIDs 1 - 99)", { kvmEnabled: true, snpAsids: 99 }],
    ["kvm_amd: SEV enabled (ASIDs 100 - 509)", { sevAsids: 410 }],
    ["kvm_amd: SEV-SNP disabled (ASIDs 0 - 0)", { kvmEnabled: false }],
    ["kvm_amd: SEV-ES enabled (ASIDs 1 - 99)", {}],
    ["ccp 0000:45:00.1: SEV-SNP: failed to INIT rc -5, error 0x3", { initFailed: "failed to INIT rc -5, error 0x3" }],
    ["ccp 0000:45:00.1: SEV API:1.55 build:21", { sevApi: "1.55.21" }],
    ["ccp 0000:45:00.1: SEV-SNP API:1.55 build:21", { snpApi: "1.55.21" }],
  ])("%s", (line, seen) => {
    expect(parseSnpLog(`${line}\n`)).toEqual({ ...NOTHING, ...seen });
  });

  test("no text throws, and what is seen survives JSON", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        const log = parseSnpLog(text);
        expect(JSON.parse(JSON.stringify(log))).toEqual(log);
        parseSnphostOk(text);
      }),
    );
  });
});

test("snphost ok, coloured and indented", () => {
  const red = "[\u001b[31m FAIL \u001b[0m]";
  expect(
    parseSnphostOk(
      `[\u001b[32m PASS \u001b[0m] - AMD CPU\n  ${red} - SNP: off\n[ SKIP ] - x\nERROR: One or more tests failed\n`,
    ),
  ).toEqual([
    { result: "PASS", name: "AMD CPU" },
    { result: "FAIL", name: "SNP: off" },
    { result: "SKIP", name: "x" },
  ]);
});

test("a tool's line of blanks and line separators holds nobody up, and names keep what is inside them", () => {
  const before = performance.now();
  const blanks = " ".repeat(400);
  parseSnphostOk(`[PASS]${blanks}\u2028${blanks}x\u2028x`);
  expect(performance.now() - before).toBeLessThan(1000);
  expect(parseSnphostOk(" [ pass ]  –  SEV:  enabled  \n[FAIL] - - x\n[SKIP] -\n[PASS]   \n")).toEqual([
    { result: "PASS", name: "SEV:  enabled" },
    { result: "FAIL", name: "- x" },
    { result: "SKIP", name: "-" },
  ]);
});
