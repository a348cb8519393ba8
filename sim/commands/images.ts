import { normalise } from "../model/files.ts";
import { qemuProgram } from "../model/guest.ts";
import type { Machine } from "../model/machine.ts";
import type { Disk } from "../model/stand-ins.ts";
import { diskText, isoText, parseDisk } from "../model/stand-ins.ts";
import type { Command } from "./command.ts";
import { always, fail, ok, options, unmodelled } from "./command.ts";

function bytes(text: string): number {
  const match = /^(\d+(?:\.\d+)?)([KMGT]?)i?B?$/i.exec(text);
  if (match === null) return Number.NaN;
  return Math.floor(
    Number(match[1]) * 2 ** ({ "": 0, K: 10, M: 20, G: 30, T: 40 }[(match[2] ?? "").toUpperCase()] ?? 0),
  );
}

const GIB = 2 ** 30;

function putDisk(machine: Machine, path: string, disk: Disk, size: number): void {
  machine.files.write(path, diskText(disk), { size, mode: "0644" });
}

const qemuImg: Command = {
  names: ["qemu-img"],
  base: false,
  mutates: (argv) => ["create", "convert", "resize", "rebase", "commit"].includes(argv[1] ?? ""),
  run: (machine, argv, context) => {
    const [, verb = "", ...rest] = argv;
    if (verb === "--version")
      return ok(
        `qemu-img version ${context.data}\nCopyright (c) 2003-2024 Fabrice Bellard and the QEMU Project developers\n`,
      );
    const o = options(["qemu-img", ...rest], {
      flags: ["-q", "-p", "-U|--force-share", "-u", "-c", "--shrink", "--preallocation"],
      valued: ["-f", "-O", "-b", "-F", "-o", "--output", "-T", "-t", "-W", "-m"],
    });
    const at = (i: number) => normalise(o.rest[i] ?? "", context.cwd);
    const cannot = (path: string) =>
      fail(1, `qemu-img: Could not open '${path}': Could not open '${path}': No such file or directory`);
    const fresh = () => machine.node.uuid();
    const disk = parseDisk(machine.files.readIf(at(0)));
    switch (verb) {
      case "create": {
        const backing = o.get("-b");
        const base =
          backing === undefined ? undefined : parseDisk(machine.files.readIf(normalise(backing, context.cwd)));
        if (backing !== undefined && base === undefined) return cannot(backing);
        if (backing !== undefined && o.get("-F") === undefined)
          return fail(1, `qemu-img: ${o.rest[0]}: Backing file specified without backing format`);
        const virtual = o.rest[1] === undefined ? base?.virtual : bytes(o.rest[1]);
        if (virtual === undefined || Number.isNaN(virtual))
          return fail(1, "qemu-img: Image creation needs a size parameter");
        putDisk(
          machine,
          at(0),
          {
            id: fresh(),
            image: base?.image ?? "blank",
            format: o.get("-f") === "raw" ? "raw" : "qcow2",
            virtual,
            ...(backing === undefined ? {} : { backing }),
          },
          200_000,
        );
        return ok(`Formatting '${o.rest[0]}', fmt=qcow2 size=${virtual}\n`, 1);
      }
      case "convert": {
        if (disk === undefined)
          return machine.files.exists(at(0))
            ? fail(1, `qemu-img: Could not open '${o.rest[0]}': Image is not in qcow2 format`)
            : cannot(o.rest[0] ?? "");
        const node = machine.files.stat(at(0));
        putDisk(
          machine,
          at(1),
          { id: fresh(), image: disk.image, format: o.get("-O") === "raw" ? "raw" : "qcow2", virtual: disk.virtual },
          node?.kind === "file" ? (node.size ?? GIB) * 3 : GIB,
        );
        return ok("", 20);
      }
      case "resize": {
        if (disk === undefined) return cannot(o.rest[0] ?? "");
        const size = (o.rest[1] ?? "").startsWith("+")
          ? disk.virtual + bytes((o.rest[1] ?? "").slice(1))
          : bytes(o.rest[1] ?? "");
        if (size < disk.virtual && !o.has("--shrink"))
          return fail(1, "qemu-img: Use the --shrink option to perform a shrink operation.");
        const node = machine.files.stat(at(0));
        putDisk(machine, at(0), { ...disk, virtual: size }, node?.kind === "file" ? (node.size ?? GIB) : GIB);
        return ok("Image resized.\n", 1);
      }
      case "info": {
        if (disk === undefined) return cannot(o.rest[0] ?? "");
        const node = machine.files.stat(at(0));
        const actual = node?.kind === "file" ? (node.size ?? 0) : 0;
        if (o.get("--output") === "json") {
          return ok(
            `${JSON.stringify({ "virtual-size": disk.virtual, filename: o.rest[0], format: disk.format, "actual-size": actual, "dirty-flag": false, ...(disk.backing === undefined ? {} : { "backing-filename": disk.backing }) }, null, 4)}\n`,
          );
        }
        return ok(
          `image: ${o.rest[0]}\nfile format: ${disk.format}\nvirtual size: ${Math.floor(disk.virtual / GIB)} GiB (${disk.virtual} bytes)\ndisk size: ${Math.ceil(actual / 2 ** 20)} MiB\n`,
        );
      }
      case "check":
        return disk === undefined ? cannot(o.rest[0] ?? "") : ok("No errors were found on the image.\n");
      default:
        return unmodelled(argv);
    }
  },
};

const localds: Command = {
  names: ["cloud-localds"],
  base: false,
  mutates: always,
  run: (machine, argv, context) => {
    const o = options(argv, {
      flags: ["-v|--verbose"],
      valued: [
        "-N|--network-config",
        "-V|--vendor-data",
        "-H|--hostname",
        "-d|--disk-format",
        "-f|--filesystem",
        "-i|--interfaces",
        "-m|--dsmode",
      ],
    });
    const [out = "", user = "", meta] = o.rest;
    const read = (path: string) => machine.files.readIf(normalise(path, context.cwd));
    const userData = read(user);
    if (userData === undefined) return fail(1, `failed to find or read ${user}`);
    const network = o.get("-N");
    machine.files.write(
      normalise(out, context.cwd),
      isoText("cidata", {
        "user-data": userData,
        "meta-data": meta === undefined ? "instance-id: iid-local01\n" : (read(meta) ?? ""),
        ...(network === undefined ? {} : { "network-config": read(network) ?? "" }),
      }),
      { size: 374_784 },
    );
    return ok("", 0.5);
  },
};

const iso: Command = {
  names: ["genisoimage", "mkisofs", "xorrisofs", "xorriso"],
  base: false,
  mutates: always,
  run: (machine, argv, context) => {
    const words = argv[0] === "xorriso" && argv[1] === "-as" ? ["mkisofs", ...argv.slice(3)] : argv;
    const o = options(
      words.map((w) => (["-output", "-volid", "-joliet", "-rock"].includes(w) ? `-${w}` : w)),
      { flags: ["-J|--joliet", "-r|-R|--rock", "-quiet"], valued: ["-o|--output", "-V|--volid"] },
    );
    const files: Record<string, string> = {};
    for (const p of o.rest) {
      const text = machine.files.readIf(normalise(p, context.cwd));
      if (text === undefined) return fail(2, `genisoimage: No such file or directory. Invalid node - '${p}'.`);
      files[p.split("/").at(-1) ?? p] = text;
    }
    machine.files.write(normalise(o.get("-o") ?? "", context.cwd), isoText(o.get("-V") ?? "CDROM", files), {
      size: 374_784,
    });
    return ok("", 0.5);
  },
};

const qemu: Command = {
  names: ["qemu-system-x86_64"],
  base: false,
  mutates: (argv) => !argv.includes("--version") && !argv.includes("help"),
  run: (machine, argv, context) => {
    const built = qemuProgram(machine, context.file);
    if (argv.includes("--version") || argv.includes("-version")) {
      return ok(
        `QEMU emulator version ${built?.version}\nCopyright (c) 2003-2024 Fabrice Bellard and the QEMU Project developers\n`,
      );
    }
    if (argv[argv.indexOf("-object") + 1] === "help") {
      const objects = [
        "authz-list",
        "can-bus",
        "cryptodev-backend",
        ...((built?.version ?? "") >= "9" ? ["iommufd"] : []),
        "iothread",
        "memory-backend-file",
        "memory-backend-memfd",
        "memory-backend-ram",
        "rng-random",
        "secret",
        "sev-guest",
        ...(built?.snp === true ? ["sev-snp-guest"] : []),
        ...(built?.tdx === true ? ["tdx-guest"] : []),
        "tls-creds-x509",
      ];
      return ok(`List of user creatable objects:\n${objects.map((n) => `  ${n}\n`).join("")}`);
    }
    return unmodelled(argv);
  },
};

export const images: readonly Command[] = [qemuImg, localds, iso, qemu];
