import { z } from "zod";
import { CommitSchema, RepositorySchema } from "./downloads.ts";

const Name = z.string().regex(/^[a-z0-9][a-z0-9+.=:~-]*$/);
const Folder = z.string().regex(/^\w[\w./-]*$/);

/** How a recipe's attestation tool is had. */
export const AttestationToolWant = z.discriminatedUnion("tool", [
  z.strictObject({
    tool: z.literal("nvattest"),
    packages: z.array(Name).min(1).default(["nvattest"]).describe("Packages that bring nvattest."),
    repository: RepositorySchema.optional().describe("Where they come from; default: the distribution's archive."),
  }),
  z.strictObject({
    tool: z.literal("python-sdk"),
    source: z
      .strictObject({ url: z.url({ protocol: /^https$/ }), commit: CommitSchema, branch: z.string().optional() })
      .describe("Git repository of nvtrust."),
    verifierPath: Folder.describe("Folder of the local GPU verifier: installed first."),
    sdkPath: Folder.describe("Folder of the attestation SDK: same Python environment."),
    packages: z.array(Name).default([]).describe("Packages that Python environments need."),
  }),
]);
export type AttestationToolWant = z.output<typeof AttestationToolWant>;

/** What a recipe's attestation asks of the GPUs. */
export const AttestationWant = z.discriminatedUnion("tool", [
  z.strictObject({
    tool: z.literal("nvattest"),
    verifier: z
      .enum(["local", "remote"])
      .default("local")
      .describe("Verify in the guest, or at NVIDIA's attestation service."),
    policy: z
      .strictObject({ name: z.string(), text: z.string().min(1).endsWith("\n") })
      .describe("Relying-party policy (Rego)."),
  }),
  z.strictObject({
    tool: z.literal("python-sdk"),
    policy: z
      .strictObject({
        name: z.string(),
        version: z.string().describe("Version of the policy's form."),
        claims: z.array(z.string().regex(/^x-nv-gpu-[a-z-]+$/)).min(1),
      })
      .describe("Claims that must all be true. Two of them pass for any GPU that answers (seed 001): choose them all."),
  }),
]);
export type AttestationWant = z.output<typeof AttestationWant>;
