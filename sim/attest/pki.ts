// Has to come first: the certificate library registers its classes with it.
import "reflect-metadata";
import { createHash, KeyObject, webcrypto } from "node:crypto";
import * as x509 from "@peculiar/x509";

/** RSA of AMD's issuers (smaller here, which makes keys faster), P-384 of its chips, P-256 of everything of Intel's. */
const KINDS = {
  rsa: {
    generate: { name: "RSA-PSS", modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]), hash: "SHA-384" },
    sign: { name: "RSA-PSS", hash: "SHA-384", saltLength: 48 },
  },
  p384: { generate: { name: "ECDSA", namedCurve: "P-384" }, sign: { name: "ECDSA", hash: "SHA-384" } },
  p256: { generate: { name: "ECDSA", namedCurve: "P-256" }, sign: { name: "ECDSA", hash: "SHA-256" } },
} as const;

export type KeyKind = keyof typeof KINDS;

/** A key with the certificate that somebody gave it. */
export interface Identity {
  readonly kind: KeyKind;
  readonly keys: webcrypto.CryptoKeyPair;
  readonly cert: x509.X509Certificate;
  readonly der: Buffer;
  readonly pem: string;
  /** For node:crypto. */
  readonly privateKey: KeyObject;
}

export interface Validity {
  readonly from: Date;
  readonly to: Date;
}

/** Years around any time a test takes for now. */
export const LONG: Validity = { from: new Date("2020-01-01T00:00:00Z"), to: new Date("2045-01-01T00:00:00Z") };

export interface Issue {
  readonly subject: string;
  readonly kind: KeyKind;
  /** Absent: signs itself. */
  readonly issuer?: Identity;
  readonly ca?: boolean;
  /** Hex; default from the subject. */
  readonly serial?: string;
  readonly validity?: Validity;
  readonly extensions?: readonly x509.Extension[];
}

/** Issues a certificate with a fresh key. A TEST authority: no verifier of a release knows its roots. */
export async function issue(request: Issue): Promise<Identity> {
  const { subject, kind, issuer, ca = false, validity = LONG, extensions = [] } = request;
  const keys = (await webcrypto.subtle.generateKey(KINDS[kind].generate, true, [
    "sign",
    "verify",
  ])) as webcrypto.CryptoKeyPair;
  const signer = issuer ?? { kind, keys, cert: undefined };
  const cert = await x509.X509CertificateGenerator.create({
    subject,
    issuer: signer.cert?.subject ?? subject,
    serialNumber: request.serial ?? createHash("sha256").update(subject).digest("hex").slice(0, 16).replace(/^./, "7"),
    notBefore: validity.from,
    notAfter: validity.to,
    publicKey: keys.publicKey,
    signingKey: signer.keys.privateKey,
    signingAlgorithm: KINDS[signer.kind].sign,
    extensions: [new x509.BasicConstraintsExtension(ca, undefined, true), ...extensions],
  });
  return {
    kind,
    keys,
    cert,
    der: Buffer.from(cert.rawData),
    pem: `${cert.toString("pem")}\n`,
    privateKey: KeyObject.from(keys.privateKey),
  };
}

/** DER of a revocation list of `issuer`. */
export async function revocationList(
  issuer: Identity,
  revoked: readonly Identity[] = [],
  validity: Validity = LONG,
): Promise<Buffer> {
  const crl = await x509.X509CrlGenerator.create({
    issuer: issuer.cert.subject,
    thisUpdate: validity.from,
    nextUpdate: validity.to,
    entries: revoked.map(({ cert }) => ({ serialNumber: cert.serialNumber, revocationDate: validity.from })),
    signingKey: issuer.keys.privateKey,
    signingAlgorithm: KINDS[issuer.kind].sign,
  });
  return Buffer.from(crl.rawData);
}

/** An extension of a vendor: the value is DER, inside the extension's OCTET STRING. */
export const vendorExtension = (oid: string, value: Uint8Array): x509.Extension =>
  new x509.Extension(oid, false, value as Uint8Array<ArrayBuffer>);

/** What a test injects as a trust anchor. */
export const anchorOf = ({ der }: Identity) => ({
  der: der.toString("base64"),
  sha256: createHash("sha256").update(der).digest("hex"),
  source: "test root",
});

/** DER with a short or two-byte length. */
export function tlv(tag: number, ...content: Uint8Array[]): Buffer {
  const body = Buffer.concat(content);
  const { length } = body;
  const head = length < 128 ? [length] : length < 256 ? [0x81, length] : [0x82, length >> 8, length & 255];
  return Buffer.concat([Buffer.from([tag, ...head]), body]);
}

/** DER of a small non-negative INTEGER. */
export const integer = (n: number): Buffer =>
  tlv(2, Buffer.from(n < 128 ? [n] : n < 256 ? [0, n] : n < 32768 ? [n >> 8, n & 255] : [0, n >> 8, n & 255]));
