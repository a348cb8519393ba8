import type { BiosVendorId } from "./bios-vendors.ts";

/**
 * The BIOS menus of SEV-SNP and TDX, entry by entry, for machines whose settings a person must make: no BMC, or a board whose
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

const SNP_MENUS: Readonly<Partial<Record<BiosVendorId, BiosMenu>>> = {
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
const AMD_MENU: BiosMenu = {
  title: "AMD CBS (AMI)",
  entries: CBS,
  source: "seed 001, ASRockRack BIOS L3.12C",
};

const SAMPLE = "canonical/tdx README, Enable Intel TDX in the Host's BIOS";
const SOCKET = "Socket Configuration > Processor Configuration";
/** Intel's own menu, which most AMI BIOSes show. */
const INTEL_MENU: BiosMenu = {
  title: "Intel (AMI)",
  entries: [
    `${SOCKET} > Limit CPU PA to 46 Bits = Disable`,
    ...under(
      `${SOCKET} > TME, TME-MT, TDX`,
      "Memory Encryption (TME) = Enable",
      "Total Memory Encryption Multi-Tenant (TME-MT) = Enable",
      "TME-MT memory integrity = Disable",
      "Trust Domain Extension (TDX) = Enable",
      "TDX Secure Arbitration Mode Loader (SEAM Loader) = Enable",
      "TME-MT/TDX key split = 1 or more",
    ),
    `${SOCKET} > Software Guard Extension (SGX) > SW Guard Extensions (SGX) = Enable`,
    "Socket Configuration > IIO Configuration > Intel VT for Directed I/O (VT-d) = Enable",
  ],
  source: SAMPLE,
};

const TDX_MENUS: Readonly<Partial<Record<BiosVendorId, BiosMenu>>> = {
  supermicro: {
    title: "Supermicro",
    entries: under(
      "Advanced > CPU Configuration",
      "Limit CPU PA to 46 Bits = Disable",
      "Memory Encryption (TME) = Enabled (save and restart before the next one)",
      "Total Memory Encryption Multi-Tenant(TME-MT) = Enabled (save and restart before the next ones)",
      "Trust Domain Extension (TDX) = Enabled",
      "TDX Secure Arbitration Mode Loader (SEAM Loader) = Enabled (save and restart before the next one)",
      "TME-MT/TDX Key Split = 1 or more",
      "SW Guard Extensions (SGX) = Enabled",
    ),
    source: UNTRIED,
  },
  dell: {
    title: "Dell",
    entries: [
      ...under(
        "System Setup > System BIOS > Processor Settings",
        "CPU Physical Address Limit = Disabled",
        "x2APIC Mode = Enabled",
        "Virtualization Technology = Enabled",
      ),
      "System Setup > System BIOS > Memory Settings > Node Interleaving = Disabled",
      ...under(
        "System Setup > System BIOS > System Security",
        "Memory Encryption = Multiple Keys (save and restart before the next ones)",
        "Global Memory Integrity = Disabled",
        "Intel(R) Trust Domain Extension (TDX) = Enabled",
        "TME-MT/TDX Key Split = 1 or more",
        "TDX Secure Arbitration Mode Loader (SEAM) = Enabled",
        "Intel(R) SGX = On",
      ),
    ],
    source: UNTRIED,
  },
  lenovo: {
    title: "Lenovo",
    entries: under(
      "UEFI Setup (F1) > System Settings > Processors",
      "Limit CPU PA to 46 bits = Disabled",
      "Total Memory Encryption = Enabled",
      "Multikey Total Memory Encryption = Enabled",
      "Memory integrity = Disabled",
      "Trust Domain Extension (TDX) = Enabled",
      "TDX Secure Arbitration Mode Loader (SEAM Loader) = Enabled",
      "TME-MT/TDX key split = 1 or more",
      "SW Guard Extensions (SGX) = Enabled",
    ),
    source: UNTRIED,
  },
};

/** The menu of a vendor's boards; of one whose menu nobody described, that of the processor's maker. */
export function biosMenu(tee: "sev-snp" | "tdx", vendor: BiosVendorId | undefined): BiosMenu {
  const [menus, other] = tee === "tdx" ? [TDX_MENUS, INTEL_MENU] : [SNP_MENUS, AMD_MENU];
  return (vendor === undefined ? undefined : menus[vendor]) ?? other;
}
