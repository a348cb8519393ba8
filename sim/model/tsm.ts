import { dir, type FileNode, FsError, file, SysfsError } from "./files.ts";
import type { Machine } from "./machine.ts";

/** How a guest was started, as far as its firmware measures it. */
export interface GuestLaunch {
  /** Text of the firmware's file on the host. */
  readonly firmware: string;
  readonly cpus: number;
  readonly cpuModel: string;
  /** SEV-SNP guest policy. */
  readonly policy: string | undefined;
}

/** The processor's part of attestation: signs what a guest asks for. Who makes a twin with evidence gives it one. */
export interface TeeSigner {
  /** Driver of configfs-tsm that the guest shows, e.g. `sev_guest`. */
  readonly provider: string;
  report(reportData: Buffer, launch: GuestLaunch | undefined): { readonly outblob: Buffer; readonly auxblob: Buffer };
}

const ROOT = "/sys/kernel/config/tsm/report";

/**
 * configfs-tsm of a guest (Linux Documentation/ABI/testing/configfs-tsm): one folder per question. Bytes stand in files as
 * latin1 text.
 */
export class TsmReports {
  readonly #machine: Machine;
  readonly #entries = new Map<string, { out?: string; aux?: string; generation: number }>();

  constructor(machine: Machine) {
    this.#machine = machine;
  }

  get #there(): boolean {
    const modules = this.#machine.running?.modules;
    return modules?.has("tsm") === true && (modules.has("sev_guest") || modules.has("tdx_guest"));
  }

  put(put: (path: string, node: FileNode) => void): void {
    if (!this.#there) return;
    put(ROOT, dir());
    for (const [name, { out, aux, generation }] of this.#entries) {
      put(`${ROOT}/${name}`, dir());
      put(`${ROOT}/${name}/inblob`, file("", "0200"));
      put(`${ROOT}/${name}/outblob`, file(out ?? "", "0400"));
      put(`${ROOT}/${name}/auxblob`, file(aux ?? "", "0400"));
      put(`${ROOT}/${name}/provider`, file(`${this.#machine.node.tee?.provider ?? "none"}\n`, "0444"));
      put(`${ROOT}/${name}/generation`, file(`${generation}\n`, "0444"));
    }
  }

  /** False for a path that is none of its own. */
  mkdir(path: string): boolean {
    const name = nameOf(path);
    if (name === undefined) return false;
    if (!this.#there) throw new FsError("ENOENT", path);
    this.#entries.set(name, { generation: 0 });
    return true;
  }

  rmdir(path: string): boolean {
    const name = nameOf(path);
    return name !== undefined && this.#entries.delete(name);
  }

  write(path: string, text: string): boolean {
    const [, name = "", attribute] = /^\/sys\/kernel\/config\/tsm\/report\/([^/]+)\/([^/]+)$/.exec(path) ?? [];
    const entry = this.#entries.get(name);
    if (entry === undefined || attribute !== "inblob") return false;
    const data = Buffer.from(text, "latin1");
    if (data.length === 0 || data.length > 64) throw new SysfsError("Invalid argument");
    const { node } = this.#machine;
    if (node.tee === undefined) throw new SysfsError("No such device or address");
    const launch = node.guest?.machine === this.#machine ? node.guest.launch : undefined;
    const { outblob, auxblob } = node.tee.report(data, launch);
    this.#entries.set(name, {
      out: outblob.toString("latin1"),
      aux: auxblob.toString("latin1"),
      generation: entry.generation + 1,
    });
    return true;
  }

  /** How many entries somebody left behind. */
  get left(): number {
    return this.#entries.size;
  }
}

const nameOf = (path: string): string | undefined =>
  path.startsWith(`${ROOT}/`) && !path.slice(ROOT.length + 1).includes("/") ? path.slice(ROOT.length + 1) : undefined;
