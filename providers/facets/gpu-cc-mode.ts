import { z } from "zod";
import { GPU_TOOL, GUEST_HOLDS_GPU, NVIDIA_LOADED } from "../kit/argv.ts";
import type { Answer } from "../kit/ask.ts";
import { failed, missing, ok, ran, text } from "../kit/ask.ts";
import { facet, pass } from "../kit/facet.ts";
import type { Fact } from "../kit/facts.ts";
import { absent, known, mapFact, unknown } from "../kit/facts.ts";
import { fail, firstUnknown, parsed, unsure } from "../kit/findings.ts";
import type { ToolGpu } from "../kit/parse-gpu-tool.ts";
import { parseGpuTool } from "../kit/parse-gpu-tool.ts";
import type { PciDevice } from "../kit/parse-lspci.ts";
import { GpusSchema, isGpu, LSPCI, parseLspci, selectGpus } from "../kit/parse-lspci.ts";
import { gpuModeOfUnit, VM_UNIT, VM_UNIT_FILE } from "../kit/qemu-snp.ts";
import { setCcMode, unloadNvidia } from "./gpu-cc-mode-switch.ts";

const SOURCE = "seed 001, Configuring the GPU (Required); NVIDIA/gpu-admin-tools README";
const KNOWN_ISSUE = "seed 001, (Known Issue) Cannot Change the CC State after a Guest OS Shutdown; NVIDIA/nvtrust#58, #77";

const Want = z.strictObject({
  gpus: GpusSchema,
  mode: z.enum(["on", "off", "devtools"]).default("on").describe("GPU confidential computing mode; production is `on`."),
});
type Want = z.infer<typeof Want>;

type Facts = {
  readonly gpus: Fact<readonly PciDevice[]>;
  /** A process on the host has a VFIO device open: then the mode cannot be read without disturbing the guest. */
  readonly held: Fact<boolean>;
  /** The mode that the confidential VM's unit was made for. */
  readonly unitMode: Fact<string>;
  readonly nvidiaLoaded: Fact<boolean>;
  /** Absent while held, while nvidia is loaded, and while the tool is not installed. */
  readonly modes: Fact<readonly ToolGpu[]>;
  /** vfio-pci was told to keep idle devices out of D3. */
  readonly idleD3Off: boolean;
};

/** GPUs whose mode must change; every wanted GPU when the mode cannot be read for a reason that the steps remove. */
function toSwitch(want: Want, facts: Facts): readonly PciDevice[] {
  if (facts.gpus.state !== "known" || firstUnknown(facts.held, facts.nvidiaLoaded, facts.modes, facts.unitMode)) return [];
  const { gpus } = selectGpus(facts.gpus.value, want.gpus);
  if (facts.held.state === "known" && facts.held.value) {
    return facts.unitMode.state === "known" && facts.unitMode.value !== want.mode ? gpus : [];
  }
  if (facts.modes.state !== "known") return gpus;
  const seen = new Map(facts.modes.value.map((g) => [g.bdf, g]));
  return gpus.filter((g) => {
    const gpu = seen.get(g.bdf);
    return gpu?.mode !== undefined && gpu.mode !== want.mode && gpu.trouble !== "broken" && gpu.trouble !== "unsupported";
  });
}

const ON: Want = { gpus: "all", mode: "on" };
const GPU = "GPU 0000:81:00.0 H100-PCIE 0x2331 BAR0 0x11042000000";
const shut = (why: string): Answer => ({ kind: "skipped", why });
const free = (mode: string): Record<string, Answer> => ({
  lspci: ok("Slot:\t0000:81:00.0\nClass:\t0302\nVendor:\t10de\nDevice:\t2331\nDriver:\tvfio-pci\n"),
  held: ok("", 1),
  unit: missing,
  nvidia: ok("", 1),
  tool: ok(""),
  modes: ok("NVIDIA GPU Tools version v2025.10.20o\n", 0, `2025-11-21,08:00:00.000 INFO     ${GPU} CC mode is ${mode}\n`),
  idleD3: ok("Y\n"),
});

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
    unit: { kind: "file", path: VM_UNIT_FILE },
    nvidia: { kind: "argv", argv: NVIDIA_LOADED },
    tool: { kind: "argv", argv: ["test", "-f", GPU_TOOL] },
    // Not pure: it wakes the GPU and touches its registers. Hence the gates.
    modes: {
      kind: "argv",
      argv: ["python3", GPU_TOOL, "--devices", "gpus", "--query-cc-mode"],
      timeoutSeconds: 60,
      gates: [
        { argv: ["test", "-f", GPU_TOOL], exit: 0, why: "gpu-admin-tools is not installed" },
        { argv: GUEST_HOLDS_GPU, exit: 1, why: "held by a running guest" },
        { argv: NVIDIA_LOADED, exit: 1, why: "the nvidia driver is loaded on the host" },
      ],
    },
    idleD3: { kind: "file", path: "/sys/module/vfio_pci/parameters/disable_idle_d3" },
  },
  parse({ lspci, held, unit, nvidia, tool, modes, idleD3 }): Facts {
    const yesNo = (answer: typeof held): Fact<boolean> => {
      const r = ran(answer);
      if (r.state !== "known") return r.state === "absent" ? unknown("pgrep or grep is missing") : r;
      return r.value.status <= 1 ? known(r.value.status === 0) : unknown(`exit ${r.value.status}`);
    };
    const idle = text(idleD3);
    const seen = tool.kind === "ran" && tool.status === 1 ? absent : modes.kind === "skipped" ? absent : ran(modes);
    const tools = mapFact(seen, (r) => parseGpuTool(r.stdout, r.stderr));
    const speechless = seen.state === "known" && tools.state === "known" && tools.value.length === 0;
    return {
      gpus: parsed(text(lspci), (t) => parseLspci(t)?.filter(isGpu), "lspci"),
      held: yesNo(held),
      unitMode: parsed(text(unit), (t) => gpuModeOfUnit(t) ?? "unsaid", "the VM's unit"),
      nvidiaLoaded: yesNo(nvidia),
      modes: speechless ? unknown(`the tool named no GPU (exit ${seen.value.status})`) : tools,
      idleD3Off: idle.state === "known" && /^[Y1]/.test(idle.value),
    };
  },
  judge(want, facts) {
    const wanted = `CC mode ${want.mode}`;
    const why = firstUnknown(facts.gpus, facts.held, facts.nvidiaLoaded, facts.modes, facts.unitMode);
    if (why !== undefined || facts.gpus.state !== "known") {
      return [unsure("gpu-cc-mode.unknown", wanted, why ?? "no list of GPUs", `sudo python3 ${GPU_TOOL} --devices gpus --query-cc-mode`, SOURCE)];
    }
    const { gpus, absent: gone } = selectGpus(facts.gpus.value, want.gpus);
    if (gpus.length === 0 || gone.length > 0) {
      return [fail("gpu-cc-mode.no-gpu", wanted, "a wanted GPU is not there", "see gpu-inventory", SOURCE)];
    }
    if (facts.held.state === "known" && facts.held.value) {
      const said = facts.unitMode.state === "known" ? facts.unitMode.value : "unsaid";
      return said === want.mode || facts.unitMode.state === "absent" || said === "unsaid"
        ? [pass("gpu-cc-mode.held", wanted, `held by a running guest (unit: ${said}); the guest's evidence tells`, SOURCE)]
        : [fail("gpu-cc-mode.mode", wanted, `held by a guest that was made for ${said}`, `permit guest-stop: ${VM_UNIT} is stopped for it`, SOURCE)];
    }
    if (facts.nvidiaLoaded.state === "known" && facts.nvidiaLoaded.value) {
      return [fail("gpu-cc-mode.nvidia-loaded", wanted, "the nvidia driver is loaded on the host", "unload it (modprobe -r nvidia): the GPU belongs to the guest", SOURCE)];
    }
    if (facts.modes.state !== "known") return [fail("gpu-cc-mode.unread", wanted, "gpu-admin-tools is not installed", "see gpu-tools", SOURCE)];
    const seen = new Map(facts.modes.value.map((g) => [g.bdf, g]));
    return gpus.map((g) => {
      const gpu = seen.get(g.bdf);
      const at = `CC mode ${want.mode} at ${g.bdf}`;
      if (gpu?.trouble === "broken") {
        return fail("gpu-cc-mode.broken", at, "the tool calls the GPU broken", `sudo python3 ${GPU_TOOL} --devices ${g.bdf} --recover-broken-gpu, else power-cycle`, SOURCE);
      }
      if (gpu?.trouble === "unsupported") return fail("gpu-cc-mode.unsupported", at, "this GPU has no CC mode", "Hopper or newer is needed", SOURCE);
      if (gpu?.mode === undefined) return unsure("gpu-cc-mode.unknown", at, gpu?.trouble ?? "the tool says nothing of it", "run the tool by hand", SOURCE);
      if (gpu.mode === want.mode) return pass("gpu-cc-mode.mode", at, gpu.mode, SOURCE);
      return fail("gpu-cc-mode.mode", at, gpu.mode, "teeup up switches it; it needs a GPU reset", gpu.trouble === undefined ? SOURCE : KNOWN_ISSUE);
    });
  },
  plan(want, facts, context) {
    const gpus = toSwitch(want, facts);
    if (gpus.length === 0) return [];
    const held = context.guestRunning || (facts.held.state === "known" && facts.held.value);
    const loaded = facts.nvidiaLoaded.state === "known" && facts.nvidiaLoaded.value;
    const modes = facts.modes.state === "known" ? facts.modes.value : [];
    const was = [...new Set(gpus.map((g) => modes.find((m) => m.bdf === g.bdf)?.mode ?? "unread"))].join("/");
    return [
      ...(loaded ? [unloadNvidia(held)] : []),
      {
        code: "gpu-cc-mode.set",
        title: `CC mode of ${gpus.map((g) => g.bdf).join(", ")}: ${was} → ${want.mode}, with a GPU reset`,
        why: held ? "the guest must give the GPU back first" : "the mode takes effect at a reset only",
        disruption: held ? "guest-stop" : "gpu-reset",
        actions: setCcMode(gpus, want.mode, { stopGuest: held, rebind: !facts.idleD3Off }),
      },
    ];
  },
  show: ({ held, modes }) => ({
    held: held.state === "known" ? held.value : held.state,
    modes: modes.state === "known" ? Object.fromEntries(modes.value.map((g) => [g.bdf, g.mode ?? g.trouble ?? "?"])) : modes.state,
  }),
  examples: [
    { name: "on, and free", want: ON, answers: free("on"), findings: [], steps: [] },
    { name: "off", want: ON, answers: free("off"), findings: ["gpu-cc-mode.mode"], steps: ["gpu-cc-mode.set"] },
    {
      name: "held by a guest made for it",
      want: ON,
      answers: { ...free("on"), held: ok("1\n"), unit: ok("[X-TeeUp]\nGpuMode=on\n"), modes: shut("held by a running guest") },
      findings: [],
      steps: [],
    },
    {
      name: "held by a guest made for another mode",
      want: ON,
      answers: { ...free("on"), held: ok("1\n"), unit: ok("[X-TeeUp]\nGpuMode=off\n"), modes: shut("held by a running guest") },
      findings: ["gpu-cc-mode.mode"],
      steps: ["gpu-cc-mode.set"],
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
      answers: { ...free("on"), modes: ok("", 1, `ERROR    GPU 0000:81:00.0 [broken, cfg space working 0 bars configured 0] is broken and --recover-broken-gpu was not specified, returning failure.\n`) },
      findings: ["gpu-cc-mode.broken"],
      steps: [],
    },
    { name: "the tool hangs", want: ON, answers: { ...free("on"), modes: failed("no answer within 60 s") }, findings: ["gpu-cc-mode.unknown"], steps: [] },
    { name: "wrong address", want: { gpus: ["0000:99:00.0"], mode: "on" }, answers: free("on"), findings: ["gpu-cc-mode.no-gpu"], steps: [] },
  ],
  covers: [
    ...["001-GPU-02", "001-GPU-04", "001-GPU-05", "001-GPU-06", "001-GPU-07", "001-GPU-08", "001-GPU-09", "001-GPU-10", "001-GPU-11"],
    ...["001-GPU-19", "001-GPU-20", "001-GPU-22", "001-GPU-23", "001-GPU-24", "001-GPU-25", "001-GPU-26", "001-GPU-28"],
  ],
});
