import type { Answer } from "../kit/ask.ts";
import { ok } from "../kit/ask.ts";
import type { Example } from "../kit/facet.ts";
import { isGpu, isNvSwitch, parseLspci } from "../kit/parse-lspci.ts";
import { argvOfUnit, vmUnit } from "../kit/qemu-args.ts";
import { specFor } from "./confidential-vm-plan.ts";
import type { ConfidentialVmWant } from "./confidential-vm-want.ts";

export const want: ConfidentialVmWant = {
  tee: "sev-snp",
  launcher: "qemu",
  gpus: "all",
  gpuMode: "on",
  qemu: "/opt/teeup/qemu/bin/qemu-system-x86_64",
  ovmf: "/opt/teeup/ovmf/OVMF.fd",
  ovmfAs: "bios",
  cpus: 16,
  memoryGiB: 64,
  quoteSocket: "unix:/var/run/tdx-qgs/qgs.socket",
  cbitpos: 51,
  reducedPhysBits: 1,
  policy: "0x30000",
  memfd: true,
  iommufd: false,
  mmio64MiBPerGpu: 262_144,
  sshPort: 2222,
};
const pci = (bdf: string, cls = "0302", device = "2331") =>
  `Slot:\t${bdf}\nClass:\t${cls}\nVendor:\t10de\nDevice:\t${device}\nDriver:\tvfio-pci\nIOMMUGroup:\t14\n`;
export const ONE = pci("0000:81:00.0");
export const EIGHT = [
  ...Array.from({ length: 8 }, (_, i) => pci(`0000:${i + 1}1:00.0`, "0302", "2335")),
  ...Array.from({ length: 4 }, (_, i) => pci(`0000:a${i + 1}:00.0`, "0680", "22a3")),
].join("\n");
export const spec = (wanted: ConfidentialVmWant, lspci = ONE) => {
  const made = specFor(wanted, parseLspci(lspci)?.filter((d) => isGpu(d) || isNvSwitch(d)) ?? []);
  if (made === undefined) throw new Error("the example's GPU is not there");
  return made;
};
export const unitOf = (wanted: ConfidentialVmWant, lspci = ONE) => vmUnit(spec(wanted, lspci), wanted.gpuMode);
export const unit = unitOf(want);
export const td: ConfidentialVmWant = { ...want, tee: "tdx", memfd: false };
export const eight: ConfidentialVmWant = { ...td, gpuMode: "ppcie", iommufd: true };
export const shown = (active: string, enabled = "enabled", stale = "no", pid = active === "active" ? 4711 : 0) =>
  ok(`MainPID=${pid}\nActiveState=${active}\nUnitFileState=${enabled}\nNeedDaemonReload=${stale}\n`);
export const up: Readonly<Record<string, Answer>> = {
  lspci: ok(ONE),
  unit: ok(unit),
  state: shown("active"),
  process: ok(`4711 ${argvOfUnit(unit)}\n`),
};
export const example = (
  name: string,
  answers: Readonly<Record<string, Answer>>,
  findings: readonly string[],
  steps: readonly string[],
  wanted = want,
): Example<ConfidentialVmWant> => ({ name, want: wanted, answers: { ...up, ...answers }, findings, steps });
