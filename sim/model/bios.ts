import type { Board, Switch } from "./bios-boards.ts";
import { BOARDS } from "./bios-boards.ts";

/**
 * The BIOS of the simulated node and its power: what the BMC (sim/bmc.ts) serves and what the boot model obeys.
 * Nothing here knows Redfish. Settings are staged and only take effect when the node is reset.
 */
export type BiosValue = string | number | boolean | null;

export interface BiosAttribute {
  /** Exact attribute name, with the board's own suffix where the vendor has one. */
  readonly name: string;
  readonly displayName: string;
  readonly type: "Enumeration" | "Integer" | "String" | "Boolean";
  /** Menu path in the registry's way, e.g. `./Advanced/CPU Configuration`. */
  readonly menuPath: string;
  /** Never writable, whatever else is set. */
  readonly readOnly: boolean;
  /** Of an Enumeration. `name` and `displayName` differ on Supermicro ("1" against "Enabled"). */
  readonly values: readonly { readonly name: string; readonly displayName: string }[];
  readonly lowerBound?: number;
  readonly upperBound?: number;
  readonly defaultValue: BiosValue;
  /**
   * Settings that must be in force (not merely staged) before this one may be staged. Until then the registry shows
   * it as read-only and greyed out, and {@link BiosState.stage} refuses it. Dell: Sme, then Snp and CpuMinSevAsid, then Rmp.
   */
  readonly requires: readonly BiosRequirement[];
}

export interface BiosRequirement {
  readonly attribute: string;
  /** The value must equal this, or for numbers be at least this. */
  readonly value: BiosValue;
}

export interface StageError {
  readonly attribute: string;
  readonly kind: "unknown" | "value" | "read-only";
  readonly message: string;
}

export type BiosVendor = "supermicro" | "dell" | "asrockrack" | "hpe" | "lenovo";

/** What sim/bmc.ts needs of the BIOS. */
export interface BiosState {
  readonly vendor: BiosVendor;
  /** ComputerSystem.Manufacturer and Model. */
  readonly manufacturer: string;
  readonly model: string;
  readonly biosVersion: string;
  /** False for a BMC that offers no attribute registry. */
  readonly hasRegistry: boolean;
  readonly attributes: readonly BiosAttribute[];
  /** Values in force. For enumerations the same spelling that {@link BiosState.stage} accepts. */
  readonly current: Readonly<Record<string, BiosValue>>;
  /** Values waiting for the next reset. */
  readonly staged: Readonly<Record<string, BiosValue>>;
  /** True while the attribute may not be staged: read-only, or a requirement is not in force. */
  locked(name: string): boolean;
  /** Stages all of `settings` or none; the errors say why. Staging the value in force takes it off the staged list. */
  stage(settings: Readonly<Record<string, BiosValue>>): readonly StageError[];
  clearStaged(): void;
}

export const RESET_TYPES = [
  "On",
  "ForceOff",
  "GracefulShutdown",
  "GracefulRestart",
  "ForceRestart",
  "PowerCycle",
] as const;
export type ResetType = (typeof RESET_TYPES)[number];

/** Power of the node; startTwin gives it to the BMC. */
export interface NodePower {
  readonly state: "On" | "Off";
  /** Returns at once; staged BIOS settings apply, the node drops every connection and boots again. */
  reset(type: ResetType): void;
  /** How often the node was reset, by whom and how; for tests. */
  readonly resets: readonly { readonly by: "bmc" | "os"; readonly type: ResetType }[];
}

/** What the settings in force mean to the kernel, whatever the vendor calls them. */
export interface BiosEffect {
  readonly smee: boolean;
  readonly snp: boolean;
  /** Memory that the RMP table covers: all, a part, or none (not reserved). */
  readonly rmp: "full" | "partial" | "none";
  readonly iommu: boolean;
  /** Hardware virtualisation: SVM or VT-x. */
  readonly virtualisation: boolean;
  /** First ASID of a plain SEV guest; ASIDs 1 … this-1 are for SEV-ES and SNP. */
  readonly minSevAsid: number;
  readonly maxSevAsid: number;
  /** TDX private keys `[first, end)`; undefined when the BIOS grants none. */
  readonly privateKeys: readonly [first: number, end: number] | undefined;
  /** The SEAM loader brings the TDX module. */
  readonly seamLoader: boolean;
  readonly sgx: boolean;
}

/** Memory encryption keys of the processor; the first is the platform's own. */
const KEYS = 64;

function effectOf(board: Board, get: (name: string) => BiosValue | undefined): BiosEffect {
  const is = ([name, ...values]: readonly [string, ...string[]]) => values.some((value) => value === get(name));
  const on = (name: Switch) => board.on[name]?.every(is) ?? false;
  const { coverage, asids, keySplit } = board;
  const covered = coverage === undefined ? undefined : get(coverage[0]);
  const limit = asids !== undefined && (asids.manual === undefined || is(asids.manual)) ? get(asids.limit) : undefined;
  const split = keySplit === undefined ? undefined : get(keySplit);
  const bits = typeof split === "number" && on("privateKeys") ? split : 0;
  return {
    smee: on("smee"),
    snp: on("snp"),
    rmp:
      coverage === undefined ? "none" : covered === coverage[1] ? "full" : covered === coverage[2] ? "partial" : "none",
    iommu: on("iommu"),
    virtualisation: on("virtualisation"),
    minSevAsid: typeof limit === "number" ? Math.max(1, limit) : 1,
    maxSevAsid: asids?.few !== undefined && is(asids.few) ? 253 : 509,
    privateKeys: bits > 0 ? [KEYS >> bits, KEYS] : undefined,
    seamLoader: on("seamLoader"),
    sgx: on("sgx"),
  };
}

export type Tee = "sev-snp" | "tdx";

/** The BIOS of a fresh machine: SNP and TDX off. Throws for a vendor of whom no board with this TEE is known. */
export class Bios implements BiosState {
  readonly vendor: BiosVendor;
  readonly manufacturer: string;
  readonly model: string;
  readonly biosVersion: string;
  readonly hasRegistry: boolean;
  readonly attributes: readonly BiosAttribute[];
  current: Record<string, BiosValue>;
  staged: Record<string, BiosValue> = {};
  readonly #table: Board;

  constructor(vendor: BiosVendor, tee: Tee = "sev-snp") {
    const table = BOARDS[tee][vendor];
    if (table === undefined)
      throw new Error(`no ${tee} board of ${vendor}; there are: ${Object.keys(BOARDS[tee]).join(", ")}`);
    this.#table = table;
    this.vendor = vendor;
    this.manufacturer = table.manufacturer;
    this.model = table.model;
    this.biosVersion = table.biosVersion;
    this.hasRegistry = table.hasRegistry;
    this.attributes = table.attributes;
    this.current = Object.fromEntries(table.attributes.map((a) => [a.name, a.defaultValue]));
  }

  #find(name: string): BiosAttribute | undefined {
    return this.attributes.find((a) => a.name === name);
  }

  locked(name: string): boolean {
    const attribute = this.#find(name);
    if (attribute === undefined || attribute.readOnly) return true;
    return !attribute.requires.every(({ attribute: other, value }) => {
      const now = this.current[other];
      return typeof value === "number" ? typeof now === "number" && now >= value : now === value;
    });
  }

  stage(settings: Readonly<Record<string, BiosValue>>): readonly StageError[] {
    const errors = Object.entries(settings).flatMap(([name, value]) => this.#check(name, value));
    if (errors.length > 0) return errors;
    for (const [name, value] of Object.entries(settings)) {
      if (this.current[name] === value) delete this.staged[name];
      else this.staged[name] = value;
    }
    return [];
  }

  #check(name: string, value: BiosValue): StageError[] {
    const attribute = this.#find(name);
    if (attribute === undefined)
      return [
        {
          attribute: name,
          kind: "unknown",
          message: `The property ${name} is not in the list of valid properties for the resource.`,
        },
      ];
    if (this.current[name] === value) return [];
    if (this.locked(name))
      return [
        {
          attribute: name,
          kind: "read-only",
          message: `The property ${name} is a read only property and cannot be assigned a value.`,
        },
      ];
    const fits =
      attribute.type === "Enumeration"
        ? attribute.values.some((v) => v.displayName === value)
        : attribute.type === "Integer"
          ? typeof value === "number" &&
            value >= (attribute.lowerBound ?? 0) &&
            value <= (attribute.upperBound ?? Number.MAX_SAFE_INTEGER)
          : typeof value === attribute.type.toLowerCase();
    return fits
      ? []
      : [
          {
            attribute: name,
            kind: "value",
            message: `The value ${JSON.stringify(value)} for the property ${name} is not in the list of acceptable values.`,
          },
        ];
  }

  clearStaged(): void {
    this.staged = {};
  }

  /** What a reset does: staged values come into force. */
  apply(): void {
    this.current = { ...this.current, ...this.staged };
    this.staged = {};
  }

  /** A person at the console, or a scenario: sets values in force, past all checks. Throws on an unknown name. */
  force(settings: Readonly<Record<string, BiosValue>>): void {
    for (const name of Object.keys(settings))
      if (this.#find(name) === undefined) throw new Error(`${this.vendor} has no BIOS attribute ${name}`);
    this.current = { ...this.current, ...settings };
  }

  get effect(): BiosEffect {
    return effectOf(this.#table, (name) => this.current[name]);
  }
}
