import { createHash, sign } from "node:crypto";
import type { Identity, Validity } from "./pki.ts";
import { anchorOf, integer, issue, revocationList, tlv, vendorExtension } from "./pki.ts";

export type Product = "Milan" | "Genoa" | "Turin";

/** Security version numbers; `fmc` only on Turin. */
export interface Svns {
  readonly fmc?: number;
  readonly bootloader: number;
  readonly tee: number;
  readonly snp: number;
  readonly microcode: number;
}

export const SVNS: Svns = { bootloader: 4, tee: 0, snp: 24, microcode: 219 };

/** AMD as tests have it: an ARK, an ASK and chips, in AMD's names. Nothing of a release trusts it. */
export interface TestAmd {
  readonly product: Product;
  readonly ark: Identity;
  readonly ask: Identity;
  readonly anchor: ReturnType<typeof anchorOf>;
  /** The revocation list of the ARK, DER. */
  crl(revoked?: readonly Identity[], validity?: Validity): Promise<Buffer>;
  chip(options?: ChipOptions): Promise<TestChip>;
}

export interface ChipOptions {
  /** 64 bytes (8 on Turin), default from the product's name. */
  readonly id?: Buffer;
  readonly svns?: Svns;
  readonly validity?: Validity;
  /** A cloud's key instead of the chip's. */
  readonly vlek?: string;
}

export interface TestChip {
  readonly key: Identity;
  readonly id: Buffer;
  readonly svns: Svns;
  /** A signed report, 1,184 bytes. */
  report(fields?: Fields): Buffer;
}

/** What tests change in a report; everything else is as a sound guest has it. */
export interface Fields {
  readonly version?: 2 | 3 | 5;
  readonly reportData?: Buffer;
  readonly measurement?: Buffer;
  readonly policy?: bigint;
  readonly vmpl?: number;
  readonly chipId?: Buffer;
  /** Per place: all four by default those of the chip. */
  readonly tcb?: Partial<Record<"current" | "reported" | "committed" | "launch", Svns>>;
  readonly hostData?: Buffer;
  /** Last say over the 1,184 bytes, before they are signed. */
  readonly edit?: (report: Buffer) => void;
}

/** SMT allowed, nothing else. */
export const GUEST_POLICY = 0x30000n;
export const DEBUG_POLICY = 0xb0000n;
export const MEASUREMENT = createHash("sha384").update("a launch measurement for tests").digest();

const AMD = "OU=Engineering, C=US, L=Santa Clara, ST=CA, O=Advanced Micro Devices";
const STEPPING = { Milan: "Milan-B0", Genoa: "Genoa-B1", Turin: "Turin-C1" } as const;
const CPUID = { Milan: [0x19, 0x01, 0x01], Genoa: [0x19, 0x11, 0x01], Turin: [0x1a, 0x02, 0x01] } as const;

export async function testAmd(product: Product = "Milan", validity?: Validity): Promise<TestAmd> {
  const ark = await issue({ subject: `${AMD}, CN=ARK-${product}`, kind: "rsa", ca: true });
  const ask = await issue({
    subject: `${AMD}, CN=SEV-${product}`,
    kind: "rsa",
    issuer: ark,
    ca: true,
    // With its highest bit set, a serial number has a leading zero byte in one notation and none in another.
    serial: "00f1e2d3c4b5a69788",
    ...(validity === undefined ? {} : { validity }),
  });
  return {
    product,
    ark,
    ask,
    anchor: anchorOf(ark),
    crl: (revoked, times) => revocationList(ark, revoked, times),
    chip: (options) => chip(product, ask, options),
  };
}

async function chip(product: Product, ask: Identity, options: ChipOptions = {}): Promise<TestChip> {
  const turin = product === "Turin";
  const id =
    options.id ??
    createHash("sha512")
      .update(`chip of ${product}`)
      .digest()
      .subarray(0, turin ? 8 : 64);
  const svns = options.svns ?? (turin ? { ...SVNS, fmc: 1 } : SVNS);
  const amd = (arc: string, value: Uint8Array) => vendorExtension(`1.3.6.1.4.1.3704.1.${arc}`, value);
  const ia5 = (text: string): Buffer => tlv(0x16, Buffer.from(text, "latin1"));
  const key = await issue({
    subject: `${AMD}, CN=SEV-${options.vlek === undefined ? "VCEK" : "VLEK"}`,
    kind: "p384",
    issuer: ask,
    // Every VCEK of KDS has it.
    serial: "00",
    ...(options.validity === undefined ? {} : { validity: options.validity }),
    extensions: [
      amd("1", integer(0)),
      amd("2", ia5(STEPPING[product])),
      amd("3.1", integer(svns.bootloader)),
      amd("3.2", integer(svns.tee)),
      amd("3.3", integer(svns.snp)),
      amd("3.8", integer(svns.microcode)),
      ...(svns.fmc === undefined ? [] : [amd("3.9", integer(svns.fmc))]),
      ...(options.vlek === undefined ? [amd("4", id)] : [amd("5", ia5(options.vlek))]),
    ],
  });
  const report = (fields: Fields = {}): Buffer => {
    const b = Buffer.alloc(1184);
    const version = fields.version ?? (turin ? 5 : 3);
    b.writeUInt32LE(version, 0);
    b.writeBigUInt64LE(fields.policy ?? GUEST_POLICY, 0x08);
    b.writeUInt32LE(fields.vmpl ?? 0, 0x30);
    b.writeUInt32LE(1, 0x34);
    b.writeUInt32LE(options.vlek === undefined ? 0 : 1 << 2, 0x48);
    (fields.reportData ?? Buffer.alloc(64)).copy(b, 0x50);
    (fields.measurement ?? MEASUREMENT).copy(b, 0x90);
    (fields.hostData ?? Buffer.alloc(32)).copy(b, 0xc0);
    b.fill(0xff, 0x160, 0x180);
    if (version > 2) b.set(CPUID[product], 0x188);
    (fields.chipId ?? (options.vlek === undefined ? id : Buffer.alloc(64))).copy(b, 0x1a0);
    const places = { current: 0x38, reported: 0x180, committed: 0x1e0, launch: 0x1f0 } as const;
    for (const [place, at] of Object.entries(places))
      rawTcb(product, fields.tcb?.[place as keyof typeof places] ?? svns).copy(b, at);
    fields.edit?.(b);
    signReport(b, key);
    return b;
  };
  return { key, id, svns, report };
}

/** Signs the first 0x2a0 bytes anew: ECDSA P-384, r and s little-endian in 72 bytes each. */
export function signReport(report: Buffer, { privateKey }: Identity): void {
  const signature = sign("sha384", report.subarray(0, 0x2a0), { key: privateKey, dsaEncoding: "ieee-p1363" });
  report.fill(0, 0x2a0);
  report.set(Buffer.from(signature.subarray(0, 48)).reverse(), 0x2a0);
  report.set(Buffer.from(signature.subarray(48)).reverse(), 0x2a0 + 72);
}

function rawTcb(product: Product, { fmc = 0, bootloader, tee, snp, microcode }: Svns): Buffer {
  return product === "Turin"
    ? Buffer.from([fmc, bootloader, tee, snp, 0, 0, 0, microcode])
    : Buffer.from([bootloader, tee, 0, 0, 0, 0, snp, microcode]);
}
