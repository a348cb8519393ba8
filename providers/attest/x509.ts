// Has to come first: the certificate library registers its classes with it.
import "reflect-metadata";
import type { VerifyKeyObjectInput } from "node:crypto";
import { constants, verify, X509Certificate } from "node:crypto";
import * as x509 from "@peculiar/x509";
import { Refused, refusing } from "./refusals.ts";

/** A certificate larger than this is not one of AMD's or Intel's (theirs are below 2 KiB). */
const MOST_CERT_BYTES = 8192;
/** Intel's PCK revocation list has about 3 KiB. */
const MOST_CRL_BYTES = 1_048_576;

/** When something is judged, and by how much the clocks of vendor and controller may differ. */
export interface Clock {
  readonly now: Date;
  /** Seconds; how far in the future something may have been issued. */
  readonly skewSeconds: number;
}

/** One certificate, strictly DER (no bytes behind it) or one PEM block. OpenSSL reads and verifies it. */
export function certificate(data: Uint8Array | string, what: string): X509Certificate {
  const bytes = typeof data === "string" ? pemBlocks(data, what) : [Buffer.from(data)];
  const [der] = bytes;
  if (der === undefined || bytes.length !== 1)
    throw new Refused("attest.malformed", `${what}: ${bytes.length} certificates where one is expected`);
  if (der.length > MOST_CERT_BYTES) throw new Refused("attest.oversized", `${what} has ${der.length} bytes`);
  const cert = refusing("attest.malformed", what, () => new X509Certificate(der));
  // OpenSSL ignores what follows the certificate.
  if (!cert.raw.equals(der)) throw new Refused("attest.malformed", `${what}: bytes behind the certificate`);
  return cert;
}

/** No headers in a block, and one way to read each character: whoever sends the text would choose how long that takes. */
const PEM_CERTIFICATE = /-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]*)-----END CERTIFICATE-----/g;

/** DER of every certificate in PEM text, in order. Text between blocks is skipped, as in a chain from KDS or PCS. */
export function pemBlocks(text: string, what: string): Buffer[] {
  if (text.length > 16 * MOST_CERT_BYTES)
    throw new Refused("attest.oversized", `${what} has ${text.length} characters`);
  return [...text.matchAll(PEM_CERTIFICATE)].map(([, base64 = ""]) => Buffer.from(base64, "base64"));
}

/**
 * Verifies a chain from a leaf up to a pinned root: names, CA flags, signatures, validity. The root is never taken from
 * the evidence: a chain may carry one, which then has to be the pinned one, byte by byte.
 * Throws `attest.cert.chain`, `.root`, `.expired`, `attest.clock`.
 */
export function verifyChain(chain: readonly X509Certificate[], root: X509Certificate, clock: Clock): void {
  const last = chain.at(-1);
  if (last === undefined || chain.length > 5)
    throw new Refused("attest.cert.chain", `a chain of ${chain.length} certificates`);
  const path = last.raw.equals(root.raw) ? chain : [...chain, root];
  for (const [i, cert] of path.entries()) {
    const issuer = path[i + 1] ?? cert;
    if (i > 0 && !cert.ca) throw new Refused("attest.cert.chain", `${name(cert)} signs, but is no CA`);
    if (i === 0 && path.length > 1 && cert.ca)
      throw new Refused("attest.cert.chain", `${name(cert)} is a CA where a signing key is expected`);
    if (!cert.checkIssued(issuer) || !verifies(cert, issuer)) {
      if (issuer.raw.equals(root.raw) && i < path.length - 1)
        throw new Refused("attest.cert.root", `${name(cert)} is not signed by the pinned ${name(root)}`);
      throw new Refused("attest.cert.chain", `${name(cert)} is not signed by ${name(issuer)}`);
    }
    checkValidity(cert, clock);
  }
}

function verifies(cert: X509Certificate, issuer: X509Certificate): boolean {
  try {
    return cert.verify(issuer.publicKey);
  } catch {
    return false;
  }
}

function checkValidity(cert: X509Certificate, { now, skewSeconds }: Clock): void {
  // validToDate is missing from older Nodes, where a comparison with it would let everything pass.
  const [from, to] = [new Date(cert.validFrom), new Date(cert.validTo)];
  if (!(now <= to)) throw new Refused("attest.cert.expired", `${name(cert)} was valid until ${cert.validTo}`);
  notFromTheFuture(from, name(cert), { now, skewSeconds });
}

/** Throws `attest.clock` for what was issued later than now and the skew. */
export function notFromTheFuture(issued: Date, what: string, { now, skewSeconds }: Clock): void {
  if (!(issued.getTime() - now.getTime() <= skewSeconds * 1000)) {
    throw new Refused(
      "attest.clock",
      `${what} was issued ${String(issued.toJSON())}, later than now (${now.toISOString()})`,
    );
  }
}

/**
 * Reads a revocation list, DER, and verifies that `issuer` signed it and that it is current. The result refuses a
 * certificate of this issuer that the list names (`attest.cert.revoked`) and says nothing about others.
 * Throws `attest.malformed`, `attest.collateral.signature`, `attest.collateral.expired`, `attest.clock`.
 */
export function revocations(der: Uint8Array, issuer: X509Certificate, clock: Clock): (cert: X509Certificate) => void {
  const what = `the revocation list of ${name(issuer)}`;
  const bytes = Buffer.from(der);
  if (bytes.length > MOST_CRL_BYTES) throw new Refused("attest.oversized", `${what} has ${bytes.length} bytes`);
  const { signed, signature } = signedParts(bytes, what);
  if (!verify(...algorithmOf(issuer, signed), signature))
    throw new Refused("attest.collateral.signature", `${what} is not signed by it`);
  const read = <T>(work: () => T): T => refusing("attest.malformed", what, work);
  const crl = read(() => new x509.X509Crl(bytes));
  const nameOf = (subject: x509.Name): string => Buffer.from(subject.toArrayBuffer()).toString("hex");
  const { by, critical, from, to } = read(() => ({
    by: nameOf(crl.issuerName),
    critical: crl.extensions.find((extension) => extension.critical),
    from: crl.thisUpdate,
    to: crl.nextUpdate,
  }));
  if (by !== nameOf(new x509.X509Certificate(issuer.raw).subjectName))
    throw new Refused("attest.collateral.signature", `${what} names another issuer`);
  // A partial or indirect list would say nothing about the certificate in question.
  if (critical !== undefined)
    throw new Refused("attest.unsupported", `${what} has the critical extension ${critical.type}`);
  notFromTheFuture(from, what, clock);
  if (to === undefined || !(clock.now <= to))
    throw new Refused(
      "attest.collateral.expired",
      `${what} was good until ${to?.toISOString() ?? "a time it does not say"}`,
    );
  return (cert) => {
    if (!cert.checkIssued(issuer)) return;
    if (read(() => crl.findRevoked(new x509.X509Certificate(cert.raw))) !== null)
      throw new Refused(
        "attest.cert.revoked",
        `${name(cert)}, serial ${cert.serialNumber}, is revoked by ${name(issuer)}`,
      );
  };
}

/** How AMD's (RSA-PSS, SHA-384) and Intel's (ECDSA) issuers sign: what node:crypto's verify takes before the signature. */
function algorithmOf({ publicKey: key }: X509Certificate, data: Buffer): [string, Buffer, VerifyKeyObjectInput] {
  if (key.asymmetricKeyType === "ec")
    return [key.asymmetricKeyDetails?.namedCurve === "secp384r1" ? "sha384" : "sha256", data, { key }];
  return ["sha384", data, { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 48 }];
}

/**
 * The signed part and the signature of a CertificateList, which has to be strict DER: what follows the signed part is
 * not signed, and the X.509 library does not mind wrong lengths there, so the same list would have many spellings.
 */
function signedParts(der: Buffer, what: string): { signed: Buffer; signature: Buffer } {
  const malformed = (): never => {
    throw new Refused("attest.malformed", `${what} is not the DER of a list`);
  };
  const element = (from: Buffer, tag: number): { whole: Buffer; content: Buffer; rest: Buffer } => {
    const [seen, first = 0x80] = from;
    const more = first > 0x80 ? first - 0x80 : 0;
    if (seen !== tag || first === 0x80 || more > 3 || from.length < 2 + more) return malformed();
    const length = more === 0 ? first : from.readUIntBE(2, more);
    const shortest = length < 0x80 ? 0 : length < 0x100 ? 1 : length < 0x10000 ? 2 : 3;
    const end = 2 + more + length;
    if (more !== shortest || end > from.length) return malformed();
    return { whole: from.subarray(0, end), content: from.subarray(2 + more, end), rest: from.subarray(end) };
  };
  const outer = element(der, 0x30);
  const list = element(outer.content, 0x30);
  const algorithm = element(list.rest, 0x30);
  const bits = element(algorithm.rest, 0x03);
  const version = Buffer.from("020101", "hex");
  const inner = element(list.content.subarray(version.length), 0x30);
  if (outer.rest.length > 0 || bits.rest.length > 0 || bits.content[0] !== 0) return malformed();
  if (!list.content.subarray(0, 3).equals(version) || !inner.whole.equals(algorithm.whole)) return malformed();
  return { signed: list.whole, signature: bits.content.subarray(1) };
}

/** Contents of a certificate's extensions (inside the OCTET STRING) by their OIDs. */
export function extensions(cert: X509Certificate): ReadonlyMap<string, Buffer> {
  const all = refusing("attest.malformed", name(cert), () => new x509.X509Certificate(cert.raw).extensions);
  const found = new Map(all.map(({ type, value }) => [type, Buffer.from(value)]));
  if (found.size !== all.length) throw new Refused("attest.malformed", `${name(cert)} has an extension twice`);
  return found;
}

/** Common name of the subject, for people. */
export const name = (cert: X509Certificate): string => /(?:^|\n)CN=(.*)/.exec(cert.subject)?.[1] ?? cert.subject;

export const fingerprint = (cert: X509Certificate): string => cert.fingerprint256.replaceAll(":", "").toLowerCase();
