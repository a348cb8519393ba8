export type CcMode = "off" | "on" | "devtools";

export interface GpuOptions {
  readonly bdf: string;
  readonly device?: string;
  readonly vbios?: string;
  readonly index?: number;
}

/** One physical GPU. Its mode changes only through a reset; its SPDM session lives until the next function reset. */
export class Gpu {
  readonly bdf: string;
  /** PCI device id, four hex digits. */
  readonly device: string;
  /** As gpu-admin-tools names it. */
  readonly toolName = "H100-PCIE";
  readonly product = "NVIDIA H100 PCIe";
  readonly bar0: string;
  readonly uuid: string;
  readonly serial: string;
  /** 128 GiB BAR, which the guest's MMIO window must hold. */
  barMiB = 131_072;
  vbios: string;
  mode: CcMode = "off";
  /** Set by the tool, in force after a reset. */
  nextMode: CcMode | undefined;
  ppcie: "off" | "on" = "off";
  /** A guest used it while vfio-pci let it fall into D3: mode changes time out until it is unbound or the host boots. */
  asleep = false;
  /** Fell off the bus: only a power cycle brings it back. */
  broken = false;
  /** Not even a power cycle helps. */
  dead = false;
  /** A trap on purpose: the mode change never takes. */
  refusesSwitch = false;
  /** SPDM: a session was made and torn down since the last function reset. */
  session: "none" | "up" | "destroyed" = "none";
  ready = false;
  resets = 0;

  constructor(options: GpuOptions) {
    this.bdf = options.bdf;
    this.device = options.device ?? "2331";
    this.vbios = options.vbios ?? "96.00.88.00.11";
    const n = options.index ?? 0;
    this.bar0 = `0x${(0x88042000000 + n * 0x2000000).toString(16)}`;
    this.uuid = `GPU-7c3d01e2-4b5a-4c6d-9e8f-0a1b2c3d4e${(0x5f + n).toString(16)}`;
    this.serial = `165112308${String(4711 + n)}`;
  }

  /** How the tool writes it in every line. */
  get label(): string {
    return `GPU ${this.bdf} ${this.toolName} 0x${this.device} BAR0 ${this.bar0}`;
  }

  /** Function level reset, e.g. when a VM starts: keys are gone, a pending mode comes into force. */
  functionReset(): void {
    this.resets++;
    this.session = "none";
    this.ready = false;
    if (this.nextMode !== undefined && !this.refusesSwitch) this.mode = this.nextMode;
    this.nextMode = undefined;
  }

  /** The whole machine lost power or was reset. The mode survives: it stands in the GPU's own flash. */
  coldReset(): void {
    this.asleep = false;
    this.broken = this.dead;
    this.session = "none";
    this.ready = false;
    if (this.nextMode !== undefined && !this.refusesSwitch) this.mode = this.nextMode;
    this.nextMode = undefined;
  }

  vfioUnbound(kind: "host" | "guest"): void {
    if (kind === "host") this.asleep = false;
  }

  vfioBoundAgain(): void {}
}
