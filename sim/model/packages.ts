import type { FileNode } from "./files.ts";
import { program } from "./files.ts";
import { updateGrub } from "./grub.ts";
import { installedKernels, installKernel, makeKernel, removeKernel, updateInitramfs } from "./kernel.ts";
import type { Machine } from "./machine.ts";
import { builtModule, nvidiaFiles } from "./nvidia.ts";
import { repository } from "./repository.ts";

/** One version of a package. */
export interface Package {
  readonly name: string;
  readonly version: string;
  readonly depends?: readonly string[];
  readonly provides?: readonly string[];
  /** Programs it puts into /usr/bin, with what they say of themselves. */
  readonly programs?: Readonly<Record<string, string>>;
  readonly files?: Readonly<Record<string, FileNode>>;
  /** Kernel release whose image it brings. */
  readonly kernel?: string;
  /** NVIDIA kernel module source that DKMS builds for each kernel with headers. */
  readonly driver?: { readonly version: string; readonly open: boolean };
  /** Only where a sources.list.d file names this host. */
  readonly from?: string;
  readonly size?: number;
  /** Units that its post-installation script enables and starts. */
  readonly enables?: readonly string[];
  readonly architecture?: string;
  /** A hand-made package brings its kernel config along. */
  readonly config?: string;
}

export interface Installed {
  readonly pkg: Package;
  hold: boolean;
  manual: boolean;
}

/** The package database of one machine and the archive it can reach. */
export class Packages {
  readonly #machine: Machine;
  readonly installed = new Map<string, Installed>();
  /** Packages that are known by name alone, and whether they are on hold all the same. */
  readonly heard = new Map<string, { hold: boolean }>();
  /** Archive hosts whose lists `apt-get update` has fetched. */
  readonly fetched = new Set<string>();
  /** More package versions, newest last, for scenarios. */
  readonly extra: Package[] = [];
  /** A lock that another process holds: its file, and the process as apt names it, `pid (program)`. */
  lock: { readonly path: string; readonly by: string } | undefined;

  constructor(machine: Machine) {
    this.#machine = machine;
  }

  /** Which Ubuntu this is, or which platform of the Red Hat family, e.g. `al8`. */
  get codename(): string {
    const text = this.#machine.files.readIf("/etc/os-release") ?? "";
    return /^VERSION_CODENAME=(\S+)$/m.exec(text)?.[1] ?? /^PLATFORM_ID="platform:(\w+)"$/m.exec(text)?.[1] ?? "noble";
  }

  get #archive(): ReadonlyMap<string, readonly Package[]> {
    return repository(this.#machine.kind, this.codename);
  }

  /** Versions that apt could install, oldest first. */
  available(name: string): Package[] {
    const sources = this.sources();
    const reachable = (p: Package) => p.from === undefined || (sources.includes(p.from) && this.fetched.has(p.from));
    return [...(this.#archive.get(name) ?? []), ...this.extra.filter((p) => p.name === name)]
      .filter(reachable)
      .sort((a, b) => compareDebian(a.version, b.version));
  }

  /** Hosts of extra archives that apt or dnf is told of, and folders that are such an archive. */
  sources(): string[] {
    const { files } = this.#machine;
    const text = ["/etc/apt/sources.list.d", "/etc/yum.repos.d"]
      .flatMap((folder) => files.listIf(folder).map((name) => files.readIf(`${folder}/${name}`) ?? ""))
      .join("\n");
    const folders = [...text.matchAll(/\bfile:(\/\S+)/g)].map((m) => m[1] ?? "");
    return [
      ...[...text.matchAll(/https?:\/\/([^/\s]+)/g)].map((m) => m[1] ?? ""),
      ...folders.filter((folder) => files.isDir(folder)),
    ];
  }

  update(): string[] {
    for (const source of this.sources()) this.fetched.add(source);
    return this.sources();
  }

  /** What `apt-get install` would add for these; throws AptError. */
  resolve(wanted: readonly string[]): Package[] {
    const order: Package[] = [];
    const seen = new Set<string>();
    const add = (spec: string, by: string | undefined) => {
      const [name = "", version] = spec.split("=");
      if (seen.has(name)) return;
      seen.add(name);
      const candidates = this.available(name);
      // apt takes the newest version that fits a pattern.
      const fits = (p: Package) =>
        version?.endsWith("*") === true ? p.version.startsWith(version.slice(0, -1)) : p.version === version;
      const chosen = version === undefined ? candidates.at(-1) : candidates.findLast(fits);
      const had = this.installed.get(name)?.pkg;
      if (chosen === undefined) {
        if (had !== undefined && (version === undefined || version === had.version)) return;
        const provider = this.#provider(name);
        if (provider !== undefined) {
          add(provider, by);
          return;
        }
        if (version !== undefined) throw new AptError(`E: Version '${version}' for '${name}' was not found`);
        if (by !== undefined)
          throw new AptError(
            `The following packages have unmet dependencies:\n ${by} : Depends: ${name} but it is not installable\nE: Unable to correct problems, you have held broken packages.`,
          );
        throw new AptError(`E: Unable to locate package ${name}`);
      }
      // A dependency that is installed in any version is met.
      if (by !== undefined && had !== undefined) return;
      for (const dependency of chosen.depends ?? []) add(dependency, name);
      if (had?.version !== chosen.version) order.push(chosen);
    };
    for (const spec of wanted) add(spec, undefined);
    return order;
  }

  #provider(name: string): string | undefined {
    for (const [candidate, versions] of this.#archive)
      if (versions.some((p) => p.provides?.includes(name))) return candidate;
    return undefined;
  }

  /** Unpacks and configures; runs the hooks of kernels, DKMS, initramfs and GRUB. */
  install(pkg: Package, manual = true): void {
    const machine = this.#machine;
    const { files } = machine;
    const before = this.installed.get(pkg.name);
    if (before !== undefined) this.#removeFiles(before.pkg, pkg);
    for (const [path, node] of Object.entries(pkg.files ?? {})) files.place(path, node);
    for (const [name, data] of Object.entries(pkg.programs ?? {})) files.place(`/usr/bin/${name}`, program(name, data));
    if (pkg.size !== undefined) files.write(`/usr/share/doc/${pkg.name}/copyright`, "", { size: pkg.size });
    this.installed.set(pkg.name, { pkg, hold: before?.hold ?? false, manual: manual || (before?.manual ?? false) });
    files.write(`/var/lib/dpkg/info/${pkg.name}.list`, Object.keys(pkg.files ?? {}).join("\n"));
    for (const unit of before === undefined ? (pkg.enables ?? []) : []) {
      machine.units.enable(unit);
      if (machine.running !== undefined) machine.units.start(unit);
    }
    if (pkg.driver !== undefined) {
      for (const [path, node] of nvidiaFiles(pkg.driver)) files.place(path, node);
      for (const release of installedKernels(machine)) builtModule(machine, release, pkg.driver);
    }
    if (pkg.kernel !== undefined) {
      installKernel(
        machine,
        machine.kernels.get(pkg.kernel) ??
          makeKernel(pkg.kernel, pkg.config === undefined ? {} : { config: pkg.config }),
      );
      const driver = machine.node.installedDriver(machine);
      // NVIDIA's run file hands nothing to DKMS unless it is told to: another kernel then has no driver.
      if (driver !== undefined && files.exists(`/usr/src/nvidia-${driver.version}/dkms.conf`))
        builtModule(machine, pkg.kernel, driver);
      updateInitramfs(machine, pkg.kernel);
      updateGrub(machine);
    }
  }

  #removeFiles(old: Package, next?: Package): void {
    const { files } = this.#machine;
    const keep = new Set([
      ...Object.keys(next?.files ?? {}),
      ...Object.keys(next?.programs ?? {}).map((n) => `/usr/bin/${n}`),
    ]);
    for (const path of Object.keys(old.files ?? {})) if (!keep.has(path)) files.remove(path);
    for (const name of Object.keys(old.programs ?? {}))
      if (!keep.has(`/usr/bin/${name}`)) files.remove(`/usr/bin/${name}`);
  }

  remove(name: string): void {
    const machine = this.#machine;
    const had = this.installed.get(name);
    if (had === undefined) return;
    // A package stops its services before it goes.
    const units = Object.keys(had.pkg.files ?? {}).flatMap((path) => /\/systemd\/system\/(.+)$/.exec(path)?.[1] ?? []);
    for (const unit of units) {
      if (machine.running !== undefined) machine.units.stop(unit);
      machine.units.disable(unit);
    }
    this.#removeFiles(had.pkg);
    machine.files.remove(`/var/lib/dpkg/info/${name}.list`);
    machine.files.remove(`/usr/share/doc/${name}`);
    this.installed.delete(name);
    if (had.pkg.driver !== undefined) {
      for (const [path] of nvidiaFiles(had.pkg.driver)) machine.files.remove(path);
      for (const release of installedKernels(machine))
        machine.files.remove(`/lib/modules/${release}/updates/dkms/nvidia.ko`);
    }
    if (had.pkg.kernel !== undefined) {
      removeKernel(machine, had.pkg.kernel);
      updateGrub(machine);
    }
  }

  /** What nobody wants to be without a newer version: `apt-get upgrade` leaves held packages alone. */
  upgradable(): Package[] {
    return [...this.installed.values()].flatMap(({ pkg, hold }) => {
      const newest = this.available(pkg.name).at(-1);
      return !hold && newest !== undefined && compareDebian(newest.version, pkg.version) > 0 ? [newest] : [];
    });
  }
}

export class AptError extends Error {}

/** Order of Debian versions: epoch, upstream, revision. */
export function compareDebian(a: string, b: string): number {
  const parse = (v: string): [number, string, string] => {
    const epoch = /^(\d+):/.exec(v);
    const rest = epoch === null ? v : v.slice(epoch[0].length);
    const at = rest.lastIndexOf("-");
    return [Number(epoch?.[1] ?? 0), at < 0 ? rest : rest.slice(0, at), at < 0 ? "" : rest.slice(at + 1)];
  };
  const [x, y] = [parse(a), parse(b)];
  return x[0] - y[0] || compareDebianPart(x[1], y[1]) || compareDebianPart(x[2], y[2]);
}

function compareDebianPart(a: string, b: string): number {
  const rank = (c: string | undefined) =>
    c === undefined || /\d/.test(c) ? 0 : c === "~" ? -1 : /[A-Za-z]/.test(c) ? c.charCodeAt(0) : c.charCodeAt(0) + 256;
  let [i, j] = [0, 0];
  while (i < a.length || j < b.length) {
    while ((i < a.length && !/\d/.test(a[i] ?? "")) || (j < b.length && !/\d/.test(b[j] ?? ""))) {
      const d = rank(a[i]) - rank(b[j]);
      if (d !== 0) return d;
      i++;
      j++;
    }
    const [m, n] = [/^\d*/.exec(a.slice(i))?.[0] ?? "", /^\d*/.exec(b.slice(j))?.[0] ?? ""];
    const d = Number(m || 0) - Number(n || 0);
    if (d !== 0) return d;
    i += m.length;
    j += n.length;
  }
  return 0;
}
