import { text } from "../kit/ask.ts";
import { facet } from "../kit/facet.ts";
import type { Fact } from "../kit/facts.ts";
import { mapFact } from "../kit/facts.ts";
import { findingsOf, isTrue, parsed } from "../kit/findings.ts";
import type { PciDevice } from "../kit/parse-lspci.ts";
import { isGpu, LSPCI, parseLspci } from "../kit/parse-lspci.ts";
import { parseSystemctlShow } from "../kit/parse-systemctl.ts";
import { argvOfUnit, VM_FILES, VM_PROCESS, VM_STATE, VM_UNIT, VM_UNIT_FILE } from "../kit/qemu-snp.ts";
import { confidentialVmExamples } from "./confidential-vm-examples.ts";
import {
  differenceOf,
  planConfidentialVm,
  restartNote,
  TRIED,
  undoConfidentialVm,
  unitFor,
  whyUnknown,
} from "./confidential-vm-plan.ts";
import { processesOf } from "./confidential-vm-process.ts";
import { ConfidentialVmWant } from "./confidential-vm-want.ts";

const SOURCE = "seed 001, Launching the Guest OS (launch_vm.sh); AMDESE/AMDSEV launch-qemu.sh";
const NO_REBOOT = "seed 001, Modifying GRUB, note: a reboot command terminates the VM";
const { pass, fail, unsure } = findingsOf("confidential-vm", SOURCE);

export interface ConfidentialVmFacts {
  readonly gpus: Fact<readonly PciDevice[]>;
  readonly unit: Fact<string>;
  readonly active: Fact<string>;
  readonly enabled: Fact<boolean>;
  /** systemd has not read the unit file as it is now. */
  readonly stale: Fact<boolean>;
  /** Arguments of the unit's process, joined by blanks; absent when it has none. */
  readonly process: Fact<string>;
  /** The same of root's other QEMUs that carry the VM's name. */
  readonly strays: Fact<readonly string[]>;
  /** What the last restart was for, see {@link restartNote}: the same again would change nothing. */
  readonly tried: Fact<string>;
}

export const confidentialVm = facet({
  name: "confidential-vm",
  type: "ConfidentialVm",
  on: "host",
  persona: "host",
  summary: "The confidential VM: QEMU with SEV-SNP and the GPUs, as a systemd unit that outlives reboots.",
  sources: [SOURCE, NO_REBOOT, "QEMU docs/system/i386/amd-memory-encryption.rst", "NVIDIA/nvtrust#56 (MMIO window)"],
  want: ConfidentialVmWant,
  asks: {
    lspci: LSPCI,
    unit: { kind: "file", path: VM_UNIT_FILE },
    state: VM_STATE,
    process: {
      kind: "argv",
      argv: ["pgrep", "-u", "root", "-a", "-f", `[${VM_PROCESS[0]}]${VM_PROCESS.slice(1)}`],
      maxBytes: 262_144,
    },
    tried: { kind: "file", path: TRIED },
  },
  parse({ lspci, unit, state, process, tried }): ConfidentialVmFacts {
    return {
      gpus: mapFact(parsed(text(lspci), parseLspci, "lspci"), (list) => list.filter(isGpu)),
      unit: text(unit),
      ...parseSystemctlShow(text(state)),
      ...processesOf(text(state), process),
      tried: text(tried),
    };
  },
  judge(want, facts) {
    const wanted = `a confidential VM with ${want.cpus} vCPUs and ${want.memoryGiB} GiB`;
    const why = whyUnknown(facts);
    if (why !== undefined || facts.gpus.state !== "known") {
      return [unsure("unknown", wanted, why ?? "lspci is not installed", `systemctl status ${VM_UNIT}`)];
    }
    const unit = unitFor(want, facts.gpus.value);
    if (unit === undefined) return [fail("no-gpu", wanted, "a wanted GPU is not there", "see gpu-inventory")];
    if (facts.unit.state !== "known") return [fail("absent", wanted, "no VM", "pulumi up makes it")];
    const argv = argvOfUnit(unit);
    const running = facts.process.state === "known" ? facts.process.value : undefined;
    const active = facts.active.state === "known" ? facts.active.value : "";
    const stale = isTrue(facts.stale);
    const judgeProcess = () => {
      if (active !== "active" || running === undefined) {
        const hint = `pulumi up starts it; else journalctl -u ${VM_UNIT} -n 40, and the console in ${VM_FILES.console}`;
        return fail("inactive", "a running VM", active === "active" ? "no QEMU process" : active, hint, NO_REBOOT);
      }
      if (!running.includes("confidential-guest-support=") || !running.includes("sev-snp-guest")) {
        return fail(
          "not-confidential",
          "QEMU with sev-snp-guest",
          "QEMU without it",
          "pulumi up, with permit guest-stop",
        );
      }
      if (running === argv) return pass("running", wanted, "running with SEV-SNP");
      const hint =
        facts.tried.state === "known" && facts.tried.value === restartNote(running, argv)
          ? `a restart did not change it: systemctl cat ${VM_UNIT} shows what else systemd reads; rm ${TRIED} to try again`
          : "pulumi up, with permit guest-stop";
      return fail("argv", "QEMU as wanted", differenceOf(running, argv), hint);
    };
    const strays = facts.strays.state === "known" ? facts.strays.value : [];
    return [
      ...strays.map((stray) =>
        fail(
          "stray",
          `no QEMU named ${VM_PROCESS} but the unit's`,
          stray.slice(0, 120),
          "end it; TeeUp stops only its own",
        ),
      ),
      facts.unit.value === unit && !stale
        ? pass("unit", "the unit as wanted", VM_UNIT)
        : fail(
            "unit",
            "the unit as wanted",
            stale ? "systemd has not read it" : differenceOf(argvOfUnit(facts.unit.value), argv),
            "pulumi up writes it; what changes QEMU needs permit guest-stop",
          ),
      isTrue(facts.enabled)
        ? pass("enabled", "started at every boot of the host", "enabled")
        : fail("enabled", "started at every boot of the host", "not enabled", "pulumi up enables it"),
      judgeProcess(),
    ];
  },
  plan: planConfidentialVm,
  undo: undoConfidentialVm,
  show: ({ active, enabled, process }) => ({
    active: active.state === "known" ? active.value : active.state,
    enabled: isTrue(enabled),
    confidential: process.state === "known" && process.value.includes("sev-snp-guest"),
  }),
  examples: confidentialVmExamples,
  covers: [
    ...["001-HOST-67", "001-HOST-68", "001-HOST-69", "001-HOST-70", "001-HOST-71", "001-HOST-72", "001-HOST-73"],
    ...["001-HOST-74", "001-GPU-01"],
  ],
});
