export type CcMode = "off" | "on" | "devtools";
export type Ppcie = "off" | "on";

export interface GpuOptions {
  readonly bdf: string;
  readonly device?: string;
  readonly vbios?: string;
  readonly index?: number;
  /** Default `pcie`: a card. `sxm`: on an HGX board. */
  readonly form?: "pcie" | "sxm";
}

/** A GPU or an NVSwitch. Its mode changes only through a reset. */
export abstract class NvidiaDevice {
  readonly bdf: string;
  /** PCI device id, four hex digits. */
  readonly device: string;
  abstract readonly bar0: string;
  ppcie: Ppcie = "off";
  /** Set by the tool, in force after a reset. */
  nextPpcie: Ppcie | undefined;
  /** A guest used it while vfio-pci let it fall into D3: mode changes time out until it is unbound or the host boots. */
  asleep = false;
  /** Fell off the bus: only a power cycle brings it back. */
  broken = false;
  /** Not even a power cycle helps. */
  dead = false;
  /** A trap on purpose: the mode change never takes. */
  refusesSwitch = false;
  resets = 0;

  constructor(bdf: string, device: string) {
    this.bdf = bdf;
    this.device = device;
  }

  /** How the tool writes it in every line. */
  abstract get label(): string;

  protected applyNext(): void {
    if (this.nextPpcie !== undefined && !this.refusesSwitch) this.ppcie = this.nextPpcie;
    this.nextPpcie = undefined;
  }

  /** Function level reset, e.g. when a VM starts: keys are gone, a pending mode comes into force. */
  functionReset(): void {
    this.resets++;
    this.applyNext();
  }

  /** The whole machine lost power or was reset. The mode survives: it stands in the device's own flash. */
  coldReset(): void {
    this.asleep = false;
    this.broken = this.dead;
    this.applyNext();
  }

  vfioUnbound(kind: "host" | "guest"): void {
    if (kind === "host") this.asleep = false;
  }

  vfioBoundAgain(): void {}
}

/** One physical GPU. Its SPDM session lives until the next function reset. */
export class Gpu extends NvidiaDevice {
  /** As gpu-admin-tools names it. */
  readonly toolName: string;
  readonly product: string;
  readonly bar0: string;
  readonly uuid: string;
  readonly serial: string;
  /** 128 GiB BAR, which the guest's MMIO window must hold. */
  barMiB = 131_072;
  vbios: string;
  mode: CcMode = "off";
  /** Set by the tool, in force after a reset. */
  nextMode: CcMode | undefined;
  /** SPDM: a session was made and torn down since the last function reset. */
  session: "none" | "up" | "destroyed" = "none";
  ready = false;

  constructor(options: GpuOptions) {
    const sxm = options.form === "sxm";
    super(options.bdf, options.device ?? (sxm ? "2330" : "2331"));
    this.toolName = sxm ? "H100-SXM" : "H100-PCIE";
    this.product = sxm ? "NVIDIA H100 80GB HBM3" : "NVIDIA H100 PCIe";
    this.vbios = options.vbios ?? "96.00.88.00.11";
    const n = options.index ?? 0;
    this.bar0 = `0x${(0x88042000000 + n * 0x2000000).toString(16)}`;
    this.uuid = `GPU-7c3d01e2-4b5a-4c6d-9e8f-0a1b2c3d4e${(0x5f + n).toString(16)}`;
    this.serial = `165112308${String(4711 + n)}`;
  }

  get label(): string {
    return `GPU ${this.bdf} ${this.toolName} 0x${this.device} BAR0 ${this.bar0}`;
  }

  /** The driver talks to it only over an SPDM session: in CC mode, and under Protected PCIe. */
  get protected(): boolean {
    return this.mode !== "off" || this.ppcie === "on";
  }

  protected override applyNext(): void {
    super.applyNext();
    this.session = "none";
    this.ready = false;
    if (this.nextMode !== undefined && !this.refusesSwitch) this.mode = this.nextMode;
    this.nextMode = undefined;
  }
}

/** One NVSwitch of a Hopper HGX board. It knows no CC mode, only Protected PCIe. */
export class NvSwitch extends NvidiaDevice {
  readonly bar0: string;
  readonly uuid: string;

  constructor(options: { readonly bdf: string; readonly index: number }) {
    super(options.bdf, "22a3");
    this.bar0 = `0x${(0x9a000000 + options.index * 0x2000000).toString(16)}`;
    this.uuid = `SWX-2d1c0b3a-5e4f-4a6b-8c7d-9e0f1a2b3c${(0x4d + options.index).toString(16)}`;
  }

  get label(): string {
    return `NvSwitch ${this.bdf} LS10 0x${this.device} BAR0 ${this.bar0}`;
  }
}
