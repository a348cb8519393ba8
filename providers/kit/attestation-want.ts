import { z } from "zod";
import { CommitSchema, RepositorySchema } from "./downloads.ts";

const Name = z.string().regex(/^[a-z0-9][a-z0-9+.=:~-]*$/);
const Folder = z.string().regex(/^\w[\w./-]*$/);

/** How a recipe's attestation tool is had. */
export const AttestationToolWant = z.discriminatedUnion("tool", [
  z.strictObject({
    tool: z.literal("nvattest"),
    packages: z.array(Name).min(1).default(["nvattest"]).describe("Packages that bring nvattest."),
    repository: RepositorySchema.optional().describe("Where they come from; default: the distribution's archive."),
  }),
  z.strictObject({
    tool: z.literal("python-sdk"),
    source: z
      .strictObject({ url: z.url({ protocol: /^https$/ }), commit: CommitSchema, branch: z.string().optional() })
      .describe("Git repository of nvtrust."),
    verifierPath: Folder.describe("Folder of the local GPU verifier: installed first."),
    sdkPath: Folder.describe("Folder of the attestation SDK: same Python environment."),
    packages: z.array(Name).default([]).describe("Packages that Python environments need."),
  }),
]);
export type AttestationToolWant = z.output<typeof AttestationToolWant>;

const Policy = z.strictObject({ name: z.string(), text: z.string().min(1).endsWith("\n") });

/**
 * Passes only when every device is an NVSwitch in production mode whose report, BIOS reference and chains are good.
 * Claims: seed 002, LocalMultiGpuSwitchTest.py; their names are the same in NVIDIA/attestation-sdk.
 */
export const SWITCH_POLICY: z.output<typeof Policy> = {
  name: "teeup-nvswitch-production",
  text: `package policy

import future.keywords.every

default nv_match := false

nv_match {
  count(input) > 0
  every claims in input { good(claims) }
}

good(claims) {
  claims["x-nvidia-device-type"] == "nvswitch"
  claims.measres == "success"
  claims.secboot == true
  claims.dbgstat == "disabled"
  claims["x-nvidia-switch-arch-check"] == true
  claims["x-nvidia-switch-attestation-report-parsed"] == true
  claims["x-nvidia-switch-attestation-report-nonce-match"] == true
  claims["x-nvidia-switch-attestation-report-signature-verified"] == true
  claims["x-nvidia-switch-bios-rim-fetched"] == true
  claims["x-nvidia-switch-bios-rim-schema-validated"] == true
  claims["x-nvidia-switch-bios-rim-signature-verified"] == true
  claims["x-nvidia-switch-bios-rim-measurements-available"] == true
  chain(claims["x-nvidia-switch-attestation-report-cert-chain"])
  chain(claims["x-nvidia-switch-bios-rim-cert-chain"])
}

chain(c) {
  c["x-nvidia-cert-status"] == "valid"
  c["x-nvidia-cert-ocsp-status"] == "good"
}
`,
};

/** What a recipe's attestation asks of the GPUs, and of the NVSwitches. */
export const AttestationWant = z.discriminatedUnion("tool", [
  z.strictObject({
    tool: z.literal("nvattest"),
    verifier: z
      .enum(["local", "remote"])
      .default("local")
      .describe("Verify in the guest, or at NVIDIA's attestation service."),
    policy: Policy.describe("Relying-party policy (Rego)."),
    switches: z
      .boolean()
      .default(false)
      .describe("Attest the guest's NVSwitches too: under Protected PCIe the GPUs talk through them."),
    // Not a zod default: the whole text would then stand in every state, of nodes without switches too.
    switchPolicy: Policy.optional().describe(
      `Relying-party policy (Rego) for the NVSwitches; default: ${SWITCH_POLICY.name}, which comes with TeeUp.`,
    ),
  }),
  z.strictObject({
    tool: z.literal("python-sdk"),
    policy: z
      .strictObject({
        name: z.string(),
        version: z.string().describe("Version of the policy's form."),
        claims: z.array(z.string().regex(/^x-nv-gpu-[a-z-]+$/)).min(1),
      })
      .describe("Claims that must all be true. Two of them pass for any GPU that answers (seed 001): choose them all."),
    switches: z
      .literal(false, "the Python SDK of this recipe attests no NVSwitches: take a recipe with nvattest")
      .default(false),
  }),
]);
export type AttestationWant = z.output<typeof AttestationWant>;
