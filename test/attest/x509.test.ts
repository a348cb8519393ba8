import "reflect-metadata";
import { X509Certificate } from "node:crypto";
import { describe, expect, test } from "@jest/globals";
import * as x509 from "@peculiar/x509";
import { certificate, pemBlocks, revocations, verifyChain } from "../../providers/attest/x509.ts";
import type { Identity } from "../../sim/attest/pki.ts";
import { issue, LONG, revocationList } from "../../sim/attest/pki.ts";
import { CLOCK } from "./given.ts";

/** Test authorities: a root, a CA, a key that is no CA, and what each of them issued. */
const root = await issue({ subject: "CN=Root", kind: "p256", ca: true });
const ca = await issue({ subject: "CN=CA", kind: "p256", issuer: root, ca: true });
const leaf = await issue({ subject: "CN=Leaf", kind: "p256", issuer: ca });
const child = await issue({ subject: "CN=Child of a leaf", kind: "p256", issuer: leaf });
const read = ({ der }: Identity): X509Certificate => new X509Certificate(der);
const chainOf = (...chain: Identity[]) => verifyChain(chain.map(read), read(root), CLOCK);

describe("a chain", () => {
  test("ends in the pinned root, given with it or not", () => {
    chainOf(leaf, ca);
    chainOf(leaf, ca, root);
  });

  test.each<[string, () => void]>([
    ["Leaf signs, but is no CA [attest.cert.chain]", () => chainOf(child, leaf, ca)],
    ["CA is a CA where a signing key is expected [attest.cert.chain]", () => chainOf(ca)],
    ["a chain of 0 certificates [attest.cert.chain]", () => chainOf()],
    ["Leaf is not signed by the pinned Root [attest.cert.root]", () => chainOf(leaf)],
    ["Leaf is not signed by the pinned Root [attest.cert.root]", () => chainOf(leaf, root, ca)],
    ["a chain of 6 certificates [attest.cert.chain]", () => chainOf(leaf, ca, ca, ca, ca, ca)],
  ])("is refused: %s", (message, work) => {
    expect(work).toThrow(message);
  });

  test("is read in no time, whatever stands between the lines of its text", () => {
    const [begin, end] = ["-----BEGIN CERTIFICATE-----\n", "-----END CERTIFICATE-----\n"];
    const texts = [`${begin}a: b\n${" a: b\n".repeat(30)}`, begin.repeat(4000), `${begin}${"AAAA\n".repeat(20_000)}`];
    const before = performance.now();
    for (const text of texts) expect(pemBlocks(text, "a text")).toEqual([]);
    expect(performance.now() - before).toBeLessThan(2000);
    expect(pemBlocks(`a\n${begin}AAEC\nAwQ=\n${end}b\n${begin}BQ==\n${end}`, "a text")).toEqual([
      Buffer.from([0, 1, 2, 3, 4]),
      Buffer.from([5]),
    ]);
  });

  test("takes one certificate for one: not two, and nothing behind it", () => {
    expect(() => certificate(leaf.pem + ca.pem, "the leaf")).toThrow("2 certificates where one is expected");
    expect(() => certificate("", "the leaf")).toThrow("0 certificates where one is expected");
    expect(() => certificate(Buffer.concat([leaf.der, Buffer.alloc(1)]), "the leaf")).toThrow("[attest.malformed]");
  });
});

describe("a revocation list", () => {
  test("refuses what it names, of its own issuer only", async () => {
    const check = revocations(await revocationList(ca, [leaf, child]), read(ca), CLOCK);
    expect(() => check(read(leaf))).toThrow("[attest.cert.revoked]");
    check(read(child));
    check(read(ca));
  });

  test("that names another issuer, or covers only a part, is none", async () => {
    const other = await revocationList({ ...ca, cert: root.cert });
    expect(() => revocations(other, read(ca), CLOCK)).toThrow("names another issuer [attest.collateral.signature]");
    const partial = await x509.X509CrlGenerator.create({
      issuer: ca.cert.subject,
      thisUpdate: LONG.from,
      nextUpdate: LONG.to,
      // Issuing distribution point: only attribute certificates.
      extensions: [new x509.Extension("2.5.29.28", true, new Uint8Array([0x30, 0x03, 0x85, 0x01, 0xff]))],
      signingKey: ca.keys.privateKey,
      signingAlgorithm: { name: "ECDSA", hash: "SHA-256" },
    });
    expect(() => revocations(Buffer.from(partial.rawData), read(ca), CLOCK)).toThrow("[attest.unsupported]");
  });
});
