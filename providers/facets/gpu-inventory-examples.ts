import { failed, missing, ok } from "../kit/ask.ts";
import type { Example } from "../kit/facet.ts";
import type { GpuInventoryWant } from "./gpu-inventory.ts";

const board = (gpus: number, switches: number): string =>
  [
    ...Array.from({ length: gpus }, (_, i) => [`0000:${i + 1}1:00.0`, "0302", "2335"]),
    ...Array.from({ length: switches }, (_, i) => [`0000:a${i + 1}:00.0`, "0680", "22a3"]),
  ]
    .map(([bdf, cls, device]) => `Slot:\t${bdf}\nClass:\t${cls}\nVendor:\t10de\nDevice:\t${device}\nRev:\ta1\n`)
    .join("\n");

export const gpuInventoryExamples: readonly Example<GpuInventoryWant>[] = [
  {
    name: "one H100 of an id the guide does not name",
    want: { gpus: "all", switches: false },
    answers: {
      lspci: ok("Slot:\t0000:81:00.0\nClass:\t0302\nVendor:\t10de\nDevice:\t2331\nRev:\ta1\nIOMMUGroup:\t14\n"),
    },
    findings: [],
    steps: [],
  },
  {
    name: "a wrong address names what is there",
    want: { gpus: ["0000:c1:00.0"], switches: false },
    answers: { lspci: ok("Slot:\t0000:81:00.0\nClass:\t0302\nVendor:\t10de\nDevice:\t2331\nRev:\ta1\n") },
    findings: ["gpu-inventory.absent"],
    steps: [],
  },
  {
    name: "no GPU at all",
    want: { gpus: "all", switches: false },
    answers: { lspci: ok("Slot:\t0000:00:00.0\nClass:\t0600\nVendor:\t1022\nDevice:\t14a4\n") },
    findings: ["gpu-inventory.absent"],
    steps: [],
  },
  {
    name: "one of eight is missing",
    want: { gpus: "all", switches: false, count: 8 },
    answers: { lspci: ok("Slot:\t0000:81:00.0\nClass:\t0302\nVendor:\t10de\nDevice:\t2335\n") },
    findings: ["gpu-inventory.count"],
    steps: [],
  },
  {
    name: "fallen off the bus",
    want: { gpus: "all", switches: false },
    answers: { lspci: ok("Slot:\t0000:81:00.0\nClass:\t0302\nVendor:\t10de\nDevice:\t2331\nRev:\tff\n") },
    findings: ["gpu-inventory.fell-off"],
    steps: [],
  },
  {
    name: "lspci missing",
    want: { gpus: "all", switches: false },
    answers: { lspci: missing },
    findings: ["gpu-inventory.unknown"],
    steps: [],
  },
  {
    name: "no answer",
    want: { gpus: "all", switches: false },
    answers: { lspci: failed("no answer within 20 s") },
    findings: ["gpu-inventory.unknown"],
    steps: [],
  },
  {
    name: "a whole board",
    want: { gpus: "all", switches: true },
    answers: { lspci: ok(board(8, 4)) },
    findings: [],
    steps: [],
  },
  {
    name: "one NVSwitch is missing",
    want: { gpus: "all", switches: true },
    answers: { lspci: ok(board(8, 3)) },
    findings: ["gpu-inventory.board"],
    steps: [],
  },
  {
    name: "an NVSwitch fell off the bus",
    want: { gpus: "all", switches: true },
    answers: { lspci: ok(board(8, 4).replace(/Rev:\ta1\n$/, "Rev:\tff\n")) },
    findings: ["gpu-inventory.fell-off"],
    steps: [],
  },
];
