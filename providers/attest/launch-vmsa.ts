/**
 * The state that a vCPU starts with (VMSA, AMD APM volume 2 table B-4), as KVM and QEMU set it: one page per vCPU that
 * the launch digest covers. Offsets in bytes; everything else is zero.
 */

/** Where the first vCPU starts: the reset vector. */
const BSP_EIP = 0xfffffff0;

/** es, cs, ss, ds, fs, gs, gdtr, ldtr, idtr, tr: 16 bytes each (selector, attributes, limit, base). */
const SEGMENTS: readonly (readonly [selector: number, attributes: number, limit: number])[] = [
  [0, 0x93, 0xffff],
  [0xf000, 0x9b, 0xffff],
  [0, 0x93, 0xffff],
  [0, 0x93, 0xffff],
  [0, 0x93, 0xffff],
  [0, 0x93, 0xffff],
  [0, 0, 0xffff],
  [0, 0x82, 0xffff],
  [0, 0, 0xffff],
  [0, 0x8b, 0xffff],
];
const CS = 1;

/** VMSA pages of `vcpus` vCPUs: the first starts at the reset vector, the others where the firmware says. */
export function vmsaPages(vcpus: number, apEip: number, signature: number, features: bigint): Buffer[] {
  const first = page(BSP_EIP, signature, features);
  const others = page(apEip, signature, features);
  return Array.from({ length: vcpus }, (_, i) => (i === 0 ? first : others));
}

function page(eip: number, signature: number, features: bigint): Buffer {
  const b = Buffer.alloc(4096);
  SEGMENTS.forEach(([selector, attributes, limit], i) => {
    b.writeUInt16LE(selector, 16 * i);
    b.writeUInt16LE(attributes, 16 * i + 2);
    b.writeUInt32LE(limit, 16 * i + 4);
    if (i === CS) b.writeBigUInt64LE(BigInt(eip) & 0xffff0000n, 16 * i + 8);
  });
  const set = (at: number, value: bigint | number): void => {
    b.writeBigUInt64LE(BigInt(value), at);
  };
  set(0x0d0, 0x1000); // efer: KVM sets SVME
  set(0x148, 0x40); // cr4: KVM sets MCE
  set(0x158, 0x10); // cr0
  set(0x160, 0x400); // dr7
  set(0x168, 0xffff0ff0); // dr6
  set(0x170, 0x2); // rflags
  set(0x178, BigInt(eip) & 0xffffn); // rip
  set(0x268, 0x7040600070406n); // g_pat
  set(0x310, signature); // rdx: family, model and stepping
  set(0x3b0, features); // sev_features
  set(0x3e8, 1); // xcr0
  b.writeUInt32LE(0x1f80, 0x408); // mxcsr
  b.writeUInt16LE(0x37f, 0x410); // x87 control word
  return b;
}
