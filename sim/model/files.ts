import { createHash } from "node:crypto";

/** A file. `content` is text; what stands for a big binary declares its size and checksum. */
export interface PlainFile {
  readonly kind: "file";
  readonly content: string;
  readonly mode: string;
  readonly owner: string;
  readonly mtime: number;
  /** Bytes, when the content is only a stand-in. */
  readonly size?: number;
  readonly sha256?: string;
  readonly md5?: string;
  /** Program that runs when this file is executed; its data stands in `content`. */
  readonly program?: string;
}

export interface DeviceNode {
  readonly kind: "device";
  readonly mode: string;
  readonly owner: string;
}

/** One thing in the file system. */
export type FileNode =
  | PlainFile
  | { readonly kind: "dir"; readonly mode: string; readonly owner: string; readonly mtime: number }
  | { readonly kind: "link"; readonly target: string }
  | DeviceNode;

export class FsError extends Error {
  readonly code: keyof typeof FS_TEXT;
  readonly path: string;

  constructor(code: FsError["code"], path: string) {
    super(FS_TEXT[code]);
    this.code = code;
    this.path = path;
  }
}

const FS_TEXT = {
  ENOENT: "No such file or directory",
  ENOTDIR: "Not a directory",
  EISDIR: "Is a directory",
  ENOSPC: "No space left on device",
  EEXIST: "File exists",
  ENOTEMPTY: "Directory not empty",
  ELOOP: "Too many levels of symbolic links",
  EROFS: "Permission denied",
  EACCES: "Permission denied",
  /** A mount that became read-only; EROFS is what /proc and /sys say of a new file. */
  MOUNT: "Read-only file system",
} as const;

/** Files that many machines share; a machine's own changes lie over them. */
export type BaseFiles = ReadonlyMap<string, FileNode>;

/** What the kernel shows under /proc, /sys and /dev: made from the model whenever it is looked at. */
export interface Generated {
  /** Top folders that are generated, e.g. `/sys`. */
  readonly roots: readonly string[];
  nodes(): ReadonlyMap<string, FileNode>;
  /** Somebody writes to a generated file; throws FsError or SysfsError. */
  write(path: string, text: string): void;
  /** Somebody makes or removes a folder that stands for something in the kernel; false where none can. */
  mkdir?(path: string): boolean;
  rmdir?(path: string): boolean;
}

/** A write to a sysfs file that the kernel refuses, e.g. `Invalid argument`. */
export class SysfsError extends Error {}

export const sha256 = (text: string): string => createHash("sha256").update(text).digest("hex");

export function nodeSize(node: FileNode): number {
  if (node.kind !== "file") return 4096;
  return node.size ?? Buffer.byteLength(node.content);
}

export function nodeSha256(node: FileNode): string {
  if (node.kind !== "file") throw new Error("not a file");
  return node.sha256 ?? sha256(node.content);
}

export function nodeMd5(node: FileNode): string {
  if (node.kind !== "file") throw new Error("not a file");
  return node.md5 ?? createHash("md5").update(node.content).digest("hex");
}

export const parentOf = (path: string): string => path.slice(0, Math.max(1, path.lastIndexOf("/"))) || "/";
export const baseName = (path: string): string => path.slice(path.lastIndexOf("/") + 1);

/** Absolute path without `.`, `..` and double slashes. */
export function normalise(path: string, cwd = "/"): string {
  const out: string[] = [];
  for (const part of (path.startsWith("/") ? path : `${cwd}/${path}`).split("/")) {
    if (part === "" || part === ".") continue;
    if (part === "..") out.pop();
    else out.push(part);
  }
  return `/${out.join("/")}`;
}

type View = () => ReadonlyMap<string, FileNode> | undefined;

/** A file system with links, modes, owners and a limited size. */
export class Files {
  /** Bytes of the root file system. */
  capacity: number;
  /** Bytes that the installed system takes besides the files modelled here. */
  used: number;
  /** Folders whose file system is mounted read-only. */
  readonly readOnly = new Set<string>();
  readonly #base: BaseFiles;
  readonly #own = new Map<string, FileNode | undefined>();
  readonly #children = new Map<string, Set<string>>();
  readonly #now: () => number;
  #generated: Generated | undefined;
  /** Counts changes, so that a test can prove that nothing was written. */
  changes = 0;
  /** A user other than root is at work: modes count. */
  plain = false;

  constructor(base: BaseFiles, now: () => number, capacity = 900 * 1024 ** 3, used = 20 * 1024 ** 3) {
    this.#base = base;
    this.#now = now;
    this.capacity = capacity;
    this.used = used;
  }

  mountGenerated(generated: Generated): void {
    this.#generated = generated;
  }

  #isGenerated(path: string): boolean {
    return this.#generated?.roots.some((root) => path === root || path.startsWith(`${root}/`)) ?? false;
  }

  /** The generated tree for the length of one look: a path of six parts would make it six times. */
  #look(): View {
    let nodes: ReturnType<View>;
    return () => {
      nodes ??= this.#generated?.nodes();
      return nodes;
    };
  }

  /** The node at exactly `path`, links not followed. */
  #at(path: string, view = this.#look()): FileNode | undefined {
    if (path === "/") return { kind: "dir", mode: "0755", owner: "root:root", mtime: 0 };
    if (this.#isGenerated(path)) {
      const node = view()?.get(path);
      // What the machine itself put under /dev/shm or /run-like places lies over the generated tree.
      if (node !== undefined) return node;
    }
    return this.#own.has(path) ? this.#own.get(path) : this.#base.get(path);
  }

  /** Real path with every link followed; the last part may be missing. Undefined when a folder on the way is missing. */
  real(path: string, followLast = true): string | undefined {
    return this.#real(path, followLast, this.#look());
  }

  #real(path: string, followLast: boolean, view: View, depth = 0): string | undefined {
    if (depth > 40) return undefined;
    const parts = normalise(path)
      .split("/")
      .filter((p) => p !== "");
    let at = "";
    for (let i = 0; i < parts.length; i++) {
      const next = `${at}/${parts[i]}`;
      const node = this.#at(next, view);
      const last = i === parts.length - 1;
      if (node?.kind === "link" && (!last || followLast)) {
        const target = normalise(node.target, at === "" ? "/" : at);
        return this.#real([target, ...parts.slice(i + 1)].join("/"), followLast, view, depth + 1);
      }
      if (node === undefined && !last) return undefined;
      at = next;
    }
    return at === "" ? "/" : at;
  }

  stat(path: string): FileNode | undefined {
    const view = this.#look();
    const real = this.#real(path, true, view);
    return real === undefined ? undefined : this.#at(real, view);
  }

  lstat(path: string): FileNode | undefined {
    const view = this.#look();
    const real = this.#real(path, false, view);
    return real === undefined ? undefined : this.#at(real, view);
  }

  exists(path: string): boolean {
    return this.stat(path) !== undefined;
  }

  isDir(path: string): boolean {
    return this.stat(path)?.kind === "dir";
  }

  /** Whether the user at work may enter every folder above `path`. */
  mayReach(path: string): boolean {
    // Root may enter any.
    if (!this.plain) return true;
    const view = this.#look();
    const real = this.#real(path, true, view) ?? normalise(path);
    for (let at = parentOf(real); ; at = parentOf(at)) {
      const folder = this.#at(at, view);
      if (folder?.kind === "dir" && !this.#may(folder, 1)) return false;
      if (at === "/") return true;
    }
  }

  mayRead(path: string): boolean {
    return this.mayReach(path) && this.#may(this.stat(path), 4);
  }

  #may(node: FileNode | undefined, bit: 1 | 2 | 4): boolean {
    if (!this.plain || node === undefined || node.kind === "link" || /^ops\b/.test(node.owner)) return true;
    return (Number.parseInt(node.mode, 8) & bit) !== 0;
  }

  /** Text of a file; throws FsError. */
  read(path: string): string {
    if (!this.mayReach(path)) throw new FsError("EACCES", path);
    const node = this.stat(path);
    if (!this.#may(node, 4)) throw new FsError("EACCES", path);
    if (node === undefined) throw new FsError("ENOENT", path);
    if (node.kind === "dir") throw new FsError("EISDIR", path);
    return node.kind === "file" ? node.content : "";
  }

  readIf(path: string): string | undefined {
    const node = this.stat(path);
    return node?.kind === "file" ? node.content : undefined;
  }

  /** Names in a folder, sorted; throws FsError. */
  list(path: string): string[] {
    const view = this.#look();
    const real = this.#real(path, true, view);
    const node = real === undefined ? undefined : this.#at(real, view);
    if (real === undefined || node === undefined) throw new FsError("ENOENT", path);
    if (node.kind !== "dir") throw new FsError("ENOTDIR", path);
    if (!this.#may(node, 4)) throw new FsError("EACCES", path);
    const prefix = real === "/" ? "/" : `${real}/`;
    const names = new Set<string>();
    const collect = (keys: Iterable<string>) => {
      for (const key of keys) {
        if (key.startsWith(prefix) && key !== real) {
          const rest = key.slice(prefix.length);
          if (!rest.includes("/")) names.add(rest);
        }
      }
    };
    if (this.#isGenerated(real)) collect(view()?.keys() ?? []);
    for (const name of childIndex(this.#base).get(real) ?? []) names.add(name);
    for (const name of this.#children.get(real) ?? []) names.add(name);
    for (const name of [...names]) if (this.#at(prefix + name, view) === undefined) names.delete(name);
    return [...names].sort();
  }

  listIf(path: string): string[] {
    return this.isDir(path) ? this.list(path) : [];
  }

  /** Every path below `path`, itself included, depth first. */
  walk(path: string): string[] {
    const node = this.lstat(path);
    if (node === undefined) return [];
    if (node.kind !== "dir") return [path];
    return [path, ...this.list(path).flatMap((name) => this.walk(path === "/" ? `/${name}` : `${path}/${name}`))];
  }

  #set(path: string, node: FileNode | undefined): void {
    if (this.plain && !/^\/(tmp|home\/ops|dev\/shm)\//.test(path)) throw new FsError("EACCES", path);
    if ([...this.readOnly].some((mount) => path === mount || path.startsWith(`${mount}/`)))
      throw new FsError("MOUNT", path);
    const before = this.#at(path);
    const delta = (node === undefined ? 0 : nodeSize(node)) - (before === undefined ? 0 : nodeSize(before));
    // Those are in memory, whatever the disk has left.
    if (!/^\/(run|dev)(\/|$)/.test(path)) {
      if (delta > 0 && this.used + delta > this.capacity) throw new FsError("ENOSPC", path);
      this.used += delta;
    }
    this.#own.set(path, node);
    const parent = parentOf(path);
    const set = this.#children.get(parent) ?? new Set();
    set.add(baseName(path));
    this.#children.set(parent, set);
    this.changes++;
  }

  get free(): number {
    return Math.max(0, this.capacity - this.used);
  }

  mkdir(path: string, mode = "0755", owner = "root:root"): void {
    const target = this.#target(path);
    const node = this.#at(target);
    if (node?.kind === "dir") return;
    if (node !== undefined) throw new FsError(node.kind === "link" ? "EEXIST" : "ENOTDIR", path);
    if (this.#isGenerated(target) && this.#generated?.mkdir?.(target) === true) {
      this.changes++;
      return;
    }
    this.#set(target, { kind: "dir", mode, owner, mtime: this.#now() });
  }

  /** Real path to write at; missing folders on the way are made. The last part is followed when it is a link. */
  #target(path: string, followLast = true): string {
    const real = this.real(path, followLast);
    const parent = real === undefined ? parentOf(normalise(path)) : parentOf(real);
    if (real !== undefined && this.#at(parent)?.kind === "dir") return real;
    const node = this.stat(parent);
    if (node === undefined) this.mkdir(parent);
    else if (node.kind !== "dir") throw new FsError("ENOTDIR", path);
    return this.real(path, followLast) ?? normalise(path);
  }

  write(
    path: string,
    content: string,
    options: { mode?: string; owner?: string; size?: number; sha256?: string; program?: string } = {},
  ): void {
    const there = this.real(path);
    if (there !== undefined && this.#isGenerated(there) && this.#generated?.nodes().has(there)) {
      this.#generated.write(there, content);
      this.changes++;
      return;
    }
    if (/^\/(proc|sys)\//.test(there ?? normalise(path))) throw new FsError("EROFS", path);
    const target = this.#target(path);
    const before = this.#at(target);
    if (before?.kind === "dir") throw new FsError("EISDIR", path);
    const old = before?.kind === "file" ? before : undefined;
    this.#set(target, {
      kind: "file",
      content,
      mode: options.mode ?? old?.mode ?? "0644",
      owner: options.owner ?? old?.owner ?? "root:root",
      mtime: this.#now(),
      ...(options.size === undefined ? {} : { size: options.size }),
      ...(options.sha256 === undefined ? {} : { sha256: options.sha256 }),
      ...(options.program === undefined ? {} : { program: options.program }),
    });
  }

  /** Puts a node as it is, e.g. a copy. */
  place(path: string, node: FileNode): void {
    const real = this.#target(path, false);
    this.#set(real, node.kind === "file" || node.kind === "dir" ? { ...node, mtime: this.#now() } : node);
  }

  link(target: string, path: string): void {
    this.place(path, { kind: "link", target });
  }

  chmod(path: string, mode: string): void {
    this.#change(path, (node) => (node.kind === "link" ? node : { ...node, mode }));
  }

  chown(path: string, owner: string): void {
    this.#change(path, (node) => (node.kind === "link" ? node : { ...node, owner }));
  }

  #change(path: string, f: (node: FileNode) => FileNode): void {
    const real = this.real(path);
    const node = real === undefined ? undefined : this.#at(real);
    if (real === undefined || node === undefined) throw new FsError("ENOENT", path);
    if (real !== "/") this.#set(real, f(node));
  }

  /** Removes a file, link or whole folder. Nothing happens when it is not there. */
  remove(path: string): void {
    const real = this.real(path, false);
    if (real === undefined || this.#at(real) === undefined) return;
    if (this.#isGenerated(real) && this.#generated?.rmdir?.(real) === true) {
      this.changes++;
      return;
    }
    if (/^\/(proc|sys)(\/|$)/.test(real)) throw new FsError("EROFS", path);
    for (const each of this.walk(real).reverse()) this.#set(each, undefined);
  }

  rename(from: string, to: string): void {
    const source = this.real(from, false);
    if (source === undefined || this.#at(source) === undefined) throw new FsError("ENOENT", from);
    const target =
      this.isDir(to) && this.lstat(from)?.kind !== "dir" ? `${normalise(to)}/${baseName(source)}` : normalise(to);
    for (const each of this.walk(source)) {
      const node = this.#at(each);
      if (node !== undefined) this.place(target + each.slice(source.length), node);
    }
    this.remove(source);
  }
}

const indexes = new WeakMap<BaseFiles, Map<string, string[]>>();

function childIndex(base: BaseFiles): Map<string, string[]> {
  const had = indexes.get(base);
  if (had !== undefined) return had;
  const index = new Map<string, string[]>();
  for (const path of base.keys()) {
    const parent = parentOf(path);
    index.set(parent, [...(index.get(parent) ?? []), baseName(path)]);
  }
  indexes.set(base, index);
  return index;
}

/** Makes base files from a list; folders on the way are added. */
export function baseFiles(entries: Iterable<readonly [string, FileNode]>): BaseFiles {
  const map = new Map<string, FileNode>();
  const addDir = (path: string) => {
    if (path === "/" || map.has(path)) return;
    addDir(parentOf(path));
    map.set(path, { kind: "dir", mode: "0755", owner: "root:root", mtime: 0 });
  };
  for (const [path, node] of entries) {
    addDir(parentOf(path));
    map.set(path, node);
  }
  return map;
}

export const file = (content: string, mode = "0644"): PlainFile => ({
  kind: "file",
  content,
  mode,
  owner: "root:root",
  mtime: 0,
});
export const dir = (mode = "0755"): FileNode => ({ kind: "dir", mode, owner: "root:root", mtime: 0 });
export const link = (target: string): FileNode => ({ kind: "link", target });
export const program = (name: string, content = ""): PlainFile => ({
  kind: "file",
  content,
  mode: "0755",
  owner: "root:root",
  mtime: 0,
  program: name,
});
