import { z } from "zod";
import type { Action } from "../kit/action.ts";
import type { PlanContext, Step } from "../kit/facet.ts";
import { firstUnknown } from "../kit/findings.ts";
import type { PciDevice } from "../kit/parse-lspci.ts";
import { BdfSchema, isBridge, isNvSwitch, selectGpus } from "../kit/parse-lspci.ts";
import type { VfioBindingFacts, VfioBindingWant } from "./vfio-binding.ts";

/** Read by systemd-modules-load: a custom kernel need not load vfio-pci by itself. */
export const MODULES_FILE = "/etc/modules-load.d/teeup-vfio.conf";
export const MODULES_TEXT = "# Written by TeeUp.\nvfio-pci\n";
/** Where driverctl keeps what its udev rule applies at boot. */
export const OVERRIDES = "/etc/driverctl.d";

/** Which devices TeeUp bound, and which bindings of others it made to last. */
export const RECORD = "/var/lib/teeup/vfio.json";
const Record = z.strictObject({ bound: z.array(BdfSchema), saved: z.array(BdfSchema) });
export type VfioRecord = z.output<typeof Record>;
export function parseRecord(text: string): VfioRecord | undefined {
  try {
    return Record.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}
const recordOf = (facts: VfioBindingFacts): VfioRecord =>
  facts.record.state === "known" ? facts.record.value : { bound: [], saved: [] };
const write = (record: VfioRecord): Action => ({ do: "write", path: RECORD, content: `${JSON.stringify(record)}\n` });

/** The host works with it: a NIC or a disk behind the same switch. It is never taken. */
export const isForeign = (d: PciDevice): boolean =>
  d.vendor !== "10de" && d.driver !== undefined && d.driver !== "vfio-pci";

/** What the guest gets: the wanted GPUs, and the NVSwitches where they are wanted. */
export const passedOn = (devices: readonly PciDevice[], want: VfioBindingWant): readonly PciDevice[] => [
  ...selectGpus(devices, want.gpus).gpus,
  ...(want.switches ? devices.filter(isNvSwitch) : []),
];

/** That, and all that shares its IOMMU groups, bridges excepted. */
export function members(devices: readonly PciDevice[], want: VfioBindingWant): readonly PciDevice[] {
  const given = passedOn(devices, want);
  const groups = new Set(given.flatMap((g) => g.group ?? []));
  return devices.filter((d) => given.includes(d) || (d.group !== undefined && groups.has(d.group) && !isBridge(d)));
}

/** For a person whose IOMMU is off. */
export const IOMMU_ON =
  "turn the IOMMU on in the BIOS; no iommu=off, amd_iommu=off or intel_iommu=off on the command line";
const NO_GROUPS = {
  saw: "the kernel made no IOMMU groups, so nothing can be bound",
  next: `${IOMMU_ON}; then pulumi up again`,
};

const union = (list: readonly string[], more: readonly PciDevice[]): string[] =>
  [...new Set([...list, ...more.map((d) => d.bdf)])].sort();
const without = (list: readonly string[], gone: readonly PciDevice[]): string[] =>
  list.filter((bdf) => !gone.some((d) => d.bdf === bdf));

/** `0000:07:00.0, 0000:08:00.0 (no driver)`: a board has twelve of one kind. */
const byDriver = (list: readonly PciDevice[]): string => {
  const drivers = [...new Set(list.map((d) => d.driver ?? "no driver"))];
  const of = (driver: string) => list.filter((d) => (d.driver ?? "no driver") === driver).map((d) => d.bdf);
  return drivers.map((driver) => `${of(driver).join(", ")} (${driver})`).join(", ");
};

export function planVfioBinding(want: VfioBindingWant, facts: VfioBindingFacts, context: PlanContext): readonly Step[] {
  const { devices, saved, module, modulesFile } = facts;
  if (devices.state !== "known" || firstUnknown(saved, module, modulesFile, facts.record) !== undefined) return [];
  const { gpus, absent } = selectGpus(devices.value, want.gpus);
  if (gpus.length === 0 || absent.length > 0) return [];
  if (want.switches && !devices.value.some(isNvSwitch)) return [];
  const overrides = saved.state === "known" ? saved.value : {};
  const list = members(devices.value, want);
  const foreign = list.filter(isForeign);
  if (foreign.length > 0) {
    return [
      {
        code: "vfio-binding.group-shared",
        title: `free the GPUs' IOMMU groups of ${foreign.map((d) => `${d.bdf} (${d.driver})`).join(", ")}: turn on ACS, or move the card`,
        why: "a group goes to a guest as a whole, and the host works with these devices",
        disruption: "human",
        actions: [],
      },
    ];
  }
  const record = recordOf(facts);
  const unbound = list.filter((d) => d.driver !== "vfio-pci");
  const unsaved = list.filter((d) => d.driver === "vfio-pci" && overrides[d.bdf] !== "vfio-pci");
  const lasting = {
    ...record,
    saved: union(
      record.saved,
      unsaved.filter((d) => !record.bound.includes(d.bdf)),
    ),
  };
  const steps: Step[] = [];
  if (modulesFile.state !== "known" || modulesFile.value !== MODULES_TEXT) {
    steps.push({
      code: "vfio-binding.modules-load",
      title: `write ${MODULES_FILE}`,
      why: "vfio-pci must be there at every boot; a custom kernel may not load it by itself",
      disruption: "none",
      actions: [{ do: "write", path: MODULES_FILE, content: MODULES_TEXT }],
    });
  }
  if (module.state === "known" && !module.value) {
    steps.push({
      code: "vfio-binding.module",
      title: "load vfio-pci",
      why: "nothing can be bound to it before",
      disruption: "none",
      actions: [{ do: "run", argv: ["modprobe", "vfio-pci"] }],
    });
  }
  if (unsaved.length > 0) {
    steps.push({
      code: "vfio-binding.save",
      title: `keep vfio-pci at ${unsaved.map((d) => d.bdf).join(", ")} across reboots`,
      why: "a binding is lost at reboot",
      disruption: "none",
      // As driverctl writes it: its set-override would take the device away from a running guest.
      actions: [
        write(lasting),
        ...unsaved.map((d): Action => ({ do: "write", path: `${OVERRIDES}/pci-${d.bdf}`, content: "vfio-pci\n" })),
      ],
    });
  }
  if (unbound.length > 0) {
    const used = unbound.some((d) => d.driver !== undefined);
    steps.push({
      code: "vfio-binding.bind",
      title: `bind ${byDriver(unbound)} to vfio-pci`,
      why: "a guest gets whole IOMMU groups, from vfio-pci",
      disruption: context.guestRunning ? "guest-stop" : used ? "service" : "none",
      actions: [
        // Without an IOMMU nothing would bind, and some ways of binding would not even say so.
        { do: "run", argv: ["test", "-d", "/sys/kernel/iommu_groups/0"], means: NO_GROUPS },
        write({ bound: union(record.bound, unbound), saved: without(lasting.saved, unbound) }),
        ...unbound.map((d): Action => ({ do: "run", argv: ["driverctl", "set-override", d.bdf, "vfio-pci"] })),
      ],
    });
  }
  return steps;
}

/**
 * driverctl fails, and keeps the saved override, when no driver of the host wants the device, as is usual with a GPU. So
 * it lets go first; the host is asked second, whatever the answer; what stands for the next boot goes last.
 */
const giveBack = (bdf: string): readonly Action[] => [
  { do: "run", argv: ["driverctl", "--nosave", "--noprobe", "unset-override", bdf], timeoutSeconds: 60 },
  { do: "run", argv: ["driverctl", "--nosave", "unset-override", bdf], okStatus: [0, 1], timeoutSeconds: 60 },
  { do: "remove", path: `${OVERRIDES}/pci-${bdf}` },
];

export function undoVfioBinding(
  _want: VfioBindingWant,
  facts: VfioBindingFacts,
  context: PlanContext,
): readonly Step[] {
  const { devices, saved, modulesFile } = facts;
  if (devices.state !== "known" || firstUnknown(saved, modulesFile, facts.record) !== undefined) return [];
  const overrides = saved.state === "known" ? saved.value : {};
  const { bound, saved: kept } = recordOf(facts);
  const still = devices.value.filter((d) => overrides[d.bdf] === "vfio-pci");
  const ours = still.filter((d) => bound.includes(d.bdf));
  const lasting = still.filter((d) => kept.includes(d.bdf));
  if (ours.length + lasting.length === 0 && modulesFile.state === "absent") return [];
  return [
    {
      code: "vfio-binding.restore",
      title: `give ${ours.map((d) => d.bdf).join(", ") || "no device"} back to the host's drivers`,
      why: "TeeUp bound them",
      disruption: ours.length === 0 ? "none" : context.guestRunning ? "guest-stop" : "service",
      actions: [
        ...lasting.map((d): Action => ({ do: "remove", path: `${OVERRIDES}/pci-${d.bdf}` })),
        ...ours.flatMap((d) => giveBack(d.bdf)),
        { do: "remove", path: MODULES_FILE },
        { do: "remove", path: RECORD },
      ],
    },
  ];
}
