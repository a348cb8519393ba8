import { z } from "zod";
import type { Answer } from "../kit/ask.ts";
import { failed, missing, ok, ran, text } from "../kit/ask.ts";
import { example } from "../kit/example.ts";
import { facet } from "../kit/facet.ts";
import type { Fact } from "../kit/facts.ts";
import { known, mapFact, showFact } from "../kit/facts.ts";
import { parsed } from "../kit/findings.ts";
import { GPU_GATES, NO_MACHINE } from "../kit/guest.ts";
import { judgeFact } from "../kit/judge.ts";
import type { BadLine } from "../kit/parse-guest-log.ts";
import { BAD_LINES, LOG_PATTERN, parseGuestLog } from "../kit/parse-guest-log.ts";
import type { SmiGpu } from "../kit/parse-nvidia-smi.ts";
import { compareVbios, parseCcFeature, parseDevtools, parseSmiGpus, SMI_GPUS } from "../kit/parse-nvidia-smi.ts";

const STATE = "seed 001, Validating State and Versions";
const GUEST = "Linux Documentation/arch/x86/amd-memory-encryption.rst; evidence.md, Confidential VM and guests";

const Want = z.strictObject({
  gpuMode: z.enum(["on", "off", "devtools"]).default("on").describe("CC mode the GPUs must show."),
  minimumVbios: z
    .string()
    .regex(/^[0-9A-F]{2}(\.[0-9A-F]{2}){4}$/)
    .describe("Lowest VBIOS version, e.g. 96.00.5E.00.00."),
  gpus: z.int().min(1).max(16).optional().describe("How many GPUs the guest must have; default: as many as PCI shows."),
});
type Want = z.output<typeof Want>;
type Facts = {
  readonly snp: Fact<boolean>;
  readonly device: Fact<boolean>;
  readonly vmpl: Fact<string>;
  readonly swiotlbMiB: Fact<number>;
  /** Each kind of bad kernel line of this boot, once. */
  readonly bad: Fact<readonly BadLine[]>;
  readonly cc: Fact<"on" | "off">;
  readonly devtools: Fact<"on" | "off">;
  readonly gpus: Fact<readonly SmiGpu[]>;
};

const exists = (answer: Answer): Fact<boolean> => mapFact(ran(answer), (r) => r.status === 0);
const smi = (...args: string[]) =>
  ({
    kind: "argv",
    argv: ["nvidia-smi", ...args] as [string, ...string[]],
    gates: GPU_GATES,
    timeoutSeconds: 60,
  }) as const;

/** What the guest itself shows: it is encrypted, and so is the way to its GPUs. */
export const guestEvidence = facet({
  name: "guest-evidence",
  type: "GuestEvidence",
  on: "guest",
  persona: "vm-admin",
  summary: "Evidence inside the guest: SEV-SNP active, CC mode of the GPUs, VBIOS, and no complaint in the kernel log.",
  sources: [STATE, GUEST],
  want: Want,
  asks: {
    log: {
      kind: "argv",
      argv: ["journalctl", "-k", "-b", "-o", "cat", "--no-pager", `--grep=${LOG_PATTERN}`],
      maxBytes: 1_048_576,
    },
    device: { kind: "argv", argv: ["test", "-c", "/dev/sev-guest"] },
    vmpl: { kind: "file", path: "/sys/devices/system/cpu/sev/vmpl" },
    cc: smi("conf-compute", "-f"),
    devtools: smi("conf-compute", "-d"),
    gpus: smi(...SMI_GPUS.slice(1)),
  },
  parse(a): Facts {
    // journalctl exits 1 when no line matches.
    const log = mapFact(ran(a.log), (r) => parseGuestLog(r.stdout));
    return {
      snp: mapFact(log, (l) => l.snp),
      device: exists(a.device),
      vmpl: mapFact(text(a.vmpl), (t) => t.trim()),
      swiotlbMiB: mapFact(log, (l) => l.swiotlbMiB ?? 0),
      bad: mapFact(log, (l) => l.bad),
      cc: parsed(text(a.cc), parseCcFeature, "nvidia-smi conf-compute -f"),
      devtools: parsed(text(a.devtools), parseDevtools, "nvidia-smi conf-compute -d"),
      gpus: parsed(text(a.gpus), parseSmiGpus, "nvidia-smi --query-gpu"),
    };
  },
  judge(want, facts) {
    const mode = facts.devtools.state === "known" && facts.devtools.value === "on" ? "devtools" : undefined;
    const wantCc = want.gpuMode === "off" ? "off" : "on";
    const absentGuest = "is the VM started with sev-snp-guest? See confidential-vm";
    return [
      judgeFact(facts.snp, {
        code: "guest-evidence.snp",
        want: "Memory Encryption Features active: … SEV-SNP",
        hint: absentGuest,
        source: GUEST,
        good: (y) => y,
        show: (y) => (y ? "active" : "no such line in the kernel log"),
      }),
      judgeFact(facts.device, {
        code: "guest-evidence.sev-guest",
        want: "/dev/sev-guest",
        hint: "modprobe sev-guest; the guest cannot get its report without it",
        source: GUEST,
        good: (y) => y,
        show: (y) => (y ? "there" : "not there"),
      }),
      // Kernels before 6.11 do not have the file: then nothing is said.
      ...(facts.vmpl.state === "absent"
        ? []
        : [
            judgeFact(facts.vmpl, {
              code: "guest-evidence.vmpl",
              want: "a VM privilege level of 0 to 3",
              hint: absentGuest,
              source: GUEST,
              good: (v) => /^[0-3]$/.test(v),
            }),
          ]),
      judgeFact(facts.swiotlbMiB, {
        code: "guest-evidence.swiotlb",
        want: "bounce buffers (software IO TLB)",
        hint: "take swiotlb=noforce off the guest's command line",
        source: "NVIDIA/nvtrust#19",
        good: (m) => m > 0,
        show: (m) => (m > 0 ? `${m} MiB` : "none mapped"),
        level: "warn",
      }),
      ...(facts.bad.state === "known" ? facts.bad.value : []).map((line) => {
        const { want: wanted, hint, source } = BAD_LINES[line.kind];
        return judgeFact(known(line.text), {
          code: `guest-evidence.${line.kind}`,
          want: wanted,
          hint,
          source,
          good: () => false,
        });
      }),
      judgeFact(facts.cc, {
        code: "guest-evidence.cc",
        want: `CC status: ${wantCc.toUpperCase()}`,
        hint: "see gpu-cc-mode on the host",
        source: STATE,
        good: (cc) => cc === wantCc,
      }),
      judgeFact(facts.devtools, {
        code: "guest-evidence.devtools",
        want: `DevTools Mode: ${want.gpuMode === "devtools" ? "ON" : "OFF"}`,
        hint: "devtools mode opens the GPU to profiling: set the CC mode to on",
        source: "seed 001, Configuring the GPU (its example sets devtools); 002: DevTools Mode: OFF",
        good: () => (mode === "devtools") === (want.gpuMode === "devtools"),
      }),
      ...(facts.gpus.state === "known" &&
      facts.gpus.value.length > 0 &&
      (want.gpus === undefined || facts.gpus.value.length === want.gpus)
        ? facts.gpus.value.map((gpu) =>
            judgeFact(known(gpu), {
              code: "guest-evidence.vbios",
              want: `VBIOS ≥ ${want.minimumVbios} at ${gpu.bdf}`,
              hint: "ask NVIDIA or the server's vendor for the update: there is no self-service one",
              source: `${STATE}; seed 000, NVIDIA Firmware`,
              good: (g) => (compareVbios(g.vbios, want.minimumVbios) ?? -1) >= 0,
              show: (g) => g.vbios,
            }),
          )
        : [
            judgeFact(facts.gpus, {
              code: "guest-evidence.gpus",
              want: want.gpus === undefined ? "a GPU" : `${want.gpus} GPUs`,
              hint: "see vfio-binding and confidential-vm on the host, nvidia-driver in the guest",
              source: "seed 001, Setting up the NVIDIA Driver",
              good: () => false,
              show: (list) => `${list.length} GPUs`,
            }),
          ]),
    ];
  },
  show: ({ snp, cc, devtools, gpus }) => ({
    snp: showFact(snp),
    cc: showFact(cc),
    devtools: showFact(devtools),
    gpus: showFact(gpus, (list) => [...new Set(list.map((g) => `${g.name} ${g.vbios}`))].join(", ")),
  }),
  examples: [],
  covers: [
    "000-21",
    "000-22",
    "001-VM-01",
    "001-VM-03",
    "001-VM-24",
    "001-VM-25",
    "001-VM-26",
    "001-USER-01",
    "001-USER-11",
  ],
});
