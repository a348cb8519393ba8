import { chooseEntry } from "./grub.ts";
import { atLeast, panicSeconds } from "./kernel.ts";
import type { Machine } from "./machine.ts";
import { blacklisted, loadModule, modprobeLines, moduleDriver, moduleName } from "./modules.ts";
import { overrideDriver, probeDevice } from "./pci.ts";
import { initSnp } from "./snp.ts";
import { initTdx, noTdx } from "./tdx.ts";

export type BootResult = "up" | "hung" | "panic-reboots";

/**
 * Boots what GRUB chooses. Nothing of a boot is remembered from the one before but files, hardware and the BIOS: every
 * state of the kernel follows from those.
 */
export function bootMachine(machine: Machine): BootResult {
  const entry = chooseEntry(machine);
  const kernel = entry === undefined ? undefined : machine.kernels.get(entry.release);
  const image = entry !== undefined && machine.files.exists(`/boot/vmlinuz-${entry.release}`);
  // Distribution kernels have their disk drivers in the initramfs only.
  if (entry === undefined || kernel === undefined || !image || !entry.initrd) return "hung";
  const faults = machine.node.faults;
  const broken = machine.kind === "host" && (faults.brokenKernels?.includes(kernel.release) ?? false);
  const behaviour = broken ? (faults.brokenHow ?? "hang") : kernel.behaviour;
  if (behaviour !== "good") {
    return behaviour === "panic" && panicSeconds(entry.cmdline) !== 0 ? "panic-reboots" : "hung";
  }
  machine.boots++;
  machine.files.mkdir("/tmp", "1777");
  const words = entry.cmdline.split(/\s+/);
  const off = words.some((w) => w === "amd_iommu=off" || w === "iommu=off" || w === "intel_iommu=off");
  const bios = machine.node.bios.effect;
  const iommu = {
    on: machine.kind === "host" && bios.iommu && !off,
    passthrough: words.includes("iommu=pt") || words.includes("iommu.passthrough=1"),
  };
  machine.running = {
    bootId: machine.node.uuid(),
    kernel,
    cmdline: entry.cmdline,
    bootedAt: machine.clock.now,
    boot: machine.boots,
    modules: new Map(),
    iommu,
    snp: { platform: false, firmware: false, kvm: false, sev: false, reasons: [] },
    tdx: noTdx(),
    drivers: new Map(),
    overrides: new Map(),
    newIds: new Map(),
    processes: new Map([[1, { argv: ["/sbin/init"] }]]),
    rtmrExtends: 0,
    fabric: { configured: false },
    gpus: new Map(),
  };
  const { logs } = machine;
  logs.kernel(`Linux version ${kernel.release} (buildd@lcy02-amd64-001) ${kernel.build}`);
  logs.kernel(`Command line: ${entry.cmdline}`);
  if (machine.kind === "guest") guestLines(machine);
  else {
    if (iommu.on) {
      logs.kernel(
        machine.cpu.vendor === "GenuineIntel"
          ? "DMAR: Intel(R) Virtualization Technology for Directed I/O"
          : "pci 0000:80:00.2: AMD-Vi: IOMMU performance counters supported",
      );
      logs.kernel(
        `iommu: Default domain type: ${iommu.passthrough ? "Passthrough (set via kernel command line)" : "Translated"}`,
      );
      for (const f of machine.pci) logs.kernel(`pci ${f.bdf}: Adding to iommu group ${f.group}`);
    }
    Object.assign(machine.now, { snp: initSnp(machine, iommu), tdx: initTdx(machine) });
  }
  loadAtBoot(machine);
  machine.units.boot();
  return "up";
}

function guestLines(machine: Machine): void {
  const { logs, node } = machine;
  if (node.guestTee === "tdx") logs.kernel("tdx: Guest detected");
  if (node.guestTee === "tdx") logs.kernel("Memory Encryption Features active: Intel TDX");
  if (node.guestTee === "sev-snp")
    logs.kernel(
      !atLeast(machine.now.kernel.release, 6, 5)
        ? "AMD Memory Encryption Features active: SEV SEV-ES SEV-SNP"
        : "Memory Encryption Features active: AMD SEV SEV-ES SEV-SNP",
    );
  // Slots of 2 KiB; without the word an encrypted guest takes 6 % of its memory, at most 1 GiB.
  const slots = /(?:^|\s)swiotlb=(\d+|noforce)/.exec(machine.now.cmdline)?.[1];
  const usual =
    node.guestTee !== undefined ? Math.min(1024, Math.max(64, Math.floor((machine.memoryBytes / 2 ** 20) * 0.06))) : 64;
  const mb = slots === undefined ? usual : slots === "noforce" ? 0 : Math.floor((Number(slots) * 2048) / 2 ** 20);
  // The clouds' kernels also take memory above 4 GiB for it (seed 002 asks for 8 GiB, seed 003 for 4).
  if (mb > 1024 && node.instance === undefined)
    logs.kernel(`software IO TLB: Cannot allocate ${mb * 2 ** 20} bytes below 4G`);
  else if (mb > 0) logs.kernel(`software IO TLB: mapped [mem 0x000000003b2e8000-0x000000007b2e8000] (${mb}MB)`);
  if (node.guestMmioTooSmall)
    for (const [bdf] of [...(node.guest?.deviceByGuestBdf ?? [])].filter(([, real]) => node.gpus.has(real)))
      logs.kernel(`pci ${bdf}: BAR 2 [mem size 0x2000000000 64bit pref]: can't assign; no space`);
}

function loadAtBoot(machine: Machine): void {
  const { now, files } = machine;
  const virtual = machine.kind === "host" && machine.node.bios.effect.virtualisation;
  const ccp = virtual && machine.cpu.flags.includes("svm");
  if (virtual && machine.cpu.flags.includes("vmx") && !blacklisted(machine, "kvm_intel"))
    loadModule(machine, "kvm_intel");
  if (ccp) {
    loadModule(machine, "ccp");
    if (!blacklisted(machine, "kvm_amd")) loadModule(machine, "kvm_amd");
  }
  if (machine.kind === "guest" && machine.node.guestTee !== undefined) {
    loadModule(machine, "tsm");
    loadModule(machine, machine.node.guestTee === "tdx" ? "tdx_guest" : "sev_guest");
  }
  // driverctl's udev rule sets saved overrides before any driver sees the device.
  if (machine.packages.installed.has("driverctl")) {
    for (const f of machine.pci) {
      const saved = files.readIf(`/etc/driverctl.d/pci-${f.bdf}`);
      if (saved !== undefined) now.overrides.set(f.bdf, saved.trim());
    }
  }
  for (const folder of ["/etc/modules-load.d", "/usr/lib/modules-load.d"]) {
    for (const name of files.listIf(folder)) {
      for (const line of (files.readIf(`${folder}/${name}`) ?? "").split("\n")) {
        const module = line.trim();
        if (module !== "" && !module.startsWith("#") && loadModule(machine, module) !== undefined)
          machine.logs.unit(
            "systemd-modules-load.service",
            "systemd-modules-load",
            `Failed to find module '${module}'`,
          );
      }
    }
  }
  for (const f of machine.pci) {
    const override = now.overrides.get(f.bdf);
    if (override !== undefined) overrideDriver(machine, f, override);
    for (const module of f.modules) {
      const name = moduleName(module);
      if (override !== undefined && moduleDriver(name) !== override) continue;
      if (now.drivers.has(f.bdf) || blacklisted(machine, name) || moduleDriver(name) === undefined) continue;
      // A driver is loaded before the root file system's modprobe.d counts: what the initramfs carries decides.
      if (name === "nvidia" && !initramfsAgrees(machine)) loadModule(machine, name, [], true);
      else loadModule(machine, name);
    }
    if (!now.drivers.has(f.bdf)) probeDevice(machine, f);
  }
}

/** True when the initramfs has the same `install nvidia` line as /etc/modprobe.d. */
function initramfsAgrees(machine: Machine): boolean {
  const line = modprobeLines(machine).find((l) => l.verb === "install" && moduleName(l.words[0] ?? "") === "nvidia");
  return (
    line === undefined ||
    (machine.files.readIf(`/boot/initrd.img-${machine.now.kernel.release}`) ?? "").includes(line.text)
  );
}
