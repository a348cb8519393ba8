import { collected, text } from "../kit/ask.ts";
import type { Finding } from "../kit/facet.ts";
import { facet } from "../kit/facet.ts";
import { mapFact, valueIfKnown } from "../kit/facts.ts";
import { KERNEL_RELEASE, MODULE_PARAMETERS } from "../kit/host.ts";
import { judgeFact } from "../kit/judge.ts";
import { TEE_LOG } from "../kit/kernel-log.ts";
import { parseModuleParameters, sameParameter } from "../kit/parse-modules.ts";
import { tdxLog } from "../kit/parse-tdx-log.ts";
import type { TdxReadyFacts } from "./tdx-ready-evidence.ts";
import { logFindings, TdxReadySchema, VERIFY, withoutConsequences } from "./tdx-ready-evidence.ts";
import { TDX_READY_EXAMPLES } from "./tdx-ready-examples.ts";

/** Evidence that this host can run TDs. Check only: what is wrong is mended by the facets before it. */
export const tdxReady = facet({
  name: "tdx-ready",
  type: "TdxReady",
  on: "host",
  persona: "host",
  summary: "Evidence from kernel, TDX module and KVM that the host can run TDs.",
  sources: [VERIFY, "Linux, arch/x86/virt/vmx/tdx/tdx.c", "canonical/tdx#331", "canonical/tdx#415"],
  want: TdxReadySchema,
  asks: {
    kernel: KERNEL_RELEASE,
    log: TEE_LOG,
    parameters: MODULE_PARAMETERS,
    flags: { kind: "argv", argv: ["grep", "-m1", "^flags", "/proc/cpuinfo"] },
  },
  parse: (a): TdxReadyFacts => ({
    kernel: mapFact(text(a.kernel), (t) => t.trim()),
    log: tdxLog(a.log),
    parameters: mapFact(collected(a.parameters), (stdout) => parseModuleParameters(stdout)),
    platform: mapFact(text(a.flags), (t) => t.split(/\s+/).includes("tdx_host_platform")),
  }),
  judge: (want, facts): Finding[] => {
    const value = (parameters: Readonly<Record<string, string>>, name: string) => parameters[`kvm_intel.${name}`];
    const findings = [
      ...logFindings(want, facts),
      judgeFact(facts.platform, {
        code: "tdx-ready.platform",
        want: "tdx_host_platform among the flags of /proc/cpuinfo",
        hint: "the findings above say why: BIOS, kernel or command line",
        source: "Linux, arch/x86/include/asm/cpufeatures.h",
        good: (is) => is,
        show: (is) => (is ? "there" : "not there"),
      }),
      judgeFact(facts.parameters, {
        code: "tdx-ready.parameters",
        want: "kvm_intel parameter tdx is on",
        hint: "the findings above say why: BIOS, command line, kernel or module",
        source: VERIFY,
        good: (parameters) => sameParameter(value(parameters, "tdx") ?? "N", "Y"),
        show: (parameters) => `tdx=${value(parameters, "tdx") ?? "missing"}`,
      }),
      judgeFact(facts.parameters, {
        code: "tdx-ready.sgx",
        want: "kvm_intel parameter sgx is on",
        hint: "SGX on in the BIOS: quotes are signed by an SGX enclave",
        source: "canonical/tdx README, Setup Remote Attestation",
        good: (parameters) => sameParameter(value(parameters, "sgx") ?? "N", "Y"),
        show: (parameters) => `sgx=${value(parameters, "sgx") ?? "missing"}`,
        level: "warn",
      }),
    ];
    return withoutConsequences(findings, facts);
  },
  show: (facts) => ({ kernel: valueIfKnown(facts.kernel), ...valueIfKnown(facts.log) }),
  examples: TDX_READY_EXAMPLES,
  covers: [],
});
