import type { BiosKey, BiosSetting, BiosVendor, BiosVendorId } from "./bios-vendors.ts";
import { IF_PRESENT, on, PUBLIC, SNP_VENDORS } from "./bios-vendors.ts";

/** What each vendor calls the BIOS settings of TDX, as data; see bios-vendors.ts. */
const OFF = { accept: ["disabled", "disable"], write: "Disabled" } as const;

/** One bit for TDX at least: without it the BIOS grants no private keys. */
const keySplit = (names: readonly string[], display: string, after: readonly BiosKey[]): BiosSetting => ({
  key: "key-split",
  names,
  display,
  accept: 1,
  after,
});

const dell: BiosVendor = {
  id: "dell",
  manufacturer: /^dell/i,
  settings: [
    on("numa", "NodeInterleave", "Node Interleaving", { ...OFF, ...IF_PRESENT }),
    on("x2apic", "ProcX2Apic", "x2APIC Mode", IF_PRESENT),
    on("pa-limit", "CpuPaLimit", "CPU Physical Address Limit", { ...OFF, ...IF_PRESENT }),
    // One switch for VT-x and VT-d.
    on("iommu", "ProcVirtualization", "Virtualization Technology", IF_PRESENT),
    on("tme", "MemoryEncryption", "Memory Encryption", { accept: ["multiplekeys"], write: "MultipleKeys" }),
    on("integrity", "GlbMemIntegrity", "Global Memory Integrity", { ...OFF, ...IF_PRESENT, after: ["tme"] }),
    on("tdx", "EnableTdx", "Intel(R) Trust Domain Extension (TDX)", { after: ["numa", "x2apic", "pa-limit", "tme"] }),
    keySplit(["KeySplit"], "TME-MT/TDX Key Split", ["tme"]),
    on("seam-loader", "EnableTdxSeamldr", "TDX Secure Arbitration Mode Loader (SEAM)", { after: ["tme"] }),
    on("sgx", "IntelSgx", "Intel(R) SGX", { accept: ["on"], write: "On", after: ["tme"] }),
  ],
  source: PUBLIC,
};

const supermicro: BiosVendor = {
  id: "supermicro",
  manufacturer: /supermicro/i,
  settings: [
    on("pa-limit", "LimitCPUPAto46Bits", "Limit CPU PA to 46 Bits", { ...OFF, ...IF_PRESENT }),
    on("iommu", "IntelVTforDirectedI_O_VT_d_", "Intel VT for Directed I/O (VT-d)", IF_PRESENT),
    on("tme", "MemoryEncryption_TME_", "Memory Encryption (TME)"),
    on("tme-mt", "TotalMemoryEncryptionMulti_Tenant_TME_MT_", "Total Memory Encryption Multi-Tenant(TME-MT)", {
      after: ["pa-limit", "tme"],
    }),
    on("integrity", "MemoryIntegrity", "Memory Integrity", { ...OFF, ...IF_PRESENT, after: ["tme-mt"] }),
    // Boards differ in the plural.
    {
      ...on("tdx", "TrustDomainExtension_TDX_", "Trust Domain Extension (TDX)", { after: ["tme-mt"] }),
      names: ["TrustDomainExtension_TDX_", "TrustDomainExtensions_TDX_"],
    },
    on(
      "seam-loader",
      "TDXSecureArbitrationModeLoader_SEAMLoader_",
      "TDX Secure Arbitration Mode Loader (SEAM Loader)",
      {
        after: ["tme-mt"],
      },
    ),
    keySplit(["TME_MT_TDXKeySplit"], "TME-MT/TDX Key Split", ["tdx"]),
    on("sgx", "SWGuardExtensions_SGX_", "SW Guard Extensions (SGX)", { after: ["tme"] }),
  ],
  source: `${PUBLIC}; canonical/tdx README, Enable Intel TDX in the Host's BIOS`,
};

const LENOVO = "Processors_";
const TOTAL = { after: ["tme"] } as const;
const lenovo: BiosVendor = {
  id: "lenovo",
  manufacturer: /^lenovo/i,
  settings: [
    on("pa-limit", `${LENOVO}LimitCPUPAto46bits`, "Limit CPU PA to 46 bits", { ...OFF, ...IF_PRESENT }),
    on("iommu", "DevicesandIOPorts_IntelVTforDirectedI_OVT_d", "Intel VT for Directed I/O (VT-d)", IF_PRESENT),
    on("tme", `${LENOVO}TotalMemoryEncryption`, "Total Memory Encryption", IF_PRESENT),
    on("tme-mt", `${LENOVO}MultikeyTotalMemoryEncryption`, "Multikey Total Memory Encryption", TOTAL),
    on("integrity", `${LENOVO}Memoryintegrity`, "Memory integrity", { ...OFF, ...IF_PRESENT, ...TOTAL }),
    on("tdx", `${LENOVO}TrustDomainExtensionTDX`, "Trust Domain Extension (TDX)", TOTAL),
    on(
      "seam-loader",
      `${LENOVO}TDXSecureArbitrationModeLoaderSEAMLoader`,
      "TDX Secure Arbitration Mode Loader (SEAM Loader)",
      TOTAL,
    ),
    keySplit([`${LENOVO}TME_MTTDXkeysplit`], "TME-MT/TDX key split", ["tme"]),
    on("sgx", `${LENOVO}SWGuardExtensions`, "SW Guard Extensions (SGX)", TOTAL),
  ],
  source: PUBLIC,
};

const SAMPLE = "canonical/tdx README, Enable Intel TDX in the Host's BIOS (sample menu)";
/** Nobody published the names that these vendors' BMCs use: the menu, and what the system shows. */
const byMenu = (id: BiosVendorId): BiosVendor => ({
  id,
  manufacturer: SNP_VENDORS.find((v) => v.id === id)?.manufacturer ?? /$^/,
  settings: [],
  source: SAMPLE,
});

export const TDX_VENDORS: readonly BiosVendor[] = [
  dell,
  supermicro,
  lenovo,
  ...(["asrockrack", "hpe", "asus"] as const).map(byMenu),
];
