import type { Answer } from "../kit/ask.ts";
import { failed, missing, ok } from "../kit/ask.ts";
import type { Example } from "../kit/facet.ts";
import type { GpuCcModeWant } from "./gpu-cc-mode.ts";

const ON: GpuCcModeWant = { gpus: "all", mode: "on" };
const GPU = "GPU 0000:81:00.0 H100-PCIE 0x2331 BAR0 0x11042000000";
const OURS = ok("ActiveState=active\nMainPID=1\n");
const shut = (why: string): Answer => ({ kind: "skipped", why });
const free = (mode: string): Record<string, Answer> => ({
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
  idleD3: ok("Y\n"),
});

export const gpuCcModeExamples: readonly Example<GpuCcModeWant>[] = [
  { name: "on, and free", want: ON, answers: free("on"), findings: [], steps: [] },
  { name: "off", want: ON, answers: free("off"), findings: ["gpu-cc-mode.mode"], steps: ["gpu-cc-mode.set"] },
  {
    name: "held by a guest made for it",
    want: ON,
    answers: {
      ...free("on"),
      held: ok("1\n"),
      vm: OURS,
      unit: ok("ExecStart=qemu -device vfio-pci,host=0000:81:00.0\n[X-TeeUp]\nGpuMode=on\n"),
      modes: shut("held by a running guest"),
    },
    findings: [],
    steps: [],
  },
  {
    name: "held by a guest made for another mode",
    want: ON,
    answers: {
      ...free("on"),
      held: ok("1\n"),
      vm: OURS,
      unit: ok("ExecStart=qemu -device vfio-pci,host=0000:81:00.0\n[X-TeeUp]\nGpuMode=off\n"),
      modes: shut("held by a running guest"),
    },
    findings: ["gpu-cc-mode.mode"],
    steps: ["gpu-cc-mode.set"],
  },
  {
    name: "a guest runs, but without this GPU",
    want: ON,
    answers: {
      ...free("on"),
      held: ok("1\n"),
      vm: OURS,
      unit: ok("ExecStart=qemu -device vfio-pci,host=0000:c1:00.0\n[X-TeeUp]\nGpuMode=on\n"),
      modes: shut("held by a running guest"),
    },
    findings: ["gpu-cc-mode.mode"],
    steps: ["gpu-cc-mode.set"],
  },
  {
    name: "somebody else's VM holds a GPU: it is not stopped",
    want: ON,
    answers: { ...free("on"), held: ok("1\n"), modes: shut("held by a running guest") },
    findings: ["gpu-cc-mode.unknown"],
    steps: [],
  },
  {
    name: "untouched machine: no tool yet, nvidia loaded",
    want: ON,
    answers: { ...free("off"), nvidia: ok(""), tool: ok("", 1), modes: shut("gpu-admin-tools is not installed") },
    findings: ["gpu-cc-mode.nvidia-loaded"],
    steps: ["gpu-cc-mode.unload-nvidia", "gpu-cc-mode.set"],
  },
  {
    name: "a broken GPU is never switched",
    want: ON,
    answers: {
      ...free("on"),
      modes: ok(
        "",
        1,
        `ERROR    GPU 0000:81:00.0 [broken, cfg space working 0 bars configured 0] is broken and --recover-broken-gpu was not specified, returning failure.\n`,
      ),
    },
    findings: ["gpu-cc-mode.broken"],
    steps: [],
  },
  {
    name: "the tool hangs",
    want: ON,
    answers: { ...free("on"), modes: failed("no answer within 60 s") },
    findings: ["gpu-cc-mode.unknown"],
    steps: [],
  },
  {
    name: "wrong address",
    want: { gpus: ["0000:99:00.0"], mode: "on" },
    answers: free("on"),
    findings: ["gpu-cc-mode.no-gpu"],
    steps: [],
  },
];
