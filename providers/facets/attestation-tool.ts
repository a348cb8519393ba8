import { failed, missing, ok, ran, text } from "../kit/ask.ts";
import { AttestationWant } from "../kit/attestation-want.ts";
import { example } from "../kit/example.ts";
import type { Step } from "../kit/facet.ts";
import { facet } from "../kit/facet.ts";
import type { Fact } from "../kit/facts.ts";
import { absent, known, mapFact, unknown, valueOf } from "../kit/facts.ts";
import { firstUnknown } from "../kit/findings.ts";
import { NO_MACHINE } from "../kit/guest.ts";
import * as host from "../kit/host.ts";
import { judgeFact } from "../kit/judge.ts";
import { ATTEST_PY, ATTEST_PY_TEXT, SDK_DIR, VENV } from "../kit/python-attest.ts";

const SOURCE = "seed 001, Installing the Attestation SDK; NVIDIA/attestation-sdk README (nvattest)";
/** Says which commit the Python environment was made from; written after it was made. */
const STAMP = `${VENV}/teeup-commit`;

type Want = AttestationWant;
type Facts = {
  /** Version that nvattest prints. */
  readonly nvattest: Fact<string>;
  readonly commit: Fact<string>;
  readonly wrapper: Fact<string>;
};

const ready = (want: AttestationWant, facts: Facts): boolean =>
  want.tool === "nvattest"
    ? facts.nvattest.state === "known"
    : valueOf(facts.commit) === want.source.commit && valueOf(facts.wrapper) === ATTEST_PY_TEXT;

export const attestationTool = facet({
  name: "attestation-tool",
  type: "AttestationTool",
  on: "guest",
  persona: "vm-user",
  summary: "The recipe's attestation tool: nvattest, or the Python SDK with its local verifier in one environment.",
  sources: [SOURCE, "NVIDIA/nvtrust#144 (end of the Python SDK)"],
  want: AttestationWant,
  asks: {
    nvattest: { kind: "argv", argv: ["nvattest", "version"] },
    commit: { kind: "file", path: STAMP },
    wrapper: { kind: "file", path: ATTEST_PY },
  },
  parse(a): Facts {
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
    };
  },
  judge: (want, facts) =>
    want.tool === "nvattest"
      ? [
          judgeFact(facts.nvattest, {
            code: "attestation-tool.nvattest",
            want: "nvattest",
            hint: "teeup up installs it",
            source: SOURCE,
            good: () => true,
          }),
        ]
      : [
          judgeFact(facts.commit, {
            code: "attestation-tool.sdk",
            want: `verifier and SDK of nvtrust ${want.source.commit.slice(0, 12)} in ${VENV}`,
            hint: "teeup up installs them, the verifier first",
            source: SOURCE,
            good: (c) => c === want.source.commit,
            show: (c) => c.slice(0, 12),
          }),
          judgeFact(facts.wrapper, {
            code: "attestation-tool.wrapper",
            want: ATTEST_PY,
            hint: "teeup up writes it",
            source: SOURCE,
            good: (t) => t === ATTEST_PY_TEXT,
            show: (t) => (t === ATTEST_PY_TEXT ? "as wanted" : "another text"),
          }),
        ],
  plan(want, facts): Step[] {
    const asked = want.tool === "nvattest" ? [facts.nvattest] : [facts.commit, facts.wrapper];
    if (firstUnknown(...asked) || ready(want, facts)) return [];
    const apt = (...args: string[]) => ({ argv: [...host.APT, ...args] as const });
    if (want.tool === "nvattest") {
      const keyring = want.repository && host.download(want.repository.keyring.url, want.repository.keyring.sha256);
      return [
        {
          code: "attestation-tool.install",
          title: `install ${want.packages.join(", ")}`,
          why: "the guest's user attests the GPU with it",
          disruption: "none",
          actions: [
            ...(keyring ? [keyring.checks] : []),
            ...host.job(
              "attestation-tool",
              [
                ...(keyring ? [...keyring.lines, { argv: ["dpkg", "--install", keyring.file] as const }] : []),
                apt("update"),
                apt("install", "--no-install-recommends", ...want.packages),
              ],
              1800,
            ),
          ],
        },
      ];
    }
    const pip = (folder: string) => ({
      argv: [`${VENV}/bin/pip`, "install", "--quiet", `${SDK_DIR}/${folder}`] as const,
    });
    return [
      {
        code: "attestation-tool.install",
        title: `install the verifier and SDK of nvtrust ${want.source.commit.slice(0, 12)} into ${VENV}`,
        why: "the guest's user attests the GPU with them; the SDK fails when the verifier comes after it",
        disruption: "none",
        actions: [
          { do: "write", path: ATTEST_PY, content: ATTEST_PY_TEXT },
          ...(valueOf(facts.commit) === want.source.commit
            ? []
            : [
                ...host.job(
                  "attestation-sdk",
                  [
                    ...(want.packages.length > 0 ? [apt("update"), apt("install", ...want.packages)] : []),
                    ...host.checkout(want.source.url, want.source.commit, SDK_DIR),
                    { argv: ["python3", "-m", "venv", "--clear", VENV] },
                    pip(want.verifierPath),
                    pip(want.sdkPath),
                  ],
                  1800,
                ),
                { do: "write", path: STAMP, content: `${want.source.commit}\n` } as const,
              ]),
        ],
      },
    ];
  },
  show: ({ nvattest, commit }) => ({
    nvattest: valueOf(nvattest) ?? nvattest.state,
    sdk: valueOf(commit)?.slice(0, 12) ?? commit.state,
  }),
  examples: [],
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
