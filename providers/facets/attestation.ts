import { AttestationWant } from "../kit/attestation-want.ts";
import { text } from "../kit/ask.ts";
import type { Method } from "../kit/attest.ts";
import { ATTEST_ASKS, POLICY_FILES, verdictOf } from "../kit/attest.ts";
import type { Step } from "../kit/facet.ts";
import { facet, pass } from "../kit/facet.ts";
import type { Fact } from "../kit/facts.ts";
import { valueOf } from "../kit/facts.ts";
import { fail, firstUnknown, unsure } from "../kit/findings.ts";
import { judgeFact } from "../kit/judge.ts";
import type { AttestationFailure, DeviceClaims, Verdict } from "../kit/parse-nvattest.ts";

const SOURCE = "seed 001, Executing an Attestation of the GPU; NVIDIA/attestation-sdk nvat.h";
const METHODS = Object.keys(POLICY_FILES) as Method[];

type Want = AttestationWant;
type Facts = {
  readonly policies: Readonly<Record<Method, Fact<string>>>;
  readonly verdicts: Readonly<Record<Method, Fact<Verdict>>>;
};

const methodOf = (want: Want): Method => (want.tool === "python-sdk" ? "sdk" : want.verifier);
const policyOf = (want: Want): string =>
  want.tool === "nvattest"
    ? want.policy.text
    : `${JSON.stringify({ version: want.policy.version, "authorization-rules": Object.fromEntries(want.policy.claims.map((c) => [c, true])) }, null, 2)}\n`;

const HINTS: Readonly<Record<AttestationFailure, string>> = {
  nonce: "do not trust this guest: the evidence may be replayed; restart it and attest again",
  rim: "no published reference (RIM) for this driver or VBIOS: use versions of the profile, and look whether the RIM service can be reached",
  ocsp: "a certificate's revocation status is not good or could not be had: look at the OCSP service, then at the certificate",
  certificate: "the certificate chain does not verify: do not trust this GPU",
  "driver-version": "the driver is not the one its reference is for: reinstall the profile's version",
  "vbios-version": "the VBIOS is not the one its reference is for: ask NVIDIA or the server's vendor",
  measurements: "the GPU measures differently than its golden values: do not trust it",
  policy: "the evidence is good, but the policy refuses it: compare the claims with the policy",
  "overall-false": "do not trust this GPU; nvattest attest --log-level debug says which check failed",
  evidence: "the GPU's evidence could not be read or verified: is CC mode on, and its session up?",
  tool: "run the tool by hand in the guest; it could not do its work",
  malformed: "the tool gave no usable result: run it by hand in the guest",
};

const group = (devices: readonly DeviceClaims[]): string =>
  [
    ...new Set(
      devices.map((d) => `${d.model || "GPU"}, driver ${d.driver}, VBIOS ${d.vbios}, measurements ${d.measurements}`),
    ),
  ].join("; ");

/** Asked anew with a fresh nonce at every observation, so every refresh attests again. */
export const attestation = facet({
  name: "attestation",
  type: "Attestation",
  on: "guest",
  persona: "vm-user",
  summary: "The GPUs attest themselves with a fresh nonce, against a pinned policy; anything but a clear yes is a no.",
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
  },
  parse: (a): Facts => ({
    policies: { local: text(a.localPolicy), remote: text(a.remotePolicy), sdk: text(a.sdkPolicy) },
    verdicts: { local: verdictOf("local", a), remote: verdictOf("remote", a), sdk: verdictOf("sdk", a) },
  }),
  judge(want, { policies, verdicts }) {
    const method = methodOf(want);
    const wanted = "GPUs that attest themselves to the policy";
    const verdict = verdicts[method];
    const stray = METHODS.filter((m) => m !== method && policies[m].state === "known");
    return [
      judgeFact(policies[method], {
        code: "attestation.policy-file",
        want: `${POLICY_FILES[method]} as pinned`,
        hint: "teeup up writes it; a verdict by another policy says nothing",
        source: SOURCE,
        good: (t) => t === policyOf(want),
        show: (t) => (t === policyOf(want) ? "as pinned" : "another text"),
      }),
      ...stray.map((m) =>
        fail(
          "attestation.other-policy",
          `only ${POLICY_FILES[method]}`,
          POLICY_FILES[m],
          "teeup up removes it",
          SOURCE,
        ),
      ),
      verdict.state === "unknown"
        ? unsure(
            "attestation.no-answer",
            wanted,
            verdict.why,
            "attest again once the cause is removed: no answer is no attestation",
            SOURCE,
          )
        : verdict.state === "absent"
          ? fail("attestation.absent", wanted, "never attested", "see attestation-tool; teeup up", SOURCE)
          : verdict.value.verdict === "pass"
            ? pass(
                "attestation.verdict",
                wanted,
                `${verdict.value.devices.length} × ${group(verdict.value.devices)}`,
                SOURCE,
              )
            : fail(
                `attestation.${verdict.value.failure}`,
                wanted,
                `${verdict.value.code === undefined ? "" : `${verdict.value.code}: `}${verdict.value.detail}`,
                HINTS[verdict.value.failure],
                SOURCE,
              ),
    ];
  },
  plan(want, { policies }): Step[] {
    const method = methodOf(want);
    if (firstUnknown(...Object.values(policies))) return [];
    const stray = METHODS.filter((m) => m !== method && policies[m].state === "known");
    if (valueOf(policies[method]) === policyOf(want) && stray.length === 0) return [];
    return [
      {
        code: "attestation.policy",
        title: `install the attestation policy ${POLICY_FILES[method]}`,
        why: "the policy decides what passes, so it is pinned; the GPUs then attest to it",
        disruption: "none",
        actions: [
          ...stray.map((m) => ({ do: "remove", path: POLICY_FILES[m] }) as const),
          { do: "write", path: POLICY_FILES[method], content: policyOf(want) },
        ],
      },
    ];
  },
  show({ verdicts }) {
    const fact = METHODS.map((m) => verdicts[m]).find((v) => v.state !== "absent");
    if (fact === undefined || fact.state !== "known")
      return { verdict: fact?.state === "unknown" ? "unknown" : "absent", claims: {} };
    const { devices } = fact.value;
    const all = <T>(of: (d: DeviceClaims) => T) => [...new Set(devices.map(of))].join(", ");
    return {
      verdict: fact.value.verdict,
      ...(fact.value.verdict === "fail" ? { failure: fact.value.failure } : {}),
      claims: {
        gpus: devices.length,
        model: all((d) => d.model),
        driver: all((d) => d.driver),
        vbios: all((d) => d.vbios),
        measurements: all((d) => d.measurements),
        secureBoot: all((d) => d.secureBoot ?? "unsaid"),
        debug: all((d) => d.debug ?? "unsaid"),
      },
    };
  },
  examples: [],
  covers: [],
});
