import type { Answer } from "../kit/ask.ts";
import { ok } from "../kit/ask.ts";
import type { AttestationWant } from "../kit/attestation-want.ts";
import { policyOf } from "./attestation-plan.ts";

export const NONCE = "5c".repeat(32);
export const want: Extract<AttestationWant, { tool: "nvattest" }> = {
  tool: "nvattest",
  verifier: "local",
  policy: { name: "p", text: "package policy\n\ndefault nv_match := false\n" },
  switches: false,
};
export const sdkWant: AttestationWant = {
  tool: "python-sdk",
  policy: { name: "p", version: "1.0", claims: ["x-nv-gpu-available", "x-nv-gpu-nonce-match"] },
  switches: false,
};
export const device = {
  eat_nonce: NONCE,
  measres: "success",
  secboot: true,
  dbgstat: "disabled",
  hwmodel: "GH100 A01 GSP BROM",
  "x-nvidia-device-type": "gpu",
  "x-nvidia-gpu-attestation-report-nonce-match": true,
  "x-nvidia-gpu-driver-version": "580.95.05",
  "x-nvidia-gpu-vbios-version": "96.00.5E.00.01",
};
/** As the tool answers: the exit status is the result code cut to eight bits. */
export const said = (code: number, message: string, claims: unknown = [device]): Answer => ({
  kind: "ran",
  status: code & 0xff,
  stdout: `${JSON.stringify({ claims, detached_eat: {}, result_code: code, result_message: message }, null, 4)}\n`,
  stderr: "",
  nonce: NONCE,
});
export const raw = (stdout: string, status = 0): Answer => ({ kind: "ran", status, stdout, stderr: "", nonce: NONCE });
export const NO_POLICY: Answer = { kind: "skipped", why: "no policy is installed for this method" };
export const gpu = (bus: string) => `Slot:\t0000:${bus}:00.0\nClass:\t0302\nVendor:\t10de\nDevice:\t2331\n`;
export const good: Readonly<Record<string, Answer>> = {
  lspci: ok(gpu("01")),
  local: said(0, "Ok"),
  remote: NO_POLICY,
  sdk: NO_POLICY,
  switchLocal: NO_POLICY,
  switchRemote: NO_POLICY,
  localPolicy: ok(policyOf(want)),
};
