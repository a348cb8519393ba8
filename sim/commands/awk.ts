import { GUEST_GPUS_READY, HAS_NVSWITCH } from "../../providers/kit/argv.ts";
import { isGpu, isNvSwitch } from "../model/pci.ts";
import type { Command } from "./command.ts";
import { fail, never, ok, unmodelled } from "./command.ts";

/** awk is a language; the twin knows the programs that the kit fixes. */
export const awk: Command = {
  names: ["awk"],
  base: true,
  mutates: never,
  run: (machine, argv, context) => {
    if (argv[1] === HAS_NVSWITCH[1])
      // Its pipe runs lspci; without that it counts none.
      return context.exec(["lspci"]).status === 0 && machine.pci.some(isNvSwitch) ? ok() : fail(1, "");
    if (argv[1] !== GUEST_GPUS_READY[1]) unmodelled(argv);
    const shown = machine.files.listIf("/proc/driver/nvidia/gpus").length;
    const there = machine.pci.filter(isGpu).length;
    return shown > 0 && shown === there ? ok() : fail(1, "");
  },
};
