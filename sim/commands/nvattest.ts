import { createHash } from "node:crypto";
import type { Evidence } from "../model/attestation.ts";
import { collectEvidence } from "../model/attestation.ts";
import type { Command } from "./command.ts";
import { fail, never, ok, options, unmodelled } from "./command.ts";

/** result_code and result_message of nvat.h by what went wrong. */
const CODES: Readonly<Record<NonNullable<Evidence["failure"]>, readonly [number, string]>> = {
  "no-gpu": [402, "NVAT_RC_NVML_ERROR"],
  "no-cc": [403, "NVAT_RC_GPU_MODE_NOT_SUPPORTED"],
  ocsp: [204, "NVAT_RC_OCSP_STATUS_NOT_GOOD"],
  "rim-missing": [104, "NVAT_RC_RIM_NOT_FOUND"],
  nonce: [504, "NVAT_RC_GPU_EVIDENCE_NONCE_MISMATCH"],
  measurements: [12, "NVAT_RC_OVERALL_RESULT_FALSE"],
  stale: [12, "NVAT_RC_OVERALL_RESULT_FALSE"],
  devtools: [11, "NVAT_RC_RP_POLICY_MISMATCH"],
  policy: [11, "NVAT_RC_RP_POLICY_MISMATCH"],
  "exit-512": [512, "NVAT_RC_GPU_EVIDENCE_INVALID"],
  "time-out": [0, ""],
  malformed: [0, ""],
  truncated: [0, ""],
  empty: [0, ""],
};

const chain = (good: boolean, until: string) => ({
  "x-nvidia-cert-status": good ? "valid" : "invalid",
  "x-nvidia-cert-ocsp-status": good ? "good" : "unknown",
  "x-nvidia-cert-expiration-date": until,
  "x-nvidia-cert-revocation-reason": null,
});

function claimsOf(evidence: Evidence): unknown[] {
  const same = evidence.failure !== "measurements" && evidence.failure !== "stale";
  return evidence.gpus.map((gpu) => ({
    "x-nvidia-device-type": "gpu",
    "x-nvidia-claims-version": "3.0",
    eat_nonce: evidence.nonce,
    hwmodel: "GH100 A01 GSP BROM",
    ueid: createHash("sha256").update(gpu.uuid).digest("hex").slice(0, 32),
    oemid: "5703",
    measres: same ? "success" : "fail",
    secboot: same ? true : null,
    dbgstat: same ? (evidence.failure === "devtools" ? "enabled" : "disabled") : null,
    "x-nvidia-gpu-driver-version": evidence.driver,
    "x-nvidia-gpu-vbios-version": gpu.vbios,
    "x-nvidia-gpu-arch-check": true,
    "x-nvidia-gpu-attestation-report-parsed": true,
    "x-nvidia-gpu-attestation-report-nonce-match": evidence.failure !== "nonce",
    "x-nvidia-gpu-attestation-report-signature-verified": true,
    "x-nvidia-gpu-attestation-report-cert-chain-fwid-match": true,
    "x-nvidia-gpu-attestation-report-cert-chain": chain(true, "9999-12-31T23:59:59Z"),
    "x-nvidia-gpu-driver-rim-fetched": true,
    "x-nvidia-gpu-driver-rim-schema-validated": true,
    "x-nvidia-gpu-driver-rim-signature-verified": true,
    "x-nvidia-gpu-driver-rim-version-match": true,
    "x-nvidia-gpu-driver-rim-measurements-available": true,
    "x-nvidia-gpu-driver-rim-cert-chain": chain(evidence.failure !== "ocsp", "2028-06-01T02:08:29Z"),
    "x-nvidia-gpu-vbios-rim-fetched": true,
    "x-nvidia-gpu-vbios-rim-schema-validated": true,
    "x-nvidia-gpu-vbios-rim-signature-verified": true,
    "x-nvidia-gpu-vbios-rim-version-match": true,
    "x-nvidia-gpu-vbios-rim-measurements-available": true,
    "x-nvidia-gpu-vbios-rim-cert-chain": chain(true, "2028-02-22T23:17:58Z"),
    "x-nvidia-gpu-vbios-index-no-conflict": true,
    "x-nvidia-mismatch-measurement-records": same
      ? null
      : [{ index: 9, measurementSource: "driver", goldenValue: "aa", runtimeValue: "bb" }],
  }));
}

export const nvattest: Command = {
  names: ["nvattest"],
  base: false,
  mutates: never,
  run: (machine, argv, context) => {
    const o = options(argv, {
      valued: [
        "--device",
        "--verifier",
        "--nonce",
        "--relying-party-policy",
        "--format",
        "--log-level",
        "--gpu-evidence-source",
        "--rim-url",
        "--ocsp-url",
        "--nras-url",
        "--service-key",
      ],
      flags: ["--version"],
    });
    const verb = o.rest[0];
    // The tool logs its version.
    if (verb === "version" || o.has("--version"))
      return {
        status: 0,
        stdout: "",
        stderr: `[2026-10-05 08:00:00.000] [info] nvattest ${context.data} (Linux/x86_64)\n`,
        seconds: 0.1,
      };
    if (verb !== "attest") return unmodelled(argv);
    const policy = o.get("--relying-party-policy");
    if (policy !== undefined && !machine.files.exists(policy))
      return fail(4, `Failed to open relying party policy file: ${policy}`);
    if (machine.node.faults.attestation === "time-out") return { status: 124, stdout: "", stderr: "", seconds: 300 };
    const evidence = collectEvidence(machine, o.get("--nonce") ?? "0".repeat(64));
    const [code, message] = evidence.failure === undefined ? [0, "Ok"] : CODES[evidence.failure];
    const full = code === 0 || code === 11 || code === 12;
    const json = JSON.stringify(
      { result_code: code, result_message: message, claims: full ? claimsOf(evidence) : {}, detached_eat: {} },
      null,
      4,
    );
    const status = code & 0xff;
    if (evidence.failure === "malformed") return ok("Segmentation fault\n", 2);
    if (evidence.failure === "empty") return ok("", 2);
    if (evidence.failure === "truncated") return ok(json.slice(0, json.length / 2), 2);
    if (o.get("--format") !== "json")
      return {
        status,
        stdout: code === 0 ? "GPU attestation was successful\n" : "GPU attestation failed!\n",
        stderr: "",
        seconds: 4,
      };
    return { status, stdout: `${json}\n`, stderr: "", seconds: 4 };
  },
};
