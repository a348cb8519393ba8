import { normalise } from "../model/files.ts";
import { LibvirtError } from "../model/libvirt.ts";
import type { Machine } from "../model/machine.ts";
import type { Command, Result } from "./command.ts";
import { fail, ok, options, unmodelled } from "./command.ts";

const READS = ["dumpxml", "dominfo", "domstate", "list", "domuuid", "version", "uri"];
const SOCKET = "/var/run/libvirt/libvirt-sock";

const daemonRuns = (machine: Machine): boolean => machine.units.state("libvirtd.service").active === "active";

const line = (text: string): Result => ok(`${text}\n\n`);

/** Talks to libvirtd as root. Words after the verb as `virsh help` has them; anything else is unmodelled. */
export const virsh: Command = {
  names: ["virsh"],
  base: false,
  mutates: (argv) => {
    const verb = argv
      .slice(1)
      .find((w, i, all) => !w.startsWith("-") && !["-c", "--connect"].includes(all[i - 1] ?? ""));
    return verb !== undefined && !READS.includes(verb);
  },
  run: (machine, argv, context) => {
    const o = options(argv, {
      flags: [
        "--version|-v",
        "--inactive",
        "--all",
        "--name",
        "--disable",
        "--nvram",
        "--keep-nvram",
        "--validate",
        "-q|--quiet",
        "--graceful",
      ],
      valued: ["-c|--connect", "--mode"],
    });
    if (o.has("--version")) return ok(`${context.data}\n`);
    const [verb, name = ""] = o.rest;
    if (!daemonRuns(machine))
      return fail(
        1,
        `error: failed to connect to the hypervisor\nerror: Failed to connect socket to '${SOCKET}': No such file or directory`,
      );
    const { libvirt } = machine;
    try {
      switch (verb) {
        case "version":
          return line(`Compiled against library: libvirt ${context.data}\nUsing library: libvirt ${libvirt.version}`);
        case "define":
          return line(
            `Domain '${libvirt.define(machine.files.read(normalise(name, context.cwd)))}' defined from ${name}`,
          );
        case "undefine":
          libvirt.undefine(name, o.has("--nvram"));
          return line(`Domain '${name}' has been undefined`);
        case "start":
          libvirt.start(name);
          return { ...line(`Domain '${name}' started`), seconds: 3 };
        case "shutdown":
          libvirt.shutdown(name);
          return line(`Domain '${name}' is being shutdown`);
        case "destroy":
          libvirt.destroy(name);
          return line(`Domain '${name}' destroyed`);
        case "autostart":
          libvirt.autostart(name, !o.has("--disable"));
          return line(`Domain '${name}' ${o.has("--disable") ? "unmarked" : "marked"} as autostarted`);
        case "dumpxml":
          return ok(`${libvirt.xml(name, o.has("--inactive"))}\n`);
        case "domstate":
          return line(libvirt.state(name));
        case "domuuid":
          return line(libvirt.info(name)["UUID"] ?? "");
        case "dominfo":
          return ok(
            `${Object.entries(libvirt.info(name))
              .map(([key, value]) => `${`${key}:`.padEnd(16)}${value}\n`)
              .join("")}\n`,
          );
        case "list": {
          const shown = libvirt.names().filter((n) => o.has("--all") || libvirt.state(n) === "running");
          if (o.has("--name")) return ok(`${shown.map((n) => `${n}\n`).join("")}\n`);
          const rows = shown.map(
            (n) => ` ${(libvirt.info(n)["Id"] ?? "-").padEnd(4)}${n.padEnd(18)}${libvirt.state(n)}`,
          );
          return ok(`${[" Id  Name              State", "-".repeat(34), ...rows].join("\n")}\n\n`);
        }
        default:
          return unmodelled(argv);
      }
    } catch (error) {
      if (error instanceof LibvirtError) return fail(1, `error: ${error.message}`);
      throw error;
    }
  },
};
