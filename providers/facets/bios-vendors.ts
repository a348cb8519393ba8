/**
 * What each vendor calls the BIOS settings of SEV-SNP, as data; those of TDX stand in bios-vendors-tdx.ts. Names come from public automation (docs/sources.md);
 * `source` says where NVIDIA's own playbook has them. Boards differ in suffixes (`#003E`): see {@link BiosSetting.names}.
 */
const SNP_KEYS = ["smee", "asid-count", "asid-control", "asid-limit", "rmp-coverage", "snp", "iommu"] as const;
const TDX_KEYS = [
  "numa",
  "x2apic",
  "pa-limit",
  "tme",
  "tme-mt",
  "integrity",
  "tdx",
  "seam-loader",
  "key-split",
  "sgx",
] as const;
export const BIOS_KEYS = [...SNP_KEYS, ...TDX_KEYS] as const;
export type BiosKey = (typeof BIOS_KEYS)[number];
export const BIOS_VENDORS = ["dell", "supermicro", "asrockrack", "hpe", "lenovo", "asus"] as const;
export type BiosVendorId = (typeof BIOS_VENDORS)[number];

export interface BiosSetting {
  readonly key: BiosKey;
  /** Attribute names. One that the BIOS has to the letter wins; otherwise names without suffix and display names are compared. */
  readonly names: readonly string[];
  /** DisplayName of the registry. */
  readonly display: string;
  /**
   * Acceptable values as bare words, the one to set first; a number is the least; `minSevAsid` is the number of the
   * wanted state.
   */
  readonly accept: readonly string[] | number | "minSevAsid";
  /** Spelling to write where the BMC offers no registry to look it up in. */
  readonly write?: string;
  /** Settings that must be in force, not merely staged, before this one opens. */
  readonly after?: readonly BiosKey[];
  /** Not on every board of this vendor: judged only where it is. */
  readonly optional?: true;
}

export interface BiosVendor {
  readonly id: BiosVendorId;
  /** Of ComputerSystem.Manufacturer, DMI sys_vendor or board_vendor. */
  readonly manufacturer: RegExp;
  /** Default of the wanted state's `minSevAsid`, 100 where it does not say. */
  readonly minSevAsid?: number;
  /** Empty: no public names, so the settings can be neither read nor set through the BMC. */
  readonly settings: readonly BiosSetting[];
  readonly source: string;
}

type More = Partial<Pick<BiosSetting, "after" | "optional" | "write" | "accept">>;
/** A switch. */
export const on = (key: BiosKey, name: string, display: string, more: More = {}): BiosSetting => ({
  key,
  names: [name],
  display,
  accept: ["enabled", "enable"],
  write: "Enabled",
  ...more,
});
/** The first ASID of plain SEV guests. */
const asids = (names: readonly string[], display: string, more: More = {}): BiosSetting => ({
  key: "asid-limit",
  names,
  display,
  accept: "minSevAsid",
  ...more,
});
export const IF_PRESENT = { optional: true } as const;
/** Auto means on for EPYC. */
const ON_OR_AUTO = { accept: ["enabled", "enable", "auto"], ...IF_PRESENT } as const;
const COUNT = { accept: ["509asids"], write: "509 ASIDs" } as const;
const MANUAL = { accept: ["manual"], write: "Manual" } as const;

const NVIDIA = "NVIDIA/cloud-native-stack playbooks/cns_cc_bios.yaml";
export const PUBLIC = "docs/sources.md, BIOS attributes (public automation, not tried on hardware)";

const dell: BiosVendor = {
  id: "dell",
  manufacturer: /^dell/i,
  minSevAsid: 509,
  // TransparentSme, which the playbook sets too, encrypts the host's memory and is not needed for SNP: left alone.
  settings: [
    on("smee", "Sme", "Secure Memory Encryption"),
    asids(["CpuMinSevAsid"], "Minimum SEV non-ES ASID", { after: ["smee"] }),
    on("snp", "Snp", "Secure Nested Paging", { after: ["smee"] }),
    on("rmp-coverage", "Rmp", "SNP Memory Coverage", { after: ["snp"], ...IF_PRESENT }),
    on("iommu", "IommuSupport", "IOMMU Support", IF_PRESENT),
  ],
  source: NVIDIA,
};

const supermicro: BiosVendor = {
  id: "supermicro",
  manufacturer: /supermicro/i,
  settings: [
    on("smee", "SMEE", "SMEE"),
    on("asid-count", "SEVASIDCount", "SEV ASID Count", { ...COUNT, ...IF_PRESENT }),
    on("asid-control", "SEV-ESASIDSpaceLimitControl", "SEV-ES ASID Space Limit Control", { ...MANUAL, ...IF_PRESENT }),
    asids(["SEV-ESASIDSpaceLimit"], "SEV-ES ASID Space Limit"),
    on("rmp-coverage", "SNPMemory(RMPTable)Coverage", "SNP Memory (RMP Table) Coverage"),
    on("iommu", "IOMMU", "IOMMU"),
    on("snp", "SEV-SNPSupport", "SEV-SNP Support"),
  ],
  source: `seed 001, Supermicro BIOS 2.5; ${NVIDIA}`,
};

const CPU = "CbsCmnCpu";
const asrockrack: BiosVendor = {
  id: "asrockrack",
  manufacturer: /asrock/i,
  settings: [
    on("smee", `${CPU}Smee`, "SMEE", { write: `${CPU}SmeeEnabled` }),
    on("asid-count", `${CPU}SevAsidCount`, "SEV ASID Count", { ...COUNT, write: `${CPU}SevAsidCount509ASIDs` }),
    on("asid-control", `${CPU}SevAsidSpaceCtrl`, "SEV-ES ASID Space Limit Control", {
      ...MANUAL,
      write: `${CPU}SevAsidSpaceCtrlManual`,
    }),
    asids([`${CPU}SevAsidSpaceLimit`], "SEV-ES ASID Space Limit"),
    on("rmp-coverage", "CbsDbgCpuSnpMemCover", "SNP Memory Coverage", { write: "CbsDbgCpuSnpMemCoverEnabled" }),
    on("snp", "CbsSevSnpSupport", "SEV-SNP Support", { write: "CbsSevSnpSupportEnable" }),
    on("iommu", "CbsCmnGnbNbIOMMU", "IOMMU", { ...ON_OR_AUTO, write: "CbsCmnGnbNbIOMMUEnabled" }),
  ],
  source: `seed 001, ASRockRack BIOS L3.12C; ${NVIDIA}; seed 000, BIOS (IOMMU)`,
};

const hpe: BiosVendor = {
  id: "hpe",
  manufacturer: /^(hpe|hewlett)/i,
  settings: [
    on("smee", "AmdSecureMemoryEncryption", "AMD Secure Memory Encryption"),
    asids(["MinimumSevAsid"], "Minimum SEV ASID"),
    on("snp", "AmdSecureNestedPaging", "AMD Secure Nested Paging"),
    on("iommu", "ProcAmdIoVt", "AMD I/O Virtualization Technology", IF_PRESENT),
  ],
  source: PUBLIC,
};

const lenovo: BiosVendor = {
  id: "lenovo",
  manufacturer: /^lenovo/i,
  settings: [
    on("smee", "Memory_SMEE", "SMEE"),
    asids(["Memory_SEV_ESASIDSpaceLimit", "Processors_SEV_ESASIDSpaceLimit"], "SEV-ES ASID Space Limit", IF_PRESENT),
    on("rmp-coverage", "Processors_SNPMemoryRMPTableCoverage", "SNP Memory (RMP Table) Coverage"),
    on("snp", "Processors_SEV_SNPSupport", "SEV-SNP Support"),
    on("iommu", "DevicesandIOPorts_IOMMU", "IOMMU", ON_OR_AUTO),
  ],
  source: `${PUBLIC}; lenovopress.lenovo.com/lp1893`,
};

const asus: BiosVendor = {
  id: "asus",
  manufacturer: /asus/i,
  settings: [],
  source: "seed 000, System Setting and BIOS; entries as in AMDESE/AMDSEV#105",
};

export const SNP_VENDORS: readonly BiosVendor[] = [dell, supermicro, asrockrack, hpe, lenovo, asus];
