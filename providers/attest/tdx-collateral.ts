import type { X509Certificate } from "node:crypto";
import { z } from "zod";
import { Refused, refusing } from "./refusals.ts";
import type { Clock } from "./x509.ts";
import { certificate, name, notFromTheFuture, pemBlocks, revocations, verifyChain } from "./x509.ts";

/** What Intel's PCS (or a site's PCCS) answers about a platform: bodies as sent, chains from the answers' headers. */
export interface TdxCollateral {
  /** Body of `tdx/certification/v4/tcb?fmspc=…`. */
  readonly tcbInfo: string;
  /** PEM, from the header TCB-Info-Issuer-Chain, URL-decoded. */
  readonly tcbInfoIssuerChain: string;
  /** Body of `tdx/certification/v4/qe/identity`. */
  readonly qeIdentity: string;
  /** PEM, from the header SGX-Enclave-Identity-Issuer-Chain, URL-decoded. */
  readonly qeIdentityIssuerChain: string;
  /** DER of `sgx/certification/v4/pckcrl?ca=…&encoding=der`. */
  readonly pckCrl: Uint8Array;
  /** DER of the root's revocation list. */
  readonly rootCrl: Uint8Array;
}

const MOST_JSON = 262_144;
const isoTime = z.iso.datetime();
const hexText = z.string().regex(/^[0-9A-Fa-f]*$/);
const svn = z.int().min(0).max(255);
const moduleParts = { mrsigner: hexText, attributes: hexText, attributesMask: hexText };

/** Levels of a TDX module; Intel sorts them from the best to the worst. */
export const ModuleSchema = z.looseObject({
  ...moduleParts,
  id: z.string(),
  tcbLevels: z.array(
    z.looseObject({
      tcb: z.looseObject({ isvsvn: svn }),
      tcbStatus: z.string(),
      advisoryIDs: z.array(z.string()).default([]),
    }),
  ),
});

/** The parts of `tcbInfo` that are read here; the library reads the levels. */
export const TcbInfoSchema = z.looseObject({
  id: z.string(),
  version: z.int(),
  issueDate: isoTime,
  nextUpdate: isoTime,
  fmspc: hexText.length(12),
  tdxModule: z.looseObject(moduleParts).optional(),
  tdxModuleIdentities: z.array(ModuleSchema).default([]),
});
export type TcbInfo = z.infer<typeof TcbInfoSchema>;

const QeIdentitySchema = z.looseObject({ id: z.string(), issueDate: isoTime, nextUpdate: isoTime });

const inner = z.record(z.string(), z.unknown()).optional();
const BodySchema = z.looseObject({ tcbInfo: inner, enclaveIdentity: inner, signature: hexText.length(128) });

/** A body of the PCS taken apart: the text that the signature is over, and the signature. */
export interface Signed {
  readonly text: string;
  readonly signature: string;
}

export interface CheckedCollateral {
  readonly tcbInfo: TcbInfo;
  readonly tcbInfoSigned: Signed;
  readonly qeIdentitySigned: Signed;
  /** Now, or the documents' issue date where that is later by less than the skew. */
  readonly at: Date;
}

/**
 * Authenticates what the quote library takes on trust: it believes a revocation list whoever signed it, skips one that
 * it cannot read, and does not look at the names in a chain. So here: all three chains end in the pinned root and are
 * of the certificates that Intel uses for each purpose, both lists are signed by their issuer and current, nothing in a
 * chain is revoked, and both documents are within their time. Throws Refused.
 */
export function checkCollateral(
  collateral: TdxCollateral,
  pckChain: readonly X509Certificate[],
  root: X509Certificate,
  clock: Clock,
): CheckedCollateral {
  const tcbInfoSigned = body(collateral.tcbInfo, "tcbInfo");
  const qeIdentitySigned = body(collateral.qeIdentity, "enclaveIdentity");
  const tcbInfo = read(TcbInfoSchema, tcbInfoSigned, "the TCB info");
  const qeIdentity = read(QeIdentitySchema, qeIdentitySigned, "the QE identity");
  const tcbChain = chain(collateral.tcbInfoIssuerChain, "the TCB info's chain");
  const qeChain = chain(collateral.qeIdentityIssuerChain, "the QE identity's chain");

  named(pckChain[0], /^Intel SGX PCK Certificate$/);
  named(pckChain[1], /^Intel SGX PCK (Platform|Processor) CA$/);
  for (const signer of [tcbChain[0], qeChain[0]]) named(signer, /^Intel SGX TCB Signing$/);
  for (const certs of [pckChain, tcbChain, qeChain]) verifyChain(certs, root, clock);

  const platformCa = pckChain[1];
  if (platformCa === undefined) throw new Refused("attest.collateral.missing", "no CA behind the PCK certificate");
  const byRoot = revocations(collateral.rootCrl, root, clock);
  const byPlatformCa = revocations(collateral.pckCrl, platformCa, clock);
  for (const cert of [...pckChain, ...tcbChain, ...qeChain]) {
    byRoot(cert);
    byPlatformCa(cert);
  }
  for (const [what, { issueDate, nextUpdate }] of [
    ["the TCB info", tcbInfo] as const,
    ["the QE identity", qeIdentity] as const,
  ]) {
    notFromTheFuture(new Date(issueDate), what, clock);
    if (!(clock.now <= new Date(nextUpdate)))
      throw new Refused("attest.collateral.expired", `${what} was good until ${nextUpdate}`);
  }
  const issued = [tcbInfo, qeIdentity].map(({ issueDate }) => Date.parse(issueDate));
  const at = new Date(Math.max(clock.now.getTime(), ...issued));
  return { tcbInfo, tcbInfoSigned, qeIdentitySigned, at };
}

function named(cert: X509Certificate | undefined, wanted: RegExp): void {
  if (cert === undefined) throw new Refused("attest.collateral.missing", "a certificate chain is not whole");
  if (!wanted.test(name(cert))) throw new Refused("attest.cert.chain", `${name(cert)} is not a key for this purpose`);
}

/** PEM text as certificates, leaf first. */
export function chain(pem: string, what: string): X509Certificate[] {
  if (pem.trim() === "") throw new Refused("attest.collateral.missing", `${what} is empty`);
  return pemBlocks(pem, what).map((der) => certificate(der, what));
}

function body(text: string, key: "tcbInfo" | "enclaveIdentity"): Signed {
  if (text.trim() === "") throw new Refused("attest.collateral.missing", `no ${key}`);
  if (text.length > MOST_JSON) throw new Refused("attest.oversized", `${key} has ${text.length} characters`);
  const parsed = refusing("attest.malformed", key, () => BodySchema.parse(JSON.parse(text)));
  const inner = parsed[key];
  if (inner === undefined) throw new Refused("attest.malformed", `the answer has no ${key}`);
  // Intel signs the inner object's text, which has neither spaces nor escapes: written out again it is the same, and
  // what is verified is exactly what is read.
  return { text: JSON.stringify(inner), signature: parsed.signature };
}

const read = <T>(schema: z.ZodType<T>, { text }: Signed, what: string): T =>
  refusing("attest.malformed", what, () => schema.parse(JSON.parse(text)));
