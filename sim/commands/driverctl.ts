import { findFunction, overrideDriver } from "../model/pci.ts";
import type { Command } from "./command.ts";
import { fail, lines, ok, options, unmodelled } from "./command.ts";

/** driverctl 0.111 saves only after the device was bound; its udev rule looks for `<bus>-<address>`. */
const savedFile = (bdf: string): string => `/etc/driverctl.d/pci-${bdf}`;

export const driverctl: Command = {
  names: ["driverctl"],
  base: false,
  mutates: (argv) => argv.includes("set-override") || argv.includes("unset-override") || argv.includes("load-override"),
  run: (machine, argv) => {
    const o = options(argv, { flags: ["--nosave", "--noprobe", "-v|--verbose"], valued: ["-b|--bus"] });
    const [verb, name = "", driver] = o.rest;
    if (verb === "list-overrides") {
      const shown = machine.pci.filter((f) => machine.now.overrides.has(f.bdf));
      if (shown.length === 0) return fail(1, "driverctl: No overridable devices found. Kernel too old?");
      return ok(lines(shown.map((f) => `${f.bdf} ${machine.now.drivers.get(f.bdf) ?? "(none)"}`)));
    }
    if (verb === "list-devices")
      return ok(
        lines(
          machine.pci.map(
            (f) =>
              `${f.bdf} ${machine.now.drivers.get(f.bdf) ?? "(none)"}${machine.now.overrides.has(f.bdf) ? " [*]" : ""}`,
          ),
        ),
      );
    const f = findFunction(machine, name);
    if (f === undefined) return fail(1, `driverctl: no such device: ${name}`);
    if (verb === "set-override") {
      if (driver === undefined) return unmodelled(argv);
      if (o.has("--noprobe")) machine.now.overrides.set(f.bdf, driver);
      const error = o.has("--noprobe") ? undefined : overrideDriver(machine, f, driver);
      if (error !== undefined) return fail(1, error);
      if (!o.has("--nosave")) machine.files.write(savedFile(f.bdf), `${driver}\n`);
      return ok("", 1);
    }
    if (verb === "unset-override") {
      const error = overrideDriver(machine, f, undefined, !o.has("--noprobe"));
      if (error !== undefined) return fail(1, error);
      if (!o.has("--nosave")) machine.files.remove(savedFile(f.bdf));
      return ok("", 1);
    }
    return unmodelled(argv);
  },
};
