/** Kinds of kernel lines in a guest that mean trouble, with what to do about each. */
export const BAD_LINES = {
  "swiotlb-full": {
    pattern: /swiotlb buffer is full/,
    want: "bounce buffers that suffice",
    hint: "give the guest a larger swiotlb= on its command line (slots of 2 KiB; keep it below 1 GiB)",
    source: "NVIDIA/nvtrust#19; AMDESE/AMDSEV#281",
  },
  "lkca-stubs": {
    pattern: /libspdm expects LKCA but found stubs/,
    want: "the driver finds the kernel's crypto",
    hint: "see lkca",
    source: "NVIDIA/open-gpu-kernel-modules#893",
  },
  "mmio-window": {
    pattern: /BAR\d+ is 0M @ 0x0|BAR \d+.*(no space for|failed to assign|can't assign)/,
    want: "an MMIO window that takes the GPU's BARs",
    hint: "raise mmio64MiBPerGpu of the confidential VM",
    source: "NVIDIA/nvtrust#56",
  },
  "spdm-session": {
    pattern: /Failed to establish session|refuses a second session/,
    want: "an SPDM session with every GPU",
    hint: "something used the GPU before nvidia-persistenced: restart the guest, and let nothing start before it",
    source: "seed 001, Persistence Mode; seeds 002 and 003",
  },
  "gpu-init": {
    pattern: /RmInitAdapter failed!/,
    want: "the driver initialises every GPU",
    hint: "look at the line before it in the kernel log; restart the guest once the cause is removed",
    source: "docs/sources.md, Confidential VM and guests",
  },
} as const;
export type BadKind = keyof typeof BAD_LINES;

export interface BadLine {
  readonly kind: BadKind;
  /** The first such line, without times and at most 160 characters. */
  readonly text: string;
}

/** For `journalctl --grep`: everything that {@link parseGuestLog} reads. */
export const LOG_PATTERN =
  "Memory Encryption Features active|tdx: Guest detected|software IO TLB: mapped|swiotlb buffer is full|libspdm expects LKCA|RmInitAdapter failed|" +
  "BAR[ 0-9]+.*(is 0M @ 0x0|no space for|failed to assign|can't assign)|Failed to establish session|refuses a second session";

/** Reads the guest's kernel log of this boot. */
export function parseGuestLog(text: string): {
  readonly snp: boolean;
  readonly tdx: boolean;
  /** Size of the bounce buffers; undefined when no line says. */
  readonly swiotlbMiB: number | undefined;
  readonly bad: readonly BadLine[];
} {
  const lines = text.split("\n");
  const mapped = lines.flatMap((l) => /software IO TLB: mapped \[mem .*\] \((\d+)MB\)/.exec(l)?.[1] ?? []).map(Number);
  const bad = (Object.keys(BAD_LINES) as BadKind[]).flatMap((kind): BadLine[] => {
    const line = lines.find((l) => BAD_LINES[kind].pattern.test(l));
    return line === undefined ? [] : [{ kind, text: line.trim().slice(0, 160) }];
  });
  return {
    snp: lines.some((l) => /Memory Encryption Features active:.*\bSEV-SNP\b/.test(l)),
    tdx: lines.some((l) => /\btdx: Guest detected\b/.test(l)),
    swiotlbMiB: mapped.at(-1),
    bad,
  };
}
