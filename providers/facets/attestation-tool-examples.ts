import type { Answer } from "../kit/ask.ts";
import { failed, missing, ok } from "../kit/ask.ts";
import type { AttestationToolWant } from "../kit/attestation-want.ts";
import type { Example } from "../kit/facet.ts";
import { NO_MACHINE } from "../kit/guest.ts";
import { ATTEST_PY_TEXT } from "../kit/python-attest.ts";

const nvattest: AttestationToolWant = {
  tool: "nvattest",
  packages: ["nvattest"],
};
const sdk: AttestationToolWant = {
  tool: "python-sdk",
  source: { url: "https://github.com/NVIDIA/nvtrust.git", commit: "a".repeat(40) },
  verifierPath: "guest_tools/gpu_verifiers/local_gpu_verifier",
  sdkPath: "guest_tools/attestation_sdk",
  packages: ["python3-venv"],
};
const VERSION = ok("", 0, "nvattest 1.2.2 (Linux/x86_64)\n");
const example = (
  name: string,
  want: AttestationToolWant,
  answers: Readonly<Record<string, Answer>>,
  findings: readonly string[],
  steps: readonly string[],
): Example<AttestationToolWant> => ({ name, want, answers, findings, steps });

export const attestationToolExamples: readonly Example<AttestationToolWant>[] = [
  example("nvattest is there", nvattest, { nvattest: VERSION }, [], []),
  example(
    "nvattest is missing",
    nvattest,
    { nvattest: missing },
    ["attestation-tool.nvattest"],
    ["attestation-tool.install"],
  ),
  example(
    "no guest yet",
    nvattest,
    { nvattest: NO_MACHINE, commit: NO_MACHINE, wrapper: NO_MACHINE },
    ["attestation-tool.nvattest"],
    ["attestation-tool.install"],
  ),
  example(
    "nvattest cannot start",
    nvattest,
    { nvattest: ok("", 1, "error while loading shared libraries\n") },
    ["attestation-tool.nvattest"],
    [],
  ),
  example("the SDK is there", sdk, { commit: ok(`${"a".repeat(40)}\n`), wrapper: ok(ATTEST_PY_TEXT) }, [], []),
  example(
    "the SDK is missing",
    sdk,
    { commit: missing, wrapper: missing },
    ["attestation-tool.sdk", "attestation-tool.wrapper"],
    ["attestation-tool.install"],
  ),
  example(
    "only the wrapper was changed",
    sdk,
    { commit: ok(`${"a".repeat(40)}\n`), wrapper: ok("print('{}')\n") },
    ["attestation-tool.wrapper"],
    ["attestation-tool.install"],
  ),
  example("no answer", nvattest, { nvattest: failed("connection lost") }, ["attestation-tool.nvattest"], []),
];
