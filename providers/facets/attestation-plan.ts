import type { Method } from "../kit/attest.ts";
import { METHODS, POLICY_FILES } from "../kit/attest.ts";
import type { AttestationWant } from "../kit/attestation-want.ts";
import type { Step } from "../kit/facet.ts";
import { firstUnknown } from "../kit/findings.ts";
import type { AttestationFacts } from "./attestation.ts";

export const methodOf = (want: AttestationWant): Method => (want.tool === "python-sdk" ? "sdk" : want.verifier);

/** Text of the policy file. The Python SDK's is JSON: each claim must be true (seed 001, NVGPUPolicyExample.json). */
export function policyOf(want: AttestationWant): string {
  if (want.tool === "nvattest") return want.policy.text;
  const rules = Object.fromEntries(want.policy.claims.map((claim) => [claim, true]));
  return `${JSON.stringify({ version: want.policy.version, "authorization-rules": rules }, null, 2)}\n`;
}

/** Policies of other methods: with one of them there, that method would be asked too. */
const strayPolicies = (want: AttestationWant, policies: AttestationFacts["policies"]): readonly Method[] =>
  METHODS.filter((m) => m !== methodOf(want) && policies[m].state === "known");

export function planAttestation(want: AttestationWant, { policies }: AttestationFacts): readonly Step[] {
  if (firstUnknown(...Object.values(policies)) !== undefined) return [];
  const method = methodOf(want);
  const policy = policies[method];
  const stray = strayPolicies(want, policies);
  if (policy.state === "known" && policy.value === policyOf(want) && stray.length === 0) return [];
  return [
    {
      code: "attestation.policy",
      title: `install the attestation policy ${POLICY_FILES[method]}; the GPUs then attest themselves to it`,
      why: "the policy decides what passes, so it is pinned",
      disruption: "none",
      actions: [
        ...stray.map((m) => ({ do: "remove", path: POLICY_FILES[m] }) as const),
        { do: "write", path: POLICY_FILES[method], content: policyOf(want) },
      ],
    },
  ];
}
