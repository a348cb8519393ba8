import type { Answer } from "../kit/ask.ts";
import { failed, ok } from "../kit/ask.ts";
import type { BiosSnapshot } from "../kit/bios.ts";
import { NO_BMC } from "../kit/bios.ts";
import type { Example } from "../kit/facet.ts";

type Entry = BiosSnapshot["registry"][string];
const choice = (displayName: string, values: readonly string[], readOnly = false): Entry => ({
  displayName,
  type: "Enumeration",
  readOnly,
  values: [...values],
  menuPath: "",
});
const number = (displayName: string, readOnly = false): Entry => ({
  displayName,
  type: "Integer",
  readOnly,
  values: [],
  menuPath: "",
  lowerBound: 1,
  upperBound: 510,
});
const OFF_ON = ["Disabled", "Enabled"];

const SUPERMICRO: BiosSnapshot = {
  manufacturer: "Supermicro",
  model: "AS -8125GS-TNHR",
  biosVersion: "2.5",
  current: {
    "SMEE#003E": "Disabled",
    "SEV-ESASIDSpaceLimit#700C": 1,
    "SNPMemory(RMPTable)Coverage#003C": "Auto",
    "IOMMU#0196": "Auto",
    "SEV-SNPSupport#01A7": "Disabled",
  },
  staged: {},
  registry: {
    "SMEE#003E": choice("SMEE", OFF_ON),
    "SEV-ESASIDSpaceLimit#700C": number("SEV-ES ASID Space Limit"),
    "SNPMemory(RMPTable)Coverage#003C": choice("SNP Memory (RMP Table) Coverage", [...OFF_ON, "Auto"]),
    "IOMMU#0196": choice("IOMMU", [...OFF_ON, "Auto"]),
    "SEV-SNPSupport#01A7": choice("SEV-SNP Support", OFF_ON),
  },
  hasRegistry: true,
};
const READY = {
  "SMEE#003E": "Enabled",
  "SEV-ESASIDSpaceLimit#700C": 100,
  "SNPMemory(RMPTable)Coverage#003C": "Enabled",
  "IOMMU#0196": "Enabled",
  "SEV-SNPSupport#01A7": "Enabled",
};
const twin = SUPERMICRO.registry["IOMMU#0196"];

const DELL: BiosSnapshot = {
  manufacturer: "Dell Inc.",
  model: "PowerEdge R7625",
  biosVersion: "1.11.2",
  current: { Sme: "Disabled", CpuMinSevAsid: 1, Snp: "Disabled", IommuSupport: "Enabled" },
  staged: {},
  registry: {
    Sme: choice("Secure Memory Encryption", OFF_ON),
    CpuMinSevAsid: number("Minimum SEV non-ES ASID", true),
    Snp: choice("Secure Nested Paging", OFF_ON, true),
    IommuSupport: choice("IOMMU Support", OFF_ON),
  },
  dependencies: [
    { attribute: "Snp", locks: true, when: [{ attribute: "CpuMinSevAsid", condition: "LSS", value: 2, terms: "AND" }] },
  ],
  hasRegistry: true,
};
const HPE: BiosSnapshot = {
  manufacturer: "HPE",
  model: "ProLiant DL385 Gen10 Plus v2",
  biosVersion: "A42 v2.60",
  current: { AmdSecureMemoryEncryption: "Disabled", MinimumSevAsid: 1, ProcAmdIoVt: "Enabled" },
  staged: {},
  registry: {},
  hasRegistry: false,
};

const bmc = (base: BiosSnapshot, change: Partial<BiosSnapshot> = {}): Answer =>
  ok(JSON.stringify({ ...base, ...change }));
const RMP = "SEV-SNP: RMP table physical range [0x0000000035600000 - 0x0000000075bfffff]\n";
const seen = (vendor: string, log: string, flags = "flags : fpu sme sev sev_es"): Record<string, Answer> => ({
  vendor: ok(`${vendor}\n`),
  product: ok("model\n"),
  version: ok("2.5\n"),
  flags: ok(flags),
  iommu: ok("0\n1\n"),
  log: ok(`Linux version 6.14.0-37-generic (x@y)\n${log}`),
  uefi: ok("64\n"),
});
const NO_LINES = "";
const none = failed(NO_BMC);
const want = { tee: "sev-snp", names: {}, extra: {} } as const;
const ALL_OFF = ["bios.smee", "bios.asid-limit", "bios.rmp-coverage", "bios.iommu", "bios.snp"];

export const BIOS_EXAMPLES: readonly Example<{
  tee: "sev-snp";
  names: Readonly<Record<string, string>>;
  extra: Readonly<Record<string, string | number | boolean>>;
}>[] = [
  {
    name: "everything in force, and the kernel found the RMP table",
    want,
    answers: { ...seen("Supermicro", RMP), bmc: bmc(SUPERMICRO, { current: READY }) },
    findings: [],
    steps: [],
  },
  {
    name: "untouched Supermicro: all settings go with one restart",
    want,
    answers: { ...seen("Supermicro", NO_LINES), bmc: bmc(SUPERMICRO) },
    findings: ALL_OFF,
    steps: ["bios.stage"],
  },
  {
    name: "staged, not restarted yet: nothing more to stage",
    want,
    answers: { ...seen("Supermicro", NO_LINES), bmc: bmc(SUPERMICRO, { staged: READY }) },
    findings: ALL_OFF,
    steps: [],
  },
  {
    name: "in force, but somebody staged SNP off",
    want,
    answers: {
      ...seen("Supermicro", RMP),
      bmc: bmc(SUPERMICRO, { current: READY, staged: { "SEV-SNPSupport#01A7": "Disabled" } }),
    },
    findings: ["bios.snp"],
    steps: ["bios.stage"],
  },
  {
    name: "two attributes have the display name IOMMU",
    want,
    answers: {
      bmc: bmc(SUPERMICRO, {
        current: { ...READY, "IOMMU#00C3": "Auto" },
        registry: { ...SUPERMICRO.registry, ...(twin === undefined ? {} : { "IOMMU#00C3": twin }) },
      }),
    },
    findings: ["bios.attribute-ambiguous"],
    steps: [],
  },
  {
    name: "Dell: Sme first, the others open once it is in force",
    want,
    answers: { bmc: bmc(DELL) },
    findings: ["bios.smee", "bios.asid-limit", "bios.snp"],
    steps: ["bios.stage"],
  },
  {
    name: "HPE before the BIOS update that brings AmdSecureNestedPaging: nothing is staged",
    want,
    answers: { bmc: bmc(HPE) },
    findings: ["bios.smee", "bios.asid-limit", "bios.attribute-missing"],
    steps: [],
  },
  {
    name: "no BMC, no RMP table: a person must go to the menu",
    want,
    answers: {
      ...seen("ASUSTeK COMPUTER INC.", "SEV-SNP: Memory for the RMP table has not been reserved by BIOS\n"),
      bmc: none,
    },
    findings: ["bios.rmp-not-reserved"],
    steps: ["bios.by-hand"],
  },
  {
    name: "no BMC, IOMMU off",
    want,
    answers: { ...seen("ASRockRack", RMP), iommu: ok(""), bmc: none },
    findings: ["bios.iommu-off"],
    steps: ["bios.by-hand"],
  },
  {
    name: "no BMC, a kernel that does not look for an RMP table",
    want,
    answers: { ...seen("Supermicro", NO_LINES), bmc: none },
    findings: ["bios.rmp-not-visible"],
    steps: [],
  },
  {
    name: "no BMC, and the journal does not reach back to the kernel's first lines",
    want,
    answers: { ...seen("Supermicro", NO_LINES), log: ok("AMD-Vi: Interrupt remapping enabled\n"), bmc: none },
    findings: ["bios.rmp"],
    steps: [],
  },
  {
    name: "the BMC does not answer: unknown, nothing planned",
    want,
    answers: { ...seen("Supermicro", NO_LINES), bmc: failed("connection refused") },
    findings: ["bios.bmc-unknown"],
    steps: [],
  },
];
