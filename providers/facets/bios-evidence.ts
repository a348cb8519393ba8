import type { Answers, Asks } from "../kit/ask.ts";
import { ran, text } from "../kit/ask.ts";
import type { Finding } from "../kit/facet.ts";
import type { Fact } from "../kit/facts.ts";
import { known, mapFact, showFact, valueIfKnown } from "../kit/facts.ts";
import { KERNEL_RELEASE } from "../kit/host.ts";
import { TEE_LOG, teeLog } from "../kit/kernel-log.ts";
import type { TdxLog } from "../kit/parse-tdx-log.ts";
import { tdxLog } from "../kit/parse-tdx-log.ts";
import { judgeTdxEvidence } from "./bios-evidence-tdx.ts";
import type { BiosMenu } from "./bios-menus.ts";

const DMI = "/sys/class/dmi/id";

/** What the running system shows of its BIOS, whoever made it. */
export const EVIDENCE_ASKS = {
  vendor: { kind: "file", path: `${DMI}/sys_vendor` },
  product: { kind: "file", path: `${DMI}/product_name` },
  boardVendor: { kind: "file", path: `${DMI}/board_vendor` },
  board: { kind: "file", path: `${DMI}/board_name` },
  version: { kind: "file", path: `${DMI}/bios_version` },
  flags: { kind: "argv", argv: ["grep", "-m1", "^flags", "/proc/cpuinfo"] },
  iommu: { kind: "argv", argv: ["ls", "/sys/kernel/iommu_groups"] },
  log: TEE_LOG,
  kernel: KERNEL_RELEASE,
  uefi: { kind: "file", path: "/sys/firmware/efi/fw_platform_size" },
} as const satisfies Asks;

export interface BiosEvidence {
  /** Maker, product, board maker, board, BIOS version as DMI has them. */
  readonly dmi: Fact<{ vendor: string; product: string; boardVendor: string; board: string; version: string }>;
  /** Of sme, sev, sev_es, sev_snp, which the kernel clears when SMEE is off; of vmx, sgx and tme on Intel's. */
  readonly flags: Fact<readonly string[]>;
  readonly iommu: Fact<boolean>;
  /** `silent`: this kernel does not look for an RMP table. */
  readonly rmp: Fact<"reserved" | "partial" | "not-reserved" | "silent">;
  /** Last ASID for SEV-ES and SNP guests; null when the log does not say. */
  readonly snpAsids: number | null;
  readonly tdx: Fact<TdxLog>;
  readonly kernel: Fact<string>;
  readonly uefi: Fact<boolean>;
}

const FLAGS = ["sme", "sev", "sev_es", "sev_snp", "vmx", "sgx", "tme"];

export function parseEvidence(answers: Answers<typeof EVIDENCE_ASKS>): BiosEvidence {
  const line = (name: keyof typeof EVIDENCE_ASKS): string => valueIfKnown(text(answers[name]))?.trim() ?? "";
  const log = teeLog(answers.log, (lines) => lines);
  const asids = /(?:SEV-SNP|SEV-ES) enabled \(ASIDs 1 - (\d+)\)|SEV-(?:SNP|ES) (?:enabled|supported): (\d+) ASIDs/.exec(
    valueIfKnown(log) ?? "",
  );
  return {
    dmi: mapFact(text(answers.vendor), () => ({
      vendor: line("vendor"),
      product: line("product"),
      boardVendor: line("boardVendor"),
      board: line("board"),
      version: line("version"),
    })),
    flags: mapFact(text(answers.flags), (t) => FLAGS.filter((flag) => t.split(/\s+/).includes(flag))),
    iommu: mapFact(ran(answers.iommu), (r) => r.status === 0 && r.stdout.trim() !== ""),
    rmp: mapFact(log, rmpOf),
    snpAsids: asids === null ? null : Number(asids[1] ?? asids[2]),
    tdx: tdxLog(answers.log),
    kernel: mapFact(text(answers.kernel), (t) => t.trim()),
    uefi: answers.uefi.kind === "missing" ? known(false) : mapFact(text(answers.uefi), () => true),
  };
}

function rmpOf(log: string): "reserved" | "partial" | "not-reserved" | "silent" {
  if (/has not been reserved by BIOS/.test(log)) return "not-reserved";
  if (/exceeds the memory reserved|not all of memory is covered|does not cover full system RAM/.test(log))
    return "partial";
  return /RMP table physical (range|address)/.test(log) ? "reserved" : "silent";
}

type Find = (code: string, level: Finding["level"], want: string, saw: string, hint: string, from?: string) => Finding;
const findOf =
  (source: string): Find =>
  (code, level, want, saw, hint, from = source) => ({ code: `bios.${code}`, level, want, saw, hint, source: from });
const entriesOf = (menu: BiosMenu, entry: RegExp): string => menu.entries.filter((e) => entry.test(e)).join("; ");

/** Judges by what the system shows. `menu` says where a person changes it. */
export function judgeEvidence(
  { tee, minSevAsid }: { readonly tee: "sev-snp" | "tdx"; readonly minSevAsid: number },
  evidence: BiosEvidence,
  menu: BiosMenu,
): Finding[] {
  const find = findOf("docs/sources.md, PCI, VFIO, IOMMU");
  const iommu = evidence.iommu;
  return [
    ...(tee === "tdx" ? judgeTdxEvidence(evidence, menu) : rmpFindings(evidence, menu)),
    iommu.state !== "known"
      ? find("iommu", "unknown", "IOMMU on", showFact(iommu), "")
      : iommu.value
        ? find("iommu", "pass", "IOMMU on", "there are iommu groups", "", "seed 000, BIOS")
        : find(
            "iommu-off",
            "fail",
            "IOMMU on",
            "/sys/kernel/iommu_groups is empty",
            `${menu.title}: ${entriesOf(menu, /IOMMU|I\/O Virt|VT-d|Virtualization Tech/)}`,
            "seed 000, BIOS",
          ),
    ...(tee === "sev-snp" && evidence.snpAsids !== null && evidence.snpAsids < minSevAsid - 1
      ? [
          find(
            "asid-limit-low",
            "warn",
            `${minSevAsid - 1} ASIDs for SEV-ES and SNP`,
            `${evidence.snpAsids}`,
            entriesOf(menu, /ASID/),
            "seed 001, validating the host",
          ),
        ]
      : []),
    ...(valueIfKnown(evidence.uefi) === false
      ? [
          find(
            "no-uefi",
            "warn",
            "booted through UEFI, so that Secure Boot can be set up",
            "booted in legacy mode",
            "set the boot mode to UEFI",
            "seed 001, Selecting Hardware",
          ),
        ]
      : []),
  ];
}

function rmpFindings(evidence: BiosEvidence, menu: BiosMenu): Finding[] {
  const find = findOf("docs/sources.md, Host, AMD SEV-SNP");
  const rmp = "memory reserved for the RMP table";
  if (evidence.rmp.state !== "known")
    return [find("rmp", "unknown", rmp, showFact(evidence.rmp), "journalctl -k -b must be readable")];
  if (evidence.rmp.value === "reserved") return [find("rmp", "pass", rmp, "the kernel found the RMP table", "")];
  if (evidence.rmp.value === "not-reserved")
    return [
      find(
        "rmp-not-reserved",
        "fail",
        rmp,
        "SEV-SNP: Memory for the RMP table has not been reserved by BIOS",
        `${menu.title}: ${entriesOf(menu, /SNP|Nested|SMEE|Secure Memory/)}`,
      ),
    ];
  if (evidence.rmp.value === "partial")
    return [
      find(
        "rmp-partial",
        "fail",
        "an RMP table that covers all memory",
        "the RMP table covers only part of memory",
        `set the coverage to Enabled, not Custom: ${entriesOf(menu, /Coverage|Nested/)}`,
        "AMDESE/AMDSEV#226",
      ),
    ];
  if (valueIfKnown(evidence.flags)?.includes("sme") === false)
    return [
      find(
        "smee-off",
        "fail",
        "SMEE on",
        "the kernel cleared the sme flag of /proc/cpuinfo",
        `${menu.title}: ${entriesOf(menu, /SMEE|Secure Memory/)}`,
      ),
    ];
  return [
    find(
      "rmp-not-visible",
      "warn",
      rmp,
      "this kernel does not look for an RMP table",
      "snp-ready judges it once an SNP kernel runs",
    ),
  ];
}
