import { z } from "zod";
import type { Answer } from "../kit/ask.ts";
import { ran, text } from "../kit/ask.ts";
import { facet } from "../kit/facet.ts";
import type { Fact } from "../kit/facts.ts";
import { absent, flatMapFact, known, mapFact, showFact, unknown } from "../kit/facts.ts";
import { parsed } from "../kit/findings.ts";
import { GPU_GATES } from "../kit/guest.ts";
import type { BadLine } from "../kit/parse-guest-log.ts";
import { LOG_PATTERN, parseGuestLog } from "../kit/parse-guest-log.ts";
import type { SmiGpu } from "../kit/parse-nvidia-smi.ts";
import { parseCcFeature, parseDevtools, parseMultiGpuMode, parseSmiGpus, SMI_GPUS } from "../kit/parse-nvidia-smi.ts";
import { TEES } from "../kit/qemu-args.ts";
import { guestEvidenceExamples } from "./guest-evidence-examples.ts";
import { GUEST, judgeGuestEvidence, STATE } from "./guest-evidence-judge.ts";

const Want = z.strictObject({
  tee: z.enum(TEES).default("sev-snp").describe("What must keep the guest's memory from its host."),
  gpuMode: z
    .enum(["on", "off", "devtools", "ppcie"])
    .default("on")
    .describe("CC mode the GPUs must show; under ppcie their own CC status is off, and their multi-GPU mode says it."),
  minimumVbios: z
    .string()
    .regex(/^[0-9A-F]{2}(\.[0-9A-F]{2}){4}$/)
    .describe("Lowest VBIOS version, e.g. 96.00.5E.00.00."),
  swiotlbMiB: z
    .int()
    .min(1)
    .optional()
    .describe("MiB of bounce buffers that the command line asked for and that must be mapped; default: any."),
  gpus: z.int().min(1).max(16).optional().describe("How many GPUs the guest must have; default: as many as PCI shows."),
});
export type GuestEvidenceWant = z.output<typeof Want>;

export interface GuestEvidenceFacts {
  readonly snp: Fact<boolean>;
  /** /dev/sev-guest. */
  readonly device: Fact<boolean>;
  readonly vmpl: Fact<string>;
  readonly tdx: Fact<boolean>;
  /** The processor's flag `tdx_guest`. */
  readonly tdxFlag: Fact<boolean>;
  /** /dev/tdx_guest. */
  readonly tdxDevice: Fact<boolean>;
  /** SHA-384 of the TD as it was built, in hex; kernels from 6.16 show it. */
  readonly mrtd: Fact<string>;
  readonly swiotlbMiB: Fact<number>;
  /** Each kind of bad kernel line of this boot, once. */
  readonly bad: Fact<readonly BadLine[]>;
  readonly cc: Fact<"on" | "off">;
  readonly devtools: Fact<"on" | "off">;
  /** `None`, `Protected PCIe`, … */
  readonly multiGpu: Fact<string>;
  readonly gpus: Fact<readonly SmiGpu[]>;
}

/** Absent before kernel 6.16, and where there is no TD. */
const mrtdOf = (answer: Answer): Fact<string> =>
  flatMapFact(ran(answer), ({ status, stdout, stderr }): Fact<string> => {
    const hex = stdout.replace(/\s+/g, "");
    if (status !== 0) return /No such file/.test(stderr) ? absent : unknown(`od: ${stderr.trim()}`);
    return /^[0-9a-f]{96}$/.test(hex) ? known(hex) : unknown("the measurement is not 48 bytes");
  });
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
  summary:
    "Evidence inside the guest: SEV-SNP or TDX active, CC mode of the GPUs, VBIOS, and no complaint in the kernel log.",
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
    tdxFlag: { kind: "argv", argv: ["grep", "-m1", "-qw", "tdx_guest", "/proc/cpuinfo"] },
    tdxDevice: { kind: "argv", argv: ["test", "-c", "/dev/tdx_guest"] },
    // 48 bytes, so no text.
    mrtd: { kind: "argv", argv: ["od", "-An", "-v", "-tx1", "/sys/class/misc/tdx_guest/measurements/mrtd:sha384"] },
    cc: smi("conf-compute", "-f"),
    multiGpu: smi("conf-compute", "-mgm"),
    devtools: smi("conf-compute", "-d"),
    gpus: smi(...SMI_GPUS.slice(1)),
  },
  parse(a): GuestEvidenceFacts {
    // journalctl exits 1 when no line matches.
    const log = mapFact(ran(a.log), (r) => parseGuestLog(r.stdout));
    return {
      snp: mapFact(log, (l) => l.snp),
      device: exists(a.device),
      vmpl: mapFact(text(a.vmpl), (t) => t.trim()),
      tdx: mapFact(log, (l) => l.tdx),
      tdxFlag: exists(a.tdxFlag),
      tdxDevice: exists(a.tdxDevice),
      mrtd: mrtdOf(a.mrtd),
      swiotlbMiB: mapFact(log, (l) => l.swiotlbMiB ?? 0),
      bad: mapFact(log, (l) => l.bad),
      cc: parsed(text(a.cc), parseCcFeature, "nvidia-smi conf-compute -f"),
      multiGpu: parsed(text(a.multiGpu), parseMultiGpuMode, "nvidia-smi conf-compute -mgm"),
      devtools: parsed(text(a.devtools), parseDevtools, "nvidia-smi conf-compute -d"),
      gpus: parsed(text(a.gpus), parseSmiGpus, "nvidia-smi --query-gpu"),
    };
  },
  judge: judgeGuestEvidence,
  show: ({ snp, tdx, mrtd, multiGpu, cc, devtools, gpus }) => ({
    ...(tdx.state === "known" && tdx.value
      ? { tdx: true, mrtd: showFact(mrtd), multiGpu: showFact(multiGpu) }
      : { snp: showFact(snp) }),
    cc: showFact(cc),
    devtools: showFact(devtools),
    gpus: showFact(gpus, (list) => [...new Set(list.map((g) => `${g.name} ${g.vbios}`))].join(", ")),
  }),
  examples: guestEvidenceExamples,
  covers: [
    ...["002-56", "002-57", "002-58", "002-60", "002-62", "003-10", "003-11", "003-12"],
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
