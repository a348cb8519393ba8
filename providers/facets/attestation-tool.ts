import { ran, text } from "../kit/ask.ts";
import { AttestationToolWant } from "../kit/attestation-want.ts";
import { facet } from "../kit/facet.ts";
import type { Fact } from "../kit/facts.ts";
import { known, mapFact, unknown, valueIfKnown } from "../kit/facts.ts";
import { familyOf, OS_RELEASE } from "../kit/host.ts";
import { judgeFact } from "../kit/judge.ts";
import { ATTEST_PY, ATTEST_PY_TEXT, VENV } from "../kit/python-attest.ts";
import { attestationToolExamples } from "./attestation-tool-examples.ts";
import { planAttestationTool, STAMP } from "./attestation-tool-plan.ts";

const SOURCE = "seed 001, Installing the Attestation SDK; NVIDIA/attestation-sdk README (nvattest)";
export interface AttestationToolFacts {
  /** Version that nvattest prints. */
  readonly nvattest: Fact<string>;
  readonly commit: Fact<string>;
  readonly wrapper: Fact<string>;
  readonly family: Fact<"debian" | "rpm">;
}

export const attestationTool = facet({
  name: "attestation-tool",
  type: "AttestationTool",
  on: "guest",
  persona: "vm-user",
  summary: "The recipe's attestation tool: nvattest, or the Python SDK with its local verifier in one environment.",
  sources: [SOURCE, "NVIDIA/nvtrust#144 (end of the Python SDK)"],
  want: AttestationToolWant,
  asks: {
    nvattest: { kind: "argv", argv: ["nvattest", "version"] },
    commit: { kind: "file", path: STAMP },
    wrapper: { kind: "file", path: ATTEST_PY },
    os: OS_RELEASE,
  },
  parse(a): AttestationToolFacts {
    const nvattest = ran(a.nvattest);
    return {
      // It logs its version, so it stands on stderr.
      nvattest:
        nvattest.state !== "known"
          ? nvattest
          : ((v) => (v === undefined ? unknown(`nvattest version: exit ${nvattest.value.status}`) : known(v)))(
              /\bnvattest (\d[\w.+-]*)/.exec(`${nvattest.value.stdout}\n${nvattest.value.stderr}`)?.[1],
            ),
      commit: mapFact(text(a.commit), (t) => t.trim()),
      wrapper: text(a.wrapper),
      family: familyOf(text(a.os)),
    };
  },
  judge: (want, facts) =>
    want.tool === "nvattest"
      ? [
          judgeFact(facts.nvattest, {
            code: "attestation-tool.nvattest",
            want: "nvattest",
            hint: "pulumi up installs it",
            source: SOURCE,
            good: () => true,
          }),
        ]
      : [
          judgeFact(facts.commit, {
            code: "attestation-tool.sdk",
            want: `verifier and SDK of nvtrust ${want.source.commit.slice(0, 12)} in ${VENV}`,
            hint: "pulumi up installs them, the verifier first",
            source: SOURCE,
            good: (c) => c === want.source.commit,
            show: (c) => c.slice(0, 12),
          }),
          judgeFact(facts.wrapper, {
            code: "attestation-tool.wrapper",
            want: ATTEST_PY,
            hint: "pulumi up writes it",
            source: SOURCE,
            good: (t) => t === ATTEST_PY_TEXT,
            show: (t) => (t === ATTEST_PY_TEXT ? "as wanted" : "another text"),
          }),
        ],
  plan: planAttestationTool,
  show: ({ nvattest, commit }) => ({
    nvattest: valueIfKnown(nvattest) ?? nvattest.state,
    sdk: valueIfKnown(commit)?.slice(0, 12) ?? commit.state,
  }),
  examples: attestationToolExamples,
  covers: [
    ...[
      "001-USER-02",
      "001-USER-07",
      "001-USER-08",
      "001-USER-12",
      "001-USER-13",
      "001-USER-14",
      "001-USER-15",
      "001-USER-16",
    ],
    ...["001-USER-17", "001-USER-18", "001-USER-19", "001-USER-20", "001-USER-21", "001-USER-22"],
  ],
});
