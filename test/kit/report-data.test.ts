import { createHash } from "node:crypto";
import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { gpuNonce, reportData, sshKeyBlob } from "../../providers/kit/report-data.ts";
import { freshKeyPair } from "../../sim/model/keys.ts";

const KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";
const nonce = Buffer.alloc(32, 0x11);
const gpuEvidenceDigest = Buffer.alloc(48, 0x22);

describe("report_data", () => {
  test("is the documented bytes, hashed", () => {
    const framed = (part: Uint8Array | string): Buffer => {
      const bytes = Buffer.from(part);
      return Buffer.concat([Buffer.from([0, 0, 0, bytes.length]), bytes]);
    };
    const blob = Buffer.from(KEY.split(" ")[1] ?? "", "base64");
    const bytes = Buffer.concat([
      framed("teeup report_data v1"),
      framed(nonce),
      framed(blob),
      framed(gpuEvidenceDigest),
    ]);
    const wanted = createHash("sha512").update(bytes).digest("hex");
    expect(reportData({ nonce, hostKey: KEY, gpuEvidenceDigest }).toString("hex")).toBe(wanted);
    // Fixed, so that no change of the code goes unseen by guests that were made before it.
    expect(wanted).toBe(
      "79119c7eb6ecdfdf1f05d57d7a2261049d9b3e7f611e6229569b5f47c740a8917ea64644e7ff54a9766ac5692372c91758b0a1a407a00d3532ab726643570483",
    );
  });

  test("of two different bindings is never the same", () => {
    const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
    const binding = fc.record({
      nonce: bytes(32),
      hostKey: fc.constantFrom(KEY, KEY.replace("Hh8f", "Hh8g"), freshKeyPair("x").public),
      gpuEvidenceDigest: fc.oneof(bytes(48), bytes(0)),
    });
    const text = (b: { nonce: Uint8Array; hostKey: string; gpuEvidenceDigest: Uint8Array }) =>
      JSON.stringify([[...b.nonce], sshKeyBlob(b.hostKey).toString("hex"), [...b.gpuEvidenceDigest]]);
    fc.assert(
      fc.property(binding, binding, (a, b) => {
        expect(reportData(a).equals(reportData(b))).toBe(text(a) === text(b));
        expect(gpuNonce(a)).toHaveLength(32);
      }),
    );
  });

  test("takes a nonce of 32 bytes, a digest of 48 or none, and a key", () => {
    expect(() => reportData({ nonce: nonce.subarray(1), hostKey: KEY, gpuEvidenceDigest })).toThrow(RangeError);
    expect(() => gpuNonce({ nonce: nonce.subarray(1), hostKey: KEY })).toThrow(RangeError);
    expect(() => reportData({ nonce, hostKey: KEY, gpuEvidenceDigest: Buffer.alloc(32) })).toThrow(RangeError);
    for (const line of ["", "ssh-ed25519", "ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIAAB", "AAAAC3NzaC1lZDI1NTE5AAAAIAAB"])
      expect(() => reportData({ nonce, hostKey: line, gpuEvidenceDigest })).toThrow(
        "not the line of an SSH public key",
      );
  });

  test("does not depend on how the key is written down", () => {
    const same = (line: string) => reportData({ nonce, hostKey: line, gpuEvidenceDigest });
    expect(same(`[host]:22,10.0.0.1 ${KEY} a comment\n`)).toEqual(same(KEY));
  });
});
