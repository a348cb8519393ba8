import { text } from "../kit/ask.ts";
import type { Method } from "../kit/attest.ts";
import { ATTEST_ASKS, DEVICE_OF, METHODS, POLICY_FILES, verdictsOf } from "../kit/attest.ts";
import { AttestationWant } from "../kit/attestation-want.ts";
import { facet } from "../kit/facet.ts";
import type { Fact } from "../kit/facts.ts";
import { findingsOf } from "../kit/findings.ts";
import { judgeFact } from "../kit/judge.ts";
import type { Verdict } from "../kit/parse-nvattest.ts";
import { attestationExamples } from "./attestation-examples.ts";
import { methodsOf, planAttestation, policyOf } from "./attestation-plan.ts";
import { judgeVerdict, showVerdict } from "./attestation-verdict.ts";

const SOURCE = "seed 001, Executing an Attestation of the GPU; NVIDIA/attestation-sdk nvat.h";
const { fail, unsure } = findingsOf("attestation", SOURCE);

export interface AttestationFacts {
  readonly policies: Readonly<Record<Method, Fact<string>>>;
  readonly verdicts: Readonly<Record<Method, Fact<Verdict>>>;
}

/** Asked anew with a fresh nonce at every observation, so every refresh attests again. */
export const attestation = facet({
  name: "attestation",
  type: "Attestation",
  on: "guest",
  persona: "vm-user",
  summary:
    "The GPUs, and under Protected PCIe the NVSwitches, attest themselves with a fresh nonce, against a pinned policy; anything but a clear yes is a no.",
  sources: [
    SOURCE,
    "seed 001, Successful Attestation Result",
    "NVIDIA/attestation-sdk nv-attestation-cli/src/attest.cpp",
  ],
  want: AttestationWant,
  asks: {
    ...ATTEST_ASKS,
    localPolicy: { kind: "file", path: POLICY_FILES.local },
    remotePolicy: { kind: "file", path: POLICY_FILES.remote },
    sdkPolicy: { kind: "file", path: POLICY_FILES.sdk },
    switchLocalPolicy: { kind: "file", path: POLICY_FILES.switchLocal },
    switchRemotePolicy: { kind: "file", path: POLICY_FILES.switchRemote },
  },
  parse: (a): AttestationFacts => ({
    policies: {
      local: text(a.localPolicy),
      remote: text(a.remotePolicy),
      sdk: text(a.sdkPolicy),
      switchLocal: text(a.switchLocalPolicy),
      switchRemote: text(a.switchRemotePolicy),
    },
    verdicts: verdictsOf(a),
  }),
  judge(want, { policies, verdicts }) {
    const methods = methodsOf(want);
    const files = methods.map((m) => POLICY_FILES[m]);
    return [
      ...methods.map((m) =>
        judgeFact(policies[m], {
          code: "attestation.policy-file",
          want: `${POLICY_FILES[m]} as pinned`,
          hint: "pulumi up writes it; a verdict by another policy says nothing",
          source: SOURCE,
          good: (t) => t === policyOf(want, m),
          show: (t) => (t === policyOf(want, m) ? "as pinned" : "another text"),
        }),
      ),
      ...METHODS.filter((m) => !methods.includes(m)).flatMap((m) => {
        const other = policies[m];
        const only = `only ${files.join(" and ")}`;
        if (other.state === "known") return [fail("other-policy", only, POLICY_FILES[m], "pulumi up removes it")];
        return other.state === "unknown"
          ? [unsure("other-policy", only, other.why, "look at /etc/teeup/attestation")]
          : [];
      }),
      ...methods.map((m) => judgeVerdict(verdicts[m], SOURCE, DEVICE_OF[m])),
    ];
  },
  plan: planAttestation,
  show: ({ verdicts }) => showVerdict(verdicts),
  examples: attestationExamples,
  covers: [
    ...["001-USER-03", "001-USER-23", "001-USER-24", "001-USER-25", "001-USER-26", "001-USER-27", "001-USER-28"],
    ...["001-USER-29", "001-USER-30", "001-USER-31", "001-USER-32", "001-USER-33", "001-USER-34", "001-USER-35"],
    ...["001-USER-36", "001-USER-37", "001-USER-38", "001-USER-39", "001-USER-40", "001-USER-41", "001-USER-42"],
    ...["001-USER-43", "001-USER-44", "001-USER-45", "001-USER-46", "001-USER-47", "001-USER-48"],
  ],
});
