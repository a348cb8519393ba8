import { createHash } from "node:crypto";
import type { Action } from "../kit/action.ts";
import type { PlanContext, Step } from "../kit/facet.ts";
import { firstUnknown, isTrue } from "../kit/findings.ts";
import type { PciDevice } from "../kit/parse-lspci.ts";
import { selectGpus } from "../kit/parse-lspci.ts";
import { argvOfUnit, VM_UNIT, VM_UNIT_FILE, vmUnit } from "../kit/qemu-snp.ts";
import type { ConfidentialVmFacts } from "./confidential-vm.ts";
import type { ConfidentialVmWant } from "./confidential-vm-want.ts";

export const whyUnknown = (f: ConfidentialVmFacts): string | undefined =>
  firstUnknown(f.gpus, f.unit, f.active, f.enabled, f.stale, f.process, f.strays, f.tried);

/** Gone with a reboot of the host, which is a fresh try. */
export const TRIED = "/run/teeup/vm-restart";
/** A restart in one line: from which arguments to which. */
export const restartNote = (running: string, argv: string): string =>
  `${createHash("sha256").update(`${running}\n${argv}`).digest("hex")}\n`;

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
  context: PlanContext,
): readonly Step[] {
  if (whyUnknown(facts) !== undefined || facts.gpus.state !== "known") return [];
  const unit = unitFor(want, facts.gpus.value);
  if (unit === undefined) return [];
  const written = facts.unit.state === "known" && facts.unit.value === unit;
  const running = facts.process.state === "known" ? facts.process.value : undefined;
  const state = facts.active.state === "known" ? facts.active.value : "";
  const active = running !== undefined && state === "active";
  const argv = argvOfUnit(unit);
  const good = active && running === argv;
  if (written && !isTrue(facts.stale) && isTrue(facts.enabled) && good) return [];

  const define: readonly Action[] = [
    ...(written ? [] : [{ do: "write", path: VM_UNIT_FILE, content: unit } as const]),
    { do: "run", argv: ["systemctl", "daemon-reload"] },
    { do: "run", argv: ["systemctl", "enable", VM_UNIT] },
  ];
  const start = (verb: "start" | "restart"): readonly Action[] => [
    { do: "run", argv: ["systemctl", verb, VM_UNIT], timeoutSeconds: 240 },
    { do: "wait-guest", timeoutSeconds: 900 },
  ];
  const human = (code: string, title: string, why: string): readonly Step[] => [
    { code, title, why, disruption: "human", actions: [] },
  ];
  const why = "the guest is a systemd unit: it comes back after the host's reboot, and after its own, which ends QEMU";
  if (facts.strays.state === "known" && facts.strays.value.length > 0) {
    const title = `end the QEMU that carries the confidential VM's name but is not ${VM_UNIT}'s`;
    return human("confidential-vm.stray", title, "TeeUp stops only its own VM, and two cannot share disk and GPUs");
  }
  if (good) {
    const title = `define ${VM_UNIT} as wanted; the running VM stays`;
    return [{ code: "confidential-vm.define", title, why, disruption: "none", actions: define }];
  }
  if (running === undefined && ["inactive", "failed"].includes(state) && !context.guestRunning) {
    const title = `start a confidential VM with ${want.cpus} vCPUs, ${want.memoryGiB} GiB and its GPUs`;
    return [{ code: "confidential-vm.start", title, why, disruption: "none", actions: [...define, ...start("start")] }];
  }
  const note = restartNote(running ?? "", argv);
  // A unit that is not as wanted was not what the last restart was for.
  if (written && !isTrue(facts.stale) && facts.tried.state === "known" && facts.tried.value === note) {
    const title = `find out why a restart of ${VM_UNIT} changed nothing (systemctl cat ${VM_UNIT}); then rm ${TRIED}`;
    return human("confidential-vm.stuck", title, "the same restart again would stop the guest for nothing");
  }
  const what = running === undefined ? `it is ${state}, or another guest has a GPU` : differenceOf(running, argv);
  return [
    {
      code: "confidential-vm.restart",
      title: `restart the confidential VM: ${what}`,
      why: "QEMU's arguments change only with a new process",
      disruption: "guest-stop",
      actions: [...define, { do: "write", path: TRIED, content: note }, ...start("restart")],
    },
  ];
}

export function undoConfidentialVm(_want: ConfidentialVmWant, facts: ConfidentialVmFacts): readonly Step[] {
  if (firstUnknown(facts.unit, facts.process, facts.active) !== undefined) return [];
  const off = facts.active.state === "known" && ["inactive", "failed"].includes(facts.active.value);
  if (facts.unit.state === "absent" && facts.process.state === "absent") return [];
  return [
    {
      code: "confidential-vm.remove",
      title: `stop the confidential VM and remove ${VM_UNIT}`,
      why: "TeeUp made it",
      disruption: facts.process.state === "known" || !off ? "guest-stop" : "none",
      actions: [
        { do: "run", argv: ["systemctl", "disable", "--now", VM_UNIT], timeoutSeconds: 240, okStatus: [0, 1, 5] },
        { do: "remove", path: VM_UNIT_FILE },
        { do: "run", argv: ["systemctl", "daemon-reload"] },
      ],
    },
  ];
}
