import type { Result } from "../commands/command.ts";
import type { Faults } from "../faults.ts";
import type { Journal } from "../journal.ts";
import type { Bios, NodePower, ResetType, Tee } from "./bios.ts";
import { bootMachine } from "./boot.ts";
import type { Clock } from "./clock.ts";
import type { Gpu, NvidiaDevice, NvSwitch } from "./gpu.ts";
import type { Guest } from "./guest.ts";
import type { Internet } from "./internet.ts";
import { atLeast } from "./kernel.ts";
import type { MachineOptions } from "./machine.ts";
import { Machine } from "./machine.ts";
import type { Driver } from "./nvidia.ts";
import { driverFor, installedDriver, nvidiaProbe } from "./nvidia.ts";
import type { PciFunction } from "./pci.ts";
import type { SevFirmware } from "./stand-ins.ts";
import type { TdxModule } from "./tdx.ts";
import type { TeeSigner } from "./tsm.ts";

export type Exec = (machine: Machine, argv: readonly string[], options?: { cwd?: string; stdin?: string }) => Result;

export interface NodeOptions {
  readonly clock: Clock;
  readonly bios: Bios;
  readonly gpus: readonly Gpu[];
  readonly switches?: readonly NvSwitch[];
  readonly sevFirmware: SevFirmware;
  /** TDX module that the BIOS image carries. Default 1.5.24. */
  readonly tdxModule?: TdxModule;
  readonly journal: Journal;
  readonly internet: Internet;
  readonly exec: Exec;
  readonly host: Omit<MachineOptions, "node" | "clock" | "kind">;
  /**
   * The node is an instance of a cloud: a confidential VM whose own sshd answers. What is below it nobody sees. `restart`
   * says what a reboot from inside does there: it comes back, or it stays down until somebody uses the console.
   */
  readonly instance?: { readonly tee: Tee; readonly restart: "inside" | "console" } | undefined;
  /** Random but repeatable 128-bit ids. */
  readonly uuid: () => string;
  /** Looks the node up is down for after a reset, in knocks at its door. */
  readonly bootKnocks?: number;
  /** Looks until a guest's sshd answers. */
  readonly guestPolls?: number;
  /** Looks until a job is done. */
  readonly jobPolls?: number;
}

/** The whole node: hardware, the host's operating system and its confidential guest. */
export class TwinNode {
  readonly clock: Clock;
  readonly bios: Bios;
  readonly gpus: ReadonlyMap<string, Gpu>;
  /** NVSwitches by their host address. */
  readonly switches: ReadonlyMap<string, NvSwitch>;
  sevFirmware: SevFirmware;
  tdxModule: TdxModule;
  readonly journal: Journal;
  readonly internet: Internet;
  readonly exec: Exec;
  readonly host: Machine;
  readonly instance: NodeOptions["instance"];
  readonly uuid: () => string;
  readonly faults: Faults = {};
  readonly guestPolls: number;
  readonly jobPolls: number;
  /** Signs reports of guests; without one they can be asked for, and none comes. */
  tee: TeeSigner | undefined;
  /** The confidential VM that runs now. */
  guest: Guest | undefined;
  /** Systems on virtual disks, by the disk's path on the host. */
  readonly disks = new Map<string, Machine>();
  /** Called whenever every connection to a machine breaks. */
  onDown: (machine: "host" | "guest") => void = () => {};
  /** Locks that open channels hold, by machine and file. */
  readonly locks = new Map<string, object>();
  /** Forwards to other ports of the controller's loopback too, so that a twin can be a bastion. */
  forwardsAnywhere = false;
  #power: "On" | "Off" = "On";
  #knocks = 0;
  readonly #bootKnocks: number;
  readonly #resets: { by: "bmc" | "os"; type: ResetType }[] = [];
  /** Traps that are set on purpose; scenarios switch them on. */
  /** The platform's SGX keys are registered with Intel; the BIOS keeps that. */
  registered = false;
  /** Set by a mode switch under the trap of the same name: attestation fails until the host was reset. */
  attestationStale = false;
  readonly traps = {
    /** After a mode switch attestation fails until the host was reset (NVIDIA/attestation-sdk#31). */
    staleAttestationAfterSwitch: false,
    /** The guest's bounce buffers never suffice for the driver. */
    swiotlb: false,
    /** Nobody published reference measurements for this driver and VBIOS. */
    noRim: false,
    /** The same for the NVSwitches' firmware. */
    noSwitchRim: false,
    /** The BIOS says that the RMP covers all memory and reserves too little (AMDESE/AMDSEV#226). */
    rmpShort: false,
    /** The firmware reports another TCB than the platform has (virtee/snphost#127). */
    tcb: false,
    /** Intel's server takes the platform's registration no more: its keys must be made anew. */
    registrationRefused: false,
    /** The BIOS says that TDX is on and grants it no keys. */
    keysWithheld: false,
    /** The SEAM loader is on and finds no TDX module. */
    noTdxModule: false,
    /** More holes in the memory map than the TDX module can be told of (canonical/tdx#415). */
    memoryHoles: false,
  };

  constructor(options: NodeOptions) {
    this.clock = options.clock;
    this.bios = options.bios;
    this.gpus = new Map(options.gpus.map((gpu) => [gpu.bdf, gpu]));
    this.switches = new Map((options.switches ?? []).map((s) => [s.bdf, s]));
    this.sevFirmware = options.sevFirmware;
    this.tdxModule = options.tdxModule ?? { major: 1, minor: 5, update: 24 };
    this.journal = options.journal;
    this.internet = options.internet;
    this.exec = options.exec;
    this.uuid = options.uuid;
    this.#bootKnocks = options.bootKnocks ?? 2;
    this.guestPolls = options.guestPolls ?? 2;
    this.jobPolls = options.jobPolls ?? 3;
    this.instance = options.instance;
    const kind = options.instance === undefined ? "host" : "guest";
    this.host = new Machine({ ...options.host, kind, node: this, clock: this.clock });
  }

  get power(): NodePower {
    return { state: this.#power, reset: (type) => this.reset(type, "bmc"), resets: this.#resets };
  }

  /** A reset of the whole node. Returns at once; {@link knock} brings it up again. */
  reset(type: ResetType, by: "bmc" | "os"): void {
    if (type === "On" && this.#power === "On") return;
    this.#resets.push({ by, type });
    if (this.host.running !== undefined) {
      this.endGuest("host reset");
      this.host.units.powerOff();
      this.host.libvirt.powerOff();
      this.host.running = undefined;
      this.clock.cancelAll();
    }
    this.onDown("guest");
    this.onDown("host");
    for (const device of [...this.gpus.values(), ...this.switches.values()]) device.coldReset();
    this.attestationStale = false;
    this.host.files.remove("/run");
    this.host.files.remove("/tmp");
    if (type === "ForceOff" || type === "GracefulShutdown") {
      this.#power = "Off";
      return;
    }
    this.#power = "On";
    this.bios.apply();
    this.#knocks = this.#bootKnocks;
  }

  readonly #later: (() => void)[] = [];

  /** Does something once the exec that asked for it has been answered. */
  later(f: () => void): void {
    this.#later.push(f);
  }

  /** The exec is answered: what it left for later happens now. */
  runLater(): void {
    for (const f of this.#later.splice(0)) f();
  }

  /** On and running. */
  get up(): boolean {
    return this.host.running !== undefined;
  }

  /** Powered on, but neither up nor hung: on its way. */
  get booting(): boolean {
    return this.#power === "On" && !this.up && this.#knocks > 0;
  }

  /** Somebody tries to connect while the node is down: time passes, and at last it is up. */
  knock(): void {
    if (!this.booting) return;
    this.#knocks--;
    this.clock.advance(60);
    if (this.#knocks > 0) return;
    this.bootNow();
  }

  bootNow(): void {
    const how = bootMachine(this.host);
    if (how === "up") {
      this.journal.reboots++;
      return;
    }
    if (how === "panic-reboots") {
      this.#resets.push({ by: "os", type: "ForceRestart" });
      this.bios.apply();
      this.#knocks = this.#bootKnocks;
    }
  }

  /** Finishes a boot at once, for tests that do not go through SSH. */
  settle(): void {
    for (let n = 0; n < 20 && this.booting; n++) this.knock();
    this.clock.settle();
  }

  endGuest(_why: string): void {
    const guest = this.guest;
    if (guest === undefined) return;
    this.guest = undefined;
    guest.machine.running = undefined;
    const idleD3 = this.host.running?.modules.get("vfio_pci")?.parameters.get("disable_idle_d3") !== "Y";
    for (const bdf of guest.devices) {
      const device = this.device(bdf);
      if (device === undefined) continue;
      // The known issue of seed 001: left to idle, the GPU sleeps and its mode cannot be changed.
      device.asleep = guest.gpuUsed && idleD3;
      device.functionReset();
    }
    this.onDown("guest");
  }

  /** Runs a program on the host, as somebody with a terminal would. Throws when it fails. */
  exec0(argv: readonly string[]): string {
    const { status, stdout, stderr } = this.exec(this.host, argv);
    if (status !== 0) throw new Error(`${argv.join(" ")}: exit ${status}: ${stderr || stdout}`);
    return stdout;
  }

  get guestRuns(): boolean {
    return this.guest !== undefined;
  }

  guestHolds(bdf: string): boolean {
    return this.guest?.devices.includes(bdf) ?? false;
  }

  /** What protects the guest that runs now. */
  get guestTee(): Tee | undefined {
    return this.instance?.tee ?? this.guest?.tee;
  }

  get guestMmioTooSmall(): boolean {
    const guest = this.guest;
    const bars = guest?.devices.reduce((sum, bdf) => sum + (this.gpus.get(bdf)?.barMiB ?? 0), 0) ?? 0;
    return guest !== undefined && guest.mmioMiB < bars * 2;
  }

  get swiotlbTooSmall(): boolean {
    return this.traps.swiotlb;
  }

  /** The GPU or NVSwitch at a host address. */
  device(bdf: string): NvidiaDevice | undefined {
    return this.gpus.get(bdf) ?? this.switches.get(bdf);
  }

  /** The physical GPU or NVSwitch behind a machine's PCI address. */
  deviceAt(machine: Machine, bdf: string): NvidiaDevice | undefined {
    if (machine === this.host) return this.device(bdf);
    const real = this.guest?.machine === machine ? this.guest.deviceByGuestBdf.get(bdf) : undefined;
    return real === undefined ? undefined : this.device(real);
  }

  /** The physical GPU behind a machine's PCI address. */
  gpuAt(machine: Machine, bdf: string): Gpu | undefined {
    const device = this.deviceAt(machine, bdf);
    return device === undefined ? undefined : this.gpus.get(device.bdf);
  }

  driverOf(machine: Machine): Driver | undefined {
    return driverFor(machine, machine.now.kernel.release);
  }

  installedDriver(machine: Machine): Driver | undefined {
    return installedDriver(machine);
  }

  nvidiaProbe(machine: Machine, f: PciFunction): void {
    nvidiaProbe(machine, f);
  }

  nvidiaLoaded(machine: Machine): void {
    const driver = this.driverOf(machine);
    machine.logs.kernel("nvidia-nvlink: Nvlink Core is being initialized, major device number 236");
    machine.logs.kernel(
      `NVRM: loading NVIDIA UNIX ${driver?.open === true ? "Open Kernel Module for x86_64" : "x86_64 Kernel Module"}  ${driver?.version ?? "?"}  Release Build  (dvs-builder@U22-I3-B05-01)`,
    );
  }

  /** Seed 000: with a newer kernel the 535 driver installs and never sees the GPU. */
  kernelTooNewForDriver(machine: Machine, major: number): boolean {
    return major < 550 && atLeast(machine.now.kernel.release, 6, 0);
  }

  persistencedRuns(machine: Machine): boolean {
    return [...(machine.running?.processes.values() ?? [])].some((p) => p.argv[0]?.endsWith("nvidia-persistenced"));
  }
}
