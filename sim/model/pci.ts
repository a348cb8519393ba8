import { SysfsError } from "./files.ts";
import type { Machine } from "./machine.ts";
import { loadModule } from "./modules.ts";

/** One PCI function as the bus shows it. */
export interface PciFunction {
  readonly bdf: string;
  /** Four hex digits without 0x. */
  readonly vendor: string;
  readonly device: string;
  readonly subsystem: string;
  /** Six hex digits, e.g. 030200. */
  readonly class: string;
  readonly className: string;
  readonly vendorName: string;
  readonly deviceName: string;
  readonly rev: string;
  /** IOMMU group it falls into when the IOMMU is on. */
  readonly group: number;
  /** Driver that takes it at boot when its module is there; first match wins. */
  readonly drivers: readonly string[];
  /** What lspci names as `Kernel modules`. */
  readonly modules: readonly string[];
  /** Cannot be used by VFIO and does not spoil its group (PCI bridges). */
  readonly bridge?: boolean;
  readonly numaNode?: number;
}

export const isGpu = (f: PciFunction): boolean => f.vendor === "10de" && f.class.startsWith("0302");

export const isNvSwitch = (f: PciFunction): boolean => f.vendor === "10de" && f.class.startsWith("0680");

export function findFunction(machine: Machine, bdf: string): PciFunction | undefined {
  const full = /^[0-9a-f]{2}:/.test(bdf) ? `0000:${bdf}` : bdf;
  return machine.pci.find((f) => f.bdf === full);
}

/** Members of the IOMMU group, none without an IOMMU. */
export function groupOf(machine: Machine, f: PciFunction): readonly PciFunction[] {
  return machine.now.iommu.on ? machine.pci.filter((other) => other.group === f.group) : [];
}

/**
 * One driver's probe of one device. False when nothing is bound: the caller decides who hears of it. As on a real
 * kernel, vfio-pci without an IOMMU group fails with -22 in the log, while drivers_probe and new_id report success.
 */
function probe(machine: Machine, f: PciFunction, driver: string): boolean {
  const { now } = machine;
  if (now.drivers.has(f.bdf) || !driverThere(machine, driver)) return false;
  if (driver === "vfio-pci" && !now.iommu.on) {
    machine.logs.kernel(`vfio-pci: probe of ${f.bdf} failed with error -22`);
    return false;
  }
  if (driver === "vfio-pci") machine.logs.kernel(`vfio-pci ${f.bdf}: resetting`);
  now.drivers.set(f.bdf, driver);
  const device = machine.node.device(f.bdf);
  if (machine.kind === "host" && driver === "vfio-pci") device?.vfioBoundAgain();
  if (driver === "nvidia") machine.node.nvidiaProbe(machine, f);
  return true;
}

/** The nvidia module brings a second driver, for NVSwitches. */
export const NVSWITCH_DRIVER = "nvidia-nvswitch";

export function driverThere(machine: Machine, driver: string): boolean {
  return (
    machine.now.modules.has(driver === NVSWITCH_DRIVER ? "nvidia" : driver.replaceAll("-", "_")) ||
    ["pcieport", "nvme", "ccp", "mlx5_core", "ast", "bnxt_en", "virtio-pci"].includes(driver)
  );
}

/** The kernel looks for a driver for the device: the override, else new_id, else what the module aliases say. */
export function probeDevice(machine: Machine, f: PciFunction): void {
  const override = machine.now.overrides.get(f.bdf);
  if (override !== undefined) {
    probe(machine, f, override);
    return;
  }
  const id = `${f.vendor} ${f.device}`;
  for (const [driver, ids] of machine.now.newIds) if (ids.has(id) && probe(machine, f, driver)) return;
  for (const driver of f.drivers) if (probe(machine, f, driver)) return;
}

export function unbind(machine: Machine, f: PciFunction): void {
  const { now } = machine;
  if (machine.node.guestHolds(f.bdf) && machine.kind === "host") {
    // The real kernel blocks here until the guest lets go; a refusal keeps the twin from hanging.
    machine.logs.kernel(`vfio-pci ${f.bdf}: Relaying device request to user (#0)`);
    throw new SysfsError("Device or resource busy");
  }
  now.drivers.delete(f.bdf);
  now.gpus.delete(f.bdf);
  machine.node.device(f.bdf)?.vfioUnbound(machine.kind);
}

/** Writes below /sys/bus/pci; throws SysfsError with the kernel's words. */
export function writePci(machine: Machine, path: string, text: string): boolean {
  const value = text.trim();
  // The link below bus/pci/devices leads to the device's own folder.
  const plain = path.replace(/^\/sys\/devices\/pci[^/]+\//, "/sys/bus/pci/devices/");
  const at =
    /^\/sys\/bus\/pci\/(?:drivers\/([^/]+)\/(bind|unbind|new_id|remove_id)|(drivers_probe|rescan)|devices\/([^/]+)\/(driver_override|remove|reset))$/.exec(
      plain,
    );
  if (at === null) return false;
  const [, driver, action, global, device, attribute] = at;
  if (device !== undefined) {
    const f = findFunction(machine, device);
    if (f === undefined) return false;
    if (attribute === "driver_override") {
      if (value === "") machine.now.overrides.delete(f.bdf);
      else machine.now.overrides.set(f.bdf, value);
      return true;
    }
    if (attribute === "reset") {
      machine.node.device(f.bdf)?.functionReset();
      return true;
    }
    return false;
  }
  if (global === "rescan") return true;
  if (global === "drivers_probe") {
    const f = findFunction(machine, value);
    if (f === undefined) throw new SysfsError("No such device");
    probeDevice(machine, f);
    return true;
  }
  if (driver === undefined) return false;
  if (action === "new_id") {
    const id = value.split(/\s+/).slice(0, 2).join(" ").toLowerCase();
    const ids = machine.now.newIds.get(driver) ?? new Set();
    if (ids.has(id)) throw new SysfsError("File exists");
    ids.add(id);
    machine.now.newIds.set(driver, ids);
    for (const f of machine.pci)
      if (`${f.vendor} ${f.device}` === id && !machine.now.drivers.has(f.bdf)) probe(machine, f, driver);
    return true;
  }
  if (action === "remove_id") {
    if (!(machine.now.newIds.get(driver)?.delete(value.toLowerCase()) ?? false)) throw new SysfsError("No such device");
    return true;
  }
  const f = findFunction(machine, value);
  if (f === undefined) throw new SysfsError("No such device");
  if (action === "unbind") {
    if (machine.now.drivers.get(f.bdf) !== driver) throw new SysfsError("No such device");
    unbind(machine, f);
    return true;
  }
  const known =
    machine.now.overrides.get(f.bdf) === driver ||
    f.drivers.includes(driver) ||
    machine.now.newIds.get(driver)?.has(`${f.vendor} ${f.device}`);
  if (machine.now.drivers.has(f.bdf)) throw new SysfsError("Device or resource busy");
  if (known !== true) throw new SysfsError("No such device");
  if (!probe(machine, f, driver)) throw new SysfsError("Invalid argument");
  return true;
}

/** What driverctl does once its override is saved. Returns an error line, or undefined. */
export function overrideDriver(
  machine: Machine,
  f: PciFunction,
  driver: string | undefined,
  probes = true,
): string | undefined {
  const { now } = machine;
  if (driver !== undefined && driver !== "none") {
    if (loadModule(machine, driver) !== undefined) return `driverctl: no such module: ${driver}`;
  }
  if (now.drivers.has(f.bdf) && now.drivers.get(f.bdf) !== driver) unbind(machine, f);
  if (driver === undefined) now.overrides.delete(f.bdf);
  else now.overrides.set(f.bdf, driver);
  if (!probes) return undefined;
  if (!now.drivers.has(f.bdf)) probeDevice(machine, f);
  // Without an override too: a device that nobody takes is a failure, and the saved override then stays.
  const bound = now.drivers.get(f.bdf);
  return driver !== "none" && (driver === undefined ? bound === undefined : bound !== driver)
    ? `driverctl: failed to bind device ${f.bdf} to driver ${driver ?? ""}`
    : undefined;
}
