import { z } from "zod";
import { GPU_TOOL, GPU_TOOL_CLEAN, GUEST_HOLDS_GPU, NVIDIA_LOADED, RUN_GPU_TOOL } from "../kit/argv.ts";
import { ran, text } from "../kit/ask.ts";
import { facet } from "../kit/facet.ts";
import { absent, mapFact, unknown } from "../kit/facts.ts";
import { findingsOf, firstUnknown, isTrue, parsed } from "../kit/findings.ts";
import type { ToolGpu } from "../kit/parse-gpu-tool.ts";
import { parseGpuTool } from "../kit/parse-gpu-tool.ts";
import { GpusSchema, isGpu, LSPCI, parseLspci, selectGpus } from "../kit/parse-lspci.ts";
import { mainPidOf } from "../kit/parse-systemctl.ts";
import { gpuModeOfUnit, gpusOfUnit, VM_STATE, VM_UNIT, VM_UNIT_FILE } from "../kit/qemu-snp.ts";
import { gpuCcModeExamples } from "./gpu-cc-mode-examples.ts";
import { type GpuCcModeFacts, holders, yesNo } from "./gpu-cc-mode-facts.ts";
import { heldBack, planCcMode } from "./gpu-cc-mode-switch.ts";

const SOURCE = "seed 001, Configuring the GPU (Required); NVIDIA/gpu-admin-tools README";
const KNOWN_ISSUE =
  "seed 001, (Known Issue) Cannot Change the CC State after a Guest OS Shutdown; NVIDIA/nvtrust#58, #77";
const { pass, fail, unsure, warn } = findingsOf("gpu-cc-mode", SOURCE);

const Want = z.strictObject({
  gpus: GpusSchema,
  mode: z
    .enum(["on", "off", "devtools"])
    .default("on")
    .describe("GPU confidential computing mode; production is `on`."),
});
export type GpuCcModeWant = z.output<typeof Want>;

function judgeGpu(want: GpuCcModeWant, bdf: string, gpu: ToolGpu | undefined) {
  const at = `CC mode ${want.mode} at ${bdf}`;
  const recover = `sudo python3 ${GPU_TOOL} --devices ${bdf} --recover-broken-gpu, else power-cycle the node`;
  if (gpu?.trouble === "broken") return fail("broken", at, "the tool calls the GPU broken", recover);
  if (gpu?.trouble === "unsupported") return fail("unsupported", at, "this GPU has no CC mode", "use Hopper or newer");
  if (gpu?.mode === undefined) return unsure("unknown", at, gpu?.trouble ?? "the tool says nothing of it", recover);
  if (gpu.mode === want.mode) return pass("mode", at, gpu.mode);
  const source = gpu.trouble === undefined ? SOURCE : KNOWN_ISSUE;
  return fail("mode", at, gpu.mode, "pulumi up switches it, with permit gpu-reset", source);
}

export const gpuCcMode = facet({
  name: "gpu-cc-mode",
  type: "GpuCcMode",
  on: "host",
  persona: "host",
  summary: "The GPUs' confidential computing mode, switched from the host with a reset.",
  sources: [SOURCE, KNOWN_ISSUE, "NVIDIA/gpu-admin-tools cli/per_gpu.py"],
  want: Want,
  asks: {
    lspci: LSPCI,
    held: { kind: "argv", argv: GUEST_HOLDS_GPU },
    vm: VM_STATE,
    unit: { kind: "file", path: VM_UNIT_FILE },
    nvidia: { kind: "argv", argv: NVIDIA_LOADED, RUN_GPU_TOOL },
    tool: { kind: "argv", argv: ["test", "-f", GPU_TOOL] },
    // Not pure: it wakes the GPU and touches its registers. Hence the gates.
    modes: {
      kind: "argv",
      argv: [...RUN_GPU_TOOL, "--devices", "gpus", "--query-cc-mode"],
      timeoutSeconds: 60,
      gates: [
        { argv: ["test", "-f", GPU_TOOL], exit: 0, why: "gpu-admin-tools is not installed" },
        { argv: GPU_TOOL_CLEAN, exit: 0, why: "files of gpu-admin-tools were changed" },
        { argv: GUEST_HOLDS_GPU, exit: 1, why: "held by a running guest" },
        { argv: NVIDIA_LOADED, exit: 1, why: "the nvidia driver is loaded on the host" },
      ],
    },
    idleD3: { kind: "file", path: "/sys/module/vfio_pci/parameters/disable_idle_d3" },
  },
  parse({ lspci, held, vm, unit, nvidia, tool, modes, idleD3 }): GpuCcModeFacts {
    const idle = text(idleD3);
    const seen = (tool.kind === "ran" && tool.status === 1) || modes.kind === "skipped" ? absent : ran(modes);
    const tools = mapFact(seen, (r) => parseGpuTool(r.stdout, r.stderr));
    const speechless = seen.state === "known" && tools.state === "known" && tools.value.length === 0;
    return {
      gpus: parsed(text(lspci), (t) => parseLspci(t)?.filter(isGpu), "lspci"),
      held: yesNo(held),
      ours: mapFact(text(vm), (t) => holders(held).includes(mainPidOf(t) ?? "none")),
      unit: mapFact(text(unit), (t) => ({ mode: gpuModeOfUnit(t) ?? "unsaid", gpus: gpusOfUnit(t) })),
      nvidiaLoaded: yesNo(nvidia),
      modes: speechless ? unknown(`the tool named no GPU (exit ${seen.value.status})`) : tools,
      idleD3Off: idle.state === "known" && /^[Y1]/.test(idle.value),
    };
  },
  judge(want, facts) {
    const { gpus: devices, held, unit, nvidiaLoaded, modes } = facts;
    const wanted = `CC mode ${want.mode}`;
    const why = firstUnknown(devices, held, nvidiaLoaded, modes, unit);
    if (why !== undefined || devices.state !== "known") {
      return [
        unsure("unknown", wanted, why ?? "no list of GPUs", `python3 ${GPU_TOOL} --devices gpus --query-cc-mode`),
      ];
    }
    const { gpus, absent: gone } = selectGpus(devices.value, want.gpus);
    if (gpus.length === 0 || gone.length > 0) {
      return [fail("no-gpu", wanted, "a wanted GPU is not there", "see gpu-inventory")];
    }
    if (isTrue(held)) {
      // The host cannot read a mode now. What the VM was made for is known, and its guest sees the rest.
      const said = unit.state === "known" ? unit.value.mode : "unsaid";
      if (!isTrue(facts.ours)) {
        const saw = "held by a QEMU process that is not the confidential VM's";
        return [
          unsure("unknown", wanted, saw, `stop it when it may be stopped: ${GUEST_HOLDS_GPU.join(" ")} finds it`),
        ];
      }
      if (said === "unsaid") {
        // Not unknown: confidential-vm comes later, and writes the unit anew.
        return [
          warn("held", wanted, "held by the confidential VM, whose unit says no mode", "pulumi up writes the unit"),
        ];
      }
      const other = heldBack(want, gpus, facts).map((g) => g.bdf);
      if (other.length === 0) {
        return [pass("held", wanted, `held by a running guest (made for: ${said}); its own evidence tells`)];
      }
      const saw =
        said === want.mode ? `${other.join(", ")} unread: a guest runs without it` : `held by a guest for ${said}`;
      return [fail("mode", wanted, saw, `permit guest-stop: ${VM_UNIT} is stopped for it`)];
    }
    if (isTrue(nvidiaLoaded)) {
      const saw = "the nvidia driver is loaded on the host";
      return [fail("nvidia-loaded", wanted, saw, "unload it (modprobe -r nvidia): the GPU belongs to the guest")];
    }
    if (modes.state !== "known")
      return [fail("unread", wanted, "gpu-admin-tools is not installed, or changed", "see gpu-tools")];
    const seen = new Map(modes.value.map((g) => [g.bdf, g]));
    return gpus.map((g) => judgeGpu(want, g.bdf, seen.get(g.bdf)));
  },
  plan: planCcMode,
  show: ({ held, modes }) => ({
    held: held.state === "known" ? held.value : held.state,
    modes:
      modes.state === "known"
        ? Object.fromEntries(modes.value.map((g) => [g.bdf, g.mode ?? g.trouble ?? "?"]))
        : modes.state,
  }),
  examples: gpuCcModeExamples,
  covers: [
    ...["001-GPU-02", "001-GPU-04", "001-GPU-05", "001-GPU-06", "001-GPU-07", "001-GPU-08", "001-GPU-09", "001-GPU-10"],
    ...["001-GPU-11", "001-GPU-19", "001-GPU-20", "001-GPU-21", "001-GPU-22", "001-GPU-23", "001-GPU-24", "001-GPU-25"],
  ],
});
