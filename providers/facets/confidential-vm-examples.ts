import type { Answer } from "../kit/ask.ts";
import { failed, missing, ok } from "../kit/ask.ts";
import type { Example } from "../kit/facet.ts";
import { argvOfUnit } from "../kit/qemu-args.ts";
import { EIGHT, eight, example, ONE, shown, td, unit, unitOf, want } from "./confidential-vm-example-parts.ts";
import { libvirtExamples } from "./confidential-vm-libvirt-examples.ts";
import { restartNote } from "./confidential-vm-plan.ts";
import type { ConfidentialVmWant } from "./confidential-vm-want.ts";

const running = (wanted: ConfidentialVmWant, lspci = ONE): Readonly<Record<string, Answer>> => ({
  lspci: ok(lspci),
  unit: ok(unitOf(wanted, lspci)),
  process: ok(`4711 ${argvOfUnit(unitOf(wanted, lspci))}\n`),
});

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
  example("a TD with its GPU, running as wanted", running(td), [], [], td),
  example("a TD with eight GPUs and four NVSwitches", running(eight, EIGHT), [], [], eight),
  example(
    "the VM was made for one GPU: Protected PCIe gives it all, and the switches",
    { ...running(td), lspci: ok(EIGHT.replace("0000:11:", "0000:81:")) },
    ["confidential-vm.unit", "confidential-vm.argv"],
    ["confidential-vm.restart"],
    eight,
  ),
  example(
    "an SNP guest where a TD is wanted",
    {},
    ["confidential-vm.unit", "confidential-vm.not-confidential"],
    ["confidential-vm.restart"],
    td,
  ),
  ...libvirtExamples,
];
