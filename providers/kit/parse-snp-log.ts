import type { Answer } from "./ask.ts";
import type { Fact } from "./facts.ts";
import { teeLog } from "./kernel-log.ts";

export const snpLog = (answer: Answer): Fact<SnpLog> => teeLog(answer, parseSnpLog);

/** What the kernel log says about SEV-SNP, whatever the wording of the kernel's age. Absent lines are undefined. */
export interface SnpLog {
  /** RMP table range, `0x…-0x…`. */
  readonly rmp?: string;
  readonly rmpNotReserved: boolean;
  /** The RMP does not cover all memory: `expected …, got …`. */
  readonly rmpPartial?: string;
  readonly iommuSnp: boolean;
  readonly iommuPassthrough: boolean;
  /** `major.minor` and build of the SEV and the SEV-SNP API. */
  readonly sevApi?: string;
  readonly snpApi?: string;
  readonly firmwareUpdated: boolean;
  /** The kernel's own words: which firmware it asks for. */
  readonly firmwareTooOld?: string;
  readonly initFailed?: string;
  /** Number of ASIDs for SEV guests, and for SEV-ES and SNP guests. */
  readonly sevAsids?: number;
  readonly snpAsids?: number;
  /** KVM itself said that SNP guests can run (kernels from 6.9 on say so; the 5.19 tree does not). */
  readonly kvmEnabled?: boolean;
}

/** Lines of `journalctl -o cat` or dmesg, time stamps allowed. */
export function parseSnpLog(text: string): SnpLog {
  const find = (pattern: RegExp): RegExpExecArray | undefined => {
    for (const line of text.split("\n")) {
      const match = pattern.exec(line);
      if (match !== null) return match;
    }
    return undefined;
  };
  // 5.19: "physical address A - B"; from 6.9: "physical range [A - B]".
  const rmp = find(/SEV-SNP: RMP table physical (?:range|address) \[?(0x[0-9a-f]+)(?:\s*-\s*)(0x[0-9a-f]+)/i);
  const partial = find(/RMP table does not cover (?:full|all).*?expected (0x[0-9a-f]+).*?got (0x[0-9a-f]+)/i);
  const sevApi = find(/\bSEV API:(\d+\.\d+)(?: build:(\d+))?/);
  const snpApi = find(/\bSEV-SNP API:(\d+\.\d+)(?: build:(\d+))?/);
  const old = find(/support requires firmware version (?:>=|later than) ?(\d+[:.]\d+)/i);
  const failed = find(/SEV(?:-SNP)?: (failed to INIT.*)$/i);
  // 5.19: "SEV supported: N ASIDs"; from 6.9: "SEV enabled (ASIDs A - B)", or "disabled"/"unusable".
  const oldSev = find(/\bSEV supported: (\d+) ASIDs/);
  const oldSnp = find(/\bSEV-ES(?: and SEV-SNP)? supported: (\d+) ASIDs/);
  const newSev = find(/\bSEV (?:enabled|unusable) \(ASIDs (\d+) - (\d+)\)/);
  const newSnp = find(/\bSEV-SNP (enabled|disabled|unusable)(?: \(ASIDs (\d+) - (\d+)\))?/);
  const span = (m: RegExpExecArray | undefined, at: number) =>
    m?.[at] === undefined || m[at + 1] === undefined ? undefined : Math.max(0, Number(m[at + 1]) - Number(m[at]) + 1);
  const build = (m: RegExpExecArray) => (m[2] === undefined ? `${m[1]}` : `${m[1]}.${m[2]}`);
  return omitUndefined({
    rmp: rmp === undefined ? undefined : `${rmp[1]}-${rmp[2]}`,
    rmpNotReserved: find(/RMP table has not been reserved by BIOS/i) !== undefined,
    rmpPartial: partial === undefined ? undefined : `expected ${partial[1]}, got ${partial[2]}`,
    iommuSnp: find(/AMD-Vi: IOMMU SNP support enabled/) !== undefined,
    iommuPassthrough: find(/IOMMU (?:is )?(?:either )?disabled or configured in passthrough mode/i) !== undefined,
    sevApi: sevApi === undefined ? undefined : build(sevApi),
    snpApi: snpApi === undefined ? undefined : build(snpApi),
    firmwareUpdated: find(/SEV firmware update successful/) !== undefined,
    firmwareTooOld: old?.[1]?.replace(":", "."),
    initFailed: failed?.[1]?.trim(),
    sevAsids: oldSev === undefined ? span(newSev, 1) : Number(oldSev[1]),
    snpAsids: oldSnp === undefined ? (newSnp?.[1] === "enabled" ? span(newSnp, 2) : undefined) : Number(oldSnp[1]),
    kvmEnabled: newSnp === undefined ? undefined : newSnp[1] === "enabled",
  });
}

function omitUndefined<T extends object>(value: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(value).filter(([, v]) => v !== undefined)) as {
    [K in keyof T]: Exclude<T[K], undefined>;
  };
}

/** Lines of `snphost ok`: `[ PASS ] - name`, indented by depth. */
export interface SnphostLine {
  readonly result: "PASS" | "FAIL" | "SKIP";
  readonly name: string;
}

export function parseSnphostOk(text: string): SnphostLine[] {
  // The tool colours its output even when nobody reads it.
  const esc = String.fromCharCode(27);
  const plain = text.replaceAll(new RegExp(`${esc}\\[[0-9;]*m`, "g"), "");
  return plain.split("\n").flatMap((line) => {
    // Blanks at the ends are no part of the expression: with thousands of them it would not come to an end.
    const match = /^\[\s*(PASS|FAIL|SKIP)\s*\]\s*(?:[-–]\s*)?(\S.*)$/is.exec(line.trim());
    if (match?.[1] === undefined || match[2] === undefined) return [];
    return [{ result: match[1].toUpperCase() as SnphostLine["result"], name: match[2] }];
  });
}
