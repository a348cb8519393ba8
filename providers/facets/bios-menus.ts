/**
 * The BIOS menus of SEV-SNP, entry by entry, for machines whose settings a person must make: no BMC, or a board whose
 * attribute names nobody published.
 */
export interface BiosMenu {
  readonly title: string;
  /** Menu path and value, in the order of the document. */
  readonly entries: readonly string[];
  readonly source: string;
}

const under = (menu: string, ...entries: string[]): string[] => entries.map((entry) => `${menu} > ${entry}`);

/** Seed 001's flow for L3.12C. It forgets the IOMMU (001-HW-17), which passthrough needs (seed 000). */
const CBS = [
  ...under(
    "Advanced > AMD CBS > CPU Common",
    "SEV ASID Count = 509 ASIDs",
    "SEV-ES ASID space Limit Control = Manual",
    "SEV-ES ASID space limit = 100",
    "SNP Memory Coverage = Enabled",
    "SMEE = Enabled",
  ),
  ...under("Advanced > AMD CBS > NBIO common", "SEV-SNP Support = Enabled", "IOMMU = Enabled"),
];

const UNTRIED = "wording of the attribute registry; the page differs by generation";

export const BIOS_MENUS: Readonly<Record<string, BiosMenu>> = {
  asrockrack: { title: "ASRockRack L3.12C", entries: CBS, source: "seed 001, ASRockRack BIOS L3.12C; seed 000, BIOS" },
  supermicro: {
    title: "Supermicro 2.5",
    entries: [
      ...under(
        "Advanced > CPU Configuration",
        "SMEE = Enabled",
        "SEV ASID Count = 509 ASIDs",
        "SEV-ES ASID Space Limit Control = Manual",
        "SEV-ES ASID Space Limit = 100",
        "SNP Memory Coverage = Enabled",
      ),
      ...under("Advanced > NB Configuration", "IOMMU = Enabled", "SEV-SNP support = Enabled"),
    ],
    source: "seed 001, Supermicro BIOS firmware 2.5",
  },
  asus: { title: "ASUS", entries: CBS, source: "seed 000, BIOS; entries as in AMDESE/AMDSEV#105" },
  dell: {
    title: "Dell",
    entries: under(
      "System Setup > System BIOS > Processor Settings",
      "Secure Memory Encryption = Enabled (save and restart before the next ones)",
      "Minimum SEV non-ES ASID = 509",
      "Secure Nested Paging = Enabled",
      "IOMMU Support = Enabled",
    ),
    source: UNTRIED,
  },
  hpe: {
    title: "HPE",
    entries: under(
      "System Utilities > System Configuration > BIOS/Platform Configuration (RBSU)",
      "AMD Secure Memory Encryption = Enabled",
      "Minimum SEV ASID = 100",
      "AMD Secure Nested Paging = Enabled",
      "AMD I/O Virtualization Technology = Enabled",
    ),
    source: UNTRIED,
  },
  lenovo: {
    title: "Lenovo",
    entries: under(
      "UEFI Setup (F1) > System Settings",
      "Memory > SMEE = Enabled",
      "Processors > SNP Memory (RMP Table) Coverage = Enabled",
      "Processors > SEV-SNP Support = Enabled",
      "Devices and I/O Ports > IOMMU = Enabled",
    ),
    source: "lenovopress.lenovo.com/lp1893",
  },
};

/** For boards of other makers: AMD's own menu, which most AMI BIOSes show. */
export const GENERIC_MENU: BiosMenu = {
  title: "AMD CBS (AMI)",
  entries: CBS,
  source: "seed 001, ASRockRack BIOS L3.12C",
};
