import { z } from "zod";
import { hex, SnpPolicySchema, TdxPolicySchema } from "./attest-policy.ts";
import { ReleaseSchema } from "./secrets.ts";

/** `teeup:attestation`: what guests have to prove to the controller, and what they get then. */
export const AttestationSchema = z
  .strictObject({
    measurements: z
      .array(hex(48))
      .default([])
      .describe("Launch measurements (SEV-SNP) or MRTDs (TDX) that are accepted; there is no way to accept any."),
    firmware: z
      .string()
      .min(1)
      .optional()
      .describe(
        "SEV-SNP: the guest's firmware as a file of the controller, from the project's folder; the measurement is computed from it.",
      ),
    snp: SnpPolicySchema.omit({ measurements: true }).optional().describe("What SEV-SNP guests have to be besides."),
    tdx: TdxPolicySchema.omit({ measurements: true }).optional().describe("What TDX guests have to be besides."),
    gpus: z.boolean().default(true).describe("The GPUs' evidence is bound too, where the recipe has it."),
    collateral: z
      .url({ protocol: /^https?$/ })
      .optional()
      .describe(
        "A mirror of the vendors' certificates, lists and TCB info under the vendors' paths; default: AMD's and Intel's own. All of it is signed: a mirror can withhold, not forge.",
      ),
    secrets: z
      .array(ReleaseSchema)
      .default([])
      .refine((all) => new Set(all.map(({ name }) => name)).size === all.length, "two secrets have the same name")
      .describe("Files that a guest gets once its evidence holds."),
  })
  .describe("Evidence of guests, verified here; without it the guests' own word is all there is.");
export type AttestationConfig = z.output<typeof AttestationSchema>;
