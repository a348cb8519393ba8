import type { Method } from "../kit/attest.ts";
import { DEVICE_OF, METHODS, POLICY_FILES } from "../kit/attest.ts";
import { type AttestationWant, SWITCH_POLICY } from "../kit/attestation-want.ts";
import type { Step } from "../kit/facet.ts";
import { valueIfKnown } from "../kit/facts.ts";
import { firstUnknown } from "../kit/findings.ts";
import type { AttestationFacts } from "./attestation.ts";

/** The GPUs' method first; the NVSwitches' where they are to be attested. */
export function methodsOf(want: AttestationWant): readonly Method[] {
  if (want.tool === "python-sdk") return ["sdk"];
  const switches = want.verifier === "local" ? "switchLocal" : "switchRemote";
  return [want.verifier, ...(want.switches ? ([switches] as const) : [])];
}

/** Text of the policy file. The Python SDK's is JSON: each claim must be true (seed 001, NVGPUPolicyExample.json). */
export function policyOf(want: AttestationWant, method?: Method): string {
  if (want.tool === "nvattest")
    return method !== undefined && DEVICE_OF[method] === "nvswitch"
      ? (want.switchPolicy ?? SWITCH_POLICY).text
      : want.policy.text;
  const rules = Object.fromEntries(want.policy.claims.map((claim) => [claim, true]));
  return `${JSON.stringify({ version: want.policy.version, "authorization-rules": rules }, null, 2)}\n`;
}

/** Policies of other methods: with one of them there, that method would be asked too. */
const strayPolicies = (want: AttestationWant, policies: AttestationFacts["policies"]): readonly Method[] =>
  METHODS.filter((m) => !methodsOf(want).includes(m) && policies[m].state === "known");

export function planAttestation(want: AttestationWant, { policies }: AttestationFacts): readonly Step[] {
  if (firstUnknown(...Object.values(policies)) !== undefined) return [];
  const stray = strayPolicies(want, policies);
  const other = methodsOf(want).filter((m) => valueIfKnown(policies[m]) !== policyOf(want, m));
  if (other.length + stray.length === 0) return [];
  const files = (other.length > 0 ? other : methodsOf(want)).map((m) => POLICY_FILES[m]).join(" and ");
  return [
    {
      code: "attestation.policy",
      title: `install the attestation policy ${files}; the ${want.switches ? "GPUs and NVSwitches" : "GPUs"} then attest themselves to it`,
      why: "the policy decides what passes, so it is pinned",
      disruption: "none",
      actions: [
        ...stray.map((m) => ({ do: "remove", path: POLICY_FILES[m] }) as const),
        ...other.map((m) => ({ do: "write", path: POLICY_FILES[m], content: policyOf(want, m) }) as const),
      ],
    },
  ];
}
