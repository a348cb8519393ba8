import { loadModule, moduleName, moduleSize, unloadModule, whereIs } from "../model/modules.ts";
import { driverFor } from "../model/nvidia.ts";
import type { Command } from "./command.ts";
import { always, fail, lines, never, ok, options } from "./command.ts";

const sbin = { base: true, folder: "/usr/sbin" } as const;

export const kmod: readonly Command[] = [
  {
    names: ["modprobe"],
    ...sbin,
    mutates: (argv) => !argv.some((w) => ["-n", "--dry-run", "--show-depends", "-c", "--showconfig", "-D"].includes(w)),
    run: (machine, argv) => {
      const o = options(argv, {
        flags: [
          "-r|--remove",
          "-a|--all",
          "-q|--quiet",
          "-v",
          "-i|--ignore-install",
          "-n|--dry-run",
          "-f",
          "--first-time",
        ],
      });
      const quiet = o.has("-q");
      if (o.has("-r")) {
        for (const name of o.rest) {
          if (!machine.now.modules.has(moduleName(name))) {
            if (whereIs(machine, moduleName(name)) === "missing" && !quiet)
              return fail(1, `modprobe: FATAL: Module ${name} not found.`);
            continue;
          }
          const error = unloadModule(machine, name);
          if (error !== undefined)
            return fail(1, error.replace(/^rmmod: ERROR: (.*) is in use.*$/, "modprobe: FATAL: $1 is in use."));
        }
        return ok();
      }
      const names = o.has("-a") ? o.rest : o.rest.slice(0, 1);
      for (const name of names) {
        if (o.has("-n")) {
          if (whereIs(machine, moduleName(name)) === "missing")
            return fail(
              1,
              quiet
                ? ""
                : `modprobe: FATAL: Module ${name} not found in directory /lib/modules/${machine.now.kernel.release}`,
            );
          continue;
        }
        const error = loadModule(machine, name, o.has("-a") ? [] : o.rest.slice(1), o.has("-i"));
        if (error !== undefined) return fail(1, quiet ? "" : error);
      }
      return ok("", 0.5);
    },
  },
  {
    names: ["rmmod"],
    ...sbin,
    mutates: always,
    run: (machine, argv) => {
      for (const name of argv.slice(1).filter((w) => !w.startsWith("-"))) {
        const error = unloadModule(machine, name);
        if (error !== undefined) return fail(1, error);
      }
      return ok();
    },
  },
  {
    names: ["lsmod"],
    ...sbin,
    mutates: never,
    run: (machine) =>
      ok(
        `Module                  Size  Used by\n${lines([...machine.now.modules.keys()].map((n) => `${n.padEnd(23)} ${String(moduleSize(n)).padStart(7)}  0`))}`,
      ),
  },
  {
    names: ["modinfo"],
    ...sbin,
    mutates: never,
    run: (machine, argv) => {
      const o = options(argv, { valued: ["-F|--field", "-k"], flags: ["-n"] });
      const name = moduleName(o.rest[0] ?? "");
      const release = o.get("-k") ?? machine.now.kernel.release;
      const driver = name === "nvidia" ? driverFor(machine, release) : undefined;
      if (name === "nvidia" ? driver === undefined : whereIs(machine, name) === "missing")
        return fail(1, `modinfo: ERROR: Module ${o.rest[0]} not found.`);
      const fields: Readonly<Record<string, string>> = {
        filename:
          driver === undefined
            ? `/lib/modules/${release}/kernel/${name}.ko.zst`
            : `/lib/modules/${release}/updates/dkms/nvidia.ko`,
        ...(driver === undefined
          ? { license: "GPL v2" }
          : { version: driver.version, license: driver.open ? "Dual MIT/GPL" : "NVIDIA" }),
        vermagic: `${release} SMP preempt mod_unload modversions `,
      };
      const wanted = o.get("-F") ?? (o.has("-n") ? "filename" : undefined);
      if (wanted !== undefined) return ok(fields[wanted] === undefined ? "" : `${fields[wanted]}\n`);
      return ok(lines(Object.entries(fields).map(([k, v]) => `${`${k}:`.padEnd(16)}${v}`)));
    },
  },
  { names: ["depmod"], ...sbin, mutates: always, run: () => ok() },
];
