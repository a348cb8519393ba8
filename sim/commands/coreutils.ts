import type { FileNode } from "../model/files.ts";
import { baseName, FsError, nodeMd5, nodeSha256, nodeSize, normalise, parentOf, SysfsError } from "../model/files.ts";
import type { Machine } from "../model/machine.ts";
import type { Command, CommandContext, Result } from "./command.ts";
import { always, fail, lines, never, ok, options, unmodelled } from "./command.ts";
import { findProgram } from "./exec.ts";

type Run = Command["run"];
const reader = (name: string, run: Run): Command => ({ names: [name], base: true, mutates: never, run });
const writer = (name: string, run: Run): Command => ({ names: [name], base: true, mutates: always, run });

/** Does something for each path; what fails is said and the rest goes on, as GNU tools do. */
function forEach(
  name: string,
  paths: readonly string[],
  verb: string,
  f: (path: string) => string | undefined,
): Result {
  let [status, stdout, stderr] = [0, "", ""];
  for (const path of paths) {
    try {
      stdout += f(path) ?? "";
    } catch (error) {
      if (!(error instanceof FsError)) throw error;
      if (error.code === "ENOSPC") return fail(1, `${name}: error writing '${path}': ${error.message}`, stdout);
      status = 1;
      stderr += `${name}: ${verb}${path}${verb.endsWith("'") ? "'" : ""}: ${error.message}\n`;
    }
  }
  return { status, stdout, stderr };
}

/** A path and the folders above it, the highest first. */
const ancestors = (path: string): string[] => (path === "/" ? [] : [...ancestors(parentOf(path)), path]);

const at = (context: CommandContext, path: string): string => normalise(path, context.cwd);

const cat = reader("cat", (machine, argv, context) => {
  const { rest } = options(argv, { flags: ["-A", "-n", "-v"] });
  return rest.length === 0
    ? ok(context.stdin)
    : forEach("cat", rest, "", (p) => (p === "-" ? context.stdin : machine.files.read(at(context, p))));
});

const head = (name: "head" | "tail"): Command =>
  reader(name, (machine, argv, context) => {
    const short = argv.map((w) => (/^-\d+$/.test(w) ? `-n${w.slice(1)}` : w));
    const o = options(short, { valued: ["-n|--lines", "-c|--bytes"], flags: ["-q"] });
    const cut = (text: string): string => {
      const bytes = o.get("-c");
      if (bytes !== undefined) return name === "head" ? text.slice(0, Number(bytes)) : text.slice(-Number(bytes));
      const n = Number(o.get("-n") ?? 10);
      const list = text.replace(/\n$/, "").split("\n");
      if (text === "") return "";
      return lines(
        name === "head"
          ? n < 0
            ? list.slice(0, n)
            : list.slice(0, n)
          : list.slice(Math.max(0, list.length - Math.abs(n))),
      );
    };
    return o.rest.length === 0
      ? ok(cut(context.stdin))
      : forEach(name, o.rest, "cannot open '", (p) => cut(machine.files.read(at(context, p))));
  });

const wc = reader("wc", (machine, argv, context) => {
  const o = options(argv, { flags: ["-l", "-c", "-w"] });
  const count = (text: string) =>
    o.has("-c")
      ? Buffer.byteLength(text)
      : o.has("-w")
        ? text.split(/\s+/).filter(Boolean).length
        : text.split("\n").length - 1;
  return o.rest.length === 0
    ? ok(`${count(context.stdin)}\n`)
    : forEach("wc", o.rest, "", (p) => `${count(machine.files.read(at(context, p)))} ${p}\n`);
});

const ls = reader("ls", (machine, argv, context) => {
  const o = options(argv, { flags: ["-1", "-a", "-A", "-d", "-l", "-v", "-t", "-r"] });
  const paths = o.rest.length === 0 ? ["."] : o.rest;
  const row = (path: string, name: string): string => {
    if (!o.has("-l")) return `${name}\n`;
    const node = machine.files.lstat(path);
    const kind = node?.kind === "dir" ? "d" : node?.kind === "link" ? "l" : node?.kind === "device" ? "c" : "-";
    const owner = node === undefined || node.kind === "link" ? "root root" : node.owner.replace(":", " ");
    return `${kind}rw-r--r-- 1 ${owner} ${node === undefined ? 0 : nodeSize(node)} Oct  5 08:00 ${name}${node?.kind === "link" ? ` -> ${node.target}` : ""}\n`;
  };
  return {
    ...forEach("ls", paths, "cannot access '", (p) => {
      const path = at(context, p);
      const node = machine.files.stat(path);
      if (node === undefined) throw new FsError("ENOENT", p);
      if (o.has("-d") || node.kind !== "dir") return row(path, p);
      const shown = machine.files.list(path).filter((n) => o.has("-a") || o.has("-A") || !n.startsWith("."));
      return shown.map((n) => row(`${path}/${n}`, n)).join("");
    }),
  };
});
const lsStatus: Command = {
  ...ls,
  run: (m, a, c) => {
    const r = ls.run(m, a, c);
    return r.status === 0
      ? r
      : {
          ...r,
          status: 2,
          stderr: r.stderr.replace(/cannot access ('.*': Permission denied)/g, "cannot open directory $1"),
        };
  },
};

const stat = reader("stat", (machine, argv, context) => {
  const o = options(argv, { valued: ["-c|--format", "--printf"], flags: ["-L|--dereference", "-f", "-t"] });
  const format = o.get("-c") ?? o.get("--printf");
  if (format === undefined) unmodelled(argv);
  return forEach("stat", o.rest, "cannot statx '", (p) => {
    const path = at(context, p);
    const node = o.has("-L") ? machine.files.stat(path) : machine.files.lstat(path);
    if (node === undefined) throw new FsError("ENOENT", p);
    const [user = "root", group = "root"] = node.kind === "link" ? [] : node.owner.split(":");
    const mode = node.kind === "link" ? "777" : node.mode.replace(/^0+(?=\d{3})/, "");
    const kinds = {
      file: nodeSize(node) === 0 ? "regular empty file" : "regular file",
      dir: "directory",
      link: "symbolic link",
      device: "character special file",
    };
    const values: Readonly<Record<string, string>> = {
      a: mode,
      s: String(nodeSize(node)),
      U: user,
      G: group,
      u: user === "root" ? "0" : "1000",
      g: group === "root" ? "0" : "1000",
      n: p,
      N: node.kind === "link" ? `'${p}' -> '${node.target}'` : `'${p}'`,
      F: kinds[node.kind],
      Y: String(Math.floor(node.kind === "file" || node.kind === "dir" ? node.mtime : 0)),
    };
    const text = (format ?? "").replace(/%([a-zA-Z])/g, (all, key: string) => values[key] ?? all);
    return o.has("--printf") ? text.replaceAll("\\n", "\n").replaceAll("\\t", "\t") : `${text}\n`;
  });
});

const test = (name: string): Command =>
  reader(name, (machine, argv, context) => {
    let words = argv.slice(1);
    if (name === "[") words = words.slice(0, -1);
    const one = (w: readonly string[]): boolean => {
      if (w[0] === "!") return !one(w.slice(1));
      const and = w.indexOf("-a");
      if (and > 0) return one(w.slice(0, and)) && one(w.slice(and + 1));
      const or = w.indexOf("-o");
      if (or > 0) return one(w.slice(0, or)) || one(w.slice(or + 1));
      if (w.length === 1) return w[0] !== "";
      if (w.length === 3) {
        const [a = "", op, b = ""] = w;
        const numbers: Readonly<Record<string, boolean>> = {
          "-eq": +a === +b,
          "-ne": +a !== +b,
          "-gt": +a > +b,
          "-ge": +a >= +b,
          "-lt": +a < +b,
          "-le": +a <= +b,
          "=": a === b,
          "!=": a !== b,
        };
        return numbers[op ?? ""] ?? false;
      }
      const [op, p = ""] = w;
      const path = at(context, p);
      const node = machine.files.stat(path);
      const checks: Readonly<Record<string, () => boolean>> = {
        "-e": () => node !== undefined,
        "-f": () => node?.kind === "file",
        "-d": () => node?.kind === "dir",
        "-c": () => node?.kind === "device",
        "-s": () => node !== undefined && nodeSize(node) > 0,
        "-r": () => node !== undefined,
        "-w": () => node !== undefined,
        "-x": () => node?.kind === "dir" || (node?.kind === "file" && (Number.parseInt(node.mode, 8) & 0o111) !== 0),
        "-L": () => machine.files.lstat(path)?.kind === "link",
        "-h": () => machine.files.lstat(path)?.kind === "link",
        "-n": () => p !== "",
        "-z": () => p === "",
      };
      const check = checks[op ?? ""];
      return check === undefined ? unmodelled(argv) : check();
    };
    return one(words) ? ok() : fail(1, "");
  });

const readlink = reader("readlink", (machine, argv, context) => {
  const o = options(argv, { flags: ["-f|--canonicalize", "-e|--canonicalize-existing", "-m", "-n", "-q|-s"] });
  let [status, stdout] = [0, ""];
  for (const p of o.rest) {
    const path = at(context, p);
    if (o.has("-f") || o.has("-e")) {
      const real = machine.files.real(path);
      if (real === undefined || (o.has("-e") && !machine.files.exists(real))) status = 1;
      else stdout += `${real}\n`;
      continue;
    }
    const node = machine.files.lstat(path);
    if (node?.kind === "link") stdout += `${node.target}\n`;
    else status = 1;
  }
  return { status, stdout, stderr: "" };
});

const realpath = reader("realpath", (machine, argv, context) => {
  const o = options(argv, { flags: ["-e", "-m", "-q", "-s"] });
  return forEach("realpath", o.rest, "", (p) => {
    const real = machine.files.real(at(context, p));
    if (real === undefined || (o.has("-e") && !machine.files.exists(real))) throw new FsError("ENOENT", p);
    return `${real}\n`;
  });
});

/** Bytes as hexadecimal numbers; of od's formats the twin knows this one. */
const od = reader("od", (machine, argv, context) => {
  const [, ...words] = argv;
  const path = words.at(-1) ?? "";
  if (words.slice(0, -1).join(" ") !== "-An -v -tx1") return unmodelled(argv);
  return forEach("od", [path], "", (p) => {
    const hex = [...machine.files.read(at(context, p))].map((c) => c.charCodeAt(0).toString(16).padStart(2, "0"));
    return hex.map((byte, i) => ` ${byte}${i % 16 === 15 || i === hex.length - 1 ? "\n" : ""}`).join("");
  });
});

const sumsOf = (name: string, digits: number, sumOf: (node: FileNode) => string): Command =>
  reader(name, (machine, argv, context) => {
    const o = options(argv, {
      flags: ["-c|--check", "--strict", "--quiet", "--status", "-b", "-z|--zero", "--ignore-missing"],
    });
    if (o.has("-c")) {
      let [status, stdout, stderr] = [0, "", ""];
      for (const list of o.rest) {
        let [good, unread] = [0, 0];
        for (const line of machine.files.read(at(context, list)).split("\n").filter(Boolean)) {
          const match = new RegExp(`^([0-9a-f]{${digits}}) [ *](.+)$`).exec(line);
          if (match?.[1] === undefined || match[2] === undefined) {
            if (o.has("--strict")) status = 1;
            continue;
          }
          good++;
          const node = machine.files.stat(at(context, match[2]));
          if (node?.kind !== "file") {
            stdout += `${match[2]}: FAILED open or read\n`;
            stderr += `${name}: ${match[2]}: No such file or directory\n`;
            unread++;
            status = 1;
          } else if (sumOf(node) !== match[1]) {
            stdout += `${match[2]}: FAILED\n`;
            stderr += `${name}: WARNING: 1 computed checksum did NOT match\n`;
            status = 1;
          } else if (!o.has("--quiet")) stdout += `${match[2]}: OK\n`;
        }
        if (good === 0) {
          stderr += `${name}: ${list}: no properly formatted checksum lines found\n`;
          status = 1;
        } else if (unread > 0) stderr += `${name}: WARNING: ${unread} listed file could not be read\n`;
      }
      return { status, stdout: o.has("--status") ? "" : stdout, stderr: o.has("--status") ? "" : stderr };
    }
    return forEach(name, o.rest, "", (p) => {
      const node = machine.files.stat(at(context, p));
      if (node === undefined) throw new FsError("ENOENT", p);
      if (node.kind !== "file") throw new FsError("EISDIR", p);
      return `${sumOf(node)}  ${p}\n`;
    });
  });

const sums = [sumsOf("sha256sum", 64, nodeSha256), sumsOf("md5sum", 32, nodeMd5)];

const mkdir = writer("mkdir", (machine, argv, context) => {
  const o = options(argv, { flags: ["-p|--parents", "-v"], valued: ["-m|--mode"] });
  let complaint = "";
  const r = forEach("mkdir", o.rest, "cannot create directory '", (p) => {
    const path = at(context, p);
    if (!o.has("-p") && machine.files.exists(path)) throw new FsError("EEXIST", p);
    if (!o.has("-p") && !machine.files.exists(normalise(`${path}/..`))) throw new FsError("ENOENT", p);
    const file = ancestors(path).find((each) => machine.files.stat(each)?.kind === "file");
    if (file !== undefined) {
      complaint = `mkdir: cannot create directory '${file}': ${file === path ? "File exists" : "Not a directory"}\n`;
      return undefined;
    }
    machine.files.mkdir(path, o.get("-m") ?? "0755");
    return undefined;
  });
  return complaint === "" ? r : { status: 1, stdout: r.stdout, stderr: r.stderr + complaint };
});

const rm = writer("rm", (machine, argv, context) => {
  const o = options(argv, { flags: ["-r|-R|--recursive", "-f|--force", "-v", "-d", "--one-file-system"] });
  return forEach("rm", o.rest, "cannot remove '", (p) => {
    const path = at(context, p);
    const node = machine.files.lstat(path);
    if (node === undefined && !o.has("-f")) throw new FsError("ENOENT", p);
    if (node?.kind === "dir" && !o.has("-r")) throw new FsError("EISDIR", p);
    machine.files.remove(path);
    return undefined;
  });
});

const rmdir = writer("rmdir", (machine, argv, context) => {
  const o = options(argv, { flags: ["-p", "--ignore-fail-on-non-empty"] });
  return forEach("rmdir", o.rest, "failed to remove '", (p) => {
    const path = at(context, p);
    // What is in a folder of configfs are attributes, which go with it.
    if (machine.files.list(path).length > 0 && !path.startsWith("/sys/kernel/config/")) {
      if (o.has("--ignore-fail-on-non-empty")) return undefined;
      throw new FsError("ENOTEMPTY", p);
    }
    machine.files.remove(path);
    return undefined;
  });
});

/** Copies one file or tree; holes and big stand-ins travel as they are. */
export function copyTree(machine: Machine, from: string, to: string): void {
  for (const each of machine.files.walk(from)) {
    const node = machine.files.lstat(each);
    if (node !== undefined) machine.files.place(to + each.slice(from.length), node);
  }
}

const cp = writer("cp", (machine, argv, context) => {
  const o = options(argv, {
    flags: ["-a", "-r|-R|--recursive", "-p", "-f|--force", "-T", "-v", "-L", "-u", "--no-target-directory", "-d", "-n"],
    valued: ["--sparse", "--reflink", "-t|--target-directory"],
  });
  const into = o.get("-t") ?? o.rest.at(-1) ?? "";
  const sources = o.get("-t") === undefined ? o.rest.slice(0, -1) : o.rest;
  const target = at(context, into);
  const inside = machine.files.isDir(target) && !o.has("-T") && !o.has("--no-target-directory");
  let complaint = "";
  const r = forEach("cp", sources, "cannot stat '", (p) => {
    const from = at(context, p);
    const node = o.has("-a") || o.has("-d") ? machine.files.lstat(from) : machine.files.stat(from);
    if (node === undefined) throw new FsError("ENOENT", p);
    const to = inside ? `${target}/${baseName(from)}` : target;
    if (node.kind === "dir" && !o.has("-r") && !o.has("-a"))
      complaint = `cp: -r not specified; omitting directory '${p}'\n`;
    else if (node.kind === "dir") copyTree(machine, from, to);
    else if (/^\/(sys|proc)\//.test(machine.files.real(to) ?? to)) complaint = intoKernel(machine, to, node);
    else machine.files.place(to, node);
    return undefined;
  });
  return complaint === "" ? r : { status: 1, stdout: r.stdout, stderr: r.stderr + complaint };
});

/** A file of the kernel's takes the bytes and may refuse them. */
function intoKernel(machine: Machine, to: string, node: FileNode): string {
  if (!machine.files.exists(to)) return `cp: cannot create regular file '${to}': No such file or directory\n`;
  try {
    machine.files.write(to, node.kind === "file" ? node.content : "");
    return "";
  } catch (error) {
    if (!(error instanceof SysfsError)) throw error;
    return `cp: error writing '${to}': ${error.message}\n`;
  }
}

const mv = writer("mv", (machine, argv, context) => {
  const o = options(argv, {
    flags: ["-f|--force", "-T|--no-target-directory", "-v", "-n"],
    valued: ["-t|--target-directory"],
  });
  const target = at(context, o.get("-t") ?? o.rest.at(-1) ?? "");
  const sources = o.get("-t") === undefined ? o.rest.slice(0, -1) : o.rest;
  return forEach("mv", sources, "cannot stat '", (p) => {
    const from = at(context, p);
    const to =
      (o.get("-t") !== undefined || machine.files.isDir(target)) && !o.has("-T")
        ? `${target}/${baseName(from)}`
        : target;
    machine.files.rename(from, to);
    return undefined;
  });
});

const install = writer("install", (machine, argv, context) => {
  const o = options(argv, {
    flags: ["-d|--directory", "-D", "-T|--no-target-directory", "-v", "-C|--compare"],
    valued: ["-m|--mode", "-o|--owner", "-g|--group", "-t|--target-directory"],
  });
  const owner = `${o.get("-o") ?? "root"}:${o.get("-g") ?? "root"}`;
  const mode = (o.get("-m") ?? "0755").padStart(4, "0");
  if (o.has("-d"))
    return forEach(
      "install",
      o.rest,
      "cannot create directory '",
      (p) => void machine.files.mkdir(at(context, p), mode, owner),
    );
  const target = at(context, o.get("-t") ?? o.rest.at(-1) ?? "");
  const sources = o.get("-t") === undefined ? o.rest.slice(0, -1) : o.rest;
  return forEach("install", sources, "cannot stat '", (p) => {
    const node = machine.files.stat(at(context, p));
    if (node?.kind !== "file") throw new FsError("ENOENT", p);
    const to =
      (o.get("-t") !== undefined || machine.files.isDir(target)) && !o.has("-T") ? `${target}/${baseName(p)}` : target;
    machine.files.place(to, { ...node, mode, owner });
    return undefined;
  });
});

const ln = writer("ln", (machine, argv, context) => {
  const o = options(argv, { flags: ["-s|--symbolic", "-f|--force", "-n|--no-dereference", "-T", "-v", "-r"] });
  const [target = "", name] = o.rest;
  const path = at(context, name ?? baseName(target));
  const to = machine.files.isDir(path) && !o.has("-n") && !o.has("-T") ? `${path}/${baseName(target)}` : path;
  if (machine.files.lstat(to) !== undefined && !o.has("-f"))
    return fail(1, `ln: failed to create symbolic link '${to}': File exists`);
  machine.files.remove(to);
  machine.files.link(target, to);
  return ok();
});

const chmod = writer("chmod", (machine, argv, context) => {
  const o = options(argv, { flags: ["-R|--recursive", "-v", "-f"] });
  const [mode = "", ...paths] = o.rest;
  return forEach("chmod", paths, "cannot access '", (p) => {
    if (!machine.files.exists(at(context, p))) throw new FsError("ENOENT", p);
    for (const each of o.has("-R") ? machine.files.walk(at(context, p)) : [at(context, p)]) {
      const node = machine.files.stat(each);
      if (node === undefined) throw new FsError("ENOENT", p);
      const old = node.kind === "link" ? 0 : Number.parseInt(node.mode, 8);
      const next = /^\d+$/.test(mode)
        ? Number.parseInt(mode, 8)
        : mode === "+x" || mode === "a+x"
          ? old | 0o111
          : mode === "u+x"
            ? old | 0o100
            : mode === "a+r"
              ? old | 0o444
              : undefined;
      if (next === undefined) unmodelled(argv);
      machine.files.chmod(each, (next ?? old).toString(8).padStart(4, "0"));
    }
    return undefined;
  });
});

/** Users that packages bring are not in the twin's passwd. */
const SYSTEM_USERS = ["root", "nobody", "daemon", "libvirt-qemu", "nvidia-persistenced", "qgsd", "pccs", "www-data"];

/** Whether `user` or `user:group` names somebody. */
export const userExists = (machine: Machine, owner: string): boolean => {
  const user = owner.split(":")[0] ?? "";
  const known = (machine.files.readIf("/etc/passwd") ?? "").split("\n").map((line) => line.split(":")[0]);
  return user === "" || /^\d+$/.test(user) || SYSTEM_USERS.includes(user) || known.includes(user);
};

const chown = writer("chown", (machine, argv, context) => {
  const o = options(argv, { flags: ["-R|--recursive", "-h"] });
  const [owner = "", ...paths] = o.rest;
  if (!userExists(machine, owner)) return fail(1, `chown: invalid user: '${owner}'`);
  return forEach("chown", paths, "cannot access '", (p) => {
    if (!machine.files.exists(at(context, p))) throw new FsError("ENOENT", p);
    for (const each of o.has("-R") ? machine.files.walk(at(context, p)) : [at(context, p)])
      machine.files.chown(each, owner.includes(":") ? owner : `${owner}:${owner}`);
    return undefined;
  });
});

const touch = writer("touch", (machine, argv, context) => {
  const o = options(argv, { flags: ["-c", "-a", "-m"], valued: ["-d", "-r", "-t"] });
  return forEach("touch", o.rest, "cannot touch '", (p) => {
    const path = at(context, p);
    if (machine.files.exists(path)) return undefined;
    if (!machine.files.isDir(parentOf(path))) throw new FsError("ENOENT", p);
    machine.files.write(path, "");
    return undefined;
  });
});

const truncate = writer("truncate", (machine, argv, context) => {
  const o = options(argv, { valued: ["-s|--size"], flags: ["-c"] });
  const wanted = o.get("-s") ?? "";
  const units: Readonly<Record<string, number>> = { K: 10, M: 20, G: 30, T: 40 };
  const size = Number.parseInt(wanted, 10) * 2 ** (units[wanted.at(-1) ?? ""] ?? 0);
  return forEach("truncate", o.rest, "cannot open '", (p) => {
    const path = at(context, p);
    machine.files.write(path, size === 0 ? "" : (machine.files.readIf(path) ?? ""), size === 0 ? {} : { size: 0 });
    return undefined;
  });
});

const df = reader("df", (machine, argv) => {
  const o = options(argv, { flags: ["-P", "-k", "-B1", "-h", "-m"], valued: ["-B|--block-size", "--output"] });
  const unit =
    o.has("-B1") || o.get("-B") === "1"
      ? 1
      : o.get("-B") === "1M" || o.has("-m")
        ? 2 ** 20
        : o.get("-B") === "1G"
          ? 2 ** 30
          : 1024;
  const { capacity, used, free } = machine.files;
  const [size, inUse, avail] = [capacity, used, free].map((n) => String(Math.floor(n / unit)));
  const columns: Readonly<Record<string, readonly [string, string]>> = {
    source: ["Filesystem", "/dev/nvme0n1p2"],
    size: [unit === 1 ? "1B-blocks" : "1K-blocks", size ?? ""],
    used: ["Used", inUse ?? ""],
    avail: ["Avail", avail ?? ""],
    pcent: ["Use%", `${Math.ceil((used / capacity) * 100)}%`],
    target: ["Mounted on", "/"],
    fstype: ["Type", "ext4"],
  };
  const wanted = o.get("--output")?.split(",") ?? ["source", "size", "used", "avail", "pcent", "target"];
  const rows = wanted.map((name) => columns[name] ?? unmodelled(argv));
  const lost = o.rest.find((p) => !machine.files.exists(p));
  if (lost !== undefined) return fail(1, `df: ${lost}: No such file or directory`);
  // Numbers stand at the right, under their heads.
  const width = ([head, value]: readonly [string, string]) => Math.max(head.length, value.length);
  const cells = (n: 0 | 1) => rows.map((r) => (/^\d/.test(r[1]) ? r[n].padStart(width(r)) : r[n])).join(" ");
  return ok(`${cells(0)}\n${cells(1)}\n`);
});

const du = reader("du", (machine, argv, context) => {
  const o = options(argv, { flags: ["-s", "-b", "-k"] });
  return forEach("du", o.rest, "cannot access '", (p) => {
    const total = machine.files
      .walk(at(context, p))
      .reduce(
        (sum, each) => sum + nodeSize(machine.files.lstat(each) ?? { kind: "dir", mode: "", owner: "", mtime: 0 }),
        0,
      );
    return `${o.has("-b") ? total : Math.ceil(total / 1024)}\t${p}\n`;
  });
});

const uname = reader("uname", (machine, argv) => {
  const o = options(argv, {
    flags: ["-r|--kernel-release", "-a|--all", "-m|--machine", "-n|--nodename", "-s|--kernel-name", "-v"],
  });
  const { kernel } = machine.now;
  if (o.has("-a"))
    return ok(`Linux ${machine.hostname} ${kernel.release} ${kernel.build} x86_64 x86_64 x86_64 GNU/Linux\n`);
  const parts = [
    [o.has("-s") || argv.length === 1, "Linux"],
    [o.has("-n"), machine.hostname],
    [o.has("-r"), kernel.release],
    [o.has("-v"), kernel.build],
    [o.has("-m"), "x86_64"],
  ] as const;
  return ok(
    `${parts
      .filter(([on]) => on)
      .map(([, text]) => text)
      .join(" ")}\n`,
  );
});

const id = reader("id", (machine, argv) => {
  const o = options(argv, { flags: ["-u", "-un", "-g", "-n"] });
  if (machine.files.plain) return ok(o.has("-u") ? "1000\n" : "uid=1000(ops) gid=1000(ops) groups=1000(ops)\n");
  return ok(o.has("-u") ? (o.has("-n") ? "root\n" : "0\n") : "uid=0(root) gid=0(root) groups=0(root)\n");
});

const cpus = (machine: Machine): number => machine.cpu.sockets * machine.cpu.coresPerSocket * 2;

/** Programs that run another program. */
const wrap = (name: string, skip: (argv: readonly string[]) => readonly string[]): Command => ({
  names: [name],
  base: true,
  // What is run decides; whoever wraps a command in an ask is taken to change something.
  mutates: always,
  run: (_machine, argv, context) => {
    const cwd = name === "env" ? /^--chdir=(.+)$/.exec(argv[1] ?? "")?.[1] : undefined;
    return context.exec(skip(argv), cwd === undefined ? {} : { cwd });
  },
});

const tee: Command = {
  names: ["tee"],
  base: true,
  mutates: always,
  run: (machine, argv, context) => {
    const o = options(argv, { flags: ["-a|--append"] });
    const r = forEach("tee", o.rest, "", (p) => {
      const path = at(context, p);
      machine.files.write(path, o.has("-a") ? (machine.files.readIf(path) ?? "") + context.stdin : context.stdin);
      return undefined;
    });
    return { ...r, stdout: context.stdin };
  },
};

export const coreutils: readonly Command[] = [
  cat,
  head("head"),
  head("tail"),
  wc,
  lsStatus,
  stat,
  test("test"),
  test("["),
  readlink,
  realpath,
  od,
  ...sums,
  mkdir,
  rm,
  rmdir,
  cp,
  mv,
  install,
  ln,
  chmod,
  chown,
  touch,
  truncate,
  df,
  du,
  uname,
  id,
  tee,
  reader("true", () => ok()),
  reader("false", () => fail(1, "")),
  reader("echo", (_m, argv) => ok(`${argv.slice(1).join(" ")}\n`)),
  reader("printf", (_m, argv) => ok((argv[1] ?? "").replaceAll("\\n", "\n").replace(/%s/g, () => argv[2] ?? ""))),
  reader("sync", () => ok()),
  reader("sleep", (_m, argv) => ok("", Number.parseFloat(argv[1] ?? "0"))),
  reader("hostname", (machine) => ok(`${machine.hostname}\n`)),
  reader("whoami", () => ok("root\n")),
  reader("nproc", (machine) => ok(`${cpus(machine)}\n`)),
  reader("basename", (_m, argv) =>
    ok(`${baseName(argv[1] ?? "").replace(argv[2] === undefined ? "" : new RegExp(`${argv[2]}$`), "")}\n`),
  ),
  reader("dirname", (_m, argv) => ok(`${(argv[1] ?? "").replace(/\/[^/]*$/, "") || "/"}\n`)),
  reader("getconf", (machine, argv) =>
    argv[1] === "_NPROCESSORS_ONLN"
      ? ok(`${cpus(machine)}\n`)
      : argv[1] === "PAGE_SIZE" || argv[1] === "PAGESIZE"
        ? ok("4096\n")
        : unmodelled(argv),
  ),
  reader("which", (machine, argv) => {
    const found = argv.slice(1).map((name) => findProgram(machine, name));
    return {
      status: found.every((f) => f !== undefined) ? 0 : 1,
      stdout: lines(found.filter((f) => f !== undefined)),
      stderr: "",
    };
  }),
  reader("date", (machine, argv) => {
    const d = new Date(machine.clock.now * 1000);
    const format = argv.find((w) => w.startsWith("+"));
    if (format === "+%s") return ok(`${Math.floor(machine.clock.now)}\n`);
    return ok(`${d.toISOString().slice(0, 19)}Z\n`);
  }),
  reader("free", (machine, argv) => {
    const o = options(argv, { flags: ["-b", "-k", "-m", "-g"] });
    const unit = o.has("-b") ? 1 : o.has("-m") ? 2 ** 20 : o.has("-g") ? 2 ** 30 : 1024;
    const total = Math.floor(machine.memoryBytes / unit);
    return ok(
      `               total        used        free      shared  buff/cache   available\nMem: ${total} ${Math.floor(total * 0.04)} ${Math.floor(total * 0.92)} 0 0 ${Math.floor(total * 0.95)}\nSwap: 0 0 0\n`,
    );
  }),
  reader("findmnt", (_m, argv) => {
    if (argv.length < 2) return unmodelled(argv);
    return ok(argv.includes("FSTYPE") ? "ext4\n" : "/dev/nvme0n1p2\n");
  }),
  writer("mktemp", (machine, argv) => {
    const template = argv.filter((w) => !w.startsWith("-")).at(1) ?? "/tmp/tmp.XXXXXXXXXX";
    const path = template.replace(/X+$/, (x) => machine.node.uuid().replaceAll("-", "").slice(0, x.length));
    if (argv.includes("-d")) machine.files.mkdir(path, "0700");
    else machine.files.write(path, "", { mode: "0600" });
    return ok(`${path}\n`);
  }),
  wrap("env", (argv) =>
    argv
      .slice(1)
      .filter(
        (w, i, all) =>
          !(/^[A-Za-z_]\w*=/.test(w) && all.slice(0, i).every((x) => /^[A-Za-z_]\w*=/.test(x) || x.startsWith("-"))) &&
          !(i === 0 && (w === "-i" || w.startsWith("--chdir="))),
      ),
  ),
  wrap("timeout", (argv) => {
    let i = 1;
    while ((argv[i] ?? "").startsWith("-")) i += /^-(k|s)$/.test(argv[i] ?? "") ? 2 : 1;
    return argv.slice(i + 1);
  }),
  wrap("nice", (argv) => argv.slice(argv[1] === "-n" ? 3 : 1)),
  wrap("nohup", (argv) => argv.slice(1)),
  wrap("flock", (argv) => argv.slice(argv.findIndex((w, i) => i > 0 && !w.startsWith("-") && !/^\d+$/.test(w)) + 1)),
];
