import type { Tee } from "./bios.ts";
import type { Machine } from "./machine.ts";
import type { TwinNode } from "./node.ts";
import type { PciFunction } from "./pci.ts";
import type { Disk } from "./stand-ins.ts";
import { guestCpu, guestSystem } from "./system.ts";

/** The system on a disk; the same one each time the disk is started, a fresh one for a new disk. */
export function diskSystem(
  node: TwinNode,
  path: string,
  disk: Disk,
  shape: { cpus: number; memoryBytes: number; devices: ReadonlyMap<string, string>; tee: Tee | undefined },
): Machine {
  const key = `${path} ${disk.id}`;
  const pci: PciFunction[] = [
    bridge("0000:00:00.0", "8086", "29c0", "060000"),
    { ...bridge("0000:00:02.0", "1af4", "1048", "010000"), bridge: false, drivers: ["virtio-pci"] },
    { ...bridge("0000:00:03.0", "1af4", "1041", "020000"), bridge: false, drivers: ["virtio-pci"] },
    ...[...shape.devices].map(([bdf, real]): PciFunction => {
      const physical = node.host.pci.find((f) => f.bdf === real);
      if (physical === undefined) throw new Error(`no PCI function ${real}`);
      return { ...physical, bdf, group: 0 };
    }),
  ];
  const had = node.disks.get(key);
  const machine = had ?? guestSystem(node, disk.image);
  machine.pci = pci;
  machine.memoryBytes = shape.memoryBytes;
  machine.cpu = { ...guestCpu(shape.tee), sockets: 1, coresPerSocket: Math.max(1, Math.floor(shape.cpus / 2)) };
  machine.files.capacity = disk.virtual;
  node.disks.set(key, machine);
  return machine;
}

function bridge(bdf: string, vendor: string, device: string, cls: string): PciFunction {
  return {
    bdf,
    vendor,
    device,
    subsystem: "1af41100",
    class: cls,
    className: "",
    vendorName: "",
    deviceName: "",
    rev: "00",
    group: 0,
    drivers: [],
    modules: [],
    bridge: true,
  };
}
