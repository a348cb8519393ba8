import { createHash } from "node:crypto";
import { z } from "zod";
import { base64, hex } from "./hex.ts";
import { PolicySchema } from "./policy.ts";
import { Refused } from "./refusals.ts";

/** Everything that belongs to one attestation has less. */
const MOST_BUNDLE_BYTES = 8_388_608;

const snp = z.strictObject({
  kind: z.literal("snp"),
  report: base64(65_536).describe("The report as the guest's firmware gave it, 1,184 bytes."),
  key: base64(65_536).describe("DER of the VCEK or VLEK certificate."),
  issuers: z.array(base64(65_536)).max(4).describe("DER of the ASK or ASVK; the ARK may follow."),
  crl: base64(1_048_576).optional().describe("DER of AMD's revocation list for the product."),
});

const pem = z.string().max(131_072);
const tdx = z.strictObject({
  kind: z.literal("tdx"),
  quote: base64(65_536).describe("The quote as configfs-tsm gave it."),
  collateral: z.strictObject({
    tcbInfo: z.string().describe("Body of Intel's answer about the platform's TCB, as sent."),
    tcbInfoIssuerChain: pem,
    qeIdentity: z.string().describe("Body of Intel's answer about the quoting enclave, as sent."),
    qeIdentityIssuerChain: pem,
    pckCrl: base64(1_048_576).describe("DER of the platform CA's revocation list."),
    rootCrl: base64(1_048_576).describe("DER of Intel's root's revocation list."),
  }),
});

/** The file that `teeup attest` writes and `teeup attest verify` reads: evidence, and what it was asked with. */
export const BundleSchema = z.strictObject({
  format: z.literal("teeup evidence 1"),
  collectedAt: z.iso.datetime(),
  node: z.string().max(253).optional(),
  nonce: hex(32).describe("What the controller drew for this attestation."),
  hostKey: z.string().max(16_384).describe("Public line of the SSH host key of the session that asked."),
  gpu: z
    .strictObject({
      evidence: base64(4_194_304).describe("The GPU evidence's bytes."),
      digest: hex(48).describe("SHA-384 of them, as the guest bound it."),
      /** Who verified it: `guest` means that its verdict rests on the measured guest. */
      verifiedBy: z.enum(["guest", "controller", "remote"]),
      verdict: z.enum(["pass", "fail"]),
    })
    .optional(),
  tee: z.discriminatedUnion("kind", [snp, tdx]),
  policy: PolicySchema.optional().describe("What the controller demanded."),
});
export type Bundle = z.infer<typeof BundleSchema>;

/** Reads a bundle's text. Throws `attest.truncated`, `attest.oversized`, `attest.malformed`. */
export function parseBundle(text: string): Bundle {
  if (text.length > MOST_BUNDLE_BYTES) throw new Refused("attest.oversized", `a bundle of ${text.length} characters`);
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    const cut = !text.trimEnd().endsWith("}");
    throw new Refused(cut ? "attest.truncated" : "attest.malformed", (error as Error).message, { cause: error });
  }
  const parsed = BundleSchema.safeParse(json);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const missing = issue?.code === "invalid_type" && issue.path.includes("collateral");
  const saw = `${issue?.path.join(".") || "the bundle"}: ${issue?.message ?? "not as documented"}`;
  throw new Refused(
    missing ? "attest.collateral.missing" : issue?.code === "too_big" ? "attest.oversized" : "attest.malformed",
    saw,
  );
}

/** SHA-256 of a value as JSON, for naming evidence and policies in a result. */
export const digestOf = (value: unknown): string =>
  `sha256:${createHash("sha256").update(JSON.stringify(value)).digest("hex")}`;
