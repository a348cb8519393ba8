import { normalise } from "../model/files.ts";
import { readGrubenv, updateGrub, writeGrubenv } from "../model/grub.ts";
import { installedKernels, updateInitramfs } from "../model/kernel.ts";
import type { Machine } from "../model/machine.ts";
import { AptError } from "../model/packages.ts";
import type { BlsEntry } from "../model/red-hat.ts";
import { blsEntries, LOCKS, titleOf, writeEntry } from "../model/red-hat.ts";
import type { Command, Result } from "./command.ts";
import { always, fail, lines, ok, options, unmodelled } from "./command.ts";
import { packageInFile } from "./dpkg.ts";

/** Programs of the Red Hat family; only a machine that is one has them (model/red-hat.ts). */

const words = (text: string): string[] => text.split(/\s+/).filter(Boolean);
const nameOf = (word: string): string => word.split("=")[0] ?? word;

/** As grubby does it: a word that is added takes every other word of its name away. */
function changed(given: string, remove: readonly string[], add: readonly string[]): string {
  const kept = words(given)
    .filter((word) => !remove.some((gone) => (gone.includes("=") ? word === gone : nameOf(word) === gone)))
    .filter((word) => !add.some((more) => nameOf(more) === nameOf(word)));
  return [...kept, ...add].join(" ");
}

function chosen(machine: Machine, which: string): BlsEntry[] {
  const all = blsEntries(machine);
  if (which === "ALL") return all;
  if (/^\d+$/.test(which)) return all.slice(Number(which), Number(which) + 1);
  const saved = readGrubenv(machine).get("saved_entry");
  if (which === "DEFAULT")
    return all
      .filter((e) => e.id === saved)
      .concat(all)
      .slice(0, 1);
  return all.filter((e) => which === `/boot/vmlinuz-${e.release}`);
}

function info(machine: Machine, entries: readonly BlsEntry[]): string {
  const all = blsEntries(machine);
  return entries
    .map(({ id, release, options: given }) => {
      const root = words(given).find((word) => word.startsWith("root="));
      const args = words(given).filter((word) => word !== root);
      return [
        `index=${all.findIndex((e) => e.id === id)}`,
        `kernel="/boot/vmlinuz-${release}"`,
        `args="${args.join(" ")}"`,
        ...(root === undefined ? [] : [`root="${root.slice(5)}"`]),
        `initrd="/boot/initramfs-${release}.img"`,
        `title="${titleOf(machine, release)}"`,
        `id="${id}"`,
        "",
      ].join("\n");
    })
    .join("");
}

const grubby: Command = {
  names: ["grubby"],
  base: false,
  mutates: (argv) => argv.some((w) => /^--(update-kernel|set-default|remove-kernel|add-kernel)/.test(w)),
  run: (machine, argv) => {
    const o = options(argv, {
      flags: ["--default-kernel", "--default-index"],
      valued: ["--info", "--update-kernel", "--args", "--remove-args", "--set-default"],
    });
    const which = o.get("--info") ?? o.get("--update-kernel") ?? o.get("--set-default") ?? "DEFAULT";
    const entries = chosen(machine, which);
    const [first] = entries;
    if (first === undefined) return fail(1, `The param ${which} is incorrect`);
    if (o.get("--info") !== undefined) return ok(info(machine, entries));
    if (o.has("--default-kernel")) return ok(`/boot/vmlinuz-${first.release}\n`);
    if (o.get("--set-default") !== undefined) {
      const table = readGrubenv(machine);
      writeGrubenv(machine, table.set("saved_entry", first.id));
      return { ...ok(), stderr: `The default is /boot/loader/entries/${first.id}.conf with index 0\n` };
    }
    if (o.get("--update-kernel") === undefined) return unmodelled(argv);
    const [remove, add] = [words(o.get("--remove-args") ?? ""), words(o.get("--args") ?? "")];
    for (const entry of entries) writeEntry(machine, { ...entry, options: changed(entry.options, remove, add) });
    if (which === "ALL") {
      // Kernels that come later take it from there.
      const file = "/etc/kernel/cmdline";
      machine.files.write(file, `${changed(machine.files.readIf(file) ?? "", remove, add)}\n`);
    }
    return ok("", 1);
  },
};

const environment: readonly Command[] = [
  {
    names: ["grub2-editenv"],
    base: false,
    mutates: (argv) => !argv.includes("list"),
    run: (machine, argv) => {
      const [verb, ...rest] = argv.slice(1).filter((w) => w !== "-");
      const table = readGrubenv(machine);
      if (verb === "list") return ok(lines([...table].map(([k, v]) => `${k}=${v}`)));
      if (verb !== "unset") return unmodelled(argv);
      for (const name of rest) table.delete(name);
      writeGrubenv(machine, table);
      return ok();
    },
  },
  {
    names: ["grub2-reboot", "grub2-set-default"],
    base: false,
    mutates: always,
    run: (machine, argv) => {
      const table = readGrubenv(machine);
      table.set(argv[0] === "grub2-reboot" ? "next_entry" : "saved_entry", argv[1] ?? "");
      writeGrubenv(machine, table);
      return ok();
    },
  },
  {
    names: ["grub2-mkconfig"],
    base: false,
    mutates: always,
    run: (machine) => ({ status: 0, stdout: "", stderr: lines(updateGrub(machine)), seconds: 6 }),
  },
  {
    names: ["dracut"],
    base: false,
    mutates: always,
    run: (machine, argv) => {
      const o = options(argv, { flags: ["-f|--force", "--regenerate-all"], valued: ["--kver"] });
      const all = o.has("--regenerate-all")
        ? installedKernels(machine)
        : [o.get("--kver") ?? machine.now.kernel.release];
      for (const release of all) {
        if (!machine.files.exists(`/lib/modules/${release}`)) return fail(1, `dracut: Cannot find module directory`);
        updateInitramfs(machine, release);
        const text = machine.files.readIf(`/boot/initrd.img-${release}`) ?? "";
        machine.files.write(`/boot/initramfs-${release}.img`, text, { mode: "0600", size: 38_000_000 });
      }
      return ok("", 20 * all.length);
    },
  },
];

/** `name version-release.arch` of a package: a kernel's package has its release in its name here. */
function split(name: string, version: string): readonly [string, string] {
  const kernel = /^(kernel(?:-[a-z]+)*)-(\d.*)$/.exec(name);
  return kernel === null ? [name, `${version}.x86_64`] : [kernel[1] ?? "", kernel[2] ?? ""];
}

/** What a .rpm holds, installed over whatever other version is there; `again`: also over the same one. */
function installFiles(machine: Machine, paths: readonly string[], cwd: string, again: boolean): Result {
  for (const path of paths) {
    const pkg = packageInFile(machine, normalise(path, cwd));
    if (pkg === undefined) return fail(1, `error: open of ${path} failed: No such file or directory`);
    if (!again && machine.packages.installed.get(pkg.name)?.pkg.version === pkg.version)
      return fail(1, `\tpackage ${split(pkg.name, pkg.version).join("-")} is already installed`);
    machine.packages.install(pkg);
  }
  return ok("", 10);
}

const rpm: Command = {
  names: ["rpm"],
  base: false,
  mutates: (argv) => argv.some((w) => /^(-[iU]|--(install|upgrade|erase)|-e)/.test(w)),
  run: (machine, argv, context) => {
    const o = options(argv, {
      flags: [
        "-q",
        "-a",
        "-qa",
        "-U|--upgrade",
        "-i|--install",
        "-e|--erase",
        "--oldpackage",
        "--replacepkgs",
        "-v",
        "-h",
      ],
      valued: ["--qf|--queryformat"],
    });
    if (o.has("-U") || o.has("-i")) return installFiles(machine, o.rest, context.cwd, o.has("--replacepkgs"));
    if (o.has("-e")) {
      const missing = o.rest.find((name) => !machine.packages.installed.has(name));
      if (missing !== undefined) return fail(1, `error: package ${missing} is not installed`);
      for (const name of o.rest) machine.packages.remove(name);
      return ok("", 5);
    }
    const pattern = new RegExp(`^${(o.rest[0] ?? "*").replaceAll(".", "\\.").replaceAll("*", ".*")}$`);
    const format = o.get("--qf") ?? "%{NAME}-%{VERSION}-%{RELEASE}.%{ARCH}\\n";
    const rows = [...machine.packages.installed.values()]
      .map(({ pkg }) => split(pkg.name, pkg.version))
      .filter(([name]) => pattern.test(name))
      .map(([name, version]) =>
        format.replace("%{NAME}", name).replace("%{VERSION}-%{RELEASE}.%{ARCH}", version).replaceAll("\\n", "\n"),
      );
    return ok(rows.sort().join(""));
  },
};

const locksOf = (machine: Machine): string[] =>
  (machine.files.readIf(LOCKS) ?? "").split("\n").filter((line) => line !== "" && !line.startsWith("#"));

function versionlock(machine: Machine, [verb, ...names]: readonly string[]): Result {
  const plain = (entry: string) => entry.replace(/-0:/, "-").replace(/\.\*$/, "");
  const out: string[] = [];
  let locks = locksOf(machine);
  for (const name of names) {
    const matches = (entry: string) =>
      [plain(entry), split(plain(entry), "")[0]].some((form) => form === name || `${form}.x86_64` === name);
    if (verb === "delete") {
      out.push(...locks.filter(matches).map((entry) => `Deleting versionlock for: ${entry}`));
      locks = locks.filter((entry) => !matches(entry));
      continue;
    }
    if (verb !== "add") return fail(1, `dnf versionlock ${verb}: not known here`);
    if (locks.some(matches)) {
      out.push(`Package already locked in equivalent form: ${name}`);
      continue;
    }
    const known = [...machine.packages.installed.keys(), ...machine.packages.extra.map((p) => p.name)];
    const found = known.filter((n) => n === name || split(n, "")[0] === name);
    // dnf says so and still ends with 0.
    if (found.length === 0) out.push(`No package found for: ${name}`);
    for (const n of found) {
      const [bare, version] = split(n, machine.packages.installed.get(n)?.pkg.version ?? "1-1");
      const entry = `${bare}-0:${version.replace(/\.x86_64$/, "")}.*`;
      locks.push(entry);
      out.push(`Adding versionlock on: ${entry}`);
    }
  }
  machine.files.write(LOCKS, lines(locks));
  return ok(lines(out), 2);
}

const dnf: Command = {
  names: ["dnf"],
  base: false,
  mutates: always,
  run: (machine, argv) => {
    const o = options(argv, { flags: ["-y|--assumeyes", "-q|--quiet"] });
    const [verb, ...names] = o.rest;
    if (verb === "versionlock") return versionlock(machine, names);
    if (verb === "remove") {
      for (const name of names) machine.packages.remove(name);
      return ok("Complete!\n", 10);
    }
    if (verb !== "install") return unmodelled(argv);
    if (machine.node.internet.down)
      return fail(1, "Error: Failed to download metadata for repo 'alinux3-os': Cannot prepare internal mirrorlist");
    // dnf fetches the lists of its archives by itself.
    machine.packages.update();
    for (const name of names) {
      const [bare, version] = split(name, "");
      const locked = locksOf(machine).filter((entry) => split(entry.replace(/-0:/, "-"), "")[0] === bare);
      if (locked.length > 0 && !locked.some((entry) => entry.includes(version.replace(/\.x86_64$/, ""))))
        return fail(
          1,
          `All matches were filtered out by exclude filtering for argument: ${name}\nError: Unable to find a match: ${name}`,
        );
      try {
        for (const pkg of machine.packages.resolve([name])) machine.packages.install(pkg);
      } catch (error) {
        if (error instanceof AptError) return fail(1, `Error: Unable to find a match: ${name}`);
        throw error;
      }
    }
    return ok("Complete!\n", 20);
  },
};

export const redHat: readonly Command[] = [grubby, ...environment, rpm, dnf];
