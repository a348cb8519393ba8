import { z } from "zod";
import type { Finding } from "../kit/facet.ts";
import type { Fact } from "../kit/facts.ts";
import { valueIfKnown } from "../kit/facts.ts";
import { findingsOf } from "../kit/findings.ts";
import { compareVersions } from "../kit/parse-packages.ts";
import type { SnphostLine, SnpLog } from "../kit/parse-snp-log.ts";

export const DETECTS = "seed 001, Validating the Host Detects SNP, step 3";
const { pass, fail, unsure } = findingsOf("snp-ready", DETECTS);
export const FIRMWARE = "seed 001, Upgrade out-of-date SEV Firmware";
export const BIOS =
  "set the BIOS as the bios checklist says (SMEE, SEV-SNP Support, SNP Memory Coverage), then restart";

export const SnpReadySchema = z.strictObject({
  minimumApi: z
    .string()
    .regex(/^\d+\.\d+$/)
    .default("1.51")
    .describe("Lowest SEV-SNP API version of the firmware, decimal."),
  minimumAsids: z.int().min(1).default(1).describe("How many SEV-SNP guests must be able to run at once."),
});

export type SnpReadyWant = z.output<typeof SnpReadySchema>;

export interface SnpReadyFacts {
  readonly kernel: Fact<string>;
  readonly log: Fact<SnpLog>;
  /** `kvm_amd.<name>` → value. */
  readonly parameters: Fact<Readonly<Record<string, string>>>;
  readonly device: Fact<string>;
  /** `snphost ok`; absent when the tool is not installed. */
  readonly snphost: Fact<readonly SnphostLine[]>;
}

/** Findings from the kernel log, in the words of old and new kernels; every known bad line has its own code. */
export function logFindings(want: SnpReadyWant, facts: SnpReadyFacts): Finding[] {
  if (facts.log.state !== "known") {
    const why = facts.log.state === "unknown" ? facts.log.why : "journalctl is not installed";
    return [unsure("log", "the kernel log of this boot", why, "journalctl -k -b")];
  }
  const log = facts.log.value;
  const old = compareVersions(valueIfKnown(facts.kernel) ?? "", "6.9") < 0;
  const rmp = "the RMP table lies in memory that the BIOS reserved";
  const iommu = "the IOMMU is on, not in passthrough mode";
  const firmware = `SEV-SNP API ${want.minimumApi} or later`;
  const kvm = `KVM runs SEV-SNP guests, at least ${want.minimumAsids} at once`;
  const asids = log.snpAsids ?? 0;
  return [
    log.rmpNotReserved
      ? fail("rmp-not-reserved", rmp, "the BIOS reserved nothing for it", BIOS)
      : log.rmpPartial !== undefined
        ? fail(
            "rmp-partial",
            `${rmp}, for all of it`,
            log.rmpPartial,
            "SNP Memory Coverage in the BIOS: all memory",
            "AMDESE/AMDSEV#226",
          )
        : log.rmp === undefined
          ? fail("rmp", rmp, "no RMP line in the kernel log", BIOS)
          : pass("rmp", rmp, log.rmp),
    log.iommuPassthrough
      ? fail(
          "iommu-passthrough",
          iommu,
          "off, or in passthrough mode",
          "IOMMU on in the BIOS; no iommu=pt (kernel-cmdline)",
          "seed 000, Host Side",
        )
      : log.iommuSnp || old
        ? pass(
            "iommu",
            iommu,
            log.iommuSnp ? "IOMMU SNP support enabled" : "nothing against it in the log",
            "seed 000, Host Side",
          )
        : fail("iommu", iommu, "the kernel log does not say so", "IOMMU on in the BIOS", "seed 000, BIOS"),
    ...(log.firmwareTooOld === undefined
      ? []
      : [
          fail(
            "firmware-too-old",
            firmware,
            `the kernel asks for ${log.firmwareTooOld}`,
            "sev-firmware, with a file",
            FIRMWARE,
          ),
        ]),
    ...(log.initFailed === undefined
      ? []
      : [fail("init-failed", "the secure processor starts", log.initFailed, "newer SEV firmware or BIOS", FIRMWARE)]),
    log.snpApi !== undefined && compareVersions(log.snpApi, want.minimumApi) >= 0
      ? pass("firmware", firmware, log.snpApi)
      : fail(
          "firmware",
          firmware,
          log.snpApi ?? `no SEV-SNP API line (SEV API ${log.sevApi ?? "missing"})`,
          "sev-firmware, with a file",
          FIRMWARE,
        ),
    // ASIDs alone prove nothing: the same lines stand there with firmware that cannot start SNP.
    asids >= want.minimumAsids && log.kvmEnabled !== false
      ? pass("kvm", kvm, `${asids} ASIDs`)
      : fail(
          "kvm",
          kvm,
          log.kvmEnabled === false ? "SEV-SNP disabled" : `${asids} ASIDs`,
          "SEV-ES ASID space limit in the BIOS: 100",
          DETECTS,
        ),
  ];
}

/** Findings from `snphost ok`; none when the tool is not installed. */
export function snphostFindings(snphost: Fact<readonly SnphostLine[]>): Finding[] {
  const want = "snphost ok passes";
  if (snphost.state === "absent") return [];
  if (snphost.state === "unknown") return [unsure("snphost", want, snphost.why, "snphost ok", "virtee/snphost")];
  const bad = snphost.value.filter((line) => line.result === "FAIL");
  if (snphost.value.length === 0)
    return [unsure("snphost", want, "it printed no check", "snphost ok", "virtee/snphost")];
  if (bad.length === 0) return [pass("snphost", want, `${snphost.value.length} checks`, "virtee/snphost")];
  return bad.map(({ name }) =>
    /TCB/.test(name)
      ? fail(
          "tcb",
          "reported TCB equals the platform's",
          name,
          "snphost commit, or a cold restart",
          "virtee/snphost#127",
        )
      : fail("snphost", want, name, "see the findings above", "virtee/snphost"),
  );
}

const CAUSES = ["rmp-not-reserved", "rmp-partial", "iommu-passthrough", "firmware-too-old", "init-failed"];

/**
 * Where the kernel says why SNP did not start, the findings without what only follows from that: the kernel stops
 * there, so that its later good lines are missing and sev_snp stays off.
 */
export function withoutConsequences(findings: readonly Finding[], facts: SnpReadyFacts): Finding[] {
  const failing = (what: string) => findings.some((f) => f.code === `snp-ready.${what}` && f.level === "fail");
  if (!CAUSES.some(failing)) return [...findings];
  const follows = ["parameters", "rmp", "iommu", "kvm"];
  if (failing("firmware-too-old")) follows.push("init-failed");
  if (valueIfKnown(facts.log)?.snpApi === undefined) follows.push("firmware");
  return findings.filter((f) => f.level !== "fail" || !follows.some((what) => f.code === `snp-ready.${what}`));
}
