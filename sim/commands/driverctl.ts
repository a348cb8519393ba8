import { findFunction, overrideDriver } from "../model/pci.ts";
import type { Command } from "./command.ts";
import { fail, lines, ok, options, unmodelled } from "./command.ts";

const SAVED = "/etc/driverctl.d";

export const driverctl: Command = {
  names: ["driverctl"],
  base: false,
  mutates: (argv) => argv.includes("set-override") || argv.includes("unset-override") || argv.includes("load-override"),
  run: (machine, argv) => {
    const o = options(argv, { flags: ["--nosave", "--noprobe", "-v|--verbose"], valued: ["-b|--bus"] });
    const [verb, name = "", driver] = o.rest;
    if (verb === "list-overrides") {
      return ok(lines(machine.pci.flatMap((f) => (machine.now.overrides.has(f.bdf) ? [`${f.bdf} ${machine.now.overrides.get(f.bdf)}`] : []))));
    }
    if (verb === "list-devices") return ok(lines(machine.pci.map((f) => `${f.bdf} ${machine.now.drivers.get(f.bdf) ?? "(none)"}${machine.now.overrides.has(f.bdf) ? " [*]" : ""}`)));
    const f = findFunction(machine, name);
    if (f === undefined) return fail(1, `driverctl: no such device: ${name}`);
    if (verb === "set-override") {
      if (driver === undefined) return unmodelled(argv);
      if (!o.has("--nosave")) machine.files.write(`${SAVED}/${f.bdf}`, `${driver}\n`);
      if (o.has("--noprobe")) {
        machine.now.overrides.set(f.bdf, driver);
        return ok();
      }
      const error = overrideDriver(machine, f, driver);
      return error === undefined ? ok("", 1) : fail(1, error);
    }
    if (verb === "unset-override") {
      if (!o.has("--nosave")) machine.files.remove(`${SAVED}/${f.bdf}`);
      const error = overrideDriver(machine, f, undefined);
      return error === undefined ? ok("", 1) : fail(1, error);
    }
    return unmodelled(argv);
  },
};
