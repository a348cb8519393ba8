import { text } from "../kit/ask.ts";
import { facet, type PlanContext, type Step } from "../kit/facet.ts";
import { flatMapFact, known, mapFact } from "../kit/facts.ts";
import { isTrue, parsed } from "../kit/findings.ts";
import { DOMAIN, DOMAIN_LIVE, VIRSH, VM_ASKS } from "../kit/libvirt.ts";
import { isGpu, isNvSwitch, LSPCI, parseLspci } from "../kit/parse-lspci.ts";
import { parseSystemctlShow } from "../kit/parse-systemctl.ts";
import { LAUNCH, TEES, VM_PROCESS, VM_UNIT } from "../kit/qemu-args.ts";
import { confidentialVmExamples } from "./confidential-vm-examples.ts";
import { type ConfidentialVmFacts, domainsOf, straysOf, whyUnknown } from "./confidential-vm-facts.ts";
import { judgeConfidentialVm, NO_REBOOT, SOURCE } from "./confidential-vm-judge.ts";
import { LIBVIRT, planDomain } from "./confidential-vm-libvirt.ts";
import { human, planUnit, specFor, TRIED, undoConfidentialVm } from "./confidential-vm-plan.ts";
import { processesOf } from "./confidential-vm-process.ts";
import { ConfidentialVmWant } from "./confidential-vm-want.ts";

function plan(want: ConfidentialVmWant, facts: ConfidentialVmFacts, context: PlanContext): readonly Step[] {
  if (whyUnknown(want, facts) !== undefined || facts.devices.state !== "known") return [];
  const spec = specFor(want, facts.devices.value);
  if (spec === undefined) return [];
  const steps =
    want.launcher === "libvirt" ? planDomain(want, spec, facts, context) : planUnit(want, spec, facts, context);
  if (steps.length === 0 || straysOf(want, facts).length === 0) return steps;
  const title = `end the QEMU that carries the confidential VM's name but is not ${want.launcher === "libvirt" ? `libvirt's ${DOMAIN}` : `${VM_UNIT}'s`}`;
  return human("confidential-vm.stray", title, "TeeUp stops only its own VM, and two cannot share disk and GPUs");
}

export const confidentialVm = facet({
  name: "confidential-vm",
  type: "ConfidentialVm",
  on: "host",
  persona: "host",
  summary:
    "The confidential VM: QEMU with SEV-SNP or TDX and the GPUs, as a systemd unit or a libvirt domain that outlives reboots.",
  sources: [
    ...[SOURCE, NO_REBOOT, LIBVIRT, "QEMU docs/system/i386/amd-memory-encryption.rst and tdx.rst"],
    "NVIDIA/nvtrust#56 (MMIO window)",
  ],
  want: ConfidentialVmWant,
  asks: {
    lspci: LSPCI,
    unit: VM_ASKS.unit,
    state: VM_ASKS.vm,
    process: {
      kind: "argv",
      argv: ["pgrep", "-u", "root", "-a", "-f", `[${VM_PROCESS[0]}]${VM_PROCESS.slice(1)}`],
      maxBytes: 262_144,
    },
    tried: { kind: "file", path: TRIED },
    domainFile: VM_ASKS.domain,
    domainPid: VM_ASKS.domainPid,
    domain: { kind: "argv", argv: [...VIRSH, "dumpxml", "--inactive", DOMAIN] },
    live: DOMAIN_LIVE,
    info: { kind: "argv", argv: [...VIRSH, "dominfo", DOMAIN] },
  },
  parse(a): ConfidentialVmFacts {
    const file = text(a.domainFile);
    const domainFile = file.state === "unknown" ? file : known(file.state === "known");
    return {
      devices: parsed(text(a.lspci), (t) => parseLspci(t)?.filter((d) => isGpu(d) || isNvSwitch(d)), "lspci"),
      unit: text(a.unit),
      ...parseSystemctlShow(text(a.state)),
      ...processesOf(text(a.state), a.process, text(a.domainPid)),
      tried: text(a.tried),
      domainFile,
      transient: flatMapFact(domainFile, (file) => (file ? known(false) : mapFact(text(a.domainPid), () => true))),
      ...domainsOf(a),
    };
  },
  judge: judgeConfidentialVm,
  plan,
  undo: undoConfidentialVm,
  launch: ({ tee, firmware, cpus, cpuModel = LAUNCH[tee].cpuModel }) =>
    tee === "tdx" || firmware === undefined ? undefined : { firmware, vcpus: cpus, cpuModel, features: 1 },
  show: ({ active, enabled, process, domainFile, live, info }) =>
    isTrue(domainFile)
      ? {
          active: info.state === "known" ? info.value.state : info.state,
          enabled: info.state === "known" && info.value.autostart,
          confidential:
            live.state === "known" && (TEES as readonly string[]).includes(live.value["launchSecurity@type"] ?? ""),
        }
      : {
          active: active.state === "known" ? active.value : active.state,
          enabled: isTrue(enabled),
          confidential: process.state === "known" && /\b(sev-snp|tdx)-guest\b/.test(process.value),
        },
  examples: confidentialVmExamples,
  covers: [
    ...["001-HOST-67", "001-HOST-68", "001-HOST-69", "001-HOST-70", "001-HOST-71", "001-HOST-72", "001-HOST-73"],
    ...["001-HOST-74", "001-GPU-01", "004-61", "004-64", "004-65"],
  ],
});
