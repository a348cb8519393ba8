import { GUEST_GPUS_READY } from "../../providers/kit/argv.ts";
import { isGpu } from "../model/pci.ts";
import type { Command } from "./command.ts";
import { fail, never, ok, unmodelled } from "./command.ts";

/** awk is a language; the twin knows the one program that the kit fixes. */
export const awk: Command = {
  names: ["awk"],
  base: true,
  mutates: never,
  run: (machine, argv) => {
    if (argv[1] !== GUEST_GPUS_READY[1]) unmodelled(argv);
    const shown = machine.files.listIf("/proc/driver/nvidia/gpus").length;
    const there = machine.pci.filter(isGpu).length;
    return shown > 0 && shown === there ? ok() : fail(1, "");
  },
};
