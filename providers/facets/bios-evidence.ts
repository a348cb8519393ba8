import type { Answers, Asks } from "../kit/ask.ts";
import { ran, text } from "../kit/ask.ts";
import type { Finding } from "../kit/facet.ts";
import type { Fact } from "../kit/facts.ts";
import { known, mapFact, showFact, unknown, valueIfKnown } from "../kit/facts.ts";
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
  log: { kind: "argv", argv: ["journalctl", "-k", "-b", "-o", "cat", "--no-pager", "--grep", "SEV|RMP"] },
  uefi: { kind: "file", path: "/sys/firmware/efi/fw_platform_size" },
} as const satisfies Asks;

export interface BiosEvidence {
  /** Maker, product, board maker, board, BIOS version as DMI has them. */
  readonly dmi: Fact<{ vendor: string; product: string; boardVendor: string; board: string; version: string }>;
  /** Of sme, sev, sev_es, sev_snp: the kernel clears them when SMEE is off. */
  readonly flags: Fact<readonly string[]>;
  readonly iommu: Fact<boolean>;
  /** `silent`: this kernel does not look for an RMP table. */
  readonly rmp: Fact<"reserved" | "partial" | "not-reserved" | "silent">;
  /** Last ASID for SEV-ES and SNP guests; null when the log does not say. */
  readonly snpAsids: number | null;
  readonly uefi: Fact<boolean>;
}

const FLAGS = ["sme", "sev", "sev_es", "sev_snp"];

export function parseEvidence(answers: Answers<typeof EVIDENCE_ASKS>): BiosEvidence {
  const line = (name: keyof typeof EVIDENCE_ASKS): string => valueIfKnown(text(answers[name]))?.trim() ?? "";
  const log = ran(answers.log);
  const lines = mapFact(log, (l) => l.stdout);
  const asids = /(?:SEV-SNP|SEV-ES) enabled \(ASIDs 1 - (\d+)\)|SEV-(?:SNP|ES) (?:enabled|supported): (\d+) ASIDs/.exec(
    valueIfKnown(lines) ?? "",
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
    rmp: log.state === "known" && log.value.status > 1 ? unknown(log.value.stderr.trim()) : mapFact(lines, rmpOf),
    snpAsids: asids === null ? null : Number(asids[1] ?? asids[2]),
    uefi: answers.uefi.kind === "missing" ? known(false) : mapFact(text(answers.uefi), () => true),
  };
}

function rmpOf(log: string): "reserved" | "partial" | "not-reserved" | "silent" {
  if (/has not been reserved by BIOS/.test(log)) return "not-reserved";
  if (/exceeds the memory reserved|not all of memory is covered|does not cover full system RAM/.test(log))
    return "partial";
  return /RMP table physical (range|address)/.test(log) ? "reserved" : "silent";
}

/** Judges by what the system shows. `menu` says where a person changes it. */
export function judgeEvidence(evidence: BiosEvidence, minSevAsid: number, menu: BiosMenu): Finding[] {
  const source = "docs/sources.md, Host, AMD SEV-SNP";
  const find = (
    code: string,
    level: Finding["level"],
    want: string,
    saw: string,
    hint: string,
    from = source,
  ): Finding => ({
    code: `bios.${code}`,
    level,
    want,
    saw,
    hint,
    source: from,
  });
  const at = (entry: RegExp): string => menu.entries.filter((e) => entry.test(e)).join("; ");
  const out: Finding[] = [];
  const rmp = "memory reserved for the RMP table";
  if (evidence.rmp.state !== "known")
    out.push(find("rmp", "unknown", rmp, showFact(evidence.rmp), "journalctl -k -b must be readable"));
  else if (evidence.rmp.value === "reserved") out.push(find("rmp", "pass", rmp, "the kernel found the RMP table", ""));
  else if (evidence.rmp.value === "not-reserved")
    out.push(
      find(
        "rmp-not-reserved",
        "fail",
        rmp,
        "SEV-SNP: Memory for the RMP table has not been reserved by BIOS",
        `${menu.title}: ${at(/SNP|Nested|SMEE|Secure Memory/)}`,
      ),
    );
  else if (evidence.rmp.value === "partial")
    out.push(
      find(
        "rmp-partial",
        "fail",
        "an RMP table that covers all memory",
        "the RMP table covers only part of memory",
        `set the coverage to Enabled, not Custom: ${at(/Coverage|Nested/)}`,
        "AMDESE/AMDSEV#226",
      ),
    );
  else if (valueIfKnown(evidence.flags)?.includes("sme") === false)
    out.push(
      find(
        "smee-off",
        "fail",
        "SMEE on",
        "the kernel cleared the sme flag of /proc/cpuinfo",
        `${menu.title}: ${at(/SMEE|Secure Memory/)}`,
      ),
    );
  else
    out.push(
      find(
        "rmp-not-visible",
        "warn",
        rmp,
        "this kernel does not look for an RMP table",
        "snp-ready judges it once an SNP kernel runs",
      ),
    );

  if (evidence.iommu.state !== "known") out.push(find("iommu", "unknown", "IOMMU on", showFact(evidence.iommu), ""));
  else if (evidence.iommu.value)
    out.push(find("iommu", "pass", "IOMMU on", "there are iommu groups", "", "seed 000, BIOS"));
  else
    out.push(
      find(
        "iommu-off",
        "fail",
        "IOMMU on",
        "/sys/kernel/iommu_groups is empty",
        `${menu.title}: ${at(/IOMMU|I\/O Virt/)}`,
        "seed 000, BIOS",
      ),
    );

  if (evidence.snpAsids !== null && evidence.snpAsids < minSevAsid - 1)
    out.push(
      find(
        "asid-limit-low",
        "warn",
        `${minSevAsid - 1} ASIDs for SEV-ES and SNP`,
        `${evidence.snpAsids}`,
        at(/ASID/),
        "seed 001, validating the host",
      ),
    );
  if (valueIfKnown(evidence.uefi) === false)
    out.push(
      find(
        "no-uefi",
        "warn",
        "booted through UEFI, so that Secure Boot can be set up",
        "booted in legacy mode",
        "set the boot mode to UEFI",
        "seed 001, Selecting Hardware",
      ),
    );
  return out;
}
