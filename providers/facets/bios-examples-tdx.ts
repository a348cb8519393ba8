import type { Answer } from "../kit/ask.ts";
import { failed, ok } from "../kit/ask.ts";
import type { BiosSnapshot } from "../kit/bios.ts";
import { NO_BMC } from "../kit/bios.ts";
import { example } from "../kit/example.ts";
import type { BiosWant } from "./bios-view.ts";

type Entry = BiosSnapshot["registry"][string];
const choice = (displayName: string, values: readonly string[] = ["Disabled", "Enabled"], readOnly = false): Entry => ({
  displayName,
  type: "Enumeration",
  readOnly,
  values: [...values],
  menuPath: "",
});
const bits = (readOnly: boolean): Entry => ({
  displayName: "TME-MT/TDX Key Split",
  type: "Integer",
  readOnly,
  values: [],
  menuPath: "",
  lowerBound: 0,
  upperBound: 5,
});
const closedUntil = (attribute: string, parent: string, value: string) => ({
  attribute,
  locks: true,
  when: [{ attribute: parent, condition: "NEQ" as const, value, terms: "AND" as const }],
});

const [PA, TME, MT, TDX, SEAM, SPLIT, SGX] = [
  "LimitCPUPAto46Bits_F319",
  "MemoryEncryption_TME__3C77",
  "TotalMemoryEncryptionMulti_Tenant_TME_MT__F31B",
  "TrustDomainExtension_TDX__3C79",
  "TDXSecureArbitrationModeLoader_SEAMLoader__3C7A",
  "TME_MT_TDXKeySplit_F31D",
  "SWGuardExtensions_SGX__3C7B",
] as const;
const SUPERMICRO: BiosSnapshot = {
  manufacturer: "Supermicro",
  model: "SYS-821GE-TNHR",
  biosVersion: "1.4",
  current: {
    [PA]: "Enable",
    [TME]: "Disabled",
    [MT]: "Disabled",
    [TDX]: "Disabled",
    [SEAM]: "Disabled",
    [SPLIT]: 0,
    [SGX]: "Disabled",
  },
  staged: {},
  registry: {
    [PA]: choice("Limit CPU PA to 46 Bits", ["Disable", "Enable"]),
    [TME]: choice("Memory Encryption (TME)"),
    [MT]: choice("Total Memory Encryption Multi-Tenant(TME-MT)", undefined, true),
    [TDX]: choice("Trust Domain Extension (TDX)", undefined, true),
    [SEAM]: choice("TDX Secure Arbitration Mode Loader (SEAM Loader)", undefined, true),
    [SPLIT]: bits(true),
    [SGX]: choice("SW Guard Extensions (SGX)", undefined, true),
  },
  dependencies: [
    closedUntil(MT, TME, "Enabled"),
    closedUntil(TDX, MT, "Enabled"),
    closedUntil(SEAM, MT, "Enabled"),
    closedUntil(SPLIT, TDX, "Enabled"),
    closedUntil(SGX, TME, "Enabled"),
  ],
  hasRegistry: true,
};
const READY = {
  [PA]: "Disable",
  [TME]: "Enabled",
  [MT]: "Enabled",
  [TDX]: "Enabled",
  [SEAM]: "Enabled",
  [SPLIT]: 1,
  [SGX]: "Enabled",
};

const bmc = (change: Partial<BiosSnapshot> = {}): Answer => ok(JSON.stringify({ ...SUPERMICRO, ...change }));
const seen = (log: string, flags = "flags : fpu vmx sgx tme", kernel = "7.0.0-31-generic"): Record<string, Answer> => ({
  vendor: ok("Supermicro\n"),
  product: ok("SYS-821GE-TNHR\n"),
  version: ok("1.4\n"),
  flags: ok(flags),
  iommu: ok("0\n1\n"),
  log: ok(`Linux version ${kernel} (x@y)\n${log}`),
  kernel: ok(`${kernel}\n`),
  uefi: ok("64\n"),
});
const KEYS = "virt/tdx: BIOS enabled: private KeyID range [32, 64)\n";
const none = failed(NO_BMC);
const want: BiosWant = { tee: "tdx", names: {}, extra: {} };
const OFF = ["pa-limit", "tme", "tme-mt", "tdx", "seam-loader", "key-split", "sgx"].map((key) => `bios.${key}`);

export const BIOS_TDX_EXAMPLES = [
  example("TDX: everything in force, and the kernel got its keys", want, {
    ...seen(KEYS),
    bmc: bmc({ current: READY }),
  }),
  example("TDX, untouched Supermicro: TME first, four restarts in all", want, { ...seen(""), bmc: bmc() }, OFF, [
    "bios.stage",
  ]),
  example(
    "TDX, TME in force: the next ones open",
    want,
    {
      ...seen(""),
      bmc: bmc({
        current: { ...SUPERMICRO.current, [PA]: "Disable", [TME]: "Enabled" },
        registry: {
          ...SUPERMICRO.registry,
          [MT]: choice("Total Memory Encryption Multi-Tenant(TME-MT)"),
          [SGX]: choice("SW Guard Extensions (SGX)"),
        },
      }),
    },
    OFF.slice(2),
    ["bios.stage"],
  ),
  example(
    "TDX: a key split of 0 leaves no keys",
    want,
    {
      ...seen(""),
      bmc: bmc({ current: { ...READY, [SPLIT]: 0 }, registry: { ...SUPERMICRO.registry, [SPLIT]: bits(false) } }),
    },
    ["bios.key-split"],
    ["bios.stage"],
  ),
  example("TDX without a BMC, keys there", want, { ...seen(KEYS), bmc: none }),
  example("TDX without a BMC, no keys", want, { ...seen(""), bmc: none }, ["bios.keys"], ["bios.by-hand"]),
  example(
    "TDX without a BMC, too few keys",
    want,
    {
      ...seen(
        "virt/tdx: BIOS enabled: private KeyID range [63, 64)\nvirt/tdx: initialization failed: too few private KeyIDs available.\n",
      ),
      bmc: none,
    },
    ["bios.keys-few"],
    ["bios.by-hand"],
  ),
  example(
    "TDX without a BMC, a kernel that does not look",
    want,
    { ...seen("", undefined, "6.8.0-90-generic"), bmc: none },
    ["bios.keys-not-visible"],
  ),
  example(
    "TDX without a BMC, SGX off",
    want,
    { ...seen(KEYS, "flags : fpu vmx tme"), bmc: none },
    ["bios.sgx-off"],
    ["bios.by-hand"],
  ),
  example("TDX, the journal does not reach back", want, { ...seen(KEYS), log: ok(KEYS), bmc: none }, ["bios.keys"]),
];
