import { Refused } from "./refusals.ts";

/** What an OVMF image says of how it is to be launched: the table of GUIDs at its end (edk2 OvmfPkg/ResetVector). */
export interface Ovmf {
  /** Where the image lies in the guest: it ends at 4 GiB. */
  readonly gpa: number;
  /** Where vCPUs other than the first start. */
  readonly apEip: number;
  /** Where the hashes of kernel, initrd and command line go; undefined when the image has no place for them. */
  readonly hashesGpa: number | undefined;
  readonly sections: readonly Section[];
}

export interface Section {
  readonly gpa: number;
  readonly size: number;
  readonly kind: SectionKind;
}

const KINDS = { 1: "zero", 2: "secrets", 3: "cpuid", 4: "zero", 16: "kernel-hashes" } as const;
type SectionKind = (typeof KINDS)[keyof typeof KINDS];

const FOUR_GIB = 0x1_0000_0000;
const GUID = {
  footer: "96b582de-1fb2-45f7-baea-a366c55a082d",
  hashes: "7255371f-3a3b-4b04-927b-1da6efa8d454",
  reset: "00f771de-1a7e-4fcb-890e-68c77e2fb44e",
  metadata: "dc886566-984a-4798-a75e-5585a7bf67cc",
} as const;

/** Bytes of a GUID as firmware stores them: the first three groups little-endian. */
export function guidBytes(guid: string): Buffer {
  const [a = "", b = "", c = "", d = "", e = ""] = guid.split("-");
  const reversed = (text: string): Buffer => Buffer.from(text, "hex").reverse();
  return Buffer.concat([reversed(a), reversed(b), reversed(c), Buffer.from(d + e, "hex")]);
}

/** Reads an image. Throws `attest.unsupported` for one that is not made for SEV-SNP, `attest.malformed` for a broken table. */
export function readOvmf(image: Uint8Array): Ovmf {
  const b = Buffer.from(image.buffer, image.byteOffset, image.byteLength);
  if (b.length === 0 || b.length % 4096 !== 0) malformed(`${b.length} bytes are no whole pages`);
  const table = readTable(b);
  const number = (guid: string): number | undefined => {
    const entry = table.get(guidBytes(guid).toString("hex"));
    return entry === undefined
      ? undefined
      : entry.length < 4
        ? malformed("an entry is too short")
        : entry.readUInt32LE(0);
  };
  const [apEip, fromEnd, hashesGpa] = [number(GUID.reset), number(GUID.metadata), number(GUID.hashes)];
  if (apEip === undefined || fromEnd === undefined)
    throw new Refused("attest.unsupported", "the firmware has no SEV-ES reset block or no SEV metadata");
  return {
    gpa: FOUR_GIB - b.length,
    apEip,
    hashesGpa: hashesGpa === 0 ? undefined : hashesGpa,
    sections: readSections(b, b.length - fromEnd),
  };
}

/** Entries by the hex of their GUID. The table ends 32 bytes before the image does and is read from its end. */
function readTable(b: Buffer): Map<string, Buffer> {
  const footer = b.length - 32 - 18;
  if (!b.subarray(footer + 2, footer + 18).equals(guidBytes(GUID.footer)))
    throw new Refused("attest.unsupported", "the firmware ends without OVMF's table");
  let end = footer;
  const start = footer + 18 - b.readUInt16LE(footer);
  if (start < 0 || start > end) malformed("the table is longer than the image");
  const out = new Map<string, Buffer>();
  while (end - start >= 18) {
    const size = b.readUInt16LE(end - 18);
    if (size < 18 || end - size < start) malformed("an entry does not fit");
    out.set(b.subarray(end - 16, end).toString("hex"), b.subarray(end - size, end - 18));
    end -= size;
  }
  return out;
}

function readSections(b: Buffer, start: number): Section[] {
  if (start < 0 || start + 16 > b.length || b.toString("latin1", start, start + 4) !== "ASEV")
    malformed("no SEV metadata");
  if (b.readUInt32LE(start + 8) !== 1)
    throw new Refused("attest.unsupported", "SEV metadata of another version than 1");
  const count = b.readUInt32LE(start + 12);
  if (start + 16 + 12 * count > b.length) malformed("the SEV metadata is longer than the image");
  return Array.from({ length: count }, (_, i) => {
    const at = start + 16 + 12 * i;
    const type = b.readUInt32LE(at + 8);
    const kind = KINDS[type as keyof typeof KINDS];
    if (kind === undefined) throw new Refused("attest.unsupported", `SEV metadata section of type ${type}`);
    const [gpa, size] = [b.readUInt32LE(at), b.readUInt32LE(at + 4)];
    if (size % 4096 !== 0) malformed("a section is no whole pages");
    return { gpa, size, kind };
  });
}

function malformed(why: string): never {
  throw new Refused("attest.malformed", `the firmware image: ${why}`);
}
