import { collected, ran, text } from "../kit/ask.ts";
import type { Finding } from "../kit/facet.ts";
import { facet } from "../kit/facet.ts";
import { mapFact, valueIfKnown } from "../kit/facts.ts";
import { KERNEL_RELEASE, MODULE_PARAMETERS } from "../kit/host.ts";
import { judgeFact } from "../kit/judge.ts";
import { TEE_LOG } from "../kit/kernel-log.ts";
import { parseModuleParameters, sameParameter } from "../kit/parse-modules.ts";
import { parseSnphostOk, snpLog } from "../kit/parse-snp-log.ts";
import type { SnpReadyFacts } from "./snp-ready-evidence.ts";
import {
  BIOS,
  DETECTS,
  FIRMWARE,
  logFindings,
  SnpReadySchema,
  snphostFindings,
  withoutConsequences,
} from "./snp-ready-evidence.ts";
import { SNP_READY_EXAMPLES } from "./snp-ready-examples.ts";

/** Evidence that this host can run SEV-SNP guests. Check only: what is wrong is mended by the facets before it. */
export const snpReady = facet({
  name: "snp-ready",
  type: "SnpReady",
  on: "host",
  persona: "host",
  summary: "Evidence from kernel, firmware and KVM that the host can run SEV-SNP guests.",
  sources: [DETECTS, FIRMWARE, "AMDESE/AMDSEV#226", "virtee/snphost#127"],
  want: SnpReadySchema,
  asks: {
    kernel: KERNEL_RELEASE,
    log: TEE_LOG,
    parameters: MODULE_PARAMETERS,
    device: { kind: "argv", argv: ["stat", "-c", "%F", "/dev/sev"] },
    snphost: { kind: "argv", argv: ["snphost", "ok"], timeoutSeconds: 30 },
  },
  parse: (a): SnpReadyFacts => ({
    kernel: mapFact(text(a.kernel), (t) => t.trim()),
    log: snpLog(a.log),
    parameters: mapFact(collected(a.parameters), (stdout) => parseModuleParameters(stdout)),
    device: mapFact(collected(a.device), (stdout) => stdout.trim() || "missing"),
    // It exits 1 when a check failed; its lines say which.
    snphost: mapFact(ran(a.snphost), ({ stdout, stderr }) => parseSnphostOk(stdout + stderr)),
  }),
  judge: (want, facts): Finding[] => {
    const names = ["sev", "sev_es", "sev_snp"];
    const off = (parameters: Readonly<Record<string, string>>) =>
      names.filter((name) => !sameParameter(parameters[`kvm_amd.${name}`] ?? "N", "1"));
    const findings = [
      judgeFact(facts.parameters, {
        code: "snp-ready.parameters",
        want: "kvm_amd parameters sev, sev_es and sev_snp are on",
        hint: "the findings below say why: BIOS, command line, kernel or firmware",
        source: `${FIRMWARE}, step 3`,
        good: (parameters) => off(parameters).length === 0,
        show: (parameters) => names.map((n) => `${n}=${parameters[`kvm_amd.${n}`] ?? "missing"}`).join(" "),
      }),
      judgeFact(facts.device, {
        code: "snp-ready.device",
        want: "/dev/sev is a character device",
        hint: `modprobe ccp; when that does not help: ${BIOS}`,
        source: "Linux, drivers/crypto/ccp/sev-dev.c",
        good: (device) => device.startsWith("character"),
      }),
      ...logFindings(want, facts),
      ...snphostFindings(facts.snphost),
    ];
    return withoutConsequences(findings, facts);
  },
  show: (facts) => ({ kernel: valueIfKnown(facts.kernel), ...valueIfKnown(facts.log) }),
  examples: SNP_READY_EXAMPLES,
  covers: [
    "000-04",
    "000-10",
    "000-11",
    "001-HW-25",
    ...[34, 35, 36, 37, 38, 39, 40, 41, 42, 50, 51, 52, 53].map((n) => `001-HOST-${n}`),
  ],
});
