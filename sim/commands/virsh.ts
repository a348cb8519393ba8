import type { Command } from "./command.ts";
import { unmodelled } from "./command.ts";

/** libvirt's client; a package of libvirt's brings it. */
export const virsh: Command = {
  names: ["virsh"],
  base: false,
  mutates: (argv) => !argv.some((word) => word === "dumpxml" || word === "dominfo" || word === "domstate"),
  run: (_machine, argv) => unmodelled(argv),
};
