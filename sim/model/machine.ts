import type { Clock } from "./clock.ts";
import type { BaseFiles } from "./files.ts";
import { Files } from "./files.ts";
import { generatedFiles } from "./generated.ts";
import type { Kernel } from "./kernel.ts";
import { Libvirt } from "./libvirt.ts";
import { Logs } from "./logs.ts";
import type { LoadedModule } from "./modules.ts";
import type { TwinNode } from "./node.ts";
import { Packages } from "./packages.ts";
import type { PciFunction } from "./pci.ts";
import type { SnpState } from "./snp.ts";
import type { TdxState } from "./tdx.ts";
import { TsmReports } from "./tsm.ts";
import { Units } from "./units.ts";

export interface Cpu {
  readonly vendor: "AuthenticAMD" | "GenuineIntel";
  readonly model: string;
  readonly family: number;
  readonly modelNumber: number;
  readonly sockets: number;
  readonly coresPerSocket: number;
  /** Flags the silicon has; what the BIOS hides is taken off by the boot. */
  readonly flags: readonly string[];
}

/** What lasts from one boot to the next only in hardware, or is made anew at each boot. */
export interface Running {
  readonly bootId: string;
  readonly kernel: Kernel;
  readonly cmdline: string;
  readonly bootedAt: number;
  /** Counter of boots, for `journalctl -b`. */
  readonly boot: number;
  readonly modules: Map<string, LoadedModule>;
  readonly iommu: { readonly on: boolean; readonly passthrough: boolean };
  readonly snp: SnpState;
  readonly tdx: TdxState;
  /** Driver by BDF. */
  readonly drivers: Map<string, string>;
  readonly overrides: Map<string, string>;
  /** `vendor device` pairs given to new_id, by driver. */
  readonly newIds: Map<string, Set<string>>;
  /** Process list: pid → argv, the unit that owns it, and whose it is when not root's. */
  readonly processes: Map<
    number,
    { readonly argv: readonly string[]; readonly unit?: string | undefined; readonly user?: string | undefined }
  >;
  /** How often a TD's measurements at run time were extended. */
  rtmrExtends: number;
  /** The fabric manager has set up the NVSwitches since this boot. */
  readonly fabric: { configured: boolean };
  /** NVIDIA driver state by BDF; only devices bound to `nvidia`. */
  readonly gpus: Map<string, { session: "none" | "up" | "destroyed"; failed?: string; ready: boolean }>;
}

export interface MachineOptions {
  readonly kind: "host" | "guest";
  readonly hostname: string;
  readonly node: TwinNode;
  readonly clock: Clock;
  readonly base: BaseFiles;
  readonly cpu: Cpu;
  readonly memoryBytes: number;
  readonly pci: readonly PciFunction[];
  readonly capacity?: number;
  readonly used?: number;
}

/** One operating system on one piece of (real or virtual) hardware. */
export class Machine {
  readonly kind: "host" | "guest";
  readonly hostname: string;
  readonly node: TwinNode;
  readonly clock: Clock;
  readonly files: Files;
  readonly packages: Packages;
  readonly units: Units;
  readonly logs: Logs;
  readonly libvirt: Libvirt;
  readonly tsm: TsmReports;
  /** Kernels that were ever installed here, by release. They boot only while their files are in /boot. */
  readonly kernels = new Map<string, Kernel>();
  cpu: Cpu;
  memoryBytes: number;
  /** Names of its RDMA interfaces. */
  rdma: readonly string[] = [];
  pci: readonly PciFunction[];
  /** Undefined while off, hung or on its way up. */
  running: Running | undefined;
  boots = 0;
  nextPid = 1000;

  constructor(options: MachineOptions) {
    this.kind = options.kind;
    this.hostname = options.hostname;
    this.node = options.node;
    this.clock = options.clock;
    this.cpu = options.cpu;
    this.memoryBytes = options.memoryBytes;
    this.pci = options.pci;
    this.files = new Files(options.base, () => this.clock.now, options.capacity, options.used);
    this.files.mountGenerated(generatedFiles(this));
    this.packages = new Packages(this);
    this.units = new Units(this);
    this.logs = new Logs(this);
    this.libvirt = new Libvirt(this);
    this.tsm = new TsmReports(this);
  }

  /** The running boot; throws when there is none, since nothing can run then. */
  get now(): Running {
    if (this.running === undefined) throw new Error(`${this.hostname} is not running`);
    return this.running;
  }

  spawn(argv: readonly string[], unit?: string, user?: string): number {
    const pid = this.nextPid++;
    this.now.processes.set(pid, { argv, unit, user });
    return pid;
  }
}
