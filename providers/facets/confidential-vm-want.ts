import { z } from "zod";
import { OVMF_BUILT, QEMU_BUILT } from "../kit/host.ts";
import { GpusSchema } from "../kit/parse-lspci.ts";

const Absolute = z.string().regex(/^\/[\w./+-]+$/, "an absolute path without blanks");
export const ConfidentialVmWant = z.strictObject({
  gpus: GpusSchema,
  gpuMode: z.enum(["on", "off", "devtools"]).default("on").describe("CC mode the GPUs have when the VM starts."),
  qemu: Absolute.default(QEMU_BUILT).describe("QEMU binary; default: the one that TeeUp built."),
  ovmf: Absolute.default(OVMF_BUILT).describe("OVMF image; default: the one beside the built QEMU."),
  ovmfAs: z.enum(["bios", "pflash"]).default("bios").describe("How QEMU gets the image: -bios, or a pflash drive."),
  cpus: z.int().min(1).max(512).describe("vCPUs."),
  memoryGiB: z.int().min(2).max(4096).describe("Memory in GiB (seed 001: MEM)."),
  cpuModel: z
    .string()
    .regex(/^[\w.,+=-]+$/)
    .default("EPYC-v4")
    .describe("QEMU CPU model."),
  cbitpos: z.int().min(32).max(63).default(51).describe("Position of the C-bit: 51 on Milan, Genoa and Turin."),
  reducedPhysBits: z.int().min(0).max(16).default(1).describe("Physical address bits lost to encryption."),
  policy: z
    .string()
    .regex(/^0x[0-9a-f]+$/)
    .default("0x30000")
    .describe("SNP guest policy: 0x30000 allows SMT, no debugging."),
  memfd: z
    .boolean()
    .default(true)
    .describe("Shared memfd memory, as upstream QEMU's SNP needs; the 5.19 tree has none."),
  iommufd: z.boolean().default(false).describe("Hand GPUs over through /dev/iommu."),
  mmio64MiBPerGpu: z.int().min(65536).default(262_144).describe("64-bit MMIO window per GPU in MiB (X-PciMmio64Mb)."),
  sshPort: z
    .int()
    .min(1024)
    .max(65535)
    .default(2222)
    .describe("Loopback port that leads to the guest's sshd (FWDPORT)."),
});
export type ConfidentialVmWant = z.output<typeof ConfidentialVmWant>;
