import { createHash } from "node:crypto";
import type { DeviceNode, FileNode, Generated } from "./files.ts";
import { dir, FsError, file, link } from "./files.ts";
import { atLeast, panicSeconds } from "./kernel.ts";
import type { Machine } from "./machine.ts";
import { moduleSize } from "./modules.ts";
import { isGpu, isNvSwitch, writePci } from "./pci.ts";

const DEVICE: DeviceNode = { kind: "device", mode: "0660", owner: "root:root" };
const BUILTIN_NODES = ["null", "zero", "random", "urandom", "console", "tty", "ptmx", "full"];

/** /proc, /sys and /dev of a machine, made from the model each time it is looked at. */
export function generatedFiles(machine: Machine): Generated {
  return {
    roots: ["/proc", "/sys", "/dev"],
    nodes: () => nodesOf(machine),
    mkdir: (path) => machine.tsm.mkdir(path),
    rmdir: (path) => machine.tsm.rmdir(path),
    write: (path, text) => {
      if (writePci(machine, path, text) || machine.tsm.write(path, text)) return;
      const parameter = /^\/sys\/module\/([^/]+)\/parameters\/([^/]+)$/.exec(path);
      if (parameter !== null) throw new FsError("EACCES", path);
      if (path.startsWith("/proc/sys/")) return;
      throw new FsError("EACCES", path);
    },
  };
}

function nodesOf(machine: Machine): ReadonlyMap<string, FileNode> {
  const nodes = new Map<string, FileNode>();
  const put = (path: string, node: FileNode) => {
    let parent = path.slice(0, path.lastIndexOf("/"));
    while (parent !== "" && !nodes.has(parent)) {
      nodes.set(parent, dir());
      parent = parent.slice(0, parent.lastIndexOf("/"));
    }
    nodes.set(path, node);
  };
  const text = (path: string, content: string, mode = "0444") => put(path, file(content, mode));
  for (const name of BUILTIN_NODES) put(`/dev/${name}`, { ...DEVICE, mode: "0666" });
  put("/dev/shm", dir("1777"));
  put("/dev/disk", dir());
  const { running, node } = machine;
  if (running === undefined) return nodes;
  proc(machine, text);
  modules(machine, put, text);
  pci(machine, put, text);
  const bios = node.bios.effect;
  if (machine.kind === "host") {
    const kvm = machine.cpu.flags.includes("svm") ? bios.virtualisation : running.modules.has("kvm_intel");
    if (kvm) put("/dev/kvm", DEVICE);
    const sgx = bios.sgx && machine.cpu.flags.includes("sgx") && running.kernel.config.includes("CONFIG_X86_SGX=y");
    if (sgx) for (const name of ["enclave", "provision", "vepc"]) put(`/dev/sgx_${name}`, { ...DEVICE, mode: "0600" });
    if (running.snp.sev && running.modules.has("ccp")) put("/dev/sev", { ...DEVICE, mode: "0600" });
    text("/sys/class/dmi/id/sys_vendor", `${node.bios.manufacturer}\n`);
    text("/sys/class/dmi/id/board_vendor", `${node.bios.manufacturer}\n`);
    text("/sys/class/dmi/id/product_name", `${node.bios.model}\n`);
    text("/sys/class/dmi/id/board_name", `${node.bios.model}\n`);
    text("/sys/class/dmi/id/bios_version", `${node.bios.biosVersion}\n`);
    text("/sys/class/dmi/id/bios_vendor", "American Megatrends International, LLC.\n");
  } else {
    text("/sys/class/dmi/id/sys_vendor", "QEMU\n");
    text("/sys/class/dmi/id/product_name", "Standard PC (Q35 + ICH9, 2009)\n");
    if (node.guestTee === "tdx") tdGuest(machine, put, text);
    machine.tsm.put(put);
    if (node.guestTee === "sev-snp") {
      if (running.modules.has("sev_guest")) put("/dev/sev-guest", { ...DEVICE, mode: "0600" });
      text("/sys/devices/system/cpu/sev/vmpl", "0\n");
    }
  }
  for (const name of machine.rdma) put(`/sys/class/infiniband/${name}`, dir());
  text("/sys/firmware/efi/fw_platform_size", "64\n");
  for (let n = 0; n < Math.min(4, machine.cpu.sockets * machine.cpu.coresPerSocket); n++)
    put(`/sys/devices/system/cpu/cpu${n}`, dir());
  return nodes;
}

type Put = (path: string, node: FileNode) => void;
type Text = (path: string, content: string, mode?: string) => void;

function proc(machine: Machine, text: Text): void {
  const now = machine.now;
  text("/proc/cmdline", `${now.cmdline}\n`);
  text("/proc/sys/kernel/random/boot_id", `${now.bootId}\n`);
  text("/proc/sys/kernel/osrelease", `${now.kernel.release}\n`);
  text("/proc/sys/kernel/hostname", `${machine.hostname}\n`, "0644");
  text("/proc/sys/kernel/panic", `${panicSeconds(now.cmdline)}\n`, "0644");
  text(
    "/proc/version",
    `Linux version ${now.kernel.release} (buildd@lcy02-amd64-001) (gcc 13.2.0) ${now.kernel.build}\n`,
  );
  text("/proc/uptime", `${(machine.clock.now - now.bootedAt + 20).toFixed(2)} 0.00\n`);
  text("/proc/loadavg", "0.05 0.03 0.01 1/812 4711\n");
  const kib = Math.floor(machine.memoryBytes / 1024);
  text(
    "/proc/meminfo",
    `MemTotal:       ${kib} kB\nMemFree:        ${Math.floor(kib * 0.92)} kB\nMemAvailable:   ${Math.floor(kib * 0.95)} kB\n`,
  );
  const flags = cpuFlags(machine);
  const cpus = machine.cpu.sockets * machine.cpu.coresPerSocket * 2;
  const one = (n: number) =>
    [
      `processor\t: ${n}`,
      `vendor_id\t: ${machine.cpu.vendor}`,
      `cpu family\t: ${machine.cpu.family}`,
      `model\t\t: ${machine.cpu.modelNumber}`,
      `model name\t: ${machine.cpu.model}`,
      "stepping\t: 1",
      `physical id\t: ${Math.floor(n / (machine.cpu.coresPerSocket * 2))}`,
      `siblings\t: ${machine.cpu.coresPerSocket * 2}`,
      `cpu cores\t: ${machine.cpu.coresPerSocket}`,
      `flags\t\t: ${flags.join(" ")}`,
    ].join("\n");
  // A few processors stand for all: the file is long and always asked through other programs.
  text("/proc/cpuinfo", `${Array.from({ length: Math.min(4, cpus) }, (_, n) => one(n)).join("\n\n")}\n\n`);
  text(
    "/proc/modules",
    [...now.modules.keys()]
      .reverse()
      .map((name) => `${name} ${moduleSize(name)} 0 - Live 0x0000000000000000\n`)
      .join(""),
  );
  text("/proc/mounts", "/dev/nvme0n1p2 / ext4 rw,relatime 0 0\nproc /proc proc rw 0 0\nsysfs /sys sysfs rw 0 0\n");
  for (const [pid, process] of now.processes) {
    text(`/proc/${pid}/cmdline`, process.argv.map((word) => `${word}\0`).join(""));
    text(`/proc/${pid}/comm`, `${(process.argv[0] ?? "").split("/").at(-1)?.slice(0, 15)}\n`);
  }
  if (now.modules.has("nvidia")) {
    const driver = machine.node.driverOf(machine);
    const flavour =
      driver?.open === true ? "NVIDIA UNIX Open Kernel Module for x86_64" : "NVIDIA UNIX x86_64 Kernel Module";
    text(
      "/proc/driver/nvidia/version",
      `NVRM version: ${flavour}  ${driver?.version ?? "?"}  Release Build  (dvs-builder@U22-I3-B05-01)  \nGCC version:  gcc version 13.3.0 (Ubuntu 13.3.0-6ubuntu2~24.04) \n`,
    );
    text("/proc/driver/nvidia/params", "ResmanDebugLevel: 4294967295\nRmLogonRC: 1\nModifyDeviceFiles: 1\n");
    let minor = 0;
    for (const bdf of now.gpus.keys()) {
      const gpu = machine.node.gpuAt(machine, bdf);
      text(
        `/proc/driver/nvidia/gpus/${bdf}/information`,
        [
          `Model: \t\t ${gpu?.product ?? "Unknown"}`,
          "IRQ:   \t\t 41",
          `GPU UUID: \t ${gpu?.session === "up" || gpu?.protected === false ? gpu.uuid : "GPU-????????-????-????-????-????????????"}`,
          `Video BIOS: \t ${gpu?.session === "up" || gpu?.protected === false ? gpu.vbios.toLowerCase() : "??.??.??.??.??"}`,
          "Bus Type: \t PCIe",
          "DMA Size: \t 52 bits",
          "DMA Mask: \t 0xfffffffffffff",
          `Bus Location: \t ${bdf}`,
          `Device Minor: \t ${minor++}`,
          `GPU Firmware: \t ${driver?.version ?? "N/A"}`,
          "GPU Excluded:\t No",
          "",
        ].join("\n"),
      );
    }
  }
}

/** Flags the kernel shows: what the silicon has, less what BIOS and kernel hide. */
export function cpuFlags(machine: Machine): string[] {
  const flags = new Set(machine.cpu.flags);
  if (machine.kind === "host") {
    const bios = machine.node.bios.effect;
    if (!bios.virtualisation) for (const f of ["svm", "vmx"]) flags.delete(f);
    if (!bios.sgx) for (const f of ["sgx", "sgx_lc"]) flags.delete(f);
    if (!machine.now.tdx.platform) flags.delete("tdx_host_platform");
    if (!bios.smee) for (const f of ["sme", "sev", "sev_es", "sev_snp"]) flags.delete(f);
    else if (!machine.now.snp.platform) flags.delete("sev_snp");
  }
  return [...flags];
}

/** The guest driver's device and, from 6.16, the measurements of the TD. */
function tdGuest(machine: Machine, put: Put, text: Text): void {
  const { running } = machine;
  if (running === undefined || !running.modules.has("tdx_guest")) return;
  put("/dev/tdx_guest", { ...DEVICE, mode: "0600" });
  put("/sys/class/misc/tdx_guest", dir());
  if (!atLeast(running.kernel.release, 6, 16)) return;
  for (const name of ["mrtd", "mrconfigid", "mrowner", "mrownerconfig", "rtmr0", "rtmr1", "rtmr2", "rtmr3"]) {
    const hash = /^(mrtd|rtmr)/.test(name) ? ":sha384" : "";
    // Owner and configuration are zero unless the launch sets them.
    const value = hash === "" ? "\0".repeat(48) : createHash("sha384").update(name).digest().toString("latin1");
    text(`/sys/class/misc/tdx_guest/measurements/${name}${hash}`, value, "0400");
  }
}

function modules(machine: Machine, put: Put, text: Text): void {
  put("/sys/module", dir());
  for (const [name, module] of machine.now.modules) {
    text(`/sys/module/${name}/initstate`, "live\n");
    for (const [key, value] of module.parameters) text(`/sys/module/${name}/parameters/${key}`, `${value}\n`);
  }
  const nvidia = machine.now.modules.has("nvidia") ? machine.node.driverOf(machine) : undefined;
  if (nvidia !== undefined) text("/sys/module/nvidia/version", `${nvidia.version}\n`);
}

function pci(machine: Machine, put: Put, text: Text): void {
  const { now } = machine;
  put("/sys/kernel/iommu_groups", dir());
  put("/sys/bus/pci/devices", dir());
  put("/sys/bus/pci/drivers", dir());
  text("/sys/bus/pci/drivers_probe", "", "0200");
  text("/sys/bus/pci/rescan", "", "0200");
  put("/sys/class/iommu", dir());
  if (now.iommu.on) {
    put(`/sys/class/iommu/${machine.cpu.vendor === "GenuineIntel" ? "dmar0" : "ivhd0"}`, dir());
    put("/dev/vfio", dir());
    put("/dev/vfio/vfio", { ...DEVICE, mode: "0666" });
  }
  const drivers = new Set<string>([...now.drivers.values()]);
  if (now.modules.has("vfio_pci")) drivers.add("vfio-pci");
  if (now.modules.has("nvidia")) drivers.add("nvidia");
  if (now.modules.has("nouveau")) drivers.add("nouveau");
  for (const driver of drivers) {
    put(`/sys/bus/pci/drivers/${driver}`, dir());
    for (const name of ["bind", "unbind", "new_id", "remove_id"])
      text(`/sys/bus/pci/drivers/${driver}/${name}`, "", "0200");
  }
  for (const f of machine.pci) {
    const real = `/sys/devices/pci0000:${f.bdf.slice(5, 7)}/${f.bdf}`;
    text(`${real}/vendor`, `0x${f.vendor}\n`);
    text(`${real}/device`, `0x${f.device}\n`);
    text(`${real}/class`, `0x${f.class}\n`);
    text(`${real}/revision`, `0x${f.rev}\n`);
    text(`${real}/subsystem_vendor`, `0x${f.subsystem.slice(0, 4)}\n`);
    text(`${real}/subsystem_device`, `0x${f.subsystem.slice(4)}\n`);
    text(`${real}/numa_node`, `${f.numaNode ?? 0}\n`);
    text(`${real}/driver_override`, `${now.overrides.get(f.bdf) ?? "(null)"}\n`, "0644");
    text(`${real}/power_state`, `${machine.node.device(f.bdf)?.asleep === true ? "D3hot" : "D0"}\n`);
    if (isGpu(f) || isNvSwitch(f)) text(`${real}/reset`, "", "0200");
    put(`/sys/bus/pci/devices/${f.bdf}`, link(`../../..${real.slice(4)}`));
    const driver = now.drivers.get(f.bdf);
    if (driver !== undefined) {
      put(`${real}/driver`, link(`../../../bus/pci/drivers/${driver}`));
      put(`/sys/bus/pci/drivers/${driver}/${f.bdf}`, link(`../../../..${real.slice(4)}`));
    }
    if (now.iommu.on) {
      put(`${real}/iommu_group`, link(`../../../kernel/iommu_groups/${f.group}`));
      put(`/sys/kernel/iommu_groups/${f.group}/devices/${f.bdf}`, link(`../../../../..${real.slice(4)}`));
      text(`/sys/kernel/iommu_groups/${f.group}/type`, `${now.iommu.passthrough ? "identity" : "DMA-FQ"}\n`, "0644");
      if (driver === "vfio-pci") put(`/dev/vfio/${f.group}`, { ...DEVICE, mode: "0600" });
    }
  }
  let minor = 0;
  if (now.modules.has("nvidia") && now.gpus.size > 0) {
    put("/dev/nvidiactl", { ...DEVICE, mode: "0666" });
    for (const _ of now.gpus) put(`/dev/nvidia${minor++}`, { ...DEVICE, mode: "0666" });
  }
}
