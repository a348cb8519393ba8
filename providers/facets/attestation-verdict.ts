import { DEVICE_OF, METHODS, type Verdicts } from "../kit/attest.ts";
import type { Finding } from "../kit/facet.ts";
import type { Fact } from "../kit/facts.ts";
import { findingsOf } from "../kit/findings.ts";
import type { AttestationFailure, DeviceClaims, Verdict } from "../kit/parse-nvattest.ts";

const HINTS: Readonly<Record<AttestationFailure, string>> = {
  nonce: "do not trust this guest: the evidence may be replayed; restart it and attest again",
  rim: "no published reference (RIM) for this driver or VBIOS: use versions of the profile, and look whether the RIM service can be reached",
  ocsp: "a certificate's revocation status is not good or could not be had: look at the OCSP service, then at the certificate",
  certificate: "the certificate chain does not verify: do not trust this GPU",
  "driver-version": "the driver is not the one its reference is for: reinstall the profile's version",
  "vbios-version": "the VBIOS is not the one its reference is for: ask NVIDIA or the server's vendor",
  measurements: "the GPU measures differently than its golden values: do not trust it",
  devices:
    "a GPU of the guest gave no evidence of its own: look at nvidia-smi -L and at the guest's log for the one that is left out",
  policy: "the evidence is good, but the policy refuses it: compare the claims with the policy",
  "overall-false":
    "do not trust this GPU yet: --log-level debug says which check failed; after a switch of the CC mode the host may need a reboot (NVIDIA/attestation-sdk#31)",
  evidence: "the GPU's evidence could not be read or verified: is CC mode on, and its session up?",
  tool: "run the tool by hand in the guest; it could not do its work",
  malformed: "the tool gave no usable result: run it by hand in the guest",
};

const all = <T>(devices: readonly DeviceClaims[], of: (d: DeviceClaims) => T): string =>
  [...new Set(devices.map(of))].join(", ");

/** A finding that passes only for a verdict that does. */
export function judgeVerdict(verdict: Fact<Verdict>, source: string, device: "gpu" | "nvswitch" = "gpu"): Finding {
  const { pass, fail, unsure } = findingsOf("attestation", source);
  const code = (what: string) => (device === "gpu" ? what : `switch-${what}`);
  const wanted = `${device === "gpu" ? "GPUs" : "NVSwitches"} that attest themselves to the policy`;
  if (verdict.state === "unknown") {
    return unsure(
      code("no-answer"),
      wanted,
      verdict.why,
      "no answer is no attestation: remove the cause and attest again",
    );
  }
  if (verdict.state === "absent")
    return fail(code("absent"), wanted, "never attested", "see attestation-tool; pulumi up");
  const { devices } = verdict.value;
  if (verdict.value.verdict === "pass") {
    const what = all(devices, (d) =>
      device === "gpu"
        ? `${d.model}, driver ${d.driver}, VBIOS ${d.vbios}, measurements ${d.measurements}`
        : `${d.model}, BIOS ${d.vbios}, measurements ${d.measurements}`,
    );
    return pass(code("verdict"), wanted, `${devices.length} × ${what}`);
  }
  const { failure, code: number, detail } = verdict.value;
  return fail(code(failure), wanted, number === undefined ? detail : `${number}: ${detail}`, HINTS[failure]);
}

/** The verdict and its claims, for outputs. */
export function showVerdict(verdicts: Verdicts): Readonly<Record<string, unknown>> {
  const of = (device: "gpu" | "nvswitch") =>
    METHODS.filter((m) => DEVICE_OF[m] === device)
      .map((m) => verdicts[m])
      .find((v) => v.state !== "absent");
  const [fact, switches] = [of("gpu"), of("nvswitch")];
  const fabric =
    switches === undefined
      ? {}
      : {
          switches:
            switches.state === "known" ? `${switches.value.devices.length} ${switches.value.verdict}` : switches.state,
        };
  if (fact === undefined || fact.state !== "known") return { verdict: fact?.state ?? "absent", claims: {}, ...fabric };
  const { devices, verdict } = fact.value;
  return {
    verdict,
    ...(fact.value.verdict === "fail" ? { failure: fact.value.failure } : {}),
    claims: {
      gpus: devices.length,
      model: all(devices, (d) => d.model),
      driver: all(devices, (d) => d.driver),
      vbios: all(devices, (d) => d.vbios),
      measurements: all(devices, (d) => d.measurements),
      secureBoot: all(devices, (d) => d.secureBoot ?? "unsaid"),
      debug: all(devices, (d) => d.debug ?? "unsaid"),
    },
    ...fabric,
  };
}
