import { z } from "zod";
import type { Ask } from "./ask.ts";

/** Every PCI device with vendor, class, driver and IOMMU group in one answer (pciutils ≥ 3.7 for the group). */
export const LSPCI = { kind: "argv", argv: ["lspci", "-Dvmmkn"], maxBytes: 262_144 } as const satisfies Ask;

export interface PciDevice {
  /** Full address, lower case: `0000:81:00.0`. */
  readonly bdf: string;
  /** Four hex digits each. */
  readonly vendor: string;
  readonly device: string;
  readonly class: string;
  /** Two hex digits; `ff` when the device fell off the bus. */
  readonly revision: string;
  /** Kernel driver in use. */
  readonly driver: string | undefined;
  /** IOMMU group; undefined when the kernel made no groups. */
  readonly group: string | undefined;
}

/**
 * Parses `lspci -Dvmmkn`. Returns undefined when the text is not such a listing: a record without address, class,
 * vendor or device, or a line that is no `Key:<tab>value`.
 */
export function parseLspci(text: string): PciDevice[] | undefined {
  const devices: PciDevice[] = [];
  for (const block of text.split(/\n\s*\n/)) {
    if (block.trim() === "") continue;
    const record = new Map<string, string>();
    for (const line of block.split("\n")) {
      if (line.trim() === "") continue;
      const match = /^([A-Za-z]+):\t(.*)$/.exec(line);
      if (match === null) return undefined;
      // Module may come more than once; the first of every other key is the device's own.
      const [, key = "", value = ""] = match;
      if (!record.has(key)) record.set(key, value.trim());
    }
    const bdf = record.get("Slot")?.toLowerCase();
    const [vendor, device, cls] = ["Vendor", "Device", "Class"].map((key) => record.get(key)?.toLowerCase());
    if (bdf === undefined || !BDF.test(bdf)) return undefined;
    if (vendor === undefined || device === undefined || cls === undefined) return undefined;
    if (![vendor, device, cls].every((id) => /^[0-9a-f]{4}$/.test(id))) return undefined;
    devices.push({
      bdf,
      vendor,
      device,
      class: cls,
      revision: record.get("Rev")?.toLowerCase() ?? "00",
      driver: record.get("Driver"),
      group: record.get("IOMMUGroup"),
    });
  }
  return devices;
}

const BDF = /^[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$/;

/** GPUs by vendor and class, never by one id: boards of one generation come with many (seed 000: 2331, seed 001: 2336). */
export const isGpu = (d: PciDevice): boolean => d.vendor === "10de" && (d.class === "0302" || d.class === "0300");
export const isNvSwitch = (d: PciDevice): boolean => d.vendor === "10de" && d.class === "0680";
/** PCI and host bridges stay with the kernel when their IOMMU group goes to a guest; an NVSwitch (0680) is none. */
export const isBridge = (d: PciDevice): boolean => d.class === "0604" || d.class === "0600";

/** `0000:81:00.0 10de:2331` for people. */
export const showDevice = (d: PciDevice): string => `${d.bdf} ${d.vendor}:${d.device}`;

/** Names of ids in NVIDIA/gpu-admin-tools; an id that is not here is still a GPU. */
const NAMES: Readonly<Record<string, readonly string[]>> = {
  H100: ["2313", "2321", "2330", "2331", "2336", "2337", "2338", "2339", "233d"],
  H200: ["2335", "233b"],
  H800: ["2322", "2324", "233a"],
  H20: ["2328", "2329", "230e", "232c"],
  GH200: ["2342", "2343", "2345", "2348"],
  B200: ["2901"],
  GB200: ["2941"],
  B300: ["3182"],
  NVSwitch: ["22a3"],
};
export const modelOf = (device: string): string | undefined =>
  Object.entries(NAMES).find(([, ids]) => ids.includes(device))?.[0];

/** Blackwell has no Protected PCIe: several of its GPUs in one guest use CC mode `on` (docs/sources.md). */
export const isBlackwell = (d: PciDevice): boolean => ["B200", "GB200", "B300"].includes(modelOf(d.device) ?? "");

export const BdfSchema = z
  .string()
  .regex(
    /^[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$/,
    "a full PCI address in lower case, e.g. 0000:81:00.0 (lspci -D)",
  );

export const GpusSchema = z
  .union([z.literal("all"), z.array(BdfSchema).min(1)])
  .default("all")
  .describe('GPUs to give to the confidential VM: "all", or PCI addresses as `lspci -D` prints them.');
export type Gpus = z.infer<typeof GpusSchema>;

export const SwitchesSchema = z
  .boolean()
  .default(false)
  .describe("All NVSwitches too: Protected PCIe takes them together with all GPUs.");

/** The GPUs that `want` names, and the addresses among them at which no NVIDIA GPU is. */
export function selectGpus(
  devices: readonly PciDevice[],
  want: Gpus,
): { readonly gpus: readonly PciDevice[]; readonly absent: readonly string[] } {
  const all = devices.filter(isGpu);
  if (want === "all") return { gpus: all, absent: [] };
  return {
    gpus: all.filter((d) => want.includes(d.bdf)),
    absent: want.filter((bdf) => !all.some((d) => d.bdf === bdf)),
  };
}
