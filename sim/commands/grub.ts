import {
  GRUBENV,
  GrubSyntaxError,
  linuxArguments,
  readDefaults,
  readGrubenv,
  updateGrub,
  writeGrubenv,
} from "../model/grub.ts";
import { installedKernels, updateInitramfs } from "../model/kernel.ts";
import type { Machine } from "../model/machine.ts";
import type { Command, Result } from "./command.ts";
import { always, fail, lines, never, ok, options, unmodelled } from "./command.ts";

function mkconfig(machine: Machine): Result {
  try {
    return { status: 0, stdout: "", stderr: lines(updateGrub(machine)), seconds: 6 };
  } catch (error) {
    if (error instanceof GrubSyntaxError) return fail(2, `/usr/sbin/grub-mkconfig: 1: ${error.message}`);
    throw error;
  }
}

const sbin = { base: true, folder: "/usr/sbin" } as const;

export const grub: readonly Command[] = [
  {
    names: ["update-grub", "update-grub2"],
    ...sbin,
    mutates: always,
    run: (machine) => mkconfig(machine),
  },
  {
    names: ["grub-mkconfig"],
    ...sbin,
    mutates: (argv) => argv.includes("-o"),
    run: (machine, argv) => {
      const o = options(argv, { valued: ["-o|--output"] });
      if (o.get("-o") === undefined) return ok(`linux arguments: ${linuxArguments(readDefaults(machine))}\n`);
      return mkconfig(machine);
    },
  },
  {
    names: ["grub-reboot", "grub-set-default"],
    ...sbin,
    mutates: always,
    run: (machine, argv) => {
      const entry = argv.filter((w) => !w.startsWith("--")).at(1);
      if (entry === undefined) return fail(1, "Menu entry not specified.", `Usage: ${argv[0]} [OPTION] MENU_ENTRY\n`);
      const table = readGrubenv(machine);
      table.set(argv[0] === "grub-reboot" ? "next_entry" : "saved_entry", entry);
      // A new default also calls off a trial that has not happened.
      if (argv[0] === "grub-set-default") table.delete("next_entry");
      writeGrubenv(machine, table);
      return ok();
    },
  },
  {
    names: ["grub-editenv"],
    base: true,
    mutates: (argv) => argv.includes("set") || argv.includes("unset") || argv.includes("create"),
    run: (machine, argv) => {
      const words = argv.slice(1).filter((w) => w !== "-" && w !== GRUBENV);
      const table = readGrubenv(machine);
      const [verb, ...rest] = words;
      if (verb === "list") return ok(lines([...table].map(([k, v]) => `${k}=${v}`)));
      if (verb === "set")
        for (const word of rest) table.set(word.slice(0, word.indexOf("=")), word.slice(word.indexOf("=") + 1));
      else if (verb === "unset") for (const word of rest) table.delete(word);
      else if (verb !== "create") return unmodelled(argv);
      writeGrubenv(machine, table);
      return ok();
    },
  },
  {
    names: ["update-initramfs"],
    ...sbin,
    mutates: always,
    run: (machine, argv) => {
      const o = options(argv, { flags: ["-u", "-c", "-d", "-v"], valued: ["-k"] });
      const which = o.get("-k") ?? machine.now.kernel.release;
      const releases = which === "all" ? installedKernels(machine) : [which];
      for (const release of releases) {
        if (!machine.files.exists(`/lib/modules/${release}`))
          return fail(
            1,
            `W: missing /lib/modules/${release}\nupdate-initramfs: failed for /boot/initrd.img-${release} with 1.`,
            `update-initramfs: Generating /boot/initrd.img-${release}\n`,
          );
        updateInitramfs(machine, release);
      }
      return ok(lines(releases.map((r) => `update-initramfs: Generating /boot/initrd.img-${r}`)), 20);
    },
  },
  {
    names: ["lsinitramfs"],
    base: true,
    mutates: never,
    run: (machine, argv) => {
      const text = machine.files.readIf(argv.at(-1) ?? "");
      if (text === undefined) return fail(1, `lsinitramfs: cannot read ${argv.at(-1)}`);
      return ok(lines([...text.matchAll(/^etc\/modprobe\.d\/\S+$/gm)].map((m) => m[0])));
    },
  },
];
