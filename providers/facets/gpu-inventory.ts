import { z } from "zod";
import { failed, missing, ok, text } from "../kit/ask.ts";
import { facet } from "../kit/facet.ts";
import type { Fact } from "../kit/facts.ts";
import { findingsOf, parsed } from "../kit/findings.ts";
import type { PciDevice } from "../kit/parse-lspci.ts";
import {
  GpusSchema,
  isGpu,
  isNvSwitch,
  LSPCI,
  modelOf,
  parseLspci,
  selectGpus,
  showDevice,
} from "../kit/parse-lspci.ts";

const SOURCE = "seed 001, Identifying the GPUs; seed 000, Host Side (device id)";
const { pass, fail, unsure } = findingsOf("gpu-inventory", SOURCE);

const Want = z.strictObject({
  gpus: GpusSchema,
  count: z.int().min(1).max(16).optional().describe("How many GPUs there must be; default: at least one."),
});
/** GPUs and NVSwitches of the host, by address. */
type Facts = { readonly devices: Fact<readonly PciDevice[]> };

const judgeDevice = (d: PciDevice) =>
  d.revision === "ff"
    ? fail(
        "fell-off",
        "a GPU that answers on the bus",
        `${showDevice(d)} reads as all ones`,
        "power-cycle the node; if it stays, reseat the board",
      )
    : pass("gpu", "an NVIDIA GPU", `${showDevice(d)} (${modelOf(d.device) ?? "id not in TeeUp's table"})`);

export const gpuInventory = facet({
  name: "gpu-inventory",
  type: "GpuInventory",
  on: "host",
  persona: "host",
  summary: "The host's NVIDIA GPUs and NVSwitches, found by vendor and class.",
  sources: [SOURCE, "NVIDIA/gpu-admin-tools gpu/devid_names.py"],
  want: Want,
  asks: { lspci: LSPCI },
  parse: ({ lspci }): Facts => ({
    devices: parsed(
      text(lspci),
      (t) =>
        parseLspci(t)
          ?.filter((d) => isGpu(d) || isNvSwitch(d))
          // What is bound, and in which group, is vfio-binding's.
          .map((d) => ({ ...d, driver: undefined, group: undefined })),
      "lspci",
    ),
  }),
  judge(want, { devices }) {
    if (devices.state !== "known") {
      const saw = devices.state === "absent" ? "lspci is not installed" : devices.why;
      return [unsure("unknown", "a list of PCI devices", saw, "apt-get install pciutils")];
    }
    const there = devices.value.filter(isGpu);
    const list = there.length === 0 ? "no NVIDIA GPU" : there.map(showDevice).join(", ");
    const { gpus, absent } = selectGpus(devices.value, want.gpus);
    if (absent.length > 0 || gpus.length === 0) {
      return [
        fail(
          "absent",
          absent.length > 0 ? `NVIDIA GPU at ${absent.join(", ")}` : "an NVIDIA GPU",
          `there is ${list}`,
          there.length === 0
            ? "check that the board is seated and powered, and that the BIOS enumerates it (lspci -d 10de:)"
            : 'set `gpus` to addresses of this list, or to "all"',
        ),
      ];
    }
    if (want.count !== undefined && gpus.length !== want.count) {
      const hint = "a GPU is missing on the bus, or `count` is wrong";
      return [fail("count", `${want.count} GPUs`, `${gpus.length}: ${list}`, hint)];
    }
    return gpus.map(judgeDevice);
  },
  show: ({ devices }) =>
    devices.state === "known"
      ? {
          gpus: devices.value.filter(isGpu).map(showDevice),
          nvswitches: devices.value.filter(isNvSwitch).length,
        }
      : { gpus: devices.state },
  examples: [
    {
      name: "one H100 of an id the guide does not name",
      want: { gpus: "all" },
      answers: {
        lspci: ok("Slot:\t0000:81:00.0\nClass:\t0302\nVendor:\t10de\nDevice:\t2331\nRev:\ta1\nIOMMUGroup:\t14\n"),
      },
      findings: [],
      steps: [],
    },
    {
      name: "a wrong address names what is there",
      want: { gpus: ["0000:c1:00.0"] },
      answers: { lspci: ok("Slot:\t0000:81:00.0\nClass:\t0302\nVendor:\t10de\nDevice:\t2331\nRev:\ta1\n") },
      findings: ["gpu-inventory.absent"],
      steps: [],
    },
    {
      name: "no GPU at all",
      want: { gpus: "all" },
      answers: { lspci: ok("Slot:\t0000:00:00.0\nClass:\t0600\nVendor:\t1022\nDevice:\t14a4\n") },
      findings: ["gpu-inventory.absent"],
      steps: [],
    },
    {
      name: "one of eight is missing",
      want: { gpus: "all", count: 8 },
      answers: { lspci: ok("Slot:\t0000:81:00.0\nClass:\t0302\nVendor:\t10de\nDevice:\t2335\n") },
      findings: ["gpu-inventory.count"],
      steps: [],
    },
    {
      name: "fallen off the bus",
      want: { gpus: "all" },
      answers: { lspci: ok("Slot:\t0000:81:00.0\nClass:\t0302\nVendor:\t10de\nDevice:\t2331\nRev:\tff\n") },
      findings: ["gpu-inventory.fell-off"],
      steps: [],
    },
    {
      name: "lspci missing",
      want: { gpus: "all" },
      answers: { lspci: missing },
      findings: ["gpu-inventory.unknown"],
      steps: [],
    },
    {
      name: "no answer",
      want: { gpus: "all" },
      answers: { lspci: failed("no answer within 20 s") },
      findings: ["gpu-inventory.unknown"],
      steps: [],
    },
  ],
  covers: ["000-12", "000-13", "001-GPU-12", "001-GPU-13", "001-GPU-18"],
});
