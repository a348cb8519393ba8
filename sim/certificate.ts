// Has to come first: the certificate library registers its classes with it.
import "reflect-metadata";
import { createHash, webcrypto } from "node:crypto";
import * as x509 from "@peculiar/x509";

export interface Certificate {
  readonly key: string;
  readonly cert: string;
  /** SHA-256 of the certificate, colon separated. */
  readonly fingerprint: string;
}

const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
const DAY = 86_400_000;

/** A self-signed certificate for loopback, as a BMC makes for itself; valid from yesterday for `days` (may be < 0: expired). */
export async function selfSigned(commonName: string, days = 365): Promise<Certificate> {
  const keys = (await webcrypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"])) as webcrypto.CryptoKeyPair;
  const now = Date.now();
  const cert = await x509.X509CertificateGenerator.createSelfSigned({
    name: `CN=${commonName}`,
    keys,
    signingAlgorithm: ALGORITHM,
    notBefore: new Date(now - DAY + Math.min(0, days) * DAY),
    notAfter: new Date(now + days * DAY),
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.SubjectAlternativeNameExtension([
        { type: "ip", value: "127.0.0.1" },
        { type: "dns", value: "localhost" },
      ]),
    ],
  });
  const pkcs8 = Buffer.from(await webcrypto.subtle.exportKey("pkcs8", keys.privateKey)).toString("base64");
  const hex = createHash("sha256").update(Buffer.from(cert.rawData)).digest("hex").toUpperCase();
  return {
    key: `-----BEGIN PRIVATE KEY-----\n${pkcs8.replace(/.{64}/g, "$&\n")}\n-----END PRIVATE KEY-----\n`,
    cert: cert.toString("pem"),
    fingerprint: (hex.match(/../g) ?? []).join(":"),
  };
}
