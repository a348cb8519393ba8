import type { Answer } from "../kit/ask.ts";
import { failed, missing, ok } from "../kit/ask.ts";
import type { Example } from "../kit/facet.ts";
import type { VfioBindingWant } from "./vfio-binding.ts";
import { MODULES_TEXT } from "./vfio-binding-plan.ts";

const ALL: VfioBindingWant = { gpus: "all", switches: false };
const BRIDGE = "Slot:\t0000:80:01.1\nClass:\t0604\nVendor:\t1022\nDevice:\t14ab\nDriver:\tpcieport\nIOMMUGroup:\t14\n";
const gpu = (driver: string, group = "IOMMUGroup:\t14\n") =>
  `Slot:\t0000:81:00.0\nClass:\t0302\nVendor:\t10de\nDevice:\t2331\nRev:\ta1\n${driver === "" ? "" : `Driver:\t${driver}\n`}Module:\tnouveau\n${group}`;
const other = (driver: string) =>
  `Slot:\t0000:81:00.1\nClass:\t0403\nVendor:\t10de\nDevice:\t22be\n${driver === "" ? "" : `Driver:\t${driver}\n`}IOMMUGroup:\t14\n`;
const nvswitch = (driver: string, group = "IOMMUGroup:\t31\n") =>
  `Slot:\t0000:a1:00.0\nClass:\t0680\nVendor:\t10de\nDevice:\t22a3\nRev:\ta1\n${driver === "" ? "" : `Driver:\t${driver}\n`}${group}`;
const WITH: VfioBindingWant = { gpus: "all", switches: true };
const BOTH = ok("/etc/driverctl.d/pci-0000:81:00.0:vfio-pci\n/etc/driverctl.d/pci-0000:a1:00.0:vfio-pci\n");
const bound: Readonly<Record<string, Answer>> = {
  lspci: ok(`${BRIDGE}\n${gpu("vfio-pci")}`),
  saved: ok("/etc/driverctl.d/pci-0000:81:00.0:vfio-pci\n"),
  module: ok(""),
  modulesFile: ok(MODULES_TEXT),
  record: ok('{"bound":["0000:81:00.0"],"saved":[]}\n'),
};
const example = (
  name: string,
  answers: Readonly<Record<string, Answer>>,
  findings: readonly string[],
  steps: readonly string[],
  want = ALL,
): Example<VfioBindingWant> => ({ name, want, answers: { ...bound, ...answers }, findings, steps });

export const vfioBindingExamples: readonly Example<VfioBindingWant>[] = [
  example("bound for good; the bridge of the group stays with the kernel", {}, [], []),
  example(
    "untouched: nouveau has it, vfio-pci is not loaded",
    { lspci: ok(gpu("nouveau")), saved: ok("", 2), module: ok("", 1), modulesFile: missing },
    ["vfio-binding.driver", "vfio-binding.module", "vfio-binding.modules-load"],
    ["vfio-binding.modules-load", "vfio-binding.module", "vfio-binding.bind"],
  ),
  example(
    "bound by hand: lost at the next boot",
    { saved: ok("", 1) },
    ["vfio-binding.not-saved"],
    ["vfio-binding.save"],
  ),
  example(
    "a NIC of the host shares the group: TeeUp does not take it",
    {
      lspci: ok(
        `${gpu("nouveau")}\nSlot:\t0000:82:00.0\nClass:\t0200\nVendor:\t15b3\nDevice:\t101e\nDriver:\tmlx5_core\nIOMMUGroup:\t14\n`,
      ),
    },
    ["vfio-binding.driver", "vfio-binding.group-shared"],
    ["vfio-binding.group-shared"],
  ),
  example(
    "another function of the group is the host's",
    { lspci: ok(`${gpu("vfio-pci")}\n${other("snd_hda_intel")}`) },
    ["vfio-binding.driver"],
    ["vfio-binding.bind"],
  ),
  example(
    "IOMMU off: no group",
    { lspci: ok(gpu("", "")), saved: ok("", 2) },
    ["vfio-binding.iommu-off"],
    ["vfio-binding.bind"],
  ),
  example("wrong address", {}, ["vfio-binding.no-gpu"], [], { ...ALL, gpus: ["0000:c1:00.0"] }),
  example(
    "lspci says something else",
    { lspci: ok("pcilib: Cannot open /proc/bus/pci\n") },
    ["vfio-binding.unknown"],
    [],
  ),
  example("no answer", { saved: failed("connection lost") }, ["vfio-binding.unknown"], []),
  example(
    "an NVSwitch beside the GPU, bound for good",
    { lspci: ok(`${gpu("vfio-pci")}\n${nvswitch("vfio-pci")}`), saved: BOTH },
    [],
    [],
    WITH,
  ),
  example(
    "Protected PCIe takes the NVSwitch too",
    { lspci: ok(`${gpu("vfio-pci")}\n${nvswitch("")}`) },
    ["vfio-binding.driver"],
    ["vfio-binding.bind"],
    WITH,
  ),
  example(
    "an NVSwitch that is not wanted stays where it is",
    { lspci: ok(`${gpu("vfio-pci")}\n${nvswitch("")}`) },
    [],
    [],
  ),
  example(
    "an NVSwitch without an IOMMU group",
    { lspci: ok(`${gpu("vfio-pci")}\n${nvswitch("", "")}`) },
    ["vfio-binding.iommu-off"],
    ["vfio-binding.bind"],
    WITH,
  ),
  example("no NVSwitch on the bus", {}, ["vfio-binding.no-switches"], [], WITH),
];
