import type { Answer } from "../kit/ask.ts";
import { failed, missing, ok } from "../kit/ask.ts";
import type { Example } from "../kit/facet.ts";
import { argvOfUnit, vmUnit } from "../kit/qemu-snp.ts";
import { restartNote } from "./confidential-vm-plan.ts";
import type { ConfidentialVmWant } from "./confidential-vm-want.ts";

const want: ConfidentialVmWant = {
  gpus: "all",
  gpuMode: "on",
  qemu: "/opt/teeup/qemu/bin/qemu-system-x86_64",
  ovmf: "/opt/teeup/ovmf/OVMF.fd",
  ovmfAs: "bios",
  cpus: 16,
  memoryGiB: 64,
  cpuModel: "EPYC-v4",
  cbitpos: 51,
  reducedPhysBits: 1,
  policy: "0x30000",
  memfd: true,
  iommufd: false,
  mmio64MiBPerGpu: 262_144,
  sshPort: 2222,
};
const snp = { cbitpos: 51, reducedPhysBits: 1, policy: "0x30000" };
const unit = vmUnit({ ...want, snp, gpus: ["0000:81:00.0"] }, "on");
const shown = (active: string, enabled = "enabled", stale = "no", pid = active === "active" ? 4711 : 0) =>
  ok(`MainPID=${pid}\nActiveState=${active}\nUnitFileState=${enabled}\nNeedDaemonReload=${stale}\n`);
const up: Readonly<Record<string, Answer>> = {
  lspci: ok("Slot:\t0000:81:00.0\nClass:\t0302\nVendor:\t10de\nDevice:\t2331\nDriver:\tvfio-pci\nIOMMUGroup:\t14\n"),
  unit: ok(unit),
  state: shown("active"),
  process: ok(`4711 ${argvOfUnit(unit)}\n`),
};
const example = (
  name: string,
  answers: Readonly<Record<string, Answer>>,
  findings: readonly string[],
  steps: readonly string[],
  wanted = want,
): Example<ConfidentialVmWant> => ({ name, want: wanted, answers: { ...up, ...answers }, findings, steps });

export const confidentialVmExamples: readonly Example<ConfidentialVmWant>[] = [
  example("running as wanted", {}, [], []),
  example(
    "no VM yet",
    { unit: missing, state: shown("inactive", ""), process: ok("", 1) },
    ["confidential-vm.absent"],
    ["confidential-vm.start"],
  ),
  example(
    "more memory: the unit and the process differ",
    {},
    ["confidential-vm.unit", "confidential-vm.argv"],
    ["confidential-vm.restart"],
    { ...want, memoryGiB: 128 },
  ),
  example(
    "disabled: would not come back after the host's reboot",
    { state: shown("active", "disabled") },
    ["confidential-vm.enabled"],
    ["confidential-vm.define"],
  ),
  example(
    "ended, and not started again",
    { state: shown("inactive"), process: ok("", 1) },
    ["confidential-vm.inactive"],
    ["confidential-vm.start"],
  ),
  example(
    "the unit's QEMU is without SNP",
    { process: ok("4711 /usr/bin/qemu-system-x86_64 -name teeup-vm-cvm0 -m 64G\n") },
    ["confidential-vm.not-confidential"],
    ["confidential-vm.restart"],
  ),
  example(
    "somebody started QEMU by hand: it is not the VM, and not TeeUp's to end",
    {
      state: shown("inactive"),
      process: ok("99 /usr/bin/qemu-system-x86_64 -name teeup-vm-cvm0 -object sev-snp-guest\n"),
    },
    ["confidential-vm.stray", "confidential-vm.inactive"],
    ["confidential-vm.stray"],
  ),
  example(
    "the unit's process is something else",
    { process: ok("", 1) },
    ["confidential-vm.not-confidential"],
    ["confidential-vm.restart"],
  ),
  example(
    "QEMU ends at once, and systemd starts it again and again",
    { state: shown("activating"), process: ok("", 1) },
    ["confidential-vm.inactive"],
    ["confidential-vm.restart"],
  ),
  example(
    "a drop-in changes QEMU: restarted for it once, not again",
    {
      process: ok(`4711 ${argvOfUnit(unit)} -s\n`),
      tried: ok(restartNote(`${argvOfUnit(unit)} -s`, argvOfUnit(unit))),
    },
    ["confidential-vm.argv"],
    ["confidential-vm.stuck"],
  ),
  example(
    "a process that only names the unit is not the VM",
    { process: ok(`12 vim /etc/systemd/system/teeup-vm-cvm0.service\n4711 ${argvOfUnit(unit)}\n`) },
    [],
    [],
  ),
  example(
    "the unit was edited, systemd has not read it",
    { unit: ok(unit.replace("-m 64G", "-m 8G")), state: shown("active", "enabled", "yes") },
    ["confidential-vm.unit"],
    ["confidential-vm.define"],
  ),
  example("wrong GPU address", {}, ["confidential-vm.no-gpu"], [], { ...want, gpus: ["0000:c1:00.0"] }),
  example("no answer", { state: failed("connection lost") }, ["confidential-vm.unknown"], []),
];
