/**
 * The BIOS of the simulated node and its power: what the BMC (sim/bmc.ts) serves and what the boot model obeys.
 * Nothing here knows Redfish. Settings are staged and only take effect when the node is reset.
 */
export type BiosValue = string | number | boolean | null;

export interface BiosAttribute {
  /** Exact attribute name, with the board's own suffix where the vendor has one. */
  readonly name: string;
  readonly displayName: string;
  readonly type: "Enumeration" | "Integer" | "String" | "Boolean";
  /** Menu path in the registry's way, e.g. `./Advanced/CPU Configuration`. */
  readonly menuPath: string;
  /** Never writable, whatever else is set. */
  readonly readOnly: boolean;
  /** Of an Enumeration. `name` and `displayName` differ on Supermicro ("1" against "Enabled"). */
  readonly values: readonly { readonly name: string; readonly displayName: string }[];
  readonly lowerBound?: number;
  readonly upperBound?: number;
  readonly defaultValue: BiosValue;
  /**
   * Settings that must be in force (not merely staged) before this one may be staged. Until then the registry shows
   * it as read-only and greyed out, and {@link BiosState.stage} refuses it. Dell: Sme, then Snp and CpuMinSevAsid, then Rmp.
   */
  readonly requires: readonly BiosRequirement[];
}

export interface BiosRequirement {
  readonly attribute: string;
  /** The value must equal this, or for numbers be at least this. */
  readonly value: BiosValue;
}

export interface StageError {
  readonly attribute: string;
  readonly kind: "unknown" | "value" | "read-only";
  readonly message: string;
}

export type BiosVendor = "supermicro" | "dell" | "asrockrack" | "hpe" | "lenovo";

/** What sim/bmc.ts needs of the BIOS. */
export interface BiosState {
  readonly vendor: BiosVendor;
  /** ComputerSystem.Manufacturer and Model. */
  readonly manufacturer: string;
  readonly model: string;
  readonly biosVersion: string;
  /** False for a BMC that offers no attribute registry. */
  readonly hasRegistry: boolean;
  readonly attributes: readonly BiosAttribute[];
  /** Values in force. For enumerations the same spelling that {@link BiosState.stage} accepts. */
  readonly current: Readonly<Record<string, BiosValue>>;
  /** Values waiting for the next reset. */
  readonly staged: Readonly<Record<string, BiosValue>>;
  /** True while the attribute may not be staged: read-only, or a requirement is not in force. */
  locked(name: string): boolean;
  /** Stages all of `settings` or none; the errors say why. Staging the value in force takes it off the staged list. */
  stage(settings: Readonly<Record<string, BiosValue>>): readonly StageError[];
  clearStaged(): void;
}

export const RESET_TYPES = [
  "On",
  "ForceOff",
  "GracefulShutdown",
  "GracefulRestart",
  "ForceRestart",
  "PowerCycle",
] as const;
export type ResetType = (typeof RESET_TYPES)[number];

/** Power of the node; startTwin gives it to the BMC. */
export interface NodePower {
  readonly state: "On" | "Off";
  /** Returns at once; staged BIOS settings apply, the node drops every connection and boots again. */
  reset(type: ResetType): void;
  /** How often the node was reset, by whom and how; for tests. */
  readonly resets: readonly { readonly by: "bmc" | "os"; readonly type: ResetType }[];
}

/** What the settings in force mean to the kernel, whatever the vendor calls them. */
export interface BiosEffect {
  readonly smee: boolean;
  readonly snp: boolean;
  /** Memory that the RMP table covers: all, a part, or none (not reserved). */
  readonly rmp: "full" | "partial" | "none";
  readonly iommu: boolean;
  /** SVM (hardware virtualisation). */
  readonly svm: boolean;
  /** First ASID of a plain SEV guest; ASIDs 1 … this-1 are for SEV-ES and SNP. */
  readonly minSevAsid: number;
  readonly maxSevAsid: number;
}

interface VendorBios {
  readonly manufacturer: string;
  readonly model: string;
  readonly biosVersion: string;
  readonly hasRegistry: boolean;
  readonly attributes: readonly BiosAttribute[];
  effect(get: (name: string) => BiosValue | undefined): BiosEffect;
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
const MAX_ASID = 509;

const sm = { numbered: true };
const CPU = "./Advanced/CPU Configuration";
const NB = "./Advanced/NB Configuration";
const supermicro: VendorBios = {
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
  effect: (get) => ({
    smee: get("SMEE#003E") === "Enabled",
    snp: get("SEV-SNPSupport#01A7") === "Enabled",
    rmp: coverage(get("SNPMemory(RMPTable)Coverage#003C")),
    iommu: get("IOMMU#0196") !== "Disabled",
    svm: get("SVMMode#0031") === "Enabled",
    maxSevAsid: get("SEVASIDCount#003D") === "253 ASIDs" ? 253 : MAX_ASID,
    minSevAsid: limit(get("SEV-ESASIDSpaceLimit#700C"), get("SEV-ESASIDSpaceLimitControl#003F") === "Manual"),
  }),
};

const SME_ON: readonly BiosRequirement[] = [{ attribute: "Sme", value: "Enabled" }];
const dell: VendorBios = {
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
  effect: (get) => ({
    smee: get("Sme") === "Enabled",
    snp: get("Snp") === "Enabled",
    rmp: coverage(get("Rmp")),
    iommu: get("IommuSupport") === "Enabled",
    svm: get("ProcVirtualization") === "Enabled",
    maxSevAsid: MAX_ASID,
    minSevAsid: limit(get("CpuMinSevAsid"), true),
  }),
};

const CBS = "./Advanced/AMD CBS/CPU Common Options";
const asrockrack: VendorBios = {
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
  effect: (get) => ({
    smee: get("CbsCmnCpuSmee") === "CbsCmnCpuSmeeEnabled",
    snp: get("CbsSevSnpSupport") === "CbsSevSnpSupportEnable",
    rmp: coverage(String(get("CbsDbgCpuSnpMemCover")).replace("CbsDbgCpuSnpMemCover", "")),
    iommu: get("CbsCmnGnbNbIOMMU") !== "CbsCmnGnbNbIOMMUDisabled",
    svm: get("CbsCmnCpuSvm") === "CbsCmnCpuSvmEnable",
    maxSevAsid: get("CbsCmnCpuSevAsidCount") === "CbsCmnCpuSevAsidCount253ASIDs" ? 253 : MAX_ASID,
    minSevAsid: limit(
      get("CbsCmnCpuSevAsidSpaceLimit"),
      get("CbsCmnCpuSevAsidSpaceCtrl") === "CbsCmnCpuSevAsidSpaceCtrlManual",
    ),
  }),
};

const hpe: VendorBios = {
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
  effect: (get) => ({
    smee: get("AmdSecureMemoryEncryption") === "Enabled",
    snp: get("AmdSecureNestedPaging") === "Enabled",
    rmp: get("AmdSecureNestedPaging") === "Enabled" ? "full" : "none",
    iommu: get("ProcAmdIoVt") === "Enabled",
    svm: get("ProcAmdVirtualization") === "Enabled",
    maxSevAsid: MAX_ASID,
    minSevAsid: limit(get("MinimumSevAsid"), true),
  }),
};

const lenovo: VendorBios = {
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
  effect: (get) => ({
    smee: get("Memory_SMEE") === "Enabled",
    snp: get("Processors_SEV_SNPSupport") === "Enabled",
    rmp: coverage(get("Processors_SNPMemoryRMPTableCoverage")),
    iommu: get("DevicesandIOPorts_IOMMU") === "Enabled",
    svm: get("Processors_SVMMode") === "Enabled",
    maxSevAsid: MAX_ASID,
    minSevAsid: limit(get("Processors_SEV_ESASIDSpaceLimit"), true),
  }),
};

const VENDORS: Readonly<Record<BiosVendor, VendorBios>> = { supermicro, dell, asrockrack, hpe, lenovo };

function coverage(value: BiosValue | undefined): BiosEffect["rmp"] {
  if (value === "Enabled") return "full";
  return value === "Custom" ? "partial" : "none";
}

function limit(value: BiosValue | undefined, manual: boolean): number {
  return manual && typeof value === "number" ? Math.max(1, value) : 1;
}

/** The BIOS of a fresh machine: SNP off. */
export class Bios implements BiosState {
  readonly vendor: BiosVendor;
  readonly manufacturer: string;
  readonly model: string;
  readonly biosVersion: string;
  readonly hasRegistry: boolean;
  readonly attributes: readonly BiosAttribute[];
  current: Record<string, BiosValue>;
  staged: Record<string, BiosValue> = {};
  readonly #table: VendorBios;

  constructor(vendor: BiosVendor) {
    const table = VENDORS[vendor];
    this.#table = table;
    this.vendor = vendor;
    this.manufacturer = table.manufacturer;
    this.model = table.model;
    this.biosVersion = table.biosVersion;
    this.hasRegistry = table.hasRegistry;
    this.attributes = table.attributes;
    this.current = Object.fromEntries(table.attributes.map((a) => [a.name, a.defaultValue]));
  }

  #find(name: string): BiosAttribute | undefined {
    return this.attributes.find((a) => a.name === name);
  }

  locked(name: string): boolean {
    const attribute = this.#find(name);
    if (attribute === undefined || attribute.readOnly) return true;
    return !attribute.requires.every(({ attribute: other, value }) => {
      const now = this.current[other];
      return typeof value === "number" ? typeof now === "number" && now >= value : now === value;
    });
  }

  stage(settings: Readonly<Record<string, BiosValue>>): readonly StageError[] {
    const errors = Object.entries(settings).flatMap(([name, value]) => this.#check(name, value));
    if (errors.length > 0) return errors;
    for (const [name, value] of Object.entries(settings)) {
      if (this.current[name] === value) delete this.staged[name];
      else this.staged[name] = value;
    }
    return [];
  }

  #check(name: string, value: BiosValue): StageError[] {
    const attribute = this.#find(name);
    if (attribute === undefined)
      return [
        {
          attribute: name,
          kind: "unknown",
          message: `The property ${name} is not in the list of valid properties for the resource.`,
        },
      ];
    if (this.current[name] === value) return [];
    if (this.locked(name))
      return [
        {
          attribute: name,
          kind: "read-only",
          message: `The property ${name} is a read only property and cannot be assigned a value.`,
        },
      ];
    const fits =
      attribute.type === "Enumeration"
        ? attribute.values.some((v) => v.displayName === value)
        : attribute.type === "Integer"
          ? typeof value === "number" &&
            value >= (attribute.lowerBound ?? 0) &&
            value <= (attribute.upperBound ?? Number.MAX_SAFE_INTEGER)
          : typeof value === attribute.type.toLowerCase();
    return fits
      ? []
      : [
          {
            attribute: name,
            kind: "value",
            message: `The value ${JSON.stringify(value)} for the property ${name} is not in the list of acceptable values.`,
          },
        ];
  }

  clearStaged(): void {
    this.staged = {};
  }

  /** What a reset does: staged values come into force. */
  apply(): void {
    this.current = { ...this.current, ...this.staged };
    this.staged = {};
  }

  /** A person at the console, or a scenario: sets values in force, past all checks. Throws on an unknown name. */
  force(settings: Readonly<Record<string, BiosValue>>): void {
    for (const name of Object.keys(settings))
      if (this.#find(name) === undefined) throw new Error(`${this.vendor} has no BIOS attribute ${name}`);
    this.current = { ...this.current, ...settings };
  }

  get effect(): BiosEffect {
    return this.#table.effect((name) => this.current[name]);
  }
}
