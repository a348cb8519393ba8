import { createHash } from "node:crypto";
import type { Action } from "../kit/action.ts";
import type { PlanContext, Step } from "../kit/facet.ts";
import { firstUnknown, isTrue } from "../kit/findings.ts";
import { DOMAIN, DOMAIN_SOURCE, shutDomain, VIRSH } from "../kit/libvirt.ts";
import type { PciDevice } from "../kit/parse-lspci.ts";
import { isNvSwitch, selectGpus } from "../kit/parse-lspci.ts";
import type { VmSpec } from "../kit/qemu-args.ts";
import { argvOfUnit, gpuModeOfUnit, LAUNCH, VM_UNIT, VM_UNIT_FILE, vmUnit } from "../kit/qemu-args.ts";
import { type ConfidentialVmFacts, undefinedOwn } from "./confidential-vm-facts.ts";
import type { ConfidentialVmWant } from "./confidential-vm-want.ts";

/** Gone with a reboot of the host, which is a fresh try. */
export const TRIED = "/run/teeup/vm-restart";
/** A restart in one line: from which arguments to which. */
export const restartNote = (running: string, argv: string): string =>
  `${createHash("sha256").update(`${running}\n${argv}`).digest("hex")}\n`;

/** The VM with its devices; undefined while a wanted GPU is not there. */
export function specFor(want: ConfidentialVmWant, devices: readonly PciDevice[]): VmSpec | undefined {
  const { gpus, absent } = selectGpus(devices, want.gpus);
  if (gpus.length === 0 || absent.length > 0) return undefined;
  const { cbitpos, reducedPhysBits, policy, gpuMode, launcher: _, firmware: __, cpuModel, ...vm } = want;
  return {
    ...vm,
    cpuModel: cpuModel ?? LAUNCH[want.tee].cpuModel,
    snp: { cbitpos, reducedPhysBits, policy },
    gpus: gpus.map((g) => g.bdf),
    // The fabric is protected as a whole, so its switches go to the one guest that has all the GPUs.
    switches: gpuMode === "ppcie" ? devices.filter(isNvSwitch).map((d) => d.bdf) : [],
  };
}

/** What differs between two argument lists, e.g. `64G → 128G`. */
export function differenceOf(was: string, wanted: string): string {
  const [a, b] = [was.split(" "), wanted.split(" ")];
  const some = (list: readonly string[]) => list.slice(0, 2).join(" ").slice(0, 120) || "nothing";
  const [gone, come] = [a.filter((w) => !b.includes(w)), b.filter((w) => !a.includes(w))];
  const more = gone.length > 2 || come.length > 2 ? ", and more" : "";
  return gone.length + come.length === 0 ? "only comments or order" : `${some(gone)} → ${some(come)}${more}`;
}

export const start = (argv: readonly [string, ...string[]]): readonly Action[] => [
  { do: "run", argv, timeoutSeconds: 240 },
  { do: "wait-guest", timeoutSeconds: 900 },
];
export const human = (code: string, title: string, why: string): readonly Step[] => [
  { code, title, why, disruption: "human", actions: [] },
];
/** Take the VM out of the hands of either launcher; its disk stays. */
export const removeUnit: readonly Action[] = [
  { do: "run", argv: ["systemctl", "disable", "--now", VM_UNIT], timeoutSeconds: 240, okStatus: [0, 1, 5] },
  { do: "remove", path: VM_UNIT_FILE },
  { do: "run", argv: ["systemctl", "daemon-reload"] },
];
export const removeDomain: readonly Action[] = [
  ...shutDomain,
  // Of a domain that somebody gave NVRAM libvirt lets go only with it.
  { do: "run", argv: [...VIRSH, "undefine", DOMAIN, "--nvram"] },
  { do: "remove", path: DOMAIN_SOURCE },
];

export function planUnit(
  want: ConfidentialVmWant,
  spec: VmSpec,
  facts: ConfidentialVmFacts,
  context: PlanContext,
): readonly Step[] {
  const unit = vmUnit(spec, want.gpuMode);
  const written = facts.unit.state === "known" && facts.unit.value === unit;
  const running = facts.process.state === "known" ? facts.process.value : undefined;
  const state = facts.active.state === "known" ? facts.active.value : "";
  const active = running !== undefined && state === "active";
  const argv = argvOfUnit(unit);
  // QEMU's arguments do not name it: a running VM keeps the mode that its unit was written for.
  const made = facts.unit.state === "known" ? (gpuModeOfUnit(facts.unit.value) ?? want.gpuMode) : want.gpuMode;
  const good = active && running === argv && made === want.gpuMode;
  const domain = isTrue(facts.domainFile);
  if (written && !isTrue(facts.stale) && isTrue(facts.enabled) && good && !domain) return [];

  const define: readonly Action[] = [
    ...(written ? [] : [{ do: "write", path: VM_UNIT_FILE, content: unit } as const]),
    { do: "run", argv: ["systemctl", "daemon-reload"] },
    { do: "run", argv: ["systemctl", "enable", VM_UNIT] },
  ];
  const why = "the guest is a systemd unit: it comes back after the host's reboot, and after its own, which ends QEMU";
  if (good && !domain) {
    const title = `define ${VM_UNIT} as wanted; the running VM stays`;
    return [{ code: "confidential-vm.define", title, why, disruption: "none", actions: define }];
  }
  if (running === undefined && ["inactive", "failed"].includes(state) && !context.guestRunning && !domain) {
    const title = `start a confidential VM with ${want.cpus} vCPUs, ${want.memoryGiB} GiB and its GPUs`;
    const actions = [...define, ...start(["systemctl", "start", VM_UNIT])];
    return [{ code: "confidential-vm.start", title, why, disruption: "none", actions }];
  }
  const note = restartNote(running ?? "", argv);
  // A unit that is not as wanted was not what the last restart was for.
  if (written && !isTrue(facts.stale) && facts.tried.state === "known" && facts.tried.value === note) {
    const title = `find out why a restart of ${VM_UNIT} changed nothing (systemctl cat ${VM_UNIT}); then rm ${TRIED}`;
    return human("confidential-vm.stuck", title, "the same restart again would stop the guest for nothing");
  }
  const what = domain
    ? "it is a libvirt domain now"
    : running === undefined
      ? `it is ${state}, or another guest has a GPU`
      : running === argv
        ? `it was made for GPUs in CC mode ${made}, not ${want.gpuMode}`
        : differenceOf(running, argv);
  return [
    {
      code: "confidential-vm.restart",
      title: `restart the confidential VM: ${what}`,
      why: "QEMU's arguments change only with a new process",
      disruption: "guest-stop",
      actions: [
        ...(domain ? removeDomain : []),
        ...define,
        { do: "write", path: TRIED, content: note },
        ...start(["systemctl", "restart", VM_UNIT]),
      ],
    },
  ];
}

export function undoConfidentialVm(_want: ConfidentialVmWant, facts: ConfidentialVmFacts): readonly Step[] {
  if (firstUnknown(facts.unit, facts.process, facts.active, facts.domainFile) !== undefined) return [];
  const off = facts.active.state === "known" && ["inactive", "failed"].includes(facts.active.value);
  const transient = undefinedOwn(facts);
  const domain = isTrue(facts.domainFile) || transient;
  const unit = facts.unit.state === "known" || facts.process.state === "known";
  if (!unit && !domain) return [];
  return [
    {
      code: "confidential-vm.remove",
      title: `stop the confidential VM and remove ${[...(unit ? [VM_UNIT] : []), ...(domain ? [`domain ${DOMAIN}`] : [])].join(" and ")}`,
      why: "TeeUp made it",
      disruption: domain || facts.process.state === "known" || !off ? "guest-stop" : "none",
      actions: [...(unit ? removeUnit : []), ...(transient ? shutDomain : domain ? removeDomain : [])],
    },
  ];
}
