import { z } from "zod";
import type { Method } from "./attest.ts";
import { hex, SnpPolicySchema, TdxPolicySchema } from "./attest-policy.ts";
import type { Machine } from "./machine.ts";

const measurements = z
  .array(hex(48))
  .default([])
  .describe("The launch measurements that are accepted; together with what `launch` comes to, at least one.");

/** A policy whose measurement may still have to be computed from the launch. */
export const WantedPolicySchema = z.discriminatedUnion("kind", [
  SnpPolicySchema.extend({ kind: z.literal("snp"), measurements }),
  TdxPolicySchema.extend({ kind: z.literal("tdx"), measurements }),
]);
export type WantedPolicy = z.output<typeof WantedPolicySchema>;

/** How an SEV-SNP guest is launched, as far as its measurement covers it. */
export const LaunchSchema = z.strictObject({
  firmware: z
    .string()
    .min(1)
    .describe("The firmware image (OVMF) as a file of the controller: what the host has is the host's word."),
  vcpus: z.int().min(1).max(512).describe("vCPUs: each one's start state is measured."),
  cpuModel: z.string().min(1).describe("QEMU's -cpu model."),
  features: z.int().min(1).default(1).describe("SEV_FEATURES; 1 is SNP alone."),
});
export type Launch = z.output<typeof LaunchSchema>;

export interface AppraisalRequest {
  readonly policy: WantedPolicy;
  readonly launch?: Launch | undefined;
  /** How the GPUs are asked for their evidence; empty for none. */
  readonly gpu: readonly Method[];
}

/** What the guest gave, as it came over one session; nothing of it is believed yet. */
export interface Collected {
  /** Drawn here for this one look, 32 bytes as hex. */
  readonly nonce: string;
  /** Which session of this process it came over; a lost one is never had again. */
  readonly session: string;
  /** Public line of the host key that this end of the session saw. */
  readonly hostKey: string;
  /** Public line that the guest says is its own. */
  readonly ownKey: string;
  /** Which driver of configfs-tsm made the report, e.g. `sev_guest`. */
  readonly provider: string;
  /** Base64 of the report or quote, and of the certificates that came with it (may be empty). */
  readonly outblob: string;
  readonly auxblob: string;
  /** Base64 of what the GPUs' tools printed, and their verdict, which they reached in the guest. */
  readonly gpu?: { readonly evidence: string; readonly verdict: "pass" | "fail" };
}

/** What the controller found out about a guest by evidence that it asked for and verified itself. */
export interface Appraisal {
  /** `unknown`: no evidence could be had, or nothing to judge it by. Only `pass` lets anything be released. */
  readonly verdict: "pass" | "fail" | "unknown";
  /** Why it is no pass; codes of providers/attest/refusals.ts, or of what kept the evidence from being collected. */
  readonly refusals: readonly { readonly code: string; readonly saw: string; readonly next: string }[];
  /** Of a pass: the host key that the evidence is bound to, which is the session's. */
  readonly hostKey?: string;
  /** Of a pass: {@link Collected.session}, the only one that anything may be released over. */
  readonly session?: string;
  /** As attested; undefined where the vendor's root does not vouch for the report. */
  readonly measurement?: string;
  /** One phrase. */
  readonly tcb?: string;
  readonly gpu: "none" | "measured-guest" | "controller" | "remote";
  /** Digests of what was verified and of the policy that it was held against. */
  readonly evidence?: string;
  readonly policy?: string;
  /** The signed result. */
  readonly ear?: string;
}

/** Asks the machine for evidence and verifies it. Never rejects for evidence: what is wrong with it is the result. */
export type Appraise = (machine: Machine, node: string, request: AppraisalRequest) => Promise<Appraisal>;
