import { z } from "zod";
import { OVMF_BUILT, QEMU_BUILT } from "../kit/host.ts";
import { GpusSchema } from "../kit/parse-lspci.ts";
import { TEES } from "../kit/qemu-args.ts";

const Absolute = z.string().regex(/^\/[\w./+-]+$/, "an absolute path without blanks");
const Parts = z.strictObject({
  tee: z.enum(TEES).default("sev-snp").describe("What keeps the guest's memory from the host."),
  launcher: z
    .enum(["qemu", "libvirt"])
    .default("qemu")
    .describe("Who starts QEMU: a systemd unit of TeeUp's, or libvirt (≥ 10.5 for SEV-SNP, ≥ 11.6 for TDX)."),
  gpus: GpusSchema,
  gpuMode: z
    .enum(["on", "off", "devtools", "ppcie"])
    .default("on")
    .describe("CC mode the GPUs have when the VM starts; with ppcie the guest gets all NVSwitches too."),
  qemu: Absolute.default(QEMU_BUILT).describe("QEMU binary; default: the one that TeeUp built."),
  ovmf: Absolute.default(OVMF_BUILT).describe("OVMF image; default: the one beside the built QEMU."),
  firmware: z
    .string()
    .min(1)
    .optional()
    .describe("SEV-SNP: that image as a file of the controller; what the guest will measure is computed from it."),
  ovmfAs: z.enum(["bios", "pflash"]).default("bios").describe("How QEMU gets the image: -bios, or a pflash drive."),
  cpus: z.int().min(1).max(512).describe("vCPUs."),
  memoryGiB: z.int().min(2).max(4096).describe("Memory in GiB (seed 001: MEM)."),
  cpuModel: z
    .string()
    .regex(/^[\w.,+=-]+$/)
    .optional()
    .describe("QEMU CPU model; default EPYC-v4 for SEV-SNP, host for TDX."),
  quoteSocket: z
    .string()
    .regex(/^(unix:\/[\w./-]+|vsock:\d+:\d+)$/)
    .default("unix:/var/run/tdx-qgs/qgs.socket")
    .describe("TDX: where the quote generation service listens: unix:/path, or vsock:cid:port (libvirt: unix only)."),
  cbitpos: z
    .int()
    .min(32)
    .max(63)
    .default(51)
    .describe("SEV-SNP: position of the C-bit, 51 on Milan, Genoa and Turin."),
  reducedPhysBits: z.int().min(0).max(16).default(1).describe("SEV-SNP: physical address bits lost to encryption."),
  policy: z
    .string()
    .regex(/^0x[0-9a-f]+$/)
    .default("0x30000")
    .describe("SEV-SNP guest policy: 0x30000 allows SMT, no debugging."),
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
export const ConfidentialVmWant = Parts.refine((w) => w.launcher === "qemu" || w.quoteSocket.startsWith("unix:"), {
  path: ["quoteSocket"],
  error: "libvirt reaches the quote generation service at a unix socket only",
}).refine((w) => w.launcher === "qemu" || !w.iommufd, {
  path: ["iommufd"],
  error: "TeeUp's libvirt domain hands devices over through the group interface only",
});
export type ConfidentialVmWant = z.output<typeof ConfidentialVmWant>;
