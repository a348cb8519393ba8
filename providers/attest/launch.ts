import { createHash } from "node:crypto";
import type { Ovmf, Section } from "./launch-ovmf.ts";
import { guidBytes, readOvmf } from "./launch-ovmf.ts";
import { vmsaPages } from "./launch-vmsa.ts";
import { Refused } from "./refusals.ts";

/** Family, model and stepping of QEMU's CPU models, as a vCPU starts with them in rdx (CPUID Fn0000_0001_EAX). */
export const VCPU_SIGNATURES: Readonly<Record<string, number>> = {
  "EPYC-Milan": signature(25, 1, 1),
  "EPYC-Milan-v1": signature(25, 1, 1),
  "EPYC-Milan-v2": signature(25, 1, 1),
  "EPYC-Genoa": signature(25, 17, 0),
  "EPYC-Genoa-v1": signature(25, 17, 0),
  "EPYC-Turin": signature(26, 0, 0),
  "EPYC-v4": signature(23, 1, 2),
};

/** A guest with its kernel given on QEMU's command line and `kernel-hashes=on`; without a kernel, firmware alone. */
export interface SnpLaunch {
  /** The whole firmware image, as QEMU loads it with -bios. */
  readonly ovmf: Uint8Array;
  readonly vcpus: number;
  /** QEMU's -cpu model; a model that is not known throws rather than measure wrong. */
  readonly vcpuType: string;
  /** SEV_FEATURES, default 1: SNP alone. QEMU and KVM of some versions add 0x20 (debug register swap). */
  readonly guestFeatures?: bigint;
  /** SHA-256 of each file as lower-case hex, so that a gigabyte initrd need not be read twice. */
  readonly kernel?: { readonly sha256: string; readonly initrdSha256?: string; readonly commandLine: string };
}

/**
 * The launch digest that the SEV firmware will report for a guest that QEMU and KVM start like this: 48 bytes, hex.
 * It does not cover the guest's disk: what the kernel mounts is measured only if the command line pins it (dm-verity).
 *
 * AMD 56860 section 8.17 (how pages are chained), QEMU target/i386/sev.c (which pages, and the hashes' table), and
 * virtee/sev-snp-measure 0.0.13, which the tests compare with. Only what those say of QEMU; no SVSM.
 * Throws `attest.unsupported` and `attest.malformed`.
 */
export function expectedMeasurement(launch: SnpLaunch): string {
  const rdx = VCPU_SIGNATURES[launch.vcpuType];
  if (rdx === undefined)
    throw new Refused("attest.unsupported", `the start state of the CPU ${launch.vcpuType} is not known`);
  if (!Number.isInteger(launch.vcpus) || launch.vcpus < 1)
    throw new Refused("attest.malformed", `${launch.vcpus} vCPUs`);
  const ovmf = readOvmf(launch.ovmf);
  const digest = new LaunchDigest();
  const image = Buffer.from(launch.ovmf.buffer, launch.ovmf.byteOffset, launch.ovmf.byteLength);
  for (let at = 0; at < image.length; at += PAGE) digest.page(NORMAL, ovmf.gpa + at, image.subarray(at, at + PAGE));
  for (const section of ovmf.sections) measureSection(digest, section, ovmf, launch);
  if (launch.kernel !== undefined && !ovmf.sections.some(({ kind }) => kind === "kernel-hashes"))
    throw new Refused("attest.unsupported", "a kernel is given, and the firmware has no place for its hashes");
  for (const page of vmsaPages(launch.vcpus, ovmf.apEip, rdx, launch.guestFeatures ?? 1n))
    digest.page(VMSA, VMSA_GPA, page);
  return digest.hex();
}

const PAGE = 4096;
/** PAGE_TYPE of SNP_LAUNCH_UPDATE. */
const [NORMAL, VMSA, ZERO, SECRETS, CPUID] = [1, 2, 3, 5, 6];
/** The address that all VMSAs have in the RMP. */
const VMSA_GPA = 0xffff_ffff_f000;

/** The chain of SNP_LAUNCH_UPDATEs: each page's PAGE_INFO, with the digest so far in it, hashed. */
class LaunchDigest {
  #digest: Buffer = Buffer.alloc(48);

  /** Without content for pages that the firmware fills or that are zero. */
  page(type: number, gpa: number, content?: Uint8Array): void {
    const info = Buffer.alloc(0x70);
    this.#digest.copy(info, 0);
    if (content !== undefined) createHash("sha384").update(content).digest().copy(info, 48);
    info.writeUInt16LE(info.length, 96);
    info.writeUInt8(type, 98);
    info.writeBigUInt64LE(BigInt(gpa), 104);
    this.#digest = createHash("sha384").update(info).digest();
  }

  hex(): string {
    return this.#digest.toString("hex");
  }
}

function measureSection(digest: LaunchDigest, { gpa, size, kind }: Section, ovmf: Ovmf, launch: SnpLaunch): void {
  if (kind === "secrets") digest.page(SECRETS, gpa);
  else if (kind === "cpuid") digest.page(CPUID, gpa);
  else if (kind === "kernel-hashes" && launch.kernel !== undefined) {
    if (ovmf.hashesGpa === undefined || size !== PAGE || (ovmf.hashesGpa & ~0xfff) >>> 0 !== gpa)
      throw new Refused("attest.malformed", "the firmware declares another page for the kernel's hashes than it reads");
    digest.page(NORMAL, gpa, hashesPage(ovmf.hashesGpa & 0xfff, launch.kernel));
  } else for (let at = 0; at < size; at += PAGE) digest.page(ZERO, gpa + at);
}

/** The table that QEMU writes with kernel-hashes=on: three SHA-256 under their GUIDs, in this order. */
function hashesPage(offset: number, { sha256, initrdSha256, commandLine }: NonNullable<SnpLaunch["kernel"]>): Buffer {
  const sum = (data: string): string => createHash("sha256").update(data).digest("hex");
  const entry = (guid: string, hash: string): Buffer => {
    if (!/^[0-9a-f]{64}$/.test(hash))
      throw new Refused("attest.malformed", "a kernel's or initrd's SHA-256 is not one");
    const length = Buffer.alloc(2);
    length.writeUInt16LE(50);
    return Buffer.concat([guidBytes(guid), length, Buffer.from(hash, "hex")]);
  };
  const length = Buffer.alloc(2);
  length.writeUInt16LE(168);
  const table = Buffer.concat([
    guidBytes("9438d606-4f22-4cc9-b479-a793d411fd21"),
    length,
    entry("97d02dd8-bd20-4c94-aa78-e7714d36ab2a", sum(`${commandLine}\0`)),
    entry("44baf731-3a2f-4bd7-9af1-41e29169781d", initrdSha256 ?? sum("")),
    entry("4de79437-abd2-427f-b835-d5b172d2045b", sha256),
  ]);
  const page = Buffer.alloc(PAGE);
  if (offset + table.length > PAGE) throw new Refused("attest.malformed", "the kernel's hashes do not fit their page");
  table.copy(page, offset);
  return page;
}

function signature(family: number, model: number, stepping: number): number {
  const [low, high] = family > 0xf ? [0xf, family - 0xf] : [family, 0];
  return (high << 20) | ((model >> 4) << 16) | (low << 8) | ((model & 0xf) << 4) | stepping;
}
