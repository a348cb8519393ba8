import type { Answer } from "../kit/ask.ts";
import { ok } from "../kit/ask.ts";
import type { Example } from "../kit/facet.ts";
import type { GpuCcModeWant } from "./gpu-cc-mode.ts";
import { free, ON, OURS, shut } from "./gpu-cc-mode-example-parts.ts";

// Text after cli/per_gpu_nvswitch.py of the tool; synthetic.
const PPCIE: GpuCcModeWant = { gpus: "all", mode: "ppcie" };
const gpus = (device = "2335") =>
  Array.from({ length: 8 }, (_, i) => ({ bdf: `0000:${i + 1}1:00.0`, class: "0302", device }));
const switches = Array.from({ length: 4 }, (_, i) => ({ bdf: `0000:a${i + 1}:00.0`, class: "0680", device: "22a3" }));
const lspci = (devices: readonly { bdf: string; class: string; device: string }[]) =>
  ok(
    devices
      .map((d) => `Slot:\t${d.bdf}\nClass:\t${d.class}\nVendor:\t10de\nDevice:\t${d.device}\nDriver:\tvfio-pci\n`)
      .join("\n"),
  );
const name = (bdf: string) =>
  bdf.startsWith("0000:a")
    ? `NvSwitch ${bdf} LS10 0x22a3 BAR0 0x9c000000`
    : `GPU ${bdf} H200 0x2335 BAR0 0x11042000000`;
/** Eight GPUs and four switches; `on` are those in Protected PCIe. */
const fabric = (on: (bdf: string) => boolean, mode = "off"): Record<string, Answer> => ({
  ...free("off"),
  lspci: lspci([...gpus(), ...switches]),
  modes: ok(
    "",
    0,
    gpus()
      .map(({ bdf }) => `INFO     ${name(bdf)} CC mode is ${mode}\n`)
      .join(""),
  ),
  ppcie: ok(
    "",
    0,
    [...gpus(), ...switches]
      .map(({ bdf }) => `INFO     ${name(bdf)} PPCIe mode is ${on(bdf) ? "on" : "off"}\n`)
      .join(""),
  ),
});
const guestWith = (devices: readonly string[], mode = "ppcie"): Record<string, Answer> => ({
  held: ok("1\n"),
  vm: OURS,
  unit: ok(
    `ExecStart=qemu ${devices.map((d) => `-device vfio-pci,host=${d}`).join(" ")}\n[X-TeeUp]\nGpuMode=${mode}\n`,
  ),
  modes: shut("held by a running guest"),
  ppcie: shut("held by a running guest"),
});

export const ppcieExamples: readonly Example<GpuCcModeWant>[] = [
  { name: "Protected PCIe on at all of them", want: PPCIE, answers: fabric(() => true), findings: [], steps: [] },
  {
    name: "eight GPUs and four switches: one step for all",
    want: PPCIE,
    answers: fabric(() => false),
    findings: ["gpu-cc-mode.mode"],
    steps: ["gpu-cc-mode.set"],
  },
  {
    name: "half-switched: somebody stopped the tool",
    want: PPCIE,
    answers: fabric((bdf) => bdf < "0000:51"),
    findings: ["gpu-cc-mode.half"],
    steps: ["gpu-cc-mode.set"],
  },
  {
    name: "GPUs in CC mode on: Protected PCIe replaces it",
    want: PPCIE,
    answers: fabric(() => false, "on"),
    findings: ["gpu-cc-mode.mode"],
    steps: ["gpu-cc-mode.set"],
  },
  {
    name: "only some of the GPUs: refused",
    want: { gpus: ["0000:11:00.0"], mode: "ppcie" },
    answers: fabric(() => false),
    findings: ["gpu-cc-mode.partial"],
    steps: [],
  },
  {
    name: "Blackwell: CC mode on is its mode for several GPUs",
    want: PPCIE,
    answers: { ...free("off"), lspci: lspci([...gpus("2901"), ...switches]) },
    findings: ["gpu-cc-mode.blackwell"],
    steps: [],
  },
  {
    name: "no switches on the bus",
    want: PPCIE,
    answers: { ...free("off"), lspci: lspci(gpus()) },
    findings: ["gpu-cc-mode.no-switches"],
    steps: [],
  },
  {
    name: "a switch's firmware knows no Protected PCIe: nothing is switched",
    want: PPCIE,
    answers: {
      ...fabric(() => false),
      ppcie: ok(
        "",
        1,
        `${gpus()
          .map(({ bdf }) => `INFO     ${name(bdf)} PPCIe mode is off\n`)
          .join(
            "",
          )}${switches.map(({ bdf }) => `ERROR    ${name(bdf)} does not support PPCIe on current FW. A FW update is required.\n`).join("")}`,
      ),
    },
    findings: switches.map(() => "gpu-cc-mode.unsupported"),
    steps: [],
  },
  {
    name: "one switch says nothing: unknown, and nothing is switched",
    want: PPCIE,
    answers: {
      ...fabric(() => false),
      ppcie: ok(
        "",
        1,
        [...gpus(), ...switches.slice(1)].map(({ bdf }) => `INFO     ${name(bdf)} PPCIe mode is off\n`).join(""),
      ),
    },
    findings: ["gpu-cc-mode.unknown"],
    steps: [],
  },
  {
    name: "back to CC mode on, one GPU: the whole fabric leaves Protected PCIe",
    want: { gpus: ["0000:11:00.0"], mode: "on" },
    answers: fabric(() => true),
    findings: ["gpu-cc-mode.mode", "gpu-cc-mode.left-in-ppcie"],
    steps: ["gpu-cc-mode.set"],
  },
  {
    name: "eight Hopper GPUs in CC mode on: their NVLink is not protected",
    want: ON,
    answers: fabric(() => false, "on"),
    findings: ["gpu-cc-mode.nvlink"],
    steps: [],
  },
  {
    name: "held by the guest that has all of them",
    want: PPCIE,
    answers: { ...fabric(() => true), ...guestWith([...gpus(), ...switches].map((d) => d.bdf)) },
    findings: [],
    steps: [],
  },
  {
    name: "a guest runs without the switches",
    want: PPCIE,
    answers: { ...fabric(() => true), ...guestWith(gpus().map((d) => d.bdf)) },
    findings: ["gpu-cc-mode.mode"],
    steps: ["gpu-cc-mode.set"],
  },
  {
    name: "one GPU in CC mode on, from a guest that has the fabric: all leave Protected PCIe in one step",
    want: { gpus: ["0000:11:00.0"], mode: "on" },
    answers: { ...fabric(() => true), ...guestWith([...gpus(), ...switches].map((d) => d.bdf)) },
    findings: ["gpu-cc-mode.mode"],
    steps: ["gpu-cc-mode.set"],
  },
];
