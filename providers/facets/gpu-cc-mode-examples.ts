import { failed, missing, ok } from "../kit/ask.ts";
import type { Example } from "../kit/facet.ts";
import type { GpuCcModeWant } from "./gpu-cc-mode.ts";
import { free, ON, OURS, shut } from "./gpu-cc-mode-example-parts.ts";
import { ppcieExamples } from "./gpu-cc-mode-ppcie-examples.ts";

const LIVE =
  '<domain type="kvm"><metadata><teeup:vm xmlns:teeup="urn:teeup:vm" gpuMode="on"/></metadata><devices><hostdev mode="subsystem" type="pci"><source><address domain="0x0000" bus="0x81" slot="0x00" function="0x0"/></source></hostdev></devices></domain>\n';
const libvirts = {
  ...free("on"),
  held: ok("4711\n"),
  unit: missing,
  domain: ok("<domain/>\n"),
  live: ok(LIVE),
  domainPid: ok("4711"),
  modes: shut("held by a running guest"),
};

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
  { name: "held by the VM that libvirt started for it", want: ON, answers: libvirts, findings: [], steps: [] },
  {
    name: "the same, undefined by somebody while it runs",
    want: ON,
    answers: { ...libvirts, domain: missing },
    findings: [],
    steps: [],
  },
  {
    name: "held by a transient domain of the VM's name that TeeUp did not make",
    want: ON,
    answers: { ...libvirts, domain: missing, live: ok(LIVE.replace(/<metadata>.*<\/metadata>/, "")) },
    findings: ["gpu-cc-mode.unknown"],
    steps: [],
  },
  {
    name: "libvirtd does not answer while its domain is there",
    want: ON,
    answers: {
      ...free("on"),
      domain: ok("<domain/>\n"),
      live: ok("", 1, "error: failed to connect to the hypervisor\n"),
    },
    findings: ["gpu-cc-mode.unknown"],
    steps: [],
  },
  ...ppcieExamples,
];
