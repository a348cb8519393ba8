import { MPA_LOG } from "../model/sgx.ts";
import type { Command } from "./command.ts";
import { always, ok } from "./command.ts";

/** Registers the platform with Intel, once; its log is all that it tells, its exit status is always 0. */
export const mpa: Command = {
  names: ["mpa_registration_tool"],
  base: false,
  mutates: always,
  run: (machine) => {
    const { node, files } = machine;
    const day = new Date(machine.clock.now * 1000).toISOString();
    const time = `${day.slice(8, 10)}-${day.slice(5, 7)}-${day.slice(0, 4)} ${day.slice(11, 19)}`;
    const flow = (): string => {
      if (!files.exists("/dev/sgx_provision")) return "ERROR: SGX Registration UEFI variables are not available.";
      if (node.registered)
        return "INFO: Registration Flow - Registration status indicates registration is completed successfully.";
      if (node.internet.down)
        return "ERROR: Registration Flow - Network error, the registration server was not reached.";
      if (node.traps.registrationRefused)
        return "ERROR: Registration Flow - Registration Server returned an error (Error 400).";
      node.registered = true;
      return "INFO: Registration Flow - PLATFORM_ESTABLISHMENT or TCB_RECOVERY passed successfully.";
    };
    const lines = [
      "INFO: SGX Registration Agent version: 1.23.100.0",
      "INFO: Starts Registration Agent Flow.",
      flow(),
      "INFO: Finished Registration Agent Flow.",
    ];
    files.write(MPA_LOG, (files.readIf(MPA_LOG) ?? "") + lines.map((line) => `[${time}] ${line}\n`).join(""));
    return ok("", 2);
  },
};
