import type { Finding } from "../kit/facet.ts";
import { findingsOf, isTrue } from "../kit/findings.ts";
import { DOMAIN } from "../kit/libvirt.ts";
import type { VmSpec } from "../kit/qemu-args.ts";
import { argvOfUnit, LAUNCH, VM_FILES, VM_PROCESS, VM_UNIT, vmUnit } from "../kit/qemu-args.ts";
import type { ConfidentialVmFacts } from "./confidential-vm-facts.ts";
import { straysOf, whyUnknown } from "./confidential-vm-facts.ts";
import { judgeDomain } from "./confidential-vm-libvirt.ts";
import { differenceOf, restartNote, specFor, TRIED } from "./confidential-vm-plan.ts";
import type { ConfidentialVmWant } from "./confidential-vm-want.ts";

export const SOURCE =
  "seed 001, Launching the Guest OS (launch_vm.sh); AMDESE/AMDSEV launch-qemu.sh; seed 004, Boot TD with GPU passthrough (canonical/tdx guest-tools/run_td)";
export const NO_REBOOT = "seed 001, Modifying GRUB, note: a reboot command terminates the VM";
const { pass, fail, unsure } = findingsOf("confidential-vm", SOURCE);

export function judgeConfidentialVm(want: ConfidentialVmWant, facts: ConfidentialVmFacts): readonly Finding[] {
  const wanted = `a confidential VM with ${want.cpus} vCPUs and ${want.memoryGiB} GiB`;
  const why = whyUnknown(want, facts);
  if (why !== undefined || facts.devices.state !== "known") {
    const look =
      want.launcher === "libvirt"
        ? `virsh dominfo ${DOMAIN}; systemctl status libvirtd`
        : `systemctl status ${VM_UNIT}`;
    return [unsure("unknown", wanted, why ?? "lspci is not installed", look)];
  }
  const spec = specFor(want, facts.devices.value);
  if (spec === undefined) return [fail("no-gpu", wanted, "a wanted GPU is not there", "see gpu-inventory")];
  const other = want.launcher === "libvirt" ? facts.unit.state === "known" : isTrue(facts.domainFile);
  return [
    ...straysOf(want, facts).map((stray) =>
      fail(
        "stray",
        `no QEMU named ${VM_PROCESS} but the VM's own`,
        stray.slice(0, 120),
        "end it; TeeUp stops only its own",
      ),
    ),
    ...(other
      ? [
          fail(
            "other-launcher",
            `the VM in the hands of ${want.launcher} alone`,
            want.launcher === "libvirt" ? `${VM_UNIT} is there` : `libvirt has a domain ${DOMAIN}`,
            "pulumi up takes it over, with permit guest-stop",
          ),
        ]
      : []),
    ...(want.launcher === "libvirt" ? judgeDomain(want, spec, facts) : judgeUnit(want, spec, facts, wanted)),
  ];
}

function judgeUnit(
  want: ConfidentialVmWant,
  spec: VmSpec,
  facts: ConfidentialVmFacts,
  wanted: string,
): readonly Finding[] {
  if (facts.unit.state !== "known") return [fail("absent", wanted, "no VM", "pulumi up makes it")];
  const unit = vmUnit(spec, want.gpuMode);
  const { object, title } = LAUNCH[want.tee];
  const argv = argvOfUnit(unit);
  const running = facts.process.state === "known" ? facts.process.value : undefined;
  const active = facts.active.state === "known" ? facts.active.value : "";
  const stale = isTrue(facts.stale);
  const judgeProcess = () => {
    if (active !== "active" || running === undefined) {
      const hint = `pulumi up starts it; else journalctl -u ${VM_UNIT} -n 40, and the console in ${VM_FILES.console}`;
      return fail("inactive", "a running VM", active === "active" ? "no QEMU process" : active, hint, NO_REBOOT);
    }
    if (!running.includes("confidential-guest-support=") || !running.includes(object)) {
      return fail("not-confidential", `QEMU with ${object}`, "QEMU without it", "pulumi up, with permit guest-stop");
    }
    if (running === argv) return pass("running", wanted, `running with ${title}`);
    const hint =
      facts.tried.state === "known" && facts.tried.value === restartNote(running, argv)
        ? `a restart did not change it: systemctl cat ${VM_UNIT} shows what else systemd reads; rm ${TRIED} to try again`
        : "pulumi up, with permit guest-stop";
    return fail("argv", "QEMU as wanted", differenceOf(running, argv), hint);
  };
  return [
    facts.unit.value === unit && !stale
      ? pass("unit", "the unit as wanted", VM_UNIT)
      : fail(
          "unit",
          "the unit as wanted",
          stale ? "systemd has not read it" : differenceOf(argvOfUnit(facts.unit.value), argv),
          "pulumi up writes it; what changes QEMU needs permit guest-stop",
        ),
    isTrue(facts.enabled)
      ? pass("enabled", "started at every boot of the host", "enabled")
      : fail("enabled", "started at every boot of the host", "not enabled", "pulumi up enables it"),
    judgeProcess(),
  ];
}
