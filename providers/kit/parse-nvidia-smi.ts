/**
 * What nvidia-smi says of confidential computing. Each function returns undefined for text it does not know, so that
 * a new driver's wording becomes `unknown` and never a wrong verdict.
 */

/** `nvidia-smi conf-compute -f`. */
export function parseCcFeature(text: string): "on" | "off" | undefined {
  return onOff(/^\s*CC status:\s*(ON|OFF)\s*$/m.exec(text)?.[1]);
}

/** `nvidia-smi conf-compute -d`. */
export function parseDevtools(text: string): "on" | "off" | undefined {
  return onOff(/^\s*DevTools Mode:\s*(ON|OFF)\s*$/m.exec(text)?.[1]);
}

/** `nvidia-smi conf-compute -grs`. */
export function parseReadyState(text: string): "ready" | "not-ready" | undefined {
  const match = /^\s*Confidential Compute GPUs Ready state:\s*(ready|not-ready)\s*$/im.exec(text)?.[1];
  return match?.toLowerCase() as "ready" | "not-ready" | undefined;
}

/** `nvidia-smi conf-compute -mgm`, e.g. `None` or `Protected PCIe`. */
export function parseMultiGpuMode(text: string): string | undefined {
  return /^\s*Multi-GPU Mode:\s*(\S.*?)\s*$/m.exec(text)?.[1];
}

/** The block of `nvidia-smi conf-compute -q`. */
export interface ConfCompute {
  readonly cc: "on" | "off";
  /** `None`, `Protected PCIe`, … */
  readonly multiGpu: string;
  /** `None`, `AMD SEV-SNP`, `INTEL TDX`, … */
  readonly cpu: string;
  /** `CC Capable`, … */
  readonly gpu: string;
  readonly ready: "ready" | "not-ready";
}

export function parseConfCompute(text: string): ConfCompute | undefined {
  const field = (name: string) => new RegExp(`^\\s*${name}\\s*:\\s*(\\S.*?)\\s*$`, "m").exec(text)?.[1];
  const cc = onOff(field("CC State"));
  const [multiGpu, cpu, gpu] = [field("Multi-GPU Mode"), field("CPU CC Capabilities"), field("GPU CC Capabilities")];
  const ready = field("CC GPUs Ready State")?.toLowerCase();
  if (cc === undefined || multiGpu === undefined || cpu === undefined || gpu === undefined) return undefined;
  if (ready !== "ready" && ready !== "not ready") return undefined;
  return { cc, multiGpu, cpu, gpu, ready: ready === "ready" ? "ready" : "not-ready" };
}

export interface SmiGpu {
  /** Full address, lower case: `0000:00:06.0`. */
  readonly bdf: string;
  readonly name: string;
  /** Upper case, `96.00.A5.00.1A`. */
  readonly vbios: string;
  readonly driver: string;
  readonly persistence: boolean;
}

export const SMI_GPUS = [
  "nvidia-smi",
  "--query-gpu=pci.bus_id,name,vbios_version,driver_version,persistence_mode",
  "--format=csv",
] as const;

/**
 * The answer to {@link SMI_GPUS}, or to any such question that names these columns, in any order. Undefined when a
 * column is missing, or a line has not as many fields as the head.
 */
export function parseSmiGpus(text: string): SmiGpu[] | undefined {
  const [head = [], ...rows] = text
    .split("\n")
    .filter((line) => line.trim() !== "")
    .map((line) => line.split(",").map((field) => field.trim()));
  const gpus: SmiGpu[] = [];
  for (const row of rows) {
    const field = (name: string): string => row[head.indexOf(name)] ?? "";
    const bdf = BUS_ID.exec(field("pci.bus_id"))?.[1]?.toLowerCase();
    const [name, vbios, driver] = [field("name"), field("vbios_version"), field("driver_version")];
    const persistence = field("persistence_mode");
    if (row.length !== head.length || bdf === undefined || name === "" || vbios === "" || driver === "")
      return undefined;
    if (persistence !== "Enabled" && persistence !== "Disabled") return undefined;
    gpus.push({ bdf, name, vbios: vbios.toUpperCase(), driver, persistence: persistence === "Enabled" });
  }
  return head.includes("pci.bus_id") ? gpus : undefined;
}

/** nvidia-smi writes the domain with eight digits, the kernel with four. */
const BUS_ID = /^(?:[0-9a-f]{4})?([0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7])$/i;

/** `VBIOS Version` lines of `nvidia-smi -q` by GPU address; the form seed 001 greps. */
export function parseSmiVbios(text: string): Map<string, string> {
  const found = new Map<string, string>();
  let bdf: string | undefined;
  for (const line of text.split("\n")) {
    const gpu = /^GPU (?:[0-9A-F]{4})?([0-9A-F]{4}:[0-9A-F]{2}:[0-9A-F]{2}\.[0-7])\s*$/i.exec(line)?.[1];
    if (gpu !== undefined) bdf = gpu.toLowerCase();
    const vbios = /^\s+VBIOS Version\s+:\s+(\S+)\s*$/.exec(line)?.[1];
    if (vbios !== undefined && bdf !== undefined) found.set(bdf, vbios.toUpperCase());
  }
  return found;
}

const HEX_VERSION = /^[0-9A-F]{2}(\.[0-9A-F]{2}){4}$/i;

/** Compares VBIOS versions (hex groups); undefined when either is not of the form `96.00.5E.00.00`. */
export function compareVbios(a: string, b: string): number | undefined {
  if (!HEX_VERSION.test(a) || !HEX_VERSION.test(b)) return undefined;
  const [x, y] = [a.toUpperCase(), b.toUpperCase()];
  return x === y ? 0 : x < y ? -1 : 1;
}

/** `/proc/driver/nvidia/version`: version and whether it is the open kernel module. */
export function parseDriverVersion(text: string): { readonly version: string; readonly open: boolean } | undefined {
  const line = /^NVRM version:\s+(.*)$/m.exec(text)?.[1];
  const version = line === undefined ? undefined : /\s(\d+\.\d+(?:\.\d+)?)\s/.exec(line)?.[1];
  if (line === undefined || version === undefined) return undefined;
  return { version, open: line.includes("Open Kernel Module") };
}

function onOff(word: string | undefined): "on" | "off" | undefined {
  return word === "ON" ? "on" : word === "OFF" ? "off" : undefined;
}

/** `modinfo nvidia`: the module that the running kernel would load. The open one is dual-licensed. */
export function parseModinfo(text: string): { readonly version: string; readonly open: boolean } | undefined {
  const field = (name: string) => new RegExp(`^${name}:\\s+(\\S.*?)\\s*$`, "m").exec(text)?.[1];
  const [version, license] = [field("version"), field("license")];
  return version === undefined || license === undefined ? undefined : { version, open: /GPL/.test(license) };
}
