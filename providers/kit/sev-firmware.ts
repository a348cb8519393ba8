import { z } from "zod";
import type { Answers, Asks } from "./ask.ts";
import { ran } from "./ask.ts";
import type { Fact } from "./facts.ts";
import { mapFact } from "./facts.ts";
import { SNP_LOG } from "./host.ts";
import { parseSha256sum } from "./parse-packages.ts";
import { parseSnpLog } from "./parse-snp-log.ts";

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
  /** API versions `major.minor.build` that the kernel log names; absent when it names none. */
  readonly api: Fact<{ readonly sev?: string; readonly snp?: string }>;
}

export const SEV_FIRMWARE_ASKS = {
  files: {
    kind: "argv",
    argv: ["find", "/lib/firmware/amd", "-maxdepth", "1", "-name", "amd_sev_*", "-exec", "sha256sum", "{}", "+"],
  },
  log: SNP_LOG,
} as const satisfies Asks;

/** What the firmware replaced, so that delete can put it back. */
export const ORIGINAL = ".teeup-original";

export function parseSevFirmware(answers: Answers<typeof SEV_FIRMWARE_ASKS>): SevFirmwareFacts {
  const log = mapFact(ran(answers.log), ({ stdout }) => parseSnpLog(stdout));
  return {
    // find exits 1 when the folder is missing.
    files: mapFact(ran(answers.files), ({ stdout }) => parseSha256sum(stdout)),
    api: mapFact(log, ({ sevApi, snpApi }) => ({
      ...(sevApi === undefined ? {} : { sev: sevApi }),
      ...(snpApi === undefined ? {} : { snp: snpApi }),
    })),
  };
}
