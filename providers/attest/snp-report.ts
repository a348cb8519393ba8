import { z } from "zod";
import type { Tcb } from "../kit/attest-policy.ts";
import { hex, isZero, toHex } from "./hex.ts";
import { Refused } from "./refusals.ts";

/** ATTESTATION_REPORT of AMD 56860 (SEV-SNP firmware ABI) rev. 1.58, section 7.3, tables 23 and 25. */
export const REPORT_BYTES = 1184;
/** What the signature is over. */
export const SIGNED_BYTES = 0x2a0;

export const SNP_PRODUCTS = ["Milan", "Genoa", "Turin"] as const;
export type SnpProduct = (typeof SNP_PRODUCTS)[number];

const svn = z.int().min(0).max(255);

export const SnpReportSchema = z.strictObject({
  version: z.union([z.literal(2), z.literal(3), z.literal(5)]),
  /** From family and model, which reports tell from version 3 on. */
  product: z.enum(SNP_PRODUCTS).optional(),
  guestSvn: z.int(),
  /** GUEST_POLICY, table 10. */
  policy: z.strictObject({
    abiMajor: svn,
    abiMinor: svn,
    smt: z.boolean(),
    migrationAgent: z.boolean(),
    debug: z.boolean(),
    singleSocket: z.boolean(),
    cxl: z.boolean(),
    aes256xts: z.boolean(),
    raplDisabled: z.boolean(),
    ciphertextHiding: z.boolean(),
    pageSwapDisabled: z.boolean(),
    hex: hex(8),
  }),
  familyId: hex(16),
  imageId: hex(16),
  /** 0xffffffff when the host asked for it (then no guest stands behind it). */
  vmpl: z.int(),
  platformInfo: hex(8),
  signer: z.enum(["VCEK", "VLEK"]),
  chipIdMasked: z.boolean(),
  reportData: hex(64),
  measurement: hex(48),
  hostData: hex(32),
  idKeyDigest: hex(48),
  authorKeyDigest: hex(48),
  reportId: hex(32),
  chipId: hex(64),
  /** The raw TCB_VERSIONs: how they are read depends on the product. */
  tcb: z.strictObject({ current: hex(8), reported: hex(8), committed: hex(8), launch: hex(8) }),
});
export type SnpReport = z.infer<typeof SnpReportSchema>;

/**
 * Reads a report. Throws `attest.truncated`, `attest.oversized` (more bytes than a report has: nothing is guessed to be
 * padding), `attest.unsupported` (versions other than 2, 3 and 5, other algorithms, unknown products) and
 * `attest.malformed` (reserved bits that are not as the firmware writes them).
 */
export function parseSnpReport(bytes: Uint8Array): SnpReport {
  const b = Buffer.from(bytes);
  if (b.length < REPORT_BYTES) throw new Refused("attest.truncated", `${b.length} of a report's ${REPORT_BYTES} bytes`);
  if (b.length > REPORT_BYTES) throw new Refused("attest.oversized", `${b.length} bytes; a report has ${REPORT_BYTES}`);
  const version = b.readUInt32LE(0);
  if (version !== 2 && version !== 3 && version !== 5)
    throw new Refused("attest.unsupported", `report version ${version}; known are 2, 3 and 5`);
  const algorithm = b.readUInt32LE(0x34);
  if (algorithm !== 1)
    throw new Refused("attest.unsupported", `signature algorithm ${algorithm}; known is 1, ECDSA P-384 with SHA-384`);
  const policy = b.readBigUInt64LE(8);
  const flag = (at: number): boolean => ((policy >> BigInt(at)) & 1n) === 1n;
  // Bit 17 is always one; above 25 nothing is defined: a policy with more is of a newer firmware ABI.
  if (!flag(17) || policy >> 26n !== 0n)
    throw new Refused("attest.malformed", `reserved bits of the guest policy 0x${policy.toString(16)}`);
  const flags = b.readUInt32LE(0x48);
  const signing = (flags >> 2) & 7;
  if (signing > 1)
    throw new Refused("attest.unsupported", signing === 7 ? "a report that nothing signed" : `signing key ${signing}`);
  const part = (at: number, length: number): string => toHex(b.subarray(at, at + length));
  return SnpReportSchema.parse({
    version,
    product: version >= 3 ? productOf(b.readUInt8(0x188), b.readUInt8(0x189)) : undefined,
    guestSvn: b.readUInt32LE(4),
    policy: {
      abiMinor: Number(policy & 0xffn),
      abiMajor: Number((policy >> 8n) & 0xffn),
      smt: flag(16),
      migrationAgent: flag(18),
      debug: flag(19),
      singleSocket: flag(20),
      cxl: flag(21),
      aes256xts: flag(22),
      raplDisabled: flag(23),
      ciphertextHiding: flag(24),
      pageSwapDisabled: flag(25),
      hex: policy.toString(16).padStart(16, "0"),
    },
    familyId: part(0x10, 16),
    imageId: part(0x20, 16),
    vmpl: b.readUInt32LE(0x30),
    platformInfo: b.readBigUInt64LE(0x40).toString(16).padStart(16, "0"),
    signer: signing === 0 ? "VCEK" : "VLEK",
    chipIdMasked: isZero(b.subarray(0x1a0, 0x1e0)),
    reportData: part(0x50, 64),
    measurement: part(0x90, 48),
    hostData: part(0xc0, 32),
    idKeyDigest: part(0xe0, 48),
    authorKeyDigest: part(0x110, 48),
    reportId: part(0x140, 32),
    chipId: part(0x1a0, 64),
    tcb: { current: part(0x38, 8), reported: part(0x180, 8), committed: part(0x1e0, 8), launch: part(0x1f0, 8) },
  });
}

/** The signature as node:crypto takes it: r and s, 48 bytes each, big-endian. The report has them little-endian in 72. */
export function signatureOf(bytes: Uint8Array): Buffer {
  const b = Buffer.from(bytes);
  const number = (at: number): Buffer => Buffer.from(b.subarray(at, at + 48)).reverse();
  const [r, s] = [SIGNED_BYTES, SIGNED_BYTES + 72];
  // What is left of the signature's 512 bytes is not signed: something else there would change the evidence's digest.
  if (!isZero(b.subarray(r + 48, r + 72)) || !isZero(b.subarray(s + 48, REPORT_BYTES)))
    throw new Refused("attest.snp.signature", "bytes behind r and s that no firmware writes");
  return Buffer.concat([number(r), number(s)]);
}

/** CPUID family (base and extended together) and model; Genoa's includes Bergamo and Siena, which use its keys. */
function productOf(family: number, model: number): SnpProduct {
  if (family === 0x19 && model <= 0x0f) return "Milan";
  if (family === 0x19 && ((model >= 0x10 && model <= 0x1f) || (model >= 0xa0 && model <= 0xaf))) return "Genoa";
  if (family === 0x1a && model <= 0x1f) return "Turin";
  throw new Refused("attest.unsupported", `CPU family 0x${family.toString(16)}, model 0x${model.toString(16)}`);
}

/** A raw TCB_VERSION of a product. Reserved bytes have to be zero. */
export function readTcb(raw: string, product: SnpProduct): Tcb {
  const b = Buffer.from(raw, "hex");
  const at = (i: number): number => b.readUInt8(i);
  const reserved = product === "Turin" ? b.subarray(4, 7) : b.subarray(2, 6);
  if (!isZero(reserved)) throw new Refused("attest.malformed", `reserved bytes in the TCB ${raw}`);
  return product === "Turin"
    ? { fmc: at(0), bootloader: at(1), tee: at(2), snp: at(3), microcode: at(7) }
    : { bootloader: at(0), tee: at(1), snp: at(6), microcode: at(7) };
}

export const showTcb = (tcb: Tcb): string =>
  Object.entries(tcb)
    .filter(([, value]) => value !== undefined)
    .map(([part, value]) => `${part} ${value}`)
    .join(", ");
