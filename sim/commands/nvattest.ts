import { createHash } from "node:crypto";
import type { Evidence } from "../model/attestation.ts";
import { collectEvidence, collectSwitchEvidence } from "../model/attestation.ts";
import type { Machine } from "../model/machine.ts";
import { allows, NotThisRego } from "../model/rego.ts";
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

type Seen = Pick<Evidence, "nonce" | "failure">;

const good = ({ failure }: Seen): boolean => failure !== "measurements" && failure !== "stale";

/** What the claims of GPUs and NVSwitches have in common. */
function common(evidence: Seen, type: "gpu" | "nvswitch", hwmodel: string, uuid: string): Record<string, unknown> {
  const same = good(evidence);
  const of = `x-nvidia-${type === "gpu" ? "gpu" : "switch"}`;
  return {
    "x-nvidia-device-type": type,
    "x-nvidia-claims-version": "3.0",
    eat_nonce: evidence.nonce,
    hwmodel,
    ueid: createHash("sha256").update(uuid).digest("hex").slice(0, 32),
    oemid: "5703",
    measres: same ? "success" : "fail",
    secboot: same ? true : null,
    dbgstat: same ? (evidence.failure === "devtools" ? "enabled" : "disabled") : null,
    [`${of}-arch-check`]: true,
    [`${of}-attestation-report-parsed`]: true,
    [`${of}-attestation-report-nonce-match`]: evidence.failure !== "nonce",
    [`${of}-attestation-report-signature-verified`]: true,
    [`${of}-attestation-report-cert-chain-fwid-match`]: true,
    [`${of}-attestation-report-cert-chain`]: chain(true, "9999-12-31T23:59:59Z"),
  };
}

/** NVSwitches have a BIOS where GPUs have driver and VBIOS. */
function switchClaims(evidence: ReturnType<typeof collectSwitchEvidence>): Record<string, unknown>[] {
  return evidence.switches.map(({ uuid }) => ({
    ...common(evidence, "nvswitch", "LS_10", uuid),
    "x-nvidia-switch-bios-version": "96.10.57.00.01",
    "x-nvidia-switch-bios-rim-fetched": true,
    "x-nvidia-switch-bios-rim-schema-validated": true,
    "x-nvidia-switch-bios-rim-signature-verified": true,
    "x-nvidia-switch-bios-rim-version-match": true,
    "x-nvidia-switch-bios-rim-measurements-available": true,
    "x-nvidia-switch-bios-rim-cert-chain": chain(evidence.failure !== "ocsp", "2028-06-01T02:08:29Z"),
  }));
}

function gpuClaims(evidence: Evidence): Record<string, unknown>[] {
  const same = good(evidence);
  return evidence.gpus.map((gpu) => ({
    ...common(evidence, "gpu", "GH100 A01 GSP BROM", gpu.uuid),
    "x-nvidia-gpu-driver-version": evidence.driver,
    "x-nvidia-gpu-vbios-version": gpu.vbios,
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

/** What the relying party's policy makes of claims that the verifier itself has nothing against. */
function refused(
  machine: Machine,
  policy: string | undefined,
  claims: readonly Readonly<Record<string, unknown>>[],
  argv: readonly string[],
): boolean {
  if (policy === undefined) return false;
  try {
    return !allows(machine.files.read(policy), claims);
  } catch (error) {
    if (error instanceof NotThisRego) return unmodelled(argv);
    throw error;
  }
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
    const nonce = o.get("--nonce") ?? "0".repeat(64);
    const device = o.get("--device") ?? "gpu";
    if (device !== "gpu" && device !== "nvswitch") return unmodelled(argv);
    const gpus = device === "gpu" ? collectEvidence(machine, nonce) : undefined;
    const switches = device === "gpu" ? undefined : collectSwitchEvidence(machine, nonce);
    const evidence: Seen = gpus ?? switches ?? { nonce, failure: "no-gpu" };
    const claims = gpus === undefined ? (switches === undefined ? [] : switchClaims(switches)) : gpuClaims(gpus);
    const all = claims.map((device) => ({ ...device, ...machine.node.faults.claims }));
    const failure = evidence.failure ?? (refused(machine, policy, all, argv) ? "policy" : undefined);
    const [code, message] = failure === undefined ? [0, "Ok"] : CODES[failure];
    const full = code === 0 || code === 11 || code === 12;
    const json = JSON.stringify(
      { result_code: code, result_message: message, claims: full ? all : {}, detached_eat: {} },
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
        stdout: `${device === "gpu" ? "GPU" : "NVSwitch"} attestation ${code === 0 ? "was successful" : "failed!"}\n`,
        stderr: "",
        seconds: 4,
      };
    return { status, stdout: `${json}\n`, stderr: "", seconds: 4 };
  },
};
