import type { Answer } from "../kit/ask.ts";
import { failed, missing, ok } from "../kit/ask.ts";
import type { AttestationWant } from "../kit/attestation-want.ts";
import type { Example } from "../kit/facet.ts";
import { NO_MACHINE } from "../kit/guest.ts";
import { device, good, gpu, NO_POLICY, NONCE, raw, said, sdkWant, want } from "./attestation-example-parts.ts";
import { policyOf } from "./attestation-plan.ts";
import { switchExamples } from "./attestation-switch-examples.ts";

const claims = { "x-nv-gpu-available": true, "x-nv-gpu-nonce-match": true, "x-nv-gpu-measurements-match": true };
const sdkSaid = (more: Readonly<Record<string, unknown>> = {}): Answer =>
  raw(`${JSON.stringify({ attested: true, policy: true, nonce: NONCE, gpus: 1, claims, error: "", ...more })}\n`);
const sdkGood = {
  lspci: ok(gpu("01")),
  local: NO_POLICY,
  remote: NO_POLICY,
  sdk: sdkSaid(),
  sdkPolicy: ok(policyOf(sdkWant)),
};
const example = (
  name: string,
  answers: Readonly<Record<string, Answer>>,
  findings: readonly string[],
  steps: readonly string[] = [],
): Example<AttestationWant> => ({ name, want, answers: { ...good, ...answers }, findings, steps });
const sdk = (
  name: string,
  answers: Readonly<Record<string, Answer>>,
  findings: readonly string[],
): Example<AttestationWant> => ({ name, want: sdkWant, answers: { ...sdkGood, ...answers }, findings, steps: [] });

export const attestationExamples: readonly Example<AttestationWant>[] = [
  example("passes", {}, []),
  example("one of two GPUs gave evidence", { lspci: ok(`${gpu("01")}\n${gpu("02")}`) }, ["attestation.devices"]),
  example(
    "one of two GPUs gave evidence twice",
    { lspci: ok(`${gpu("01")}\n${gpu("02")}`), local: said(0, "Ok", [device, device]) },
    ["attestation.devices"],
  ),
  example(
    "two of two",
    { lspci: ok(`${gpu("01")}\n${gpu("02")}`), local: said(0, "Ok", [device, { ...device, ueid: "2" }]) },
    [],
  ),
  example("the GPUs could not be counted", { lspci: failed("no answer within 20 s") }, ["attestation.no-answer"]),
  sdk(
    "the SDK's one token does not speak for two GPUs",
    { lspci: ok(`${gpu("01")}\n${gpu("02")}`), sdk: sdkSaid({ gpus: 2 }) },
    ["attestation.devices"],
  ),
  sdk("the SDK says nothing of measurements", { sdk: sdkSaid({ claims: { "x-nv-gpu-nonce-match": true } }) }, [
    "attestation.measurements",
  ]),
  example(
    "no guest yet",
    {
      local: NO_MACHINE,
      remote: NO_MACHINE,
      sdk: NO_MACHINE,
      localPolicy: NO_MACHINE,
      remotePolicy: NO_MACHINE,
      sdkPolicy: NO_MACHINE,
    },
    ["attestation.policy-file", "attestation.absent"],
    ["attestation.policy"],
  ),
  example(
    "no policy installed yet",
    { local: NO_POLICY, localPolicy: missing },
    ["attestation.policy-file", "attestation.absent"],
    ["attestation.policy"],
  ),
  example(
    "somebody loosened the policy",
    { localPolicy: ok("package policy\n\ndefault nv_match := true\n") },
    ["attestation.policy-file"],
    ["attestation.policy"],
  ),
  example(
    "another method's policy lies there too",
    { remotePolicy: ok("package policy\n") },
    ["attestation.other-policy"],
    ["attestation.policy"],
  ),
  example("an old answer, replayed", { local: said(0, "Ok", [{ ...device, eat_nonce: "00".repeat(32) }]) }, [
    "attestation.nonce",
  ]),
  example("the tool says nonce mismatch", { local: said(504, "GPU evidence nonce mismatch", {}) }, [
    "attestation.nonce",
  ]),
  example("no RIM for this driver", { local: said(104, "RIM not found", {}) }, ["attestation.rim"]),
  example("OCSP status not good", { local: said(204, "OCSP status not good", {}) }, ["attestation.ocsp"]),
  example("driver version mismatch", { local: said(505, "Driver RIM version mismatch", {}) }, [
    "attestation.driver-version",
  ]),
  example("VBIOS version mismatch", { local: said(506, "VBIOS RIM version mismatch", {}) }, [
    "attestation.vbios-version",
  ]),
  example("the policy refuses", { local: said(11, "Relying party policy mismatch") }, ["attestation.policy"]),
  example("overall result false", { local: said(12, "Overall result false") }, ["attestation.overall-false"]),
  example("exit status 0 of a result code of 512", { local: said(512, "unknown", {}) }, ["attestation.evidence"]),
  example("measurements fail though the code is 0", { local: said(0, "Ok", [{ ...device, measres: "fail" }]) }, [
    "attestation.measurements",
  ]),
  example("success without any device", { local: said(0, "Ok", []) }, ["attestation.malformed"]),
  example("nothing printed", { local: raw("") }, ["attestation.malformed"]),
  example("cut off", { local: raw('{ "claims": [ { "eat_nonce": "5c') }, ["attestation.malformed"]),
  example("time-out", { local: failed("no answer within 150 s") }, ["attestation.no-answer"]),
  example("the tool is missing", { local: missing }, ["attestation.absent"]),
  ...switchExamples,
  sdk("the SDK of 2023 passes", {}, []),
  sdk("the SDK: replayed", { sdk: sdkSaid({ nonce: "00" }) }, ["attestation.nonce"]),
  sdk("the SDK: attest() False", { sdk: sdkSaid({ attested: false }) }, ["attestation.overall-false"]),
  sdk("the SDK: policy False", { sdk: sdkSaid({ policy: false }) }, ["attestation.policy"]),
  sdk("the SDK raised", { sdk: sdkSaid({ error: "ImportError: verifier" }) }, ["attestation.tool"]),
];
