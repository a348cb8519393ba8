import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { expectedMeasurement, VCPU_SIGNATURES } from "../../providers/attest/launch.ts";
import { readOvmf } from "../../providers/attest/launch-ovmf.ts";
import { Refused } from "../../providers/attest/refusals.ts";

interface Vector {
  readonly vcpuType: string;
  readonly vcpus: number;
  readonly guestFeatures: string;
  readonly kernel: boolean;
  readonly initrd: boolean;
  readonly commandLine: string;
  readonly digest: string;
}
const given = JSON.parse(
  readFileSync(join(import.meta.dirname, "../captures/attestation/snp-launch-digests.json"), "utf8"),
);
const ovmf = Buffer.from(given.amdSev, "base64");
const plain = Buffer.from(given.ovmfX64, "base64");
const sha256 = (text: string): string => createHash("sha256").update(text).digest("hex");
const KERNEL = { sha256: sha256(given.kernel), initrdSha256: sha256(given.initrd), commandLine: "ro" };
const LAUNCH = { ovmf, vcpus: 2, vcpuType: "EPYC-Milan", kernel: KERNEL };

describe("the expected launch digest of an SEV-SNP guest", () => {
  test.each<Vector>(given.vectors)(
    "is sev-snp-measure's: $vcpus $vcpuType, features $guestFeatures, $commandLine",
    (vector) => {
      const { vcpus, vcpuType } = vector;
      const kernel = { sha256: KERNEL.sha256, commandLine: vector.commandLine };
      const digest = expectedMeasurement({
        ovmf,
        vcpus,
        vcpuType,
        guestFeatures: BigInt(vector.guestFeatures),
        ...(vector.kernel ? { kernel: vector.initrd ? { ...kernel, initrdSha256: KERNEL.initrdSha256 } : kernel } : {}),
      });
      expect(digest).toBe(vector.digest);
    },
  );

  test("is sev-snp-measure's for the ordinary OVMF, without a kernel", () => {
    expect(expectedMeasurement({ ovmf: plain, vcpus: 8, vcpuType: "EPYC-Genoa" })).toBe(given.ovmfX64Digest);
  });

  test("changes with every single thing that it covers", () => {
    const patched = Buffer.from(ovmf);
    patched.writeUInt8(patched.readUInt8(100) ^ 1, 100);
    const all = [
      LAUNCH,
      { ...LAUNCH, ovmf: patched },
      { ...LAUNCH, vcpus: 3 },
      { ...LAUNCH, vcpuType: "EPYC-Genoa" },
      { ...LAUNCH, guestFeatures: 0x21n },
      { ovmf, vcpus: 2, vcpuType: "EPYC-Milan" },
      { ...LAUNCH, kernel: { ...KERNEL, sha256: sha256("another") } },
      { ...LAUNCH, kernel: { ...KERNEL, initrdSha256: sha256("another") } },
      { ...LAUNCH, kernel: { ...KERNEL, commandLine: "rw" } },
    ].map(expectedMeasurement);
    expect(new Set(all).size).toBe(all.length);
  });

  test.each<[string, () => unknown]>([
    ["attest.unsupported", () => expectedMeasurement({ ...LAUNCH, vcpuType: "host" })],
    ["attest.unsupported", () => expectedMeasurement({ ...LAUNCH, ovmf: plain })],
    ["attest.unsupported", () => expectedMeasurement({ ...LAUNCH, ovmf: Buffer.alloc(4096) })],
    ["attest.malformed", () => expectedMeasurement({ ...LAUNCH, ovmf: ovmf.subarray(1) })],
    ["attest.malformed", () => expectedMeasurement({ ...LAUNCH, ovmf: Buffer.alloc(0) })],
    ["attest.malformed", () => expectedMeasurement({ ...LAUNCH, vcpus: 0 })],
    ["attest.malformed", () => expectedMeasurement({ ...LAUNCH, kernel: { ...KERNEL, sha256: "" } })],
  ])("is refused rather than guessed: %s", (code, work) => {
    expect(work).toThrow(`[${code}]`);
  });

  test("every CPU model has the signature of its family", () => {
    expect(VCPU_SIGNATURES["EPYC-Milan"]).toBe(0xa00f11);
    expect(VCPU_SIGNATURES["EPYC-Genoa"]).toBe(0xa10f10);
    expect(VCPU_SIGNATURES["EPYC-Turin"]).toBe(0xb00f00);
    expect(VCPU_SIGNATURES["EPYC-v4"]).toBe(0x800f12);
  });

  test("no image makes the reader throw anything but a refusal", () => {
    fc.assert(
      fc.property(fc.nat(4095), fc.uint8Array({ minLength: 1, maxLength: 64 }), (at, bytes) => {
        const changed = Buffer.from(ovmf);
        changed.set(bytes.subarray(0, 4096 - at), at);
        try {
          readOvmf(changed);
        } catch (error) {
          expect(error).toBeInstanceOf(Refused);
        }
      }),
      { numRuns: 1000 },
    );
  });
});
