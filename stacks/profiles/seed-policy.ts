/**
 * The relying-party policy 3.0 of seed 002 in Rego, which is what the present verifier reads: every claim that the seed's
 * JSON wants, by the name that claims version 3 gives it. Three things are asked beside the seed: secure boot, no debug,
 * and a certificate chain whose revocation status is good.
 */
const GPU = [
  "x-nvidia-gpu-arch-check",
  "x-nvidia-gpu-attestation-report-parsed",
  "x-nvidia-gpu-attestation-report-nonce-match",
  "x-nvidia-gpu-attestation-report-signature-verified",
  "x-nvidia-gpu-driver-rim-fetched",
  "x-nvidia-gpu-driver-rim-schema-validated",
  "x-nvidia-gpu-driver-rim-signature-verified",
  "x-nvidia-gpu-driver-rim-measurements-available",
  "x-nvidia-gpu-vbios-rim-fetched",
  "x-nvidia-gpu-vbios-rim-schema-validated",
  "x-nvidia-gpu-vbios-rim-signature-verified",
  "x-nvidia-gpu-vbios-rim-measurements-available",
  "x-nvidia-gpu-vbios-index-no-conflict",
];
/** What seed 002 calls `…-cert-chain-validated` and `…-rim-cert-validated`. */
const GPU_CHAINS = [
  "x-nvidia-gpu-attestation-report-cert-chain",
  "x-nvidia-gpu-driver-rim-cert-chain",
  "x-nvidia-gpu-vbios-rim-cert-chain",
];
const SWITCH = [
  "x-nvidia-switch-arch-check",
  "x-nvidia-switch-attestation-report-parsed",
  "x-nvidia-switch-attestation-report-nonce-match",
  "x-nvidia-switch-attestation-report-signature-verified",
  "x-nvidia-switch-bios-rim-fetched",
  "x-nvidia-switch-bios-rim-schema-validated",
  "x-nvidia-switch-bios-rim-signature-verified",
  "x-nvidia-switch-bios-rim-measurements-available",
];
const SWITCH_CHAINS = ["x-nvidia-switch-attestation-report-cert-chain", "x-nvidia-switch-bios-rim-cert-chain"];

const good = (device: string, trues: readonly string[], chains: readonly string[]): string => `good(claims) {
  claims["x-nvidia-device-type"] == "${device}"
  claims.measres == "success"
  claims.secboot == true
  claims.dbgstat == "disabled"
${trues.map((claim) => `  claims["${claim}"] == true`).join("\n")}
${chains.map((claim) => `  chain(claims["${claim}"])`).join("\n")}
}
`;

/** Rego of the policy; with `switches`, NVSwitches are devices too. */
export const seedPolicy = (switches: boolean): string => `package policy

import future.keywords.every

default nv_match := false

nv_match {
  count(input) > 0
  every claims in input { good(claims) }
}

${good("gpu", GPU, GPU_CHAINS)}${switches ? `\n${good("nvswitch", SWITCH, SWITCH_CHAINS)}` : ""}
chain(c) {
  c["x-nvidia-cert-status"] == "valid"
  c["x-nvidia-cert-ocsp-status"] == "good"
}
`;
