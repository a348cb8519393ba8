import type { Action } from "../kit/action.ts";
import type { PlanContext, Step } from "../kit/facet.ts";
import { firstUnknown, isTrue } from "../kit/findings.ts";
import type { PciDevice } from "../kit/parse-lspci.ts";
import { selectGpus } from "../kit/parse-lspci.ts";
import { argvOfUnit, VM_UNIT, VM_UNIT_FILE, vmUnit } from "../kit/qemu-snp.ts";
import type { ConfidentialVmFacts } from "./confidential-vm.ts";
import type { ConfidentialVmWant } from "./confidential-vm-want.ts";

export const whyUnknown = (f: ConfidentialVmFacts): string | undefined =>
  firstUnknown(f.gpus, f.unit, f.active, f.enabled, f.stale, f.process);

/** The unit file's text; undefined while a wanted GPU is not there. */
export function unitFor(want: ConfidentialVmWant, devices: readonly PciDevice[]): string | undefined {
  const { gpus, absent } = selectGpus(devices, want.gpus);
  if (gpus.length === 0 || absent.length > 0) return undefined;
  const { cbitpos, reducedPhysBits, policy, gpuMode, ...vm } = want;
  return vmUnit({ ...vm, snp: { cbitpos, reducedPhysBits, policy }, gpus: gpus.map((g) => g.bdf) }, gpuMode);
}

/** What differs between two argument lists, e.g. `64G → 128G`. */
export function differenceOf(was: string, wanted: string): string {
  const [a, b] = [was.split(" "), wanted.split(" ")];
  const some = (list: readonly string[]) => list.slice(0, 2).join(" ").slice(0, 120) || "nothing";
  const [gone, come] = [a.filter((w) => !b.includes(w)), b.filter((w) => !a.includes(w))];
  const more = gone.length > 2 || come.length > 2 ? ", and more" : "";
  return gone.length + come.length === 0 ? "only comments or order" : `${some(gone)} → ${some(come)}${more}`;
}

export function planConfidentialVm(
  want: ConfidentialVmWant,
  facts: ConfidentialVmFacts,
  _context: PlanContext,
): readonly Step[] {
  if (whyUnknown(facts) !== undefined || facts.gpus.state !== "known") return [];
  const unit = unitFor(want, facts.gpus.value);
  if (unit === undefined) return [];
  const written = facts.unit.state === "known" && facts.unit.value === unit;
  const running = facts.process.state === "known" ? facts.process.value : undefined;
  const active = running !== undefined && facts.active.state === "known" && facts.active.value === "active";
  const argv = argvOfUnit(unit);
  const good = active && running === argv;
  if (written && !isTrue(facts.stale) && isTrue(facts.enabled) && good) return [];

  const define: readonly Action[] = [
    ...(written ? [] : [{ do: "write", path: VM_UNIT_FILE, content: unit } as const]),
    { do: "run", argv: ["systemctl", "daemon-reload"] },
    { do: "run", argv: ["systemctl", "enable", VM_UNIT] },
  ];
  const start: readonly Action[] = [
    { do: "run", argv: ["systemctl", "restart", VM_UNIT], timeoutSeconds: 240 },
    { do: "wait-guest", timeoutSeconds: 900 },
  ];
  const why = "the guest is a systemd unit: it comes back after the host's reboot, and after its own, which ends QEMU";
  if (good) {
    const title = `define ${VM_UNIT} as wanted; the running VM stays`;
    return [{ code: "confidential-vm.define", title, why, disruption: "none", actions: define }];
  }
  if (running === undefined) {
    const title = `start a confidential VM with ${want.cpus} vCPUs, ${want.memoryGiB} GiB and its GPUs`;
    return [{ code: "confidential-vm.start", title, why, disruption: "none", actions: [...define, ...start] }];
  }
  return [
    {
      code: "confidential-vm.restart",
      title: `restart the confidential VM: ${differenceOf(running, argv)}`,
      why: "QEMU's arguments change only with a new process",
      disruption: "guest-stop",
      actions: [...define, ...start],
    },
  ];
}

export function undoConfidentialVm(_want: ConfidentialVmWant, facts: ConfidentialVmFacts): readonly Step[] {
  if (firstUnknown(facts.unit, facts.process) !== undefined) return [];
  if (facts.unit.state === "absent" && facts.process.state === "absent") return [];
  return [
    {
      code: "confidential-vm.remove",
      title: `stop the confidential VM and remove ${VM_UNIT}`,
      why: "TeeUp made it",
      disruption: facts.process.state === "known" ? "guest-stop" : "none",
      actions: [
        { do: "run", argv: ["systemctl", "disable", "--now", VM_UNIT], timeoutSeconds: 240, okStatus: [0, 1, 5] },
        { do: "remove", path: VM_UNIT_FILE },
        { do: "run", argv: ["systemctl", "daemon-reload"] },
      ],
    },
  ];
}
