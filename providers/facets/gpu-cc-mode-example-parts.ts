import type { Answer } from "../kit/ask.ts";
import { missing, ok } from "../kit/ask.ts";
import type { GpuCcModeWant } from "./gpu-cc-mode.ts";

export const ON: GpuCcModeWant = { gpus: "all", mode: "on" };
const GPU = "GPU 0000:81:00.0 H100-PCIE 0x2331 BAR0 0x11042000000";
export const OURS = ok("ActiveState=active\nMainPID=1\n");
export const shut = (why: string): Answer => ({ kind: "skipped", why });
export const free = (mode: string): Record<string, Answer> => ({
  lspci: ok("Slot:\t0000:81:00.0\nClass:\t0302\nVendor:\t10de\nDevice:\t2331\nDriver:\tvfio-pci\n"),
  held: ok("", 1),
  vm: ok("ActiveState=inactive\nMainPID=0\n"),
  unit: missing,
  nvidia: ok("", 1),
  tool: ok(""),
  modes: ok(
    "NVIDIA GPU Tools version v2025.10.20o\n",
    0,
    `2025-11-21,08:00:00.000 INFO     ${GPU} CC mode is ${mode}\n`,
  ),
  ppcie: shut("there is no NVSwitch"),
  idleD3: ok("Y\n"),
});
