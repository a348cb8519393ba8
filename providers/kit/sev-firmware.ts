import { z } from "zod";
import type { Answers, Asks } from "./ask.ts";
import { collected, isThere, text } from "./ask.ts";
import type { Fact } from "./facts.ts";
import { mapFact } from "./facts.ts";
import { STAGED_DIR } from "./host.ts";
import { TEE_LOG } from "./kernel-log.ts";
import { parseSha256sum } from "./parse-packages.ts";
import { snpLog } from "./parse-snp-log.ts";

const Sha256 = z.string().regex(/^[0-9a-f]{64}$/, "64 hex digits");

export const SevFirmwareSchema = z.strictObject({
  minimumApi: z
    .string()
    .regex(/^\d+\.\d+$/)
    .describe("Lowest SEV-SNP API version, decimal: firmware file 1.33.03 is API 1.51."),
  file: z
    .strictObject({
      url: z.url({ protocol: /^https?$/ }).describe("Zip archive."),
      sha256: Sha256,
      member: z
        .string()
        .regex(/^[\w.][\w./-]*\.sbin$/)
        .describe("File inside the archive."),
      memberSha256: Sha256,
      path: z
        .string()
        .regex(/^\/lib\/firmware\/amd\/[\w.-]+\.sbin$/)
        .describe("Where the kernel looks for it."),
    })
    .optional()
    .describe("Put this firmware file in place; without it only the version is checked."),
});
export type SevFirmwareWant = z.output<typeof SevFirmwareSchema>;

export interface SevFirmwareFacts {
  /** Firmware files → sha256. */
  readonly files: Fact<Readonly<Record<string, string>>>;
  /** Put in place since the last boot. */
  readonly staged: Fact<boolean>;
  /** Firmware files that the kernel looks for on this processor, e.g. `amd_sev_fam19h_model1xh.sbin`. */
  readonly names: Fact<readonly string[]>;
  /** API versions `major.minor.build` that the kernel log names; absent when it names none. */
  readonly api: Fact<{ readonly sev?: string; readonly snp?: string }>;
}

export const SEV_FIRMWARE_STAGED = `${STAGED_DIR}/sev-firmware`;

export const SEV_FIRMWARE_ASKS = {
  files: {
    kind: "argv",
    argv: ["find", "/lib/firmware/amd", "-maxdepth", "1", "-name", "amd_sev_*", "-exec", "sha256sum", "{}", "+"],
  },
  staged: { kind: "file", path: SEV_FIRMWARE_STAGED },
  processor: { kind: "argv", argv: ["grep", "-m", "2", "-E", "^(cpu family|model)[[:space:]]*:", "/proc/cpuinfo"] },
  log: TEE_LOG,
} as const satisfies Asks;

/** What the firmware replaced, so that delete can put it back. */
export const ORIGINAL = ".teeup-original";

export function parseSevFirmware(answers: Answers<typeof SEV_FIRMWARE_ASKS>): SevFirmwareFacts {
  const log = snpLog(answers.log);
  return {
    files: mapFact(collected(answers.files), (stdout) => parseSha256sum(stdout)),
    staged: isThere(answers.staged),
    names: mapFact(text(answers.processor), firmwareNames),
    api: mapFact(log, ({ sevApi, snpApi }) => ({
      ...(sevApi === undefined ? {} : { sev: sevApi }),
      ...(snpApi === undefined ? {} : { snp: snpApi }),
    })),
  };
}

/** The kernel tries the exact model first, then its group of sixteen: family 25, model 17 is `fam19h_model11h`, `…1xh`. */
function firmwareNames(text: string): string[] {
  const field = (name: string) => Number(new RegExp(`^${name}\\s*:\\s*(\\d+)`, "m").exec(text)?.[1] ?? 0);
  const [family, model] = [field("cpu family").toString(16), field("model").toString(16).padStart(2, "0")];
  return [model, `${model.slice(0, -1)}x`].map((m) => `amd_sev_fam${family}h_model${m}h.sbin`);
}
