import type { Action } from "./action.ts";
import type { Ask, Asks } from "./ask.ts";
import { VM_PROCESS, VM_STATE, VM_UNIT, VM_UNIT_FILE } from "./qemu-args.ts";

/** The system's libvirt; root's own session would be another one. */
export const VIRSH = ["virsh", "--connect", "qemu:///system"] as const;
/** The confidential VM as a libvirt domain: one name with the unit's process, so that pgrep finds either. */
export const DOMAIN = VM_PROCESS;
/** Where libvirt keeps the domain, and its QEMU's number while it runs (src/qemu/qemu_conf.c). */
export const DOMAIN_FILE = `/etc/libvirt/qemu/${DOMAIN}.xml`;
export const DOMAIN_PID = `/run/libvirt/qemu/${DOMAIN}.pid`;
export const DOMAIN_LIVE = { kind: "argv", argv: [...VIRSH, "dumpxml", DOMAIN] } as const satisfies Ask;
/** What TeeUp defines the domain from. */
export const DOMAIN_SOURCE = `/var/lib/teeup/vm/${DOMAIN}.xml`;

/** What either launcher keeps of the VM, cheap to ask: whose the process is that holds a GPU, and how it is stopped. */
export const VM_ASKS = {
  vm: VM_STATE,
  unit: { kind: "file", path: VM_UNIT_FILE },
  domain: { kind: "file", path: DOMAIN_FILE },
  domainPid: { kind: "file", path: DOMAIN_PID },
} as const satisfies Asks;

/**
 * Asks the guest to power off and waits until its QEMU has gone. libvirt, unlike systemd, does not end a guest that
 * takes no notice: then the wait ends the step, and a person decides on `virsh destroy`.
 */
export const shutDomain: readonly Action[] = [
  // 1: it is not running.
  { do: "run", argv: [...VIRSH, "shutdown", DOMAIN], okStatus: [0, 1] },
  {
    do: "wait",
    argv: ["test", "!", "-e", DOMAIN_PID],
    timeoutSeconds: 240,
    what: `the end of domain ${DOMAIN} (virsh destroy ${DOMAIN} ends it by force)`,
  },
];

/** Stops the VM of the launcher that made it. */
export const stopVm = (launcher: "qemu" | "libvirt"): readonly Action[] =>
  launcher === "libvirt"
    ? shutDomain
    : [{ do: "run", argv: ["systemctl", "stop", VM_UNIT], timeoutSeconds: 240, okStatus: [0, 5] }];
