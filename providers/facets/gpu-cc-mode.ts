import { z } from "zod";
import { GPU_TOOL, GPU_TOOL_CLEAN, GUEST_HOLDS_GPU, HAS_NVSWITCH, NVIDIA_LOADED, RUN_GPU_TOOL } from "../kit/argv.ts";
import type { Gate } from "../kit/ask.ts";
import { text } from "../kit/ask.ts";
import { vmOfDomain } from "../kit/domain-xml.ts";
import { facet } from "../kit/facet.ts";
import type { Fact } from "../kit/facts.ts";
import { absent, known, mapFact } from "../kit/facts.ts";
import { parsed } from "../kit/findings.ts";
import { DOMAIN_LIVE, VM_ASKS } from "../kit/libvirt.ts";
import { GpusSchema, isGpu, isNvSwitch, LSPCI, parseLspci } from "../kit/parse-lspci.ts";
import { mainPidOf } from "../kit/parse-systemctl.ts";
import { devicesOfUnit, gpuModeOfUnit } from "../kit/qemu-args.ts";
import { gpuCcModeExamples } from "./gpu-cc-mode-examples.ts";
import { type GpuCcModeFacts, holders, modesOf, yesNo } from "./gpu-cc-mode-facts.ts";
import { judgeCcMode, KNOWN_ISSUE, PPCIE, SOURCE } from "./gpu-cc-mode-judge.ts";
import { planCcMode } from "./gpu-cc-mode-switch.ts";

const Want = z.strictObject({
  gpus: GpusSchema,
  mode: z
    .enum(["on", "off", "devtools", "ppcie"])
    .default("on")
    .describe(
      "GPU confidential computing mode; production is `on`, and `ppcie` (Protected PCIe) for all GPUs and NVSwitches of a Hopper node together.",
    ),
});
export type GpuCcModeWant = z.output<typeof Want>;

// Asking the tool is not pure: it wakes the GPU and touches its registers.
const TOOL_GATES: readonly Gate[] = [
  { argv: ["test", "-f", GPU_TOOL], exit: 0, why: "gpu-admin-tools is not installed" },
  { argv: GPU_TOOL_CLEAN, exit: 0, why: "files of gpu-admin-tools were changed" },
  { argv: GUEST_HOLDS_GPU, exit: 1, why: "held by a running guest" },
  { argv: NVIDIA_LOADED, exit: 1, why: "the nvidia driver is loaded on the host" },
];

export const gpuCcMode = facet({
  name: "gpu-cc-mode",
  type: "GpuCcMode",
  on: "host",
  persona: "host",
  summary: "The GPUs' confidential computing mode, switched from the host with a reset.",
  sources: [SOURCE, KNOWN_ISSUE, PPCIE, "NVIDIA/gpu-admin-tools cli/per_gpu.py, cli/per_gpu_nvswitch.py"],
  want: Want,
  asks: {
    lspci: LSPCI,
    held: { kind: "argv", argv: GUEST_HOLDS_GPU },
    ...VM_ASKS,
    // As it runs: what it is defined as may have been edited since.
    live: DOMAIN_LIVE,
    nvidia: { kind: "argv", argv: NVIDIA_LOADED },
    tool: { kind: "argv", argv: ["test", "-f", GPU_TOOL] },
    modes: {
      kind: "argv",
      argv: [...RUN_GPU_TOOL, "--devices", "gpus", "--query-cc-mode"],
      timeoutSeconds: 60,
      gates: TOOL_GATES,
    },
    // The tool ends at the first device that knows no Protected PCIe, so this is a question of its own.
    ppcie: {
      kind: "argv",
      argv: [...RUN_GPU_TOOL, "--devices", "gpus,nvswitches", "--query-ppcie-mode"],
      timeoutSeconds: 120,
      gates: [...TOOL_GATES, { argv: HAS_NVSWITCH, exit: 0, why: "there is no NVSwitch" }],
    },
    idleD3: { kind: "file", path: "/sys/module/vfio_pci/parameters/disable_idle_d3" },
  },
  parse(a): GpuCcModeFacts {
    const idle = text(a.idleD3);
    const live = parsed(text(a.live), vmOfDomain, "the libvirt domain of the VM");
    // Without its file it is a transient domain, which TeeUp never makes: somebody else's guest of the same name, but
    // for one that says it is TeeUp's, which somebody undefined while it ran.
    const kept = a.domain.kind !== "missing" && a.domain.kind !== "no-machine";
    const none = !kept && !(live.state === "known" && live.value.mode !== "unsaid");
    const pid: Fact<string> = none ? absent : text(a.domainPid);
    // A domain that does not run says nothing of the process of a unit that is there beside it.
    const units = none || (pid.state !== "known" && a.unit.kind === "ran");
    const domain = units ? absent : live;
    const vm: GpuCcModeFacts["vm"] =
      domain.state === "absent"
        ? mapFact(text(a.unit), (t) => {
            return { mode: gpuModeOfUnit(t) ?? "unsaid", gpus: devicesOfUnit(t), launcher: "qemu" };
          })
        : mapFact(domain, (d) => ({ ...d, launcher: "libvirt" }));
    return {
      devices: parsed(text(a.lspci), (t) => parseLspci(t)?.filter((d) => isGpu(d) || isNvSwitch(d)), "lspci"),
      held: yesNo(a.held),
      ours:
        pid.state === "known"
          ? known(holders(a.held).includes(pid.value.trim()))
          : mapFact(text(a.vm), (t) => holders(a.held).includes(mainPidOf(t) ?? "none")),
      vm,
      nvidiaLoaded: yesNo(a.nvidia),
      modes: modesOf(a.modes, a.ppcie, a.tool.kind === "ran" && a.tool.status === 1),
      idleD3Off: idle.state === "known" && /^[Y1]/.test(idle.value),
    };
  },
  judge: judgeCcMode,
  plan: planCcMode,
  show: ({ held, modes }) => ({
    held: held.state === "known" ? held.value : held.state,
    modes:
      modes.state === "known"
        ? Object.fromEntries(
            modes.value.map((g) => [g.bdf, g.ppcie === "on" ? "ppcie" : (g.mode ?? g.ppcie ?? g.trouble ?? "?")]),
          )
        : modes.state,
  }),
  examples: gpuCcModeExamples,
  covers: [
    ...["004-49", "004-50", "004-51", "004-52"],
    ...["001-GPU-02", "001-GPU-04", "001-GPU-05", "001-GPU-06", "001-GPU-07", "001-GPU-08", "001-GPU-09", "001-GPU-10"],
    ...["001-GPU-11", "001-GPU-19", "001-GPU-20", "001-GPU-21", "001-GPU-22", "001-GPU-23", "001-GPU-24", "001-GPU-25"],
  ],
});
