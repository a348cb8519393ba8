import { z } from "zod";
import { text } from "../kit/ask.ts";
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
  SwitchesSchema,
  selectGpus,
  showDevice,
} from "../kit/parse-lspci.ts";
import { gpuInventoryExamples } from "./gpu-inventory-examples.ts";

const SOURCE = "seed 001, Identifying the GPUs; seed 000, Host Side (device id)";
const PPCIE = "canonical/tdx guest-tools/run_td (setup_ppcie); NVIDIA/nvtrust#128";
const { pass, fail, unsure } = findingsOf("gpu-inventory", SOURCE);

const Want = z.strictObject({
  gpus: GpusSchema,
  switches: SwitchesSchema,
  count: z.int().min(1).max(16).optional().describe("How many GPUs there must be; default: at least one."),
});
export type GpuInventoryWant = z.output<typeof Want>;
/** GPUs and NVSwitches of the host, by address. */
type Facts = { readonly devices: Fact<readonly PciDevice[]> };

const judgeDevice = (d: PciDevice) =>
  d.revision === "ff"
    ? fail(
        "fell-off",
        `${isGpu(d) ? "a GPU" : "an NVSwitch"} that answers on the bus`,
        `${showDevice(d)} reads as all ones`,
        "power-cycle the node; if it stays, reseat the board",
      )
    : pass(
        isGpu(d) ? "gpu" : "nvswitch",
        `an NVIDIA ${isGpu(d) ? "GPU" : "NVSwitch"}`,
        `${showDevice(d)} (${modelOf(d.device) ?? "id not in TeeUp's table"})`,
      );

/** A Hopper board is protected as a whole: its eight GPUs with its four NVSwitches (canonical/tdx guest-tools/run_td). */
const BOARD = { gpus: 8, switches: 4 } as const;

export const gpuInventory = facet({
  name: "gpu-inventory",
  type: "GpuInventory",
  on: "host",
  persona: "host",
  summary: "The host's NVIDIA GPUs and NVSwitches, found by vendor and class.",
  sources: [SOURCE, PPCIE, "NVIDIA/gpu-admin-tools gpu/devid_names.py"],
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
    const switches = want.switches ? devices.value.filter(isNvSwitch) : [];
    if (want.switches && (gpus.length !== BOARD.gpus || switches.length !== BOARD.switches)) {
      const saw = `${gpus.length} GPUs and ${switches.length} NVSwitches`;
      const hint = "one is missing on the bus (lspci -d 10de:): power-cycle the node; on other boards use gpuMode on";
      return [
        fail("board", `${BOARD.gpus} GPUs and ${BOARD.switches} NVSwitches for Protected PCIe`, saw, hint, PPCIE),
      ];
    }
    return [...gpus, ...switches].map(judgeDevice);
  },
  show: ({ devices }) =>
    devices.state === "known"
      ? {
          gpus: devices.value.filter(isGpu).map(showDevice),
          nvswitches: devices.value.filter(isNvSwitch).length,
        }
      : { gpus: devices.state },
  examples: gpuInventoryExamples,
  covers: ["004-53", "004-56", "000-12", "000-13", "001-GPU-12", "001-GPU-13", "001-GPU-18"],
});
