import { z } from "zod";
import type { Action } from "../kit/action.ts";
import { failed, missing, ok, ran, text } from "../kit/ask.ts";
import type { Step } from "../kit/facet.ts";
import { facet, pass } from "../kit/facet.ts";
import type { Fact } from "../kit/facts.ts";
import { known, unknown } from "../kit/facts.ts";
import { fail, firstUnknown, parsed, unsure } from "../kit/findings.ts";
import type { PciDevice } from "../kit/parse-lspci.ts";
import { GpusSchema, isBridge, LSPCI, parseLspci, selectGpus } from "../kit/parse-lspci.ts";

const SOURCE = "seed 001, Identifying the GPUs to be Passed Through (lost at reboot); seed 000, Host Side (vfio-pci)";
const GROUP = "NVIDIA/gpu-admin-tools#23; Linux Documentation/driver-api/vfio.rst (a group is the smallest unit)";
/** Read by systemd-modules-load: a custom kernel need not load vfio-pci by itself. */
const MODULES_FILE = "/etc/modules-load.d/teeup-vfio.conf";
const MODULES_TEXT = "# Written by TeeUp.\nvfio-pci\n";
const OVERRIDES = "/etc/driverctl.d";

const Want = z.strictObject({ gpus: GpusSchema });
type Want = z.infer<typeof Want>;
type Facts = {
  readonly devices: Fact<readonly PciDevice[]>;
  /** Drivers that driverctl gives at every boot, by address. */
  readonly saved: Fact<Readonly<Record<string, string>>>;
  readonly module: Fact<boolean>;
  readonly modulesFile: Fact<string>;
};

/** The wanted GPUs and all that shares their IOMMU groups, bridges excepted. */
function members(devices: readonly PciDevice[], want: Want): readonly PciDevice[] {
  const { gpus } = selectGpus(devices, want.gpus);
  const groups = new Set(gpus.flatMap((g) => g.group ?? []));
  return devices.filter((d) => gpus.includes(d) || (d.group !== undefined && groups.has(d.group) && !isBridge(d)));
}

const bound = (d: PciDevice): boolean => d.driver === "vfio-pci";

export const vfioBinding = facet({
  name: "vfio-binding",
  type: "VfioBinding",
  on: "host",
  persona: "host",
  summary: "The GPUs and all of their IOMMU groups are vfio-pci's, now and after every boot.",
  sources: [SOURCE, GROUP, "driverctl(8)"],
  want: Want,
  asks: {
    lspci: LSPCI,
    saved: { kind: "argv", argv: ["grep", "-rsH", "", OVERRIDES] },
    module: { kind: "argv", argv: ["test", "-d", "/sys/module/vfio_pci"] },
    modulesFile: { kind: "file", path: MODULES_FILE },
  },
  parse({ lspci, saved, module, modulesFile }): Facts {
    const files = ran(saved);
    const loaded = ran(module);
    return {
      devices: parsed(text(lspci), (t) => parseLspci(t), "lspci"),
      // grep exits 1 for empty files and 2 when the folder is not there.
      saved:
        files.state !== "known"
          ? files
          : known(
              Object.fromEntries(
                files.value.stdout.split("\n").flatMap((line) => {
                  const match = /\/pci-([0-9a-f:.]+):(\S+)$/.exec(line);
                  return match === null ? [] : [[match[1], match[2]] as const];
                }),
              ),
            ),
      module: loaded.state === "known" ? known(loaded.value.status === 0) : loaded.state === "absent" ? unknown("no test(1)") : loaded,
      modulesFile: text(modulesFile),
    };
  },
  judge(want, facts) {
    const why = firstUnknown(facts.devices, facts.saved, facts.module, facts.modulesFile);
    const wanted = "vfio-pci";
    if (why !== undefined || facts.devices.state !== "known") {
      return [unsure("vfio-binding.unknown", wanted, why ?? "lspci is not installed", "look at lspci -nnk -d 10de:", SOURCE)];
    }
    const { gpus, absent } = selectGpus(facts.devices.value, want.gpus);
    if (gpus.length === 0 || absent.length > 0) {
      return [fail("vfio-binding.no-gpu", wanted, "a wanted GPU is not there", "see gpu-inventory", SOURCE)];
    }
    if (gpus.some((g) => g.group === undefined)) {
      // drivers_probe and new_id succeed without an IOMMU while nothing binds: only the group tells.
      const hint = "turn the IOMMU on in the BIOS and keep iommu=off and amd_iommu=off off the command line";
      return [fail("vfio-binding.iommu-off", "an IOMMU group for every GPU", "the kernel made no IOMMU group", hint, "seed 000, BIOS")];
    }
    const saved = facts.saved.state === "known" ? facts.saved.value : {};
    const loaded = facts.module.state === "known" && facts.module.value;
    const file = facts.modulesFile.state === "known" && facts.modulesFile.value === MODULES_TEXT;
    return [
      ...members(facts.devices.value, want).flatMap((d) => {
        const what = `vfio-pci at ${d.bdf} (group ${d.group})`;
        if (!bound(d)) return [fail("vfio-binding.driver", what, d.driver ?? "no driver", "teeup up binds it", d.class === "0302" ? SOURCE : GROUP)];
        if (saved[d.bdf] !== "vfio-pci") {
          return [fail("vfio-binding.not-saved", `${what} after a reboot`, saved[d.bdf] ?? "no override", "teeup up saves it (driverctl)", SOURCE)];
        }
        return [pass("vfio-binding.driver", what, "vfio-pci, saved", SOURCE)];
      }),
      loaded
        ? pass("vfio-binding.module", "vfio-pci loaded", "loaded", SOURCE)
        : fail("vfio-binding.module", "vfio-pci loaded", "not loaded", "modprobe vfio-pci", SOURCE),
      file
        ? pass("vfio-binding.modules-load", "vfio-pci loaded at boot", MODULES_FILE, SOURCE)
        : fail("vfio-binding.modules-load", "vfio-pci loaded at boot", `${MODULES_FILE} is missing or changed`, "teeup up writes it", SOURCE),
    ];
  },
  plan(want, facts, context) {
    if (firstUnknown(facts.devices, facts.saved, facts.module, facts.modulesFile) || facts.devices.state !== "known") return [];
    const { gpus, absent } = selectGpus(facts.devices.value, want.gpus);
    if (gpus.length === 0 || absent.length > 0) return [];
    const saved = facts.saved.state === "known" ? facts.saved.value : {};
    const list = members(facts.devices.value, want);
    const unbound = list.filter((d) => !bound(d));
    const unsaved = list.filter((d) => bound(d) && saved[d.bdf] !== "vfio-pci");
    const load = facts.module.state === "known" && !facts.module.value;
    const file = facts.modulesFile.state === "known" && facts.modulesFile.value === MODULES_TEXT;
    const steps: Step[] = [];
    const step = (code: string, title: string, why: string, disruption: Step["disruption"], actions: readonly Action[]) =>
      void steps.push({ code: `vfio-binding.${code}`, title, why, disruption, actions });
    if (!file) step("modules-load", `write ${MODULES_FILE}`, "vfio-pci must be there at boot", "none", [{ do: "write", path: MODULES_FILE, content: MODULES_TEXT }]);
    if (load) step("module", "load vfio-pci", "nothing can be bound to it before", "none", [{ do: "run", argv: ["modprobe", "vfio-pci"] }]);
    if (unsaved.length > 0) {
      // Written as driverctl writes it: set-override would take the device away from a running guest.
      const actions = unsaved.map((d): Action => ({ do: "write", path: `${OVERRIDES}/pci-${d.bdf}`, content: "vfio-pci\n" }));
      step("save", `keep vfio-pci at ${unsaved.map((d) => d.bdf).join(", ")} across reboots`, "a binding is lost at reboot", "none", actions);
    }
    if (unbound.length > 0) {
      const used = unbound.some((d) => d.driver !== undefined);
      step(
        "bind",
        `bind ${unbound.map((d) => `${d.bdf} (${d.driver ?? "no driver"})`).join(", ")} to vfio-pci`,
        "the guest gets whole IOMMU groups",
        context.guestRunning ? "guest-stop" : used ? "service" : "none",
        [
          { do: "run", argv: ["test", "-d", "/sys/kernel/iommu_groups/0"] },
          ...unbound.map((d): Action => ({ do: "run", argv: ["driverctl", "set-override", d.bdf, "vfio-pci"] })),
        ],
      );
    }
    return steps;
  },
  undo(want, facts, context) {
    if (facts.devices.state !== "known" || facts.saved.state !== "known") return [];
    const saved = facts.saved.value;
    const ours = members(facts.devices.value, want).filter((d) => saved[d.bdf] === "vfio-pci");
    if (ours.length === 0 && facts.modulesFile.state === "absent") return [];
    return [
      {
        code: "vfio-binding.restore",
        title: `give ${ours.map((d) => d.bdf).join(", ") || "no device"} back to the host's drivers`,
        why: "TeeUp bound them",
        disruption: context.guestRunning ? "guest-stop" : "service",
        actions: [
          ...ours.map((d): Action => ({ do: "run", argv: ["driverctl", "unset-override", d.bdf] })),
          { do: "remove", path: MODULES_FILE },
        ],
      },
    ];
  },
  show: ({ devices, saved, module }) => ({
    bound: devices.state === "known" ? devices.value.filter(bound).map((d) => d.bdf) : devices.state,
    saved: saved.state === "known" ? Object.keys(saved.value) : saved.state,
    module: module.state === "known" ? module.value : module.state,
  }),
  examples: [],
  covers: ["000-05", "000-07", "000-08", "001-GPU-14", "001-GPU-15", "001-GPU-16", "001-GPU-17"],
});
