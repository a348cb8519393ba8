import type { AttestationToolWant } from "../kit/attestation-want.ts";
import type { Step } from "../kit/facet.ts";
import { valueIfKnown } from "../kit/facts.ts";
import { firstUnknown } from "../kit/findings.ts";
import * as host from "../kit/host.ts";
import { ATTEST_PY, ATTEST_PY_TEXT, SDK_DIR, VENV } from "../kit/python-attest.ts";
import type { AttestationToolFacts } from "./attestation-tool.ts";

/** Says which commit the Python environment was made from; written after it was made. */
export const STAMP = `${VENV}/teeup-commit`;

const ready = (want: AttestationToolWant, facts: AttestationToolFacts): boolean =>
  want.tool === "nvattest"
    ? facts.nvattest.state === "known"
    : valueIfKnown(facts.commit) === want.source.commit && valueIfKnown(facts.wrapper) === ATTEST_PY_TEXT;

export function planAttestationTool(want: AttestationToolWant, facts: AttestationToolFacts): readonly Step[] {
  const asked = want.tool === "nvattest" ? [facts.nvattest] : [facts.commit, facts.wrapper];
  if (firstUnknown(facts.family, ...asked) || ready(want, facts)) return [];
  const family = valueIfKnown(facts.family) ?? "debian";
  if (want.tool === "nvattest") {
    const { repository } = want;
    const keyring = repository && host.download(repository.keyring.url, repository.keyring.sha256);
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
              ...(keyring ? [...keyring.lines, host.addRepository(family, repository.name, keyring.file)] : []),
              ...host.installLines(family, want.packages, "--no-install-recommends"),
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
        ...(valueIfKnown(facts.commit) === want.source.commit
          ? []
          : [
              ...host.job(
                "attestation-sdk",
                [
                  ...(want.packages.length > 0 ? host.installLines(family, want.packages) : []),
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
}
