import {
  at,
  bdfOf,
  domainArgv,
  every,
  liveDomain,
  readDomain,
  settleDomain,
  word,
  writeDomain,
  type Xml,
} from "./domain.ts";
import { guestGoesDown, qemuProgram, startGuest } from "./guest.ts";
import type { Machine } from "./machine.ts";
import { compareDebian } from "./packages.ts";
import { findFunction } from "./pci.ts";

export const LIBVIRTD = "/usr/sbin/libvirtd";
const ETC = "/etc/libvirt/qemu";
const RUN = "/run/libvirt/qemu";
const CONF = "/etc/libvirt/qemu.conf";
/** systemd's mark of when the unit was started: a link there, a file here. */
const STARTED = "/run/systemd/units/invocation:libvirtd.service";
const UNIT = "libvirt:";
/** Word of what a type of launchSecurity is called in errors, and the first libvirt that has it. */
const SECURITY = { "sev-snp": ["SEV SNP", "10.5"], tdx: ["Intel TDX", "11.6"] } as const;
const HEADER = `<!--
WARNING: THIS IS AN AUTO-GENERATED FILE. CHANGES TO IT ARE LIKELY TO BE
OVERWRITTEN AND LOST. Changes to this xml configuration should be made using:
  virsh edit NAME
or other application using the libvirt API.
-->

`;

/** What virsh tells of a domain that it could not do something with. */
export class LibvirtError extends Error {}

/** libvirtd's QEMU driver: what is defined, what runs, and the settings it read when it started. */
export class Libvirt {
  readonly #machine: Machine;
  /** Of qemu.conf when the daemon started: editing the file changes nothing before a restart. */
  #settings: ReadonlyMap<string, string> = new Map();
  #defined = new Map<string, Xml>();
  readonly #running = new Map<string, { readonly id: number; readonly pid: number; readonly live: Xml }>();
  #nextId = 1;

  constructor(machine: Machine) {
    this.#machine = machine;
  }

  get version(): string {
    return this.#machine.packages.installed.get("libvirt-daemon-system")?.pkg.version.split("-")[0] ?? "0";
  }

  /** The daemon starts. Returns its complaint when it does not. At its first start of a boot, domains start too. */
  daemonStarts(): string | undefined {
    const { files } = this.#machine;
    const settings = new Map<string, string>();
    for (const [i, line] of (files.readIf(CONF) ?? "").split("\n").entries()) {
      if (/^\s*(#|$)/.test(line)) continue;
      const match = /^\s*(\w+)\s*=\s*(?:"([^"]*)"|(-?\d+))\s*$/.exec(line);
      if (match?.[1] === undefined) return `configuration file syntax error: ${CONF}:${i + 1}: expecting a value`;
      settings.set(match[1], match[2] ?? match[3] ?? "");
    }
    this.#settings = settings;
    files.write(STARTED, "");
    this.#defined = new Map(
      files
        .listIf(ETC)
        .filter((name) => name.endsWith(".xml"))
        .flatMap((name) => {
          const domain = readDomain(files.readIf(`${ETC}/${name}`) ?? "");
          return domain === undefined ? [] : [[word(domain, "name"), domain] as const];
        }),
    );
    if (files.exists(`${RUN}/autostarted`)) return undefined;
    files.write(`${RUN}/autostarted`, "");
    for (const file of files.listIf(`${ETC}/autostart`)) {
      try {
        this.start(file.replace(/\.xml$/, ""));
      } catch (error) {
        if (!(error instanceof LibvirtError)) throw error;
        this.#machine.logs.unit("libvirtd.service", "libvirtd", error.message);
      }
    }
    return undefined;
  }

  names(): string[] {
    return [...new Set([...this.#running.keys(), ...this.#defined.keys()])].sort();
  }

  #find(name: string): Xml {
    const found = this.#defined.get(name) ?? this.#running.get(name)?.live;
    if (found === undefined) throw new LibvirtError(`failed to get domain '${name}'`);
    return found;
  }

  xml(name: string, inactive: boolean): string {
    const defined = this.#find(name);
    return writeDomain((inactive ? undefined : this.#running.get(name)?.live) ?? defined);
  }

  state(name: string): "running" | "shut off" {
    this.#find(name);
    return this.#running.has(name) ? "running" : "shut off";
  }

  info(name: string): Readonly<Record<string, string>> {
    const domain = this.#running.get(name)?.live ?? this.#find(name);
    const running = this.#running.get(name);
    return {
      Id: running === undefined ? "-" : String(running.id),
      Name: name,
      UUID: word(domain, "uuid"),
      "OS Type": "hvm",
      State: this.state(name),
      "CPU(s)": word(domain, "vcpu"),
      ...(running === undefined ? {} : { "CPU time": "12.4s" }),
      "Max memory": `${word(domain, "memory")} KiB`,
      "Used memory": `${word(domain, "currentMemory")} KiB`,
      Persistent: this.#defined.has(name) ? "yes" : "no",
      Autostart: this.#machine.files.lstat(`${ETC}/autostart/${name}.xml`) === undefined ? "disable" : "enable",
      "Managed save": "no",
      "Security model": this.#security,
      "Security DOI": "0",
    };
  }

  get #security(): string {
    return this.#settings.get("security_driver") ?? "apparmor";
  }

  define(text: string): string {
    const given = readDomain(text);
    if (given === undefined) throw new LibvirtError("(domain_definition):1: Start tag expected, '<' not found");
    const name = word(given, "name");
    const emulator = word(at(given, "devices"), "emulator") || "/usr/bin/qemu-system-x86_64";
    const qemu = qemuProgram(this.#machine, emulator);
    if (qemu === undefined) throw new LibvirtError(`Cannot check QEMU binary ${emulator}: No such file or directory`);
    // AppArmor's profile of libvirtd lets it run what the distribution brings.
    if (this.#security !== "none" && !emulator.startsWith("/usr/"))
      throw new LibvirtError(
        `internal error: Failed to start QEMU binary ${emulator} for probing: libvirt: error : cannot execute binary ${emulator}: Permission denied`,
      );
    const kind = word(at(given, "launchSecurity"), "@type");
    if (kind !== "") {
      const known = SECURITY[kind as keyof typeof SECURITY];
      if (known === undefined || compareDebian(this.version, known[1]) < 0)
        throw new LibvirtError(`unsupported configuration: unknown launchSecurity type '${kind}'`);
      if (!(kind === "tdx" ? qemu.tdx : qemu.snp))
        throw new LibvirtError(
          `unsupported configuration: ${known[0]} launch security is not supported with this QEMU binary`,
        );
    }
    const before = this.#defined.get(name);
    const uuid = word(given, "uuid") || this.#machine.node.uuid();
    if (before !== undefined && word(before, "uuid") !== uuid)
      throw new LibvirtError(`operation failed: domain '${name}' already exists with uuid ${word(before, "uuid")}`);
    const domain = settleDomain(given, uuid, qemu.version);
    this.#defined.set(name, domain);
    this.#machine.files.write(`${ETC}/${name}.xml`, HEADER.replace("NAME", name) + writeDomain(domain), {
      mode: "0600",
    });
    return name;
  }

  autostart(name: string, on: boolean): void {
    this.#find(name);
    const link = `${ETC}/autostart/${name}.xml`;
    if (on) this.#machine.files.link(`${ETC}/${name}.xml`, link);
    else this.#machine.files.remove(link);
  }

  undefine(name: string, nvram: boolean): void {
    const file = word(at(this.#find(name), "os"), "nvram");
    if (file !== "" && !nvram)
      throw new LibvirtError(
        `Failed to undefine domain '${name}'\nerror: Requested operation is not valid: cannot undefine domain with nvram`,
      );
    if (file !== "") this.#machine.files.remove(file);
    this.#defined.delete(name);
    this.#machine.files.remove(`${ETC}/${name}.xml`);
    this.#machine.files.remove(`${ETC}/autostart/${name}.xml`);
  }

  start(name: string): void {
    const machine = this.#machine;
    const domain = this.#find(name);
    if (this.#running.has(name)) throw new LibvirtError("Requested operation is not valid: domain is already running");
    const failed = (text: string) => new LibvirtError(`Failed to start domain '${name}'\nerror: ${text}`);
    for (const hostdev of every(at(domain, "devices"), "hostdev")) {
      const bdf = bdfOf(hostdev);
      const f = findFunction(machine, bdf);
      if (f === undefined)
        throw failed(
          `Device ${bdf} not found: could not access /sys/bus/pci/devices/${bdf}/config: No such file or directory`,
        );
      if (!machine.now.iommu.on)
        throw failed("unsupported configuration: host doesn't support passthrough of host PCI devices");
      if (word(hostdev, "@managed") === "no" && machine.now.drivers.get(bdf) !== "vfio-pci")
        throw failed(`unsupported configuration: Unmanaged PCI device ${bdf} must be manually detached from the host`);
    }
    const user = this.#settings.get("user") ?? "libvirt-qemu";
    const files = every(at(domain, "devices"), "disk").map((d) => word(at(d, "source"), "@file"));
    // Without dynamic_ownership libvirt gives nothing to QEMU's user: what belongs to root stays closed.
    const closed = user === "root" || this.#settings.get("dynamic_ownership") !== "0" ? undefined : files[0];
    if (closed !== undefined)
      throw failed(
        `internal error: QEMU unexpectedly closed the monitor (vm='${name}'): Could not open '${closed}': Permission denied`,
      );
    const argv = domainArgv(domain);
    const pid = machine.spawn(argv, UNIT + name, user === "root" ? undefined : user);
    const complaint = startGuest(machine.node, UNIT + name, argv);
    if (complaint !== undefined) {
      machine.now.processes.delete(pid);
      throw failed(`internal error: QEMU unexpectedly closed the monitor (vm='${name}'): ${complaint}`);
    }
    const id = this.#nextId++;
    const live = liveDomain(domain, id, this.#security);
    this.#running.set(name, { id, pid, live });
    machine.files.write(`${RUN}/${name}.pid`, `${pid}`);
    machine.files.write(`${RUN}/${name}.xml`, writeDomain(live), { mode: "0600" });
  }

  /** The guest's power button: a guest that runs goes down a while later, one without a system takes no notice. */
  shutdown(name: string): void {
    if (this.state(name) !== "running")
      throw new LibvirtError(
        `Failed to shutdown domain '${name}'\nerror: Requested operation is not valid: domain is not running`,
      );
    const { node } = this.#machine;
    const guest = node.guest;
    if (guest?.unit !== UNIT + name || guest.machine.running === undefined) return;
    node.clock.start({
      name: `shutdown of ${name}`,
      step: () => {
        if (node.guest === guest) guestGoesDown(node, "poweroff");
        return true;
      },
    });
  }

  destroy(name: string): void {
    if (this.state(name) !== "running")
      throw new LibvirtError(
        `Failed to destroy domain '${name}'\nerror: Requested operation is not valid: domain is not running`,
      );
    if (this.#machine.node.guest?.unit === UNIT + name) this.#machine.node.endGuest("destroyed");
    this.#gone(name);
  }

  #gone(name: string): void {
    const machine = this.#machine;
    const was = this.#running.get(name);
    if (was === undefined) return;
    this.#running.delete(name);
    machine.running?.processes.delete(was.pid);
    machine.files.remove(`${RUN}/${name}.pid`);
    machine.files.remove(`${RUN}/${name}.xml`);
  }

  /** A QEMU process ended by itself. False when it was not libvirt's. */
  processEnded(unit: string, how: "reboot" | "poweroff"): boolean {
    if (!unit.startsWith(UNIT)) return false;
    const name = unit.slice(UNIT.length);
    const live = this.#running.get(name)?.live ?? {};
    // A TD's processors cannot be reset, so libvirt makes a fresh QEMU of it; with an SNP guest's it only ends.
    const starts = word(at(live, "launchSecurity"), "@type") !== "sev-snp";
    const again = how === "reboot" && starts && word(live, "on_reboot") === "restart";
    this.#gone(name);
    if (again) this.start(name);
    return true;
  }

  /** Somebody ended a process from outside. */
  killed(unit: string): boolean {
    const name = unit.slice(UNIT.length);
    if (!unit.startsWith(UNIT) || !this.#running.has(name)) return false;
    this.destroy(name);
    return true;
  }

  /** The host goes down. */
  powerOff(): void {
    this.#running.clear();
    this.#settings = new Map();
  }
}
