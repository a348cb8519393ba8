import { z } from "zod";
import type { Answer } from "../kit/ask.ts";
import { ran, text } from "../kit/ask.ts";
import { facet } from "../kit/facet.ts";
import type { Fact } from "../kit/facts.ts";
import { mapFact, showFact } from "../kit/facts.ts";
import { parsed } from "../kit/findings.ts";
import { GPU_GATES } from "../kit/guest.ts";
import type { BadLine } from "../kit/parse-guest-log.ts";
import { LOG_PATTERN, parseGuestLog } from "../kit/parse-guest-log.ts";
import type { SmiGpu } from "../kit/parse-nvidia-smi.ts";
import { parseCcFeature, parseDevtools, parseSmiGpus, SMI_GPUS } from "../kit/parse-nvidia-smi.ts";
import { guestEvidenceExamples } from "./guest-evidence-examples.ts";
import { GUEST, judgeGuestEvidence, STATE } from "./guest-evidence-judge.ts";

const Want = z.strictObject({
  gpuMode: z.enum(["on", "off", "devtools"]).default("on").describe("CC mode the GPUs must show."),
  minimumVbios: z
    .string()
    .regex(/^[0-9A-F]{2}(\.[0-9A-F]{2}){4}$/)
    .describe("Lowest VBIOS version, e.g. 96.00.5E.00.00."),
  gpus: z.int().min(1).max(16).optional().describe("How many GPUs the guest must have; default: as many as PCI shows."),
});
export type GuestEvidenceWant = z.output<typeof Want>;

export interface GuestEvidenceFacts {
  readonly snp: Fact<boolean>;
  readonly device: Fact<boolean>;
  readonly vmpl: Fact<string>;
  readonly swiotlbMiB: Fact<number>;
  /** Each kind of bad kernel line of this boot, once. */
  readonly bad: Fact<readonly BadLine[]>;
  readonly cc: Fact<"on" | "off">;
  readonly devtools: Fact<"on" | "off">;
  readonly gpus: Fact<readonly SmiGpu[]>;
}

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
  parse(a): GuestEvidenceFacts {
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
  judge: judgeGuestEvidence,
  show: ({ snp, cc, devtools, gpus }) => ({
    snp: showFact(snp),
    cc: showFact(cc),
    devtools: showFact(devtools),
    gpus: showFact(gpus, (list) => [...new Set(list.map((g) => `${g.name} ${g.vbios}`))].join(", ")),
  }),
  examples: guestEvidenceExamples,
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
