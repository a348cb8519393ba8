import { parse as parseYaml } from "yaml";
import type { Tee } from "./bios.ts";
import { bootMachine } from "./boot.ts";
import type { Work } from "./clock.ts";
import { diskSystem } from "./disk.ts";
import { makeHostKeys } from "./keys.ts";
import type { Machine } from "./machine.ts";
import type { TwinNode } from "./node.ts";
import { findFunction, groupOf } from "./pci.ts";
import { parseDisk, readIso } from "./stand-ins.ts";
import type { GuestLaunch } from "./tsm.ts";

/** A confidential VM that runs: QEMU's process on the host and the system inside. */
export interface Guest {
  readonly machine: Machine;
  readonly unit: string;
  /** Host addresses of the GPUs and NVSwitches it was given. */
  readonly devices: readonly string[];
  readonly deviceByGuestBdf: ReadonlyMap<string, string>;
  /** What protects it; undefined for a plain VM. */
  readonly tee: Tee | undefined;
  readonly mmioMiB: number;
  readonly launch: GuestLaunch;
  /** Host loopback port that leads to the guest's sshd. */
  readonly port: number | undefined;
  /** The driver opened a GPU since this VM started. */
  gpuUsed: boolean;
  /** sshd answers. */
  reachable: boolean;
}

/** Version and abilities of a QEMU binary; undefined when the file is no QEMU. */
export function qemuProgram(
  machine: Machine,
  path: string,
): { version: string; snp: boolean; vfio: boolean; tdx: boolean } | undefined {
  const node = machine.files.stat(path);
  if (node?.kind !== "file" || node.program !== "qemu-system-x86_64") return undefined;
  const match = /version=(\S+) snp=(\d) snp-vfio=(\d)(?: tdx=(\d))?/.exec(node.content);
  return {
    version: match?.[1] ?? "0",
    snp: match?.[2] === "1",
    vfio: match?.[3] === "1",
    tdx: match?.[4] === "1",
  };
}

interface QemuArgs {
  readonly objects: readonly ReadonlyMap<string, string>[];
  readonly devices: readonly ReadonlyMap<string, string>[];
  readonly drives: readonly ReadonlyMap<string, string>[];
  readonly netdevs: readonly ReadonlyMap<string, string>[];
  readonly fwCfg: readonly ReadonlyMap<string, string>[];
  readonly chardevs: readonly ReadonlyMap<string, string>[];
  readonly machine: ReadonlyMap<string, string>;
  readonly bios: string | undefined;
  readonly memoryBytes: number;
  readonly cpus: number;
  readonly cpuModel: string;
  readonly serial: string | undefined;
}

/** An option's value as `key=value,…`, or as JSON, where the type of an object has a key. */
const pairs = (text: string): ReadonlyMap<string, string> => {
  if (text.startsWith("{")) {
    const given = Object.entries(JSON.parse(text) as Readonly<Record<string, unknown>>);
    return new Map(
      given.map(([key, value]) => [
        key === "qom-type" || key === "driver" ? "" : key,
        typeof value === "object" ? JSON.stringify(value) : String(value),
      ]),
    );
  }
  return new Map(
    text.split(",").map((part, i) => {
      const at = part.indexOf("=");
      return at < 0 ? [i === 0 ? "" : part, i === 0 ? part : "on"] : [part.slice(0, at), part.slice(at + 1)];
    }),
  );
};

/** The object with which QEMU starts a guest of each TEE. */
const TEE_OBJECTS = { "sev-snp": "sev-snp-guest", tdx: "tdx-guest" } as const;

function size(text: string): number {
  const match = /^(\d+)([KMGT]?)/i.exec(text);
  const unit = { "": 20, K: 10, M: 20, G: 30, T: 40 }[match?.[2]?.toUpperCase() ?? ""] ?? 20;
  return Number(match?.[1] ?? 0) * 2 ** unit;
}

/** A file among libvirt's block devices, as a drive. */
function storage(block: ReadonlyMap<string, string>): ReadonlyMap<string, string>[] {
  const file = block.get("filename");
  if (block.get("") !== "file" || file === undefined) return [];
  const flash = block.get("node-name")?.includes("pflash") === true;
  return [new Map([["file", file], ...(flash ? [["if", "pflash"] as const] : [])])];
}

function parseQemu(argv: readonly string[]): QemuArgs {
  const all = (name: string) =>
    argv.flatMap((word, i) => (word === name && argv[i + 1] !== undefined ? [pairs(argv[i + 1] ?? "")] : []));
  const one = (name: string) => {
    const at = argv.lastIndexOf(name);
    return at < 0 ? undefined : argv[at + 1];
  };
  return {
    objects: all("-object"),
    devices: all("-device"),
    drives: [...all("-drive"), ...all("-blockdev").flatMap(storage)],
    netdevs: all("-netdev"),
    fwCfg: all("-fw_cfg"),
    chardevs: all("-chardev"),
    machine: pairs(one("-machine") ?? one("-M") ?? ""),
    bios: one("-bios"),
    memoryBytes: size(/^(?:size=)?([^,]+)/.exec(one("-m") ?? "128M")?.[1] ?? "128M"),
    cpus: Number(/^(?:cpus=)?(\d+)/.exec(one("-smp") ?? "1")?.[1] ?? 1),
    cpuModel: one("-cpu") ?? "",
    serial: one("-serial"),
  };
}

/** What keeps a TD from starting: the host, or arguments that QEMU has no TD with. */
function tdxFails(host: Machine, args: QemuArgs, firmware: string | undefined): string | undefined {
  if (!host.now.tdx.kvm)
    return "vm-type tdx not supported by KVM\nqemu-system-x86_64: failed to initialize kvm: Operation not supported";
  if ((args.machine.get("kernel-irqchip") ?? args.machine.get("kernel_irqchip") ?? "split") !== "split")
    return "TDX VM requires kernel_irqchip to be split";
  // A TD has no memory that only the guest can read, which flash would be.
  if (args.drives.some((d) => d.get("if") === "pflash")) return "pflash with kvm requires KVM readonly memory support";
  return /tdx=1/.test(firmware ?? "") ? undefined : "Cannot find TDX metadata table in the firmware";
}

/** Starts QEMU. Returns what it prints when it fails, undefined when it runs. */
export function startGuest(node: TwinNode, unit: string, argv: readonly string[]): string | undefined {
  const host = node.host;
  const qemu = qemuProgram(host, argv[0] ?? "");
  const args = parseQemu(argv);
  const say = (text: string) => `qemu-system-x86_64: ${text}`;
  if (qemu === undefined) return say("cannot execute");
  if (node.guest !== undefined) return say("-netdev user: Could not set up host forwarding rule");
  if (!host.files.exists("/dev/kvm"))
    return say(
      "Could not access KVM kernel module: No such file or directory\nqemu-system-x86_64: failed to initialize kvm: No such file or directory",
    );

  const can = { "sev-snp": qemu.snp, tdx: qemu.tdx };
  const objectOf = (name: Tee) => args.objects.find((o) => o.get("") === TEE_OBJECTS[name]);
  const kind = (["sev-snp", "tdx"] as const).find((name) => objectOf(name) !== undefined);
  const object = kind === undefined ? undefined : objectOf(kind);
  const asked = args.machine.get("confidential-guest-support");
  if (kind !== undefined && object !== undefined && !can[kind])
    return say(
      `-object ${[...object].map(([k, v]) => (k === "" ? v : `${k}=${v}`)).join(",")}: invalid object type: ${TEE_OBJECTS[kind]}`,
    );
  if (asked !== undefined && object?.get("id") !== asked)
    return say(`-machine: parameter 'confidential-guest-support' expects an object id, got '${asked}'`);
  const tee = asked === undefined ? undefined : kind;
  const snp = tee === "sev-snp";

  const code = args.drives.find((d) => d.get("if") === "pflash");
  const firmware = args.bios ?? code?.get("file");
  const firmwareText = firmware === undefined ? undefined : host.files.readIf(firmware);
  if (firmware !== undefined && firmwareText === undefined)
    return args.bios === undefined
      ? say(`-drive if=pflash,file=${firmware}: Could not open '${firmware}': No such file or directory`)
      : `qemu: could not load PC BIOS '${firmware}'`;

  for (const drive of args.drives) {
    const path = drive.get("file");
    if (path === undefined || drive.get("if") === "pflash") continue;
    if (!host.files.exists(path))
      return say(`-drive file=${path}: Could not open '${path}': No such file or directory`);
  }
  if (args.memoryBytes > host.memoryBytes * 0.98)
    return say("cannot set up guest memory 'ram0': Cannot allocate memory");

  const passed: string[] = [];
  const deviceByGuestBdf = new Map<string, string>();
  for (const device of args.devices.filter((d) => d.get("") === "vfio-pci")) {
    const bdf = device.get("host") ?? "";
    const full = /^[0-9a-f]{4}:/.test(bdf) ? bdf : `0000:${bdf}`;
    const who = `-device vfio-pci,host=${bdf}: vfio ${full}`;
    const f = findFunction(host, full);
    if (f === undefined) return say(`${who}: no such host device: No such file or directory`);
    if (!host.now.iommu.on) return say(`${who}: no iommu_group found: No such file or directory`);
    if (host.now.drivers.get(full) !== "vfio-pci")
      return say(`${who}: failed to open /dev/vfio/${f.group}: No such file or directory`);
    const viable = groupOf(host, f).every(
      (other) =>
        other.bridge === true ||
        other.bdf === full ||
        ["vfio-pci", undefined].includes(host.now.drivers.get(other.bdf)),
    );
    if (!viable)
      return say(
        `${who}: group ${f.group} is not viable\nPlease ensure all devices within the iommu_group are bound to their vfio bus driver.`,
      );
    if (node.device(full)?.broken === true) return say(`${who}: Unknown PCI header type '127'`);
    if (snp && !qemu.vfio)
      return say(`${who}: vfio_container_dma_map(0x55d0c0a80000, 0x0, 0x80000000, 0x7f1b40000000) = -14 (Bad address)`);
    passed.push(full);
    // Root ports are buses of their own; without one the device sits on bus 0.
    const bus = /(\d+)$/.exec(device.get("bus") ?? "")?.[1];
    deviceByGuestBdf.set(
      bus === undefined
        ? `0000:00:${(4 + passed.length).toString(16).padStart(2, "0")}.0`
        : `0000:${Number(bus).toString(16).padStart(2, "0")}:00.0`,
      full,
    );
  }
  const net = args.netdevs.find((n) => n.has("hostfwd"));
  const port = Number(/:(\d+)-/.exec(net?.get("hostfwd") ?? "")?.[1] ?? Number.NaN);

  const failed = tee === "tdx" ? tdxFails(host, args, firmwareText) : undefined;
  if (failed !== undefined) return say(failed);
  if (snp && !host.now.snp.kvm)
    return say(
      "sev_common_kvm_init: failed to initialize ret=-22 fw_error=0 ''\nqemu-system-x86_64: failed to initialize kvm: Operation not permitted",
    );
  if (snp && !/sev-snp=1/.test(firmwareText ?? ""))
    return say("sev_snp_launch_update: SNP_LAUNCH_UPDATE ret=-22 fw_error=0 '': the firmware has no SEV metadata");

  // The disk with the system is the first that holds one.
  const disks = args.drives.flatMap((d) => {
    const path = d.get("file");
    const disk = path === undefined ? undefined : parseDisk(host.files.readIf(path));
    return path === undefined || disk === undefined ? [] : [{ path, disk }];
  });
  const main = disks.find(({ disk }) => disk.image !== "blank") ?? disks[0];
  const seeds = args.drives.flatMap((d) => {
    const files = readIso(host.files.readIf(d.get("file") ?? ""));
    return files === undefined ? [] : [files];
  });
  const line = args.devices.find((d) => d.get("") === "isa-serial")?.get("chardev");
  const chardev = args.chardevs.find((c) => args.serial === `chardev:${c.get("id")}` || c.get("id") === line);
  const consolePath =
    args.serial?.startsWith("file:") === true
      ? args.serial.slice(5)
      : (chardev?.get("path") ?? chardev?.get("logfile"));
  const append = chardev?.get("append") === "on" || chardev?.get("logappend") === "on";
  if (consolePath !== undefined && (!append || !host.files.exists(consolePath)))
    host.files.write(consolePath, "", { mode: "0600" });
  const print = (text: string) => {
    if (consolePath !== undefined) host.files.write(consolePath, `${host.files.readIf(consolePath) ?? ""}${text}`);
  };
  const window = args.fwCfg.find((f) => f.get("name") === "opt/ovmf/X-PciMmio64Mb")?.get("string");

  for (const bdf of passed) node.device(bdf)?.functionReset();
  print('BdsDxe: loading Boot0001 "UEFI QEMU HARDDISK"\r\n');
  if (main === undefined || main.disk.image === "blank") {
    print("BdsDxe: No bootable option or device was found.\r\n");
  }
  const machine =
    main === undefined || main.disk.image === "blank"
      ? undefined
      : diskSystem(node, main.path, main.disk, {
          cpus: args.cpus,
          memoryBytes: args.memoryBytes,
          devices: deviceByGuestBdf,
          tee,
        });
  node.journal.guestStarts++;
  if (machine === undefined) {
    // QEMU runs, but nothing ever answers in it.
    return undefined;
  }
  const guest: Guest = {
    machine,
    unit,
    devices: passed,
    deviceByGuestBdf,
    tee,
    mmioMiB: Number(window ?? 32_768),
    launch: {
      firmware: firmwareText ?? "",
      cpus: args.cpus,
      cpuModel: args.cpuModel,
      policy: object?.get("policy"),
    },
    port: Number.isNaN(port) ? undefined : port,
    gpuUsed: false,
    reachable: false,
  };
  node.guest = guest;
  let polls = node.guestPolls;
  const work: Work = {
    name: "guest boot",
    step: () => {
      if (node.guest !== guest) return true;
      node.clock.advance(20);
      if (--polls > 0) return false;
      if (bootMachine(machine) !== "up") {
        print("error: you need to load the kernel first.\r\n");
        return true;
      }
      print(`[    0.000000] Linux version ${machine.now.kernel.release}\r\n`);
      cloudInit(machine, seeds, print);
      if ([...machine.now.gpus.keys()].length > 0 && node.persistencedRuns(machine)) guest.gpuUsed = true;
      guest.reachable = true;
      print(`${machine.hostname} login: `);
      return true;
    },
  };
  node.clock.start(work);
  return undefined;
}

interface UserData {
  hostname?: string;
  users?: readonly (
    | string
    | {
        name?: string;
        ssh_authorized_keys?: readonly string[];
        sudo?: string | readonly string[];
        ssh_import_id?: unknown;
      }
  )[];
  ssh_authorized_keys?: readonly string[];
  bootcmd?: readonly (string | readonly string[])[];
  runcmd?: readonly (string | readonly string[])[];
  write_files?: readonly { path?: string; content?: string; permissions?: string; owner?: string }[];
  ssh?: { emit_keys_to_console?: boolean };
  package_upgrade?: boolean;
}

const INSTANCE = "/var/lib/cloud/data/instance-id";

/** What cloud-init does at each boot; most of it once per instance. */
function cloudInit(
  machine: Machine,
  seeds: readonly Readonly<Record<string, string>>[],
  print: (text: string) => void,
): void {
  const seed = seeds.find((s) => s["user-data"] !== undefined && s["meta-data"] !== undefined);
  if (seed === undefined) {
    print("cloud-init: no datasource found\r\n");
    return;
  }
  const user = (parseYaml((seed["user-data"] ?? "").replace(/^#cloud-config\n/, "")) ?? {}) as UserData;
  const meta = (parseYaml(seed["meta-data"] ?? "") ?? {}) as { "instance-id"?: string };
  const instance = meta["instance-id"] ?? "nocloud";
  for (const command of user.bootcmd ?? []) if (typeof command !== "string") machine.node.exec(machine, command);
  if (machine.files.readIf(INSTANCE)?.trim() === instance) return;
  machine.files.write(INSTANCE, `${instance}\n`);
  for (const [path, content, mode] of makeHostKeys(machine.hostname)) machine.files.write(path, content, { mode });
  for (const entry of user.users ?? []) {
    if (typeof entry === "string" || entry.name === undefined) continue;
    const keys = entry.ssh_authorized_keys ?? [];
    const home = entry.name === "root" ? "/root" : `/home/${entry.name}`;
    machine.files.write(
      "/etc/passwd",
      `${machine.files.readIf("/etc/passwd") ?? ""}${entry.name}:x:1001:1001::${home}:/bin/bash\n`,
    );
    machine.files.write(`${home}/.ssh/authorized_keys`, keys.map((k) => `${k.trim()}\n`).join(""), {
      mode: "0600",
      owner: `${entry.name}:${entry.name}`,
    });
    const sudo = entry.sudo === undefined ? [] : typeof entry.sudo === "string" ? [entry.sudo] : entry.sudo;
    if (sudo.length > 0)
      machine.files.write(
        "/etc/sudoers.d/90-cloud-init-users",
        sudo.map((rule) => `${entry.name} ${rule}\n`).join(""),
        { mode: "0440" },
      );
  }
  for (const f of user.write_files ?? [])
    if (f.path !== undefined) machine.files.write(f.path, f.content ?? "", { mode: f.permissions ?? "0644" });
  for (const command of user.runcmd ?? []) if (typeof command !== "string") machine.node.exec(machine, command);
  if (user.package_upgrade === true) machine.node.exec(machine, ["apt-get", "-y", "upgrade"]);
  if (user.ssh?.emit_keys_to_console !== false) {
    const keys = machine.files.listIf("/etc/ssh").filter((n) => /^ssh_host_.*\.pub$/.test(n));
    print(
      `-----BEGIN SSH HOST KEY KEYS-----\r\n${keys.map((n) => `${(machine.files.readIf(`/etc/ssh/${n}`) ?? "").trim()}\r\n`).join("")}-----END SSH HOST KEY KEYS-----\r\n`,
    );
  }
  print("[   14.221300] cloud-init[812]: Cloud-init v. 24.1 finished. Datasource DataSourceNoCloud.\r\n");
}

/** The guest asks to go down: QEMU ends, also at a reboot, unless libvirt was told to start a fresh one. */
export function guestGoesDown(node: TwinNode, how: "reboot" | "poweroff"): void {
  const guest = node.guest;
  if (guest === undefined) return;
  node.endGuest("guest shut down");
  if (!node.host.libvirt.processEnded(guest.unit, how)) node.host.units.processEnded(guest.unit, 0);
}
