import type { Answer } from "../kit/ask.ts";
import { ran } from "../kit/ask.ts";
import type { Fact } from "../kit/facts.ts";
import { known, unknown } from "../kit/facts.ts";
import type { ToolGpu } from "../kit/parse-gpu-tool.ts";
import type { PciDevice } from "../kit/parse-lspci.ts";

export interface GpuCcModeFacts {
  readonly gpus: Fact<readonly PciDevice[]>;
  /** A QEMU on the host was given a VFIO device: then the mode cannot be read without disturbing the guest. */
  readonly held: Fact<boolean>;
  /** The holder is the process of the confidential VM's unit: only then does the unit speak for it. */
  readonly ours: Fact<boolean>;
  /** What the confidential VM's unit was made for: the mode, `unsaid` in a unit that is not TeeUp's, and its GPUs. */
  readonly unit: Fact<{ readonly mode: string; readonly gpus: readonly string[] }>;
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
