import { z } from "zod";
import type { Action } from "../kit/action.ts";
import { failed, missing, ok, ran, text } from "../kit/ask.ts";
import type { Disruption } from "../kit/disruption.ts";
import { facet, pass } from "../kit/facet.ts";
import type { Fact } from "../kit/facts.ts";
import { absent, known, unknown } from "../kit/facts.ts";
import { fail, firstUnknown, parsed, unsure } from "../kit/findings.ts";
import { OVMF_BUILT, QEMU_BUILT } from "../kit/host.ts";
import { GpusSchema, isGpu, LSPCI, parseLspci, selectGpus } from "../kit/parse-lspci.ts";
import type { PciDevice } from "../kit/parse-lspci.ts";
import { argvOfUnit, VM_PROCESS, VM_UNIT, VM_UNIT_FILE, vmUnit } from "../kit/qemu-snp.ts";

const SOURCE = "seed 001, Launching the Guest OS (launch_vm.sh); AMDESE/AMDSEV launch-qemu.sh";
const NO_REBOOT = "seed 001, Note: a reboot command terminates the VM";

const Absolute = z.string().regex(/^\/[\w./+-]+$/, "an absolute path without blanks");
const Want = z.strictObject({
  gpus: GpusSchema,
  gpuMode: z.enum(["on", "off", "devtools"]).default("on").describe("CC mode the GPUs have when the VM starts."),
  qemu: Absolute.default(QEMU_BUILT).describe("QEMU binary; default: the one that TeeUp built."),
  ovmf: Absolute.default(OVMF_BUILT).describe("OVMF image; default: the one beside the built QEMU."),
  ovmfAs: z.enum(["bios", "pflash"]).default("bios").describe("How QEMU gets the image: `-bios`, or a pflash drive."),
  cpus: z.int().min(1).max(512).describe("vCPUs."),
  memoryGiB: z.int().min(2).max(4096).describe("Memory in GiB (seed 001: MEM)."),
  cpuModel: z
    .string()
    .regex(/^[A-Za-z0-9_.,+=-]+$/)
    .default("EPYC-v4")
    .describe("QEMU CPU model."),
  cbitpos: z.int().default(51).describe("C-bit position: 51 on Milan, Genoa and Turin."),
  reducedPhysBits: z.int().default(1).describe("Physical address bits lost to encryption."),
  policy: z
    .string()
    .regex(/^0x[0-9a-f]+$/)
    .optional()
    .describe("SNP guest policy, hex; 0x30000 allows SMT and no debugging. Default: QEMU's own."),
  memfd: z
    .boolean()
    .default(true)
    .describe("Shared memfd memory, which upstream QEMU's SNP needs; the 5.19 tree has none."),
  iommufd: z.boolean().default(false).describe("Hand GPUs over through /dev/iommu."),
  mmio64MiBPerGpu: z.int().min(65536).default(262_144).describe("64-bit MMIO window per GPU in MiB (X-PciMmio64Mb)."),
  sshPort: z
    .int()
    .min(1024)
    .max(65535)
    .default(2222)
    .describe("Port on the host's loopback that leads to the guest's sshd (seed 001: FWDPORT)."),
});
type Want = z.infer<typeof Want>;
type Facts = {
  readonly gpus: Fact<readonly PciDevice[]>;
  readonly unit: Fact<string>;
  readonly active: Fact<string>;
  readonly enabled: Fact<boolean>;
  /** systemd has not read the unit file as it is now. */
  readonly stale: Fact<boolean>;
  /** Arguments of the VM's process, joined by blanks; absent when none runs. */
  readonly process: Fact<string>;
};

function unitFor(want: Want, devices: readonly PciDevice[]): string | undefined {
  const { gpus, absent: gone } = selectGpus(devices, want.gpus);
  if (gpus.length === 0 || gone.length > 0) return undefined;
  const { cbitpos, reducedPhysBits, policy, gpuMode, gpus: _, ...vm } = want;
  return vmUnit({ ...vm, snp: { cbitpos, reducedPhysBits, policy }, gpus: gpus.map((g) => g.bdf) }, gpuMode);
}

const unsureOf = (f: Facts) => firstUnknown(f.gpus, f.unit, f.active, f.enabled, f.stale, f.process);
const flag = (fact: Fact<boolean>): boolean => fact.state === "known" && fact.value;

/** What differs between two argument lists, e.g. `-m 64G → 128G`, for a title. */
function difference(was: string, wanted: string): string {
  const [a, b] = [was.split(" "), wanted.split(" ")];
  const gone = a.filter((w) => !b.includes(w));
  const come = b.filter((w) => !a.includes(w));
  const some = (list: readonly string[]) => `${list.slice(0, 2).join(" ")}${list.length > 2 ? " …" : ""}` || "nothing";
  return `${some(gone)} → ${some(come)}`;
}

export const confidentialVm = facet({
  name: "confidential-vm",
  type: "ConfidentialVm",
  on: "host",
  persona: "host",
  summary: "The confidential VM: QEMU with SEV-SNP and the GPUs, as a systemd unit that outlives reboots.",
  sources: [
    SOURCE,
    NO_REBOOT,
    "QEMU docs/system/i386/amd-memory-encryption.rst",
    "evidence.md, Confidential VM and guests",
  ],
  want: Want,
  asks: {
    lspci: LSPCI,
    unit: { kind: "file", path: VM_UNIT_FILE },
    state: {
      kind: "argv",
      argv: ["systemctl", "show", VM_UNIT, "-p", "ActiveState", "-p", "UnitFileState", "-p", "NeedDaemonReload"],
    },
    process: { kind: "argv", argv: ["pgrep", "-a", "-f", `[${VM_PROCESS[0]}]${VM_PROCESS.slice(1)}`] },
  },
  parse({ lspci, unit, state, process }): Facts {
    const shown = parsed(
      text(state),
      (t) => new Map(t.split("\n").flatMap((l) => (l.includes("=") ? [l.split("=", 2) as [string, string]] : []))),
      "systemctl show",
    );
    const get = (key: string): Fact<string> =>
      shown.state !== "known"
        ? shown.state === "absent"
          ? unknown("no systemctl")
          : shown
        : shown.value.has(key)
          ? known(shown.value.get(key) ?? "")
          : unknown(`systemctl shows no ${key}`);
    const is = (key: string, value: string): Fact<boolean> => {
      const fact = get(key);
      return fact.state === "known" ? known(fact.value === value) : fact;
    };
    const listed = ran(process);
    const lines = listed.state === "known" ? listed.value.stdout.split("\n") : [];
    const qemu = lines.map((l) => l.replace(/^\d+ /, "")).find((l) => /^\S*qemu\S* /.test(l));
    return {
      gpus: parsed(text(lspci), (t) => parseLspci(t)?.filter(isGpu), "lspci"),
      unit: text(unit),
      active: get("ActiveState"),
      enabled: is("UnitFileState", "enabled"),
      stale: is("NeedDaemonReload", "yes"),
      process:
        listed.state !== "known"
          ? listed
          : listed.value.status > 1
            ? unknown(`pgrep exit ${listed.value.status}`)
            : qemu === undefined
              ? absent
              : known(qemu.trim()),
    };
  },
  judge(want, facts) {
    const why = unsureOf(facts);
    const wanted = `a confidential VM with ${want.cpus} vCPUs and ${want.memoryGiB} GiB`;
    if (why !== undefined || facts.gpus.state !== "known")
      return [
        unsure(
          "confidential-vm.unknown",
          wanted,
          why ?? "lspci is not installed",
          `systemctl status ${VM_UNIT}`,
          SOURCE,
        ),
      ];
    const unit = unitFor(want, facts.gpus.value);
    if (unit === undefined)
      return [fail("confidential-vm.no-gpu", wanted, "a wanted GPU is not there", "see gpu-inventory", SOURCE)];
    if (facts.unit.state !== "known")
      return [fail("confidential-vm.absent", wanted, "no VM", "teeup up makes it", SOURCE)];
    const argv = argvOfUnit(unit) ?? "";
    const running = facts.process.state === "known" ? facts.process.value : undefined;
    const active = facts.active.state === "known" ? facts.active.value : "unknown";
    const journal = `journalctl -u ${VM_UNIT} -n 40; the guest's console: ${VM_UNIT.replace(".service", "")}`;
    return [
      facts.unit.value === unit && !flag(facts.stale)
        ? pass("confidential-vm.unit", "the unit as wanted", VM_UNIT, SOURCE)
        : fail(
            "confidential-vm.unit",
            "the unit as wanted",
            flag(facts.stale) ? "systemd has not read it" : difference(argvOfUnit(facts.unit.value) ?? "", argv),
            "teeup up, with permit guest-stop",
            SOURCE,
          ),
      flag(facts.enabled)
        ? pass("confidential-vm.enabled", "started at every boot", "enabled", SOURCE)
        : fail(
            "confidential-vm.enabled",
            "started at every boot",
            "not enabled",
            `systemctl enable ${VM_UNIT}`,
            SOURCE,
          ),
      active !== "active" || running === undefined
        ? fail("confidential-vm.inactive", "a running VM", active, journal, NO_REBOOT)
        : !running.includes("confidential-guest-support=") || !running.includes("sev-snp-guest")
          ? fail(
              "confidential-vm.not-confidential",
              "QEMU with sev-snp-guest",
              "QEMU without it",
              "restart the unit",
              SOURCE,
            )
          : running !== argv
            ? fail(
                "confidential-vm.argv",
                "QEMU started as the unit says",
                difference(running, argv),
                "teeup up restarts it, with permit guest-stop",
                SOURCE,
              )
            : pass("confidential-vm.running", wanted, "running with SEV-SNP", SOURCE),
    ];
  },
  plan(want, facts, context) {
    if (unsureOf(facts) || facts.gpus.state !== "known") return [];
    const unit = unitFor(want, facts.gpus.value);
    if (unit === undefined) return [];
    const argv = argvOfUnit(unit) ?? "";
    const running = facts.process.state === "known" ? facts.process.value : undefined;
    const active = facts.active.state === "known" && facts.active.value === "active" && running !== undefined;
    const written = facts.unit.state === "known" && facts.unit.value === unit;
    const fresh = active && running === argv && written && !flag(facts.stale);
    if (fresh && flag(facts.enabled)) return [];
    const stops = running !== undefined && running !== argv;
    const actions: readonly Action[] = [
      ...(written ? [] : [{ do: "write", path: VM_UNIT_FILE, content: unit } as const]),
      { do: "run", argv: ["systemctl", "daemon-reload"] },
      { do: "run", argv: ["systemctl", "enable", VM_UNIT] },
      ...(active && !stops
        ? []
        : ([
            { do: "run", argv: ["systemctl", "restart", VM_UNIT], timeoutSeconds: 240 },
            { do: "wait-guest", timeoutSeconds: 900 },
          ] as const)),
    ];
    const disruption: Disruption = stops ? "guest-stop" : "none";
    const what = stops
      ? `restart the VM: ${difference(running ?? "", argv)}`
      : active
        ? "keep the VM across reboots"
        : `start a VM with ${want.cpus} vCPUs and ${want.memoryGiB} GiB`;
    return [
      {
        code: stops ? "confidential-vm.restart" : active ? "confidential-vm.define" : "confidential-vm.start",
        title: what,
        why:
          context.guestRunning && stops
            ? "QEMU's arguments change only with a new process"
            : "the guest is a systemd unit, so that it outlives host reboots and its own",
        disruption,
        actions,
      },
    ];
  },
  undo: (_want, facts) =>
    facts.unit.state === "absent" && facts.process.state === "absent"
      ? []
      : unsureOf(facts) === undefined
        ? [
            {
              code: "confidential-vm.remove",
              title: `stop and remove ${VM_UNIT}`,
              why: "TeeUp made it",
              disruption: facts.process.state === "known" ? "guest-stop" : "none",
              actions: [
                {
                  do: "run",
                  argv: ["systemctl", "disable", "--now", VM_UNIT],
                  timeoutSeconds: 240,
                  okStatus: [0, 1, 5],
                },
                { do: "remove", path: VM_UNIT_FILE },
                { do: "run", argv: ["systemctl", "daemon-reload"] },
              ],
            },
          ]
        : [],
  show: ({ active, enabled, process }) => ({
    active: active.state === "known" ? active.value : active.state,
    enabled: flag(enabled),
    confidential: process.state === "known" && process.value.includes("sev-snp-guest"),
  }),
  examples: [],
  covers: [],
});
