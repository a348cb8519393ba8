import { z } from "zod";
import { ran, text } from "../kit/ask.ts";
import { facet } from "../kit/facet.ts";
import type { Fact } from "../kit/facts.ts";
import { mapFact, unknown } from "../kit/facts.ts";
import { findingsOf, firstUnknown, isTrue, parsed } from "../kit/findings.ts";
import type { PciDevice } from "../kit/parse-lspci.ts";
import { GpusSchema, LSPCI, parseLspci, SwitchesSchema, selectGpus, showDevice } from "../kit/parse-lspci.ts";
import { vfioBindingExamples } from "./vfio-binding-examples.ts";
import type { VfioRecord } from "./vfio-binding-plan.ts";
import {
  IOMMU_ON,
  isForeign,
  MODULES_FILE,
  MODULES_TEXT,
  members,
  OVERRIDES,
  parseRecord,
  passedOn,
  planVfioBinding,
  RECORD,
  undoVfioBinding,
} from "./vfio-binding-plan.ts";

const SOURCE =
  "seed 001, Identifying the GPUs to be Passed Through (lost at reboot); seed 000, Host Side (modprobe vfio-pci)";
const GROUP = "NVIDIA/gpu-admin-tools#23; Linux Documentation/driver-api/vfio.rst (a group is the smallest unit)";
const { pass, fail, unsure } = findingsOf("vfio-binding", SOURCE);

const Want = z.strictObject({ gpus: GpusSchema, switches: SwitchesSchema });
export type VfioBindingWant = z.output<typeof Want>;

export interface VfioBindingFacts {
  readonly devices: Fact<readonly PciDevice[]>;
  /** Drivers that driverctl gives at every boot, by address. */
  readonly saved: Fact<Readonly<Record<string, string>>>;
  /** vfio-pci is loaded, or built in. */
  readonly module: Fact<boolean>;
  readonly modulesFile: Fact<string>;
  /** What TeeUp took, so that delete gives back no more than that. */
  readonly record: Fact<VfioRecord>;
}

/** Lines of `grep -rsH '' /etc/driverctl.d`: `/etc/driverctl.d/pci-0000:81:00.0:vfio-pci`. */
function parseSaved(text: string): Readonly<Record<string, string>> {
  const saved: Record<string, string> = {};
  for (const line of text.split("\n")) {
    const match = /\/pci-([0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]):(\S+)$/.exec(line);
    if (match?.[1] !== undefined && match[2] !== undefined) saved[match[1]] = match[2];
  }
  return saved;
}

export const vfioBinding = facet({
  name: "vfio-binding",
  type: "VfioBinding",
  on: "host",
  persona: "host",
  summary:
    "The GPUs, the NVSwitches where they are wanted, and all of their IOMMU groups are vfio-pci's, now and after every boot.",
  sources: [SOURCE, GROUP, "driverctl(8)"],
  want: Want,
  asks: {
    lspci: LSPCI,
    saved: { kind: "argv", argv: ["grep", "-rsH", "", OVERRIDES] },
    module: { kind: "argv", argv: ["test", "-d", "/sys/module/vfio_pci"] },
    modulesFile: { kind: "file", path: MODULES_FILE },
    record: { kind: "file", path: RECORD },
  },
  parse({ lspci, saved, module, modulesFile, record }): VfioBindingFacts {
    const loaded = mapFact(ran(module), (r) => r.status === 0);
    return {
      devices: parsed(text(lspci), parseLspci, "lspci"),
      // grep exits 1 when nothing is saved and 2 when the folder is not there yet.
      saved: mapFact(ran(saved), (r) => parseSaved(r.stdout)),
      module: loaded.state === "absent" ? unknown("no test(1)") : loaded,
      modulesFile: text(modulesFile),
      record: parsed(text(record), parseRecord, RECORD),
    };
  },
  judge(want, facts) {
    const { devices, saved, module, modulesFile } = facts;
    const why = firstUnknown(devices, saved, module, modulesFile, facts.record);
    if (why !== undefined || devices.state !== "known") {
      return [unsure("unknown", "vfio-pci", why ?? "lspci is not installed", "look at lspci -nnk -d 10de:")];
    }
    const { gpus, absent } = selectGpus(devices.value, want.gpus);
    if (gpus.length === 0 || absent.length > 0) {
      return [fail("no-gpu", "vfio-pci", "a wanted GPU is not there", "see gpu-inventory")];
    }
    const given = passedOn(devices.value, want);
    if (want.switches && given.length === gpus.length) {
      return [fail("no-switches", "NVSwitches for vfio-pci", "there is none", "see gpu-inventory")];
    }
    if (given.some((g) => g.group === undefined)) {
      // drivers_probe and new_id succeed without an IOMMU while nothing binds: only the group tells.
      const hint = IOMMU_ON;
      return [
        fail(
          "iommu-off",
          "an IOMMU group for every device of the guest's",
          "the kernel made none",
          hint,
          "seed 000, BIOS",
        ),
      ];
    }
    const overrides = saved.state === "known" ? saved.value : {};
    const boot = modulesFile.state === "known" && modulesFile.value === MODULES_TEXT;
    return [
      ...members(devices.value, want).map((d) => {
        const what = `vfio-pci at ${d.bdf} (IOMMU group ${d.group})`;
        const source = given.includes(d) ? SOURCE : GROUP;
        if (isForeign(d)) {
          const hint = `turn on ACS in the BIOS, or move the card to another slot: TeeUp never takes ${d.bdf} from the host`;
          return fail(
            "group-shared",
            `no device of the host in a GPU's IOMMU group`,
            `${showDevice(d)} (${d.driver})`,
            hint,
            GROUP,
          );
        }
        if (d.driver !== "vfio-pci") return fail("driver", what, d.driver ?? "no driver", "pulumi up binds it", source);
        const override = overrides[d.bdf];
        if (override === "vfio-pci") return pass("driver", what, `${d.bdf} is bound, and saved`, source);
        return fail("not-saved", `${what} after a reboot`, override ?? "no override", "pulumi up saves it", source);
      }),
      isTrue(module)
        ? pass("module", "vfio-pci loaded", "loaded")
        : fail("module", "vfio-pci loaded", "not loaded", "modprobe vfio-pci; pulumi up does"),
      boot
        ? pass("modules-load", "vfio-pci loaded at boot", MODULES_FILE)
        : fail("modules-load", "vfio-pci loaded at boot", `${MODULES_FILE} is not as wanted`, "pulumi up writes it"),
    ];
  },
  plan: planVfioBinding,
  undo: undoVfioBinding,
  show: ({ devices, saved, module }) => ({
    bound:
      devices.state === "known"
        ? devices.value.filter((d) => d.driver === "vfio-pci").map((d) => d.bdf)
        : devices.state,
    saved: saved.state === "known" ? Object.keys(saved.value) : saved.state,
    module: module.state === "known" ? module.value : module.state,
  }),
  examples: vfioBindingExamples,
  covers: ["004-54", "004-55", "000-05", "000-07", "000-08", "001-GPU-14", "001-GPU-15", "001-GPU-16", "001-GPU-17"],
});
