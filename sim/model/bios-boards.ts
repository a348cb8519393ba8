import type { BiosAttribute, BiosRequirement, BiosVendor } from "./bios.ts";

/** What the kernel finds on or off, whatever the vendor calls it. */
export type Switch = "virtualisation" | "iommu" | "smee" | "snp" | "privateKeys" | "seamLoader" | "sgx";
type Is = readonly [attribute: string, ...values: string[]];

/** The BIOS of one vendor's board for one kind of processor, as data. */
export interface Board {
  readonly manufacturer: string;
  readonly model: string;
  readonly biosVersion: string;
  readonly hasRegistry: boolean;
  readonly attributes: readonly BiosAttribute[];
  /** A switch is on when each attribute has one of its values; one that is not listed is off. */
  readonly on: Readonly<Partial<Record<Switch, readonly Is[]>>>;
  /** RMP table: the attribute, what covers all memory, what covers a part. */
  readonly coverage?: readonly [attribute: string, full: string, partial?: string];
  readonly asids?: {
    /** The setting with which the processor has 253 ASIDs instead of 509. */
    readonly few?: Is;
    readonly limit: string;
    /** The limit counts only with this setting. */
    readonly manual?: Is;
  };
  /** Bits of the memory encryption keys that TDX gets, 0 for none. */
  readonly keySplit?: string;
}

type Extra = Partial<Pick<BiosAttribute, "readOnly" | "requires" | "lowerBound" | "upperBound">>;

const choice = (
  name: string,
  displayName: string,
  menuPath: string,
  values: readonly string[],
  defaultValue: string,
  extra: Extra & { numbered?: boolean } = {},
): BiosAttribute => ({
  name,
  displayName,
  type: "Enumeration",
  menuPath,
  readOnly: extra.readOnly ?? false,
  values: values.map((value, i) => ({ name: extra.numbered ? String(i) : value, displayName: value })),
  defaultValue,
  requires: extra.requires ?? [],
});

const integer = (
  name: string,
  displayName: string,
  menuPath: string,
  defaultValue: number,
  extra: Extra & { lowerBound: number; upperBound: number },
): BiosAttribute => ({
  name,
  displayName,
  type: "Integer",
  menuPath,
  readOnly: extra.readOnly ?? false,
  values: [],
  lowerBound: extra.lowerBound,
  upperBound: extra.upperBound,
  defaultValue,
  requires: extra.requires ?? [],
});

const OFF_ON = ["Disabled", "Enabled"];
const OFF_ON_AUTO = ["Disabled", "Enabled", "Auto"];
const sm = { numbered: true };
const CPU = "./Advanced/CPU Configuration";
const NB = "./Advanced/NB Configuration";
const supermicro: Board = {
  manufacturer: "Supermicro",
  model: "AS -5126GS-TNRT2",
  biosVersion: "2.5",
  hasRegistry: true,
  attributes: [
    choice("SVMMode#0031", "SVM Mode", CPU, OFF_ON, "Enabled", sm),
    choice("SMEE#003E", "SMEE", CPU, OFF_ON_AUTO, "Disabled", sm),
    choice("SEVASIDCount#003D", "SEV ASID Count", CPU, ["253 ASIDs", "509 ASIDs", "Auto"], "Auto", sm),
    choice("SEV-ESASIDSpaceLimitControl#003F", "SEV-ES ASID Space Limit Control", CPU, ["Auto", "Manual"], "Auto", sm),
    integer("SEV-ESASIDSpaceLimit#700C", "SEV-ES ASID Space Limit", CPU, 1, { lowerBound: 1, upperBound: 510 }),
    choice(
      "SNPMemory(RMPTable)Coverage#003C",
      "SNP Memory (RMP Table) Coverage",
      CPU,
      ["Disabled", "Enabled", "Custom", "Auto"],
      "Auto",
      sm,
    ),
    choice("IOMMU#0196", "IOMMU", NB, OFF_ON_AUTO, "Disabled", sm),
    choice("SEV-SNPSupport#01A7", "SEV-SNP Support", NB, OFF_ON, "Disabled", sm),
    choice("SR-IOVSupport#0045", "SR-IOV Support", "./Advanced/PCIe/PCI/PnP Configuration", OFF_ON, "Enabled", sm),
    choice("Above4GDecoding#0041", "Above 4G Decoding", "./Advanced/PCIe/PCI/PnP Configuration", OFF_ON, "Enabled", sm),
    choice("BootModeSelect#00B6", "Boot Mode Select", "./Boot", ["Legacy", "UEFI", "DUAL"], "UEFI", sm),
    integer("CorrectableErrorThreshold#3C34", "Correctable Error Threshold", "./Advanced", 512, {
      lowerBound: 0,
      upperBound: 32767,
    }),
    choice("SMTControl#0038", "SMT Control", CPU, ["Disabled", "Auto"], "Auto", sm),
  ],
  on: {
    virtualisation: [["SVMMode#0031", "Enabled"]],
    iommu: [["IOMMU#0196", "Enabled", "Auto"]],
    smee: [["SMEE#003E", "Enabled"]],
    snp: [["SEV-SNPSupport#01A7", "Enabled"]],
  },
  coverage: ["SNPMemory(RMPTable)Coverage#003C", "Enabled", "Custom"],
  asids: {
    few: ["SEVASIDCount#003D", "253 ASIDs"],
    limit: "SEV-ESASIDSpaceLimit#700C",
    manual: ["SEV-ESASIDSpaceLimitControl#003F", "Manual"],
  },
};

const SME_ON: readonly BiosRequirement[] = [{ attribute: "Sme", value: "Enabled" }];
const dell: Board = {
  manufacturer: "Dell Inc.",
  model: "PowerEdge R7625",
  biosVersion: "1.11.2",
  hasRegistry: true,
  attributes: [
    choice("ProcVirtualization", "Virtualization Technology", "./ProcSettingsRef", OFF_ON, "Enabled"),
    choice("IommuSupport", "IOMMU Support", "./ProcSettingsRef", OFF_ON, "Enabled"),
    choice("Sme", "Secure Memory Encryption", "./ProcSettingsRef", OFF_ON, "Disabled"),
    choice("TransparentSme", "Transparent Secure Memory Encryption", "./ProcSettingsRef", OFF_ON, "Disabled"),
    integer("CpuMinSevAsid", "Minimum SEV non-ES ASID", "./ProcSettingsRef", 1, {
      lowerBound: 1,
      upperBound: 510,
      requires: SME_ON,
    }),
    choice("Snp", "Secure Nested Paging", "./ProcSettingsRef", OFF_ON, "Disabled", { requires: SME_ON }),
    choice("Rmp", "SNP Memory Coverage", "./ProcSettingsRef", OFF_ON, "Disabled", {
      requires: [{ attribute: "Snp", value: "Enabled" }],
    }),
    choice("SriovGlobalEnable", "SR-IOV Global Enable", "./IntegratedDevicesRef", OFF_ON, "Enabled"),
    choice("MmioAbove4Gb", "Memory Mapped I/O above 4GB", "./IntegratedDevicesRef", OFF_ON, "Enabled"),
    choice("BootMode", "Boot Mode", "./BootSettingsRef", ["Bios", "Uefi"], "Uefi"),
    choice("LogicalProc", "Logical Processor", "./ProcSettingsRef", OFF_ON, "Enabled"),
    integer("AcPwrRcvryUserDelay", "User Defined Delay", "./SysSecurityRef", 120, { lowerBound: 60, upperBound: 600 }),
  ],
  on: {
    virtualisation: [["ProcVirtualization", "Enabled"]],
    iommu: [["IommuSupport", "Enabled"]],
    smee: [["Sme", "Enabled"]],
    snp: [["Snp", "Enabled"]],
  },
  coverage: ["Rmp", "Enabled"],
  asids: { limit: "CpuMinSevAsid" },
};

const CBS = "./Advanced/AMD CBS/CPU Common Options";
const asrockrack: Board = {
  manufacturer: "ASRockRack",
  model: "GENOAD24QM32-2L2T",
  biosVersion: "L3.12C",
  hasRegistry: true,
  attributes: [
    choice("CbsCmnCpuSvm", "SVM Mode", CBS, ["CbsCmnCpuSvmDisable", "CbsCmnCpuSvmEnable"], "CbsCmnCpuSvmEnable"),
    choice(
      "CbsCmnCpuSmee",
      "SMEE",
      CBS,
      ["CbsCmnCpuSmeeDisabled", "CbsCmnCpuSmeeEnabled", "CbsCmnCpuSmeeAuto"],
      "CbsCmnCpuSmeeAuto",
    ),
    choice(
      "CbsCmnCpuSevAsidCount",
      "SEV ASID Count",
      CBS,
      ["CbsCmnCpuSevAsidCount253ASIDs", "CbsCmnCpuSevAsidCount509ASIDs", "CbsCmnCpuSevAsidCountAuto"],
      "CbsCmnCpuSevAsidCountAuto",
    ),
    choice(
      "CbsCmnCpuSevAsidSpaceCtrl",
      "SEV-ES ASID space Limit Control",
      CBS,
      ["CbsCmnCpuSevAsidSpaceCtrlAuto", "CbsCmnCpuSevAsidSpaceCtrlManual"],
      "CbsCmnCpuSevAsidSpaceCtrlAuto",
    ),
    integer("CbsCmnCpuSevAsidSpaceLimit", "SEV-ES ASID space limit", CBS, 1, { lowerBound: 1, upperBound: 510 }),
    choice(
      "CbsDbgCpuSnpMemCover",
      "SNP Memory Coverage",
      CBS,
      [
        "CbsDbgCpuSnpMemCoverDisabled",
        "CbsDbgCpuSnpMemCoverEnabled",
        "CbsDbgCpuSnpMemCoverCustom",
        "CbsDbgCpuSnpMemCoverAuto",
      ],
      "CbsDbgCpuSnpMemCoverAuto",
    ),
    choice(
      "CbsSevSnpSupport",
      "SEV-SNP Support",
      "./Advanced/AMD CBS/NBIO Common Options",
      ["CbsSevSnpSupportDisable", "CbsSevSnpSupportEnable"],
      "CbsSevSnpSupportDisable",
    ),
    choice(
      "CbsCmnGnbNbIOMMU",
      "IOMMU",
      "./Advanced/AMD CBS/NBIO Common Options",
      ["CbsCmnGnbNbIOMMUDisabled", "CbsCmnGnbNbIOMMUEnabled", "CbsCmnGnbNbIOMMUAuto"],
      "CbsCmnGnbNbIOMMUAuto",
    ),
    choice(
      "PCIS007",
      "Above 4G Decoding",
      "./Advanced/PCI Configuration",
      ["PCIS007Disabled", "PCIS007Enabled"],
      "PCIS007Enabled",
    ),
  ],
  on: {
    virtualisation: [["CbsCmnCpuSvm", "CbsCmnCpuSvmEnable"]],
    iommu: [["CbsCmnGnbNbIOMMU", "CbsCmnGnbNbIOMMUEnabled", "CbsCmnGnbNbIOMMUAuto"]],
    smee: [["CbsCmnCpuSmee", "CbsCmnCpuSmeeEnabled"]],
    snp: [["CbsSevSnpSupport", "CbsSevSnpSupportEnable"]],
  },
  coverage: ["CbsDbgCpuSnpMemCover", "CbsDbgCpuSnpMemCoverEnabled", "CbsDbgCpuSnpMemCoverCustom"],
  asids: {
    few: ["CbsCmnCpuSevAsidCount", "CbsCmnCpuSevAsidCount253ASIDs"],
    limit: "CbsCmnCpuSevAsidSpaceLimit",
    manual: ["CbsCmnCpuSevAsidSpaceCtrl", "CbsCmnCpuSevAsidSpaceCtrlManual"],
  },
};

const hpe: Board = {
  manufacturer: "HPE",
  model: "ProLiant DL385 Gen11",
  biosVersion: "A55 v2.20 (05/27/2024)",
  hasRegistry: true,
  attributes: [
    choice("ProcAmdVirtualization", "AMD Virtualization Technology", "./VirtualizationOptions", OFF_ON, "Enabled"),
    choice("ProcAmdIoVt", "AMD I/O Virtualization Technology", "./VirtualizationOptions", OFF_ON, "Enabled"),
    choice("AmdSecureMemoryEncryption", "AMD Secure Memory Encryption", "./VirtualizationOptions", OFF_ON, "Disabled"),
    choice("AmdSecureNestedPaging", "AMD Secure Nested Paging", "./VirtualizationOptions", OFF_ON, "Disabled"),
    integer("MinimumSevAsid", "Minimum SEV ASID", "./VirtualizationOptions", 1, { lowerBound: 1, upperBound: 510 }),
    choice(
      "TransparentSecureMemoryEncryption",
      "Transparent Secure Memory Encryption",
      "./VirtualizationOptions",
      OFF_ON,
      "Disabled",
    ),
    choice("Sriov", "SR-IOV", "./VirtualizationOptions", OFF_ON, "Enabled"),
    choice("BootMode", "Boot Mode", "./BootOptions", ["Uefi", "LegacyBios"], "Uefi"),
    choice("AmdDmaRemapping", "AMD DMA Remapping", "./VirtualizationOptions", OFF_ON, "Disabled"),
  ],
  on: {
    virtualisation: [["ProcAmdVirtualization", "Enabled"]],
    iommu: [["ProcAmdIoVt", "Enabled"]],
    smee: [["AmdSecureMemoryEncryption", "Enabled"]],
    snp: [["AmdSecureNestedPaging", "Enabled"]],
  },
  coverage: ["AmdSecureNestedPaging", "Enabled"],
  asids: { limit: "MinimumSevAsid" },
};

const lenovo: Board = {
  manufacturer: "Lenovo",
  model: "ThinkSystem SR675 V3",
  biosVersion: "QGE134D-6.10",
  hasRegistry: true,
  attributes: [
    choice("Processors_SVMMode", "SVM Mode", "./SystemSettings/Processors", OFF_ON, "Enabled"),
    choice("Memory_SMEE", "SMEE", "./SystemSettings/Memory", OFF_ON, "Disabled"),
    choice("Processors_SEV_SNPSupport", "SEV-SNP Support", "./SystemSettings/Processors", OFF_ON, "Disabled"),
    choice(
      "Processors_SNPMemoryRMPTableCoverage",
      "SNP Memory (RMP Table) Coverage",
      "./SystemSettings/Processors",
      OFF_ON,
      "Disabled",
    ),
    integer("Processors_SEV_ESASIDSpaceLimit", "SEV-ES ASID Space Limit", "./SystemSettings/Processors", 100, {
      lowerBound: 1,
      upperBound: 510,
    }),
    choice("DevicesandIOPorts_IOMMU", "IOMMU", "./SystemSettings/DevicesandIOPorts", OFF_ON, "Enabled"),
    choice("BootModes_SystemBootMode", "System Boot Mode", "./BootManager", ["UEFIMode", "LegacyMode"], "UEFIMode"),
  ],
  on: {
    virtualisation: [["Processors_SVMMode", "Enabled"]],
    iommu: [["DevicesandIOPorts_IOMMU", "Enabled"]],
    smee: [["Memory_SMEE", "Enabled"]],
    snp: [["Processors_SEV_SNPSupport", "Enabled"]],
  },
  coverage: ["Processors_SNPMemoryRMPTableCoverage", "Enabled"],
  asids: { limit: "Processors_SEV_ESASIDSpaceLimit" },
};

// TDX. Supermicro's names, suffixes and what hides what are those of an SYS-821GE-TNHR with BIOS 1.4, but for key
// split and SGX, whose suffixes are made up. Dell's and Lenovo's come from public automation: docs/sources.md.
const INTEL_CPU = "./Advanced/CPU Configuration";
const ENABLE = ["Disable", "Enable"];
const is = (attribute: string, value: string): BiosRequirement => ({ attribute, value });
const TME = [is("MemoryEncryption_TME__3C77", "Enabled")];
const TME_MT = [...TME, is("TotalMemoryEncryptionMulti_Tenant_TME_MT__F31B", "Enabled")];
const supermicroTdx: Board = {
  manufacturer: "Supermicro",
  model: "SYS-821GE-TNHR",
  biosVersion: "1.4",
  hasRegistry: true,
  attributes: [
    choice("IntelVirtualizationTechnology_3C6F", "Intel Virtualization Technology", INTEL_CPU, ENABLE, "Enable", sm),
    choice(
      "IntelVTforDirectedI_O_VT_d__1E32",
      "Intel VT for Directed I/O (VT-d)",
      "./Advanced/Chipset Configuration/North Bridge/IIO Configuration/Intel VT for Directed I/O (VT-d)",
      ENABLE,
      "Enable",
      sm,
    ),
    choice("LimitCPUPAto46Bits_F319", "Limit CPU PA to 46 Bits", INTEL_CPU, ENABLE, "Enable", sm),
    choice("MemoryEncryption_TME__3C77", "Memory Encryption (TME)", INTEL_CPU, OFF_ON, "Disabled", sm),
    choice(
      "TotalMemoryEncryption_TME_Bypass_3C78",
      "Total Memory Encryption (TME) Bypass",
      INTEL_CPU,
      ["Disabled", "Enabled", "Auto"],
      "Auto",
      sm,
    ),
    choice(
      "TotalMemoryEncryptionMulti_Tenant_TME_MT__F31B",
      "Total Memory Encryption Multi-Tenant(TME-MT)",
      INTEL_CPU,
      OFF_ON,
      "Disabled",
      { ...sm, requires: [...TME, is("LimitCPUPAto46Bits_F319", "Disable")] },
    ),
    choice("TrustDomainExtension_TDX__3C79", "Trust Domain Extension (TDX)", INTEL_CPU, OFF_ON, "Disabled", {
      ...sm,
      requires: TME_MT,
    }),
    choice(
      "TDXSecureArbitrationModeLoader_SEAMLoader__3C7A",
      "TDX Secure Arbitration Mode Loader (SEAM Loader)",
      INTEL_CPU,
      OFF_ON,
      "Disabled",
      { ...sm, requires: TME_MT },
    ),
    integer("TME_MT_TDXKeySplit_F31D", "TME-MT/TDX Key Split", INTEL_CPU, 0, {
      lowerBound: 0,
      upperBound: 5,
      requires: [is("TrustDomainExtension_TDX__3C79", "Enabled")],
    }),
    choice("SWGuardExtensions_SGX__3C7B", "SW Guard Extensions (SGX)", INTEL_CPU, OFF_ON, "Disabled", {
      ...sm,
      requires: TME,
    }),
    choice("SGXFactoryReset_3C7C", "SGX Factory Reset", INTEL_CPU, OFF_ON, "Disabled", sm),
    choice("Hyper_Threading_ALL__F27F", "Hyper-Threading [ALL]", INTEL_CPU, ENABLE, "Enable", sm),
    choice("BootModeSelect_00B6", "Boot Mode Select", "./Boot", ["Legacy", "UEFI", "DUAL"], "UEFI", sm),
  ],
  on: {
    virtualisation: [["IntelVirtualizationTechnology_3C6F", "Enable"]],
    iommu: [["IntelVTforDirectedI_O_VT_d__1E32", "Enable"]],
    privateKeys: [
      ["LimitCPUPAto46Bits_F319", "Disable"],
      ["MemoryEncryption_TME__3C77", "Enabled"],
      ["TotalMemoryEncryptionMulti_Tenant_TME_MT__F31B", "Enabled"],
      ["TrustDomainExtension_TDX__3C79", "Enabled"],
    ],
    seamLoader: [["TDXSecureArbitrationModeLoader_SEAMLoader__3C7A", "Enabled"]],
    sgx: [["SWGuardExtensions_SGX__3C7B", "Enabled"]],
  },
  keySplit: "TME_MT_TDXKeySplit_F31D",
};

const SECURITY = "./SysSecurityRef";
const MULTIPLE_KEYS = [is("MemoryEncryption", "MultipleKeys")];
const dellTdx: Board = {
  manufacturer: "Dell Inc.",
  model: "PowerEdge XE9680",
  biosVersion: "2.7.4",
  hasRegistry: true,
  attributes: [
    choice("ProcVirtualization", "Virtualization Technology", "./ProcSettingsRef", OFF_ON, "Enabled"),
    choice("ProcX2Apic", "x2APIC Mode", "./ProcSettingsRef", OFF_ON, "Enabled"),
    choice("CpuPaLimit", "CPU Physical Address Limit", "./ProcSettingsRef", OFF_ON, "Enabled"),
    choice("NodeInterleave", "Node Interleaving", "./MemSettingsRef", OFF_ON, "Disabled"),
    choice("MemoryEncryption", "Memory Encryption", SECURITY, ["Disabled", "SingleKey", "MultipleKeys"], "Disabled"),
    choice("GlbMemIntegrity", "Global Memory Integrity", SECURITY, OFF_ON, "Disabled", { requires: MULTIPLE_KEYS }),
    choice("EnableTdx", "Intel(R) Trust Domain Extension (TDX)", SECURITY, OFF_ON, "Disabled", {
      requires: [
        ...MULTIPLE_KEYS,
        is("CpuPaLimit", "Disabled"),
        is("NodeInterleave", "Disabled"),
        is("ProcX2Apic", "Enabled"),
      ],
    }),
    integer("KeySplit", "TME-MT/TDX Key Split", SECURITY, 0, { lowerBound: 0, upperBound: 6, requires: MULTIPLE_KEYS }),
    choice("EnableTdxSeamldr", "TDX Secure Arbitration Mode Loader (SEAM)", SECURITY, OFF_ON, "Disabled", {
      requires: MULTIPLE_KEYS,
    }),
    choice("IntelSgx", "Intel(R) SGX", SECURITY, ["Off", "Software", "On"], "Off", { requires: MULTIPLE_KEYS }),
    choice("SgxFactoryReset", "SGX Factory Reset", SECURITY, ["Off", "On"], "Off", {
      requires: [is("IntelSgx", "On")],
    }),
    choice("SgxAutoRegistrationAgent", "SGX Auto MP Registration Agent", SECURITY, OFF_ON, "Disabled", {
      requires: [is("IntelSgx", "On")],
    }),
    choice("SriovGlobalEnable", "SR-IOV Global Enable", "./IntegratedDevicesRef", OFF_ON, "Enabled"),
    choice("BootMode", "Boot Mode", "./BootSettingsRef", ["Bios", "Uefi"], "Uefi"),
  ],
  on: {
    virtualisation: [["ProcVirtualization", "Enabled"]],
    // One switch for VT-x and VT-d.
    iommu: [["ProcVirtualization", "Enabled"]],
    privateKeys: [
      ["CpuPaLimit", "Disabled"],
      ["MemoryEncryption", "MultipleKeys"],
      ["GlbMemIntegrity", "Disabled"],
      ["EnableTdx", "Enabled"],
    ],
    seamLoader: [["EnableTdxSeamldr", "Enabled"]],
    sgx: [["IntelSgx", "On"]],
  },
  keySplit: "KeySplit",
};

const PROCESSORS = "./SystemSettings/Processors";
const TOTAL_ON = [is("Processors_TotalMemoryEncryption", "Enabled")];
const lenovoTdx: Board = {
  manufacturer: "Lenovo",
  model: "ThinkSystem SR680a V3",
  biosVersion: "ESE136J-5.20",
  hasRegistry: true,
  attributes: [
    choice(
      "Processors_IntelVirtualizationTechnology",
      "Intel Virtualization Technology",
      PROCESSORS,
      OFF_ON,
      "Enabled",
    ),
    choice(
      "DevicesandIOPorts_IntelVTforDirectedI_OVT_d",
      "Intel VT for Directed I/O (VT-d)",
      "./SystemSettings/DevicesandIOPorts",
      OFF_ON,
      "Enabled",
    ),
    choice("Processors_TotalMemoryEncryption", "Total Memory Encryption", PROCESSORS, OFF_ON, "Disabled"),
    choice("Processors_LimitCPUPAto46bits", "Limit CPU PA to 46 bits", PROCESSORS, OFF_ON, "Enabled"),
    choice(
      "Processors_MultikeyTotalMemoryEncryption",
      "Multikey Total Memory Encryption",
      PROCESSORS,
      OFF_ON,
      "Disabled",
      { requires: TOTAL_ON },
    ),
    choice("Processors_Memoryintegrity", "Memory integrity", PROCESSORS, OFF_ON, "Disabled", { requires: TOTAL_ON }),
    choice("Processors_TrustDomainExtensionTDX", "Trust Domain Extension (TDX)", PROCESSORS, OFF_ON, "Disabled", {
      requires: TOTAL_ON,
    }),
    choice(
      "Processors_TDXSecureArbitrationModeLoaderSEAMLoader",
      "TDX Secure Arbitration Mode Loader (SEAM Loader)",
      PROCESSORS,
      OFF_ON,
      "Disabled",
      { requires: TOTAL_ON },
    ),
    integer("Processors_TME_MTTDXkeysplit", "TME-MT/TDX key split", PROCESSORS, 0, {
      lowerBound: 0,
      upperBound: 6,
      requires: TOTAL_ON,
    }),
    choice("Processors_SWGuardExtensions", "SW Guard Extensions (SGX)", PROCESSORS, OFF_ON, "Disabled", {
      requires: TOTAL_ON,
    }),
    choice("Processors_SGXFactoryReset", "SGX Factory Reset", PROCESSORS, OFF_ON, "Disabled"),
    choice("BootModes_SystemBootMode", "System Boot Mode", "./BootManager", ["UEFIMode", "LegacyMode"], "UEFIMode"),
  ],
  on: {
    virtualisation: [["Processors_IntelVirtualizationTechnology", "Enabled"]],
    iommu: [["DevicesandIOPorts_IntelVTforDirectedI_OVT_d", "Enabled"]],
    privateKeys: [
      ["Processors_LimitCPUPAto46bits", "Disabled"],
      ["Processors_TotalMemoryEncryption", "Enabled"],
      ["Processors_MultikeyTotalMemoryEncryption", "Enabled"],
      ["Processors_Memoryintegrity", "Disabled"],
      ["Processors_TrustDomainExtensionTDX", "Enabled"],
    ],
    seamLoader: [["Processors_TDXSecureArbitrationModeLoaderSEAMLoader", "Enabled"]],
    sgx: [["Processors_SWGuardExtensions", "Enabled"]],
  },
  keySplit: "Processors_TME_MTTDXkeysplit",
};

/** Boards by the processor's TEE; what a vendor has no board of is not there. */
export const BOARDS: Readonly<Record<"sev-snp" | "tdx", Readonly<Partial<Record<BiosVendor, Board>>>>> = {
  "sev-snp": { supermicro, dell, asrockrack, hpe, lenovo },
  tdx: { supermicro: supermicroTdx, dell: dellTdx, lenovo: lenovoTdx },
};
