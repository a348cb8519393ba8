import type { Answer } from "../kit/ask.ts";
import { ran } from "../kit/ask.ts";
import type { Fact } from "../kit/facts.ts";
import { known, unknown } from "../kit/facts.ts";
import type { ToolGpu } from "../kit/parse-gpu-tool.ts";
import { parseGpuTool } from "../kit/parse-gpu-tool.ts";
import type { PciDevice } from "../kit/parse-lspci.ts";
import { isNvSwitch, selectGpus } from "../kit/parse-lspci.ts";
import type { GpuCcModeWant } from "./gpu-cc-mode.ts";

export interface GpuCcModeFacts {
  /** GPUs and NVSwitches. */
  readonly devices: Fact<readonly PciDevice[]>;
  /** A QEMU on the host was given a VFIO device: then the mode cannot be read without disturbing the guest. */
  readonly held: Fact<boolean>;
  /** The holder is the process of the confidential VM: only then does what the VM was made for speak for it. */
  readonly ours: Fact<boolean>;
  /** What the confidential VM was made for: the mode, `unsaid` in one that is not TeeUp's, its GPUs and NVSwitches. */
  readonly vm: Fact<{ readonly mode: string; readonly gpus: readonly string[]; readonly launcher: "qemu" | "libvirt" }>;
  readonly nvidiaLoaded: Fact<boolean>;
  /** Absent while held, while nvidia is loaded, and while the tool is not installed. */
  readonly modes: Fact<readonly ToolGpu[]>;
  /** vfio-pci was told to keep idle devices out of D3. */
  readonly idleD3Off: boolean;
}

export function yesNo(answer: Answer): Fact<boolean> {
  const r = ran(answer);
  if (r.state !== "known") return r.state === "absent" ? unknown("pgrep or grep is missing") : r;
  return r.value.status <= 1 ? known(r.value.status === 0) : unknown(`exit ${r.value.status}`);
}

/** Numbers of the processes that hold a GPU. */
export const holders = (held: Answer): readonly string[] => (held.kind === "ran" ? held.stdout.split(/\s+/) : []);

/** What the tool says of CC, and of Protected PCIe where there are NVSwitches: by device. */
export function modesOf(cc: Answer, ppcie: Answer, absentTool: boolean): Fact<readonly ToolGpu[]> {
  if (absentTool || cc.kind === "skipped") return { state: "absent" };
  const [first, second] = [ran(cc), ppcie.kind === "skipped" ? known(undefined) : ran(ppcie)];
  if (first.state !== "known") return first;
  if (second.state !== "known") return second.state === "absent" ? unknown("no answer of --query-ppcie-mode") : second;
  const text = (of: "stdout" | "stderr") => `${first.value[of]}\n${second.value?.[of] ?? ""}`;
  const seen = parseGpuTool(text("stdout"), text("stderr"));
  return seen.length === 0 ? unknown(`the tool named no GPU (exit ${first.value.status})`) : known(seen);
}

/** What the wanted mode is of: the wanted GPUs, and under Protected PCIe the NVSwitches. */
export function targets(want: GpuCcModeWant, devices: readonly PciDevice[]): readonly PciDevice[] {
  const { gpus } = selectGpus(devices, want.gpus);
  return want.mode === "ppcie" ? [...gpus, ...devices.filter(isNvSwitch)] : gpus;
}

/** The mode of a device in the words of the want; undefined when it cannot be told. */
export function modeOf(seen: ToolGpu | undefined, device: PciDevice): string | undefined {
  if (seen?.ppcie === "on") return "ppcie";
  // A switch knows nothing else; a GPU's CC mode says all once PPCIe is off.
  return isNvSwitch(device) ? seen?.ppcie : seen?.mode;
}
