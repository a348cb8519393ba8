import type { Answer } from "./ask.ts";
import type { Fact } from "./facts.ts";
import { teeLog } from "./kernel-log.ts";

export const tdxLog = (answer: Answer): Fact<TdxLog> => teeLog(answer, parseTdxLog);

/** What the kernel log says about TDX on a host. Absent lines are undefined or false. */
export interface TdxLog {
  /** Private KeyIDs that the BIOS set aside; one of them is the module's own. */
  readonly keys?: number;
  readonly tooFewKeys: boolean;
  readonly hibernation: boolean;
  /** No TDX module in memory: the SEAM loader did not run. */
  readonly notLoaded: boolean;
  /** KVM found no TDX although the BIOS gave keys. */
  readonly notEnabled: boolean;
  /** Version of the module, e.g. `1.5.698` (major, minor, build) or `2.0.08.00`. */
  readonly module?: string;
  readonly initialized: boolean;
  /** n of `module initialization failed (-n)`. */
  readonly failed?: number;
  /** The kernel's own words before that, without its prefix. */
  readonly reason?: string;
}

/** Lines of `journalctl -o cat` or dmesg, time stamps allowed; older kernels say `tdx:` for `virt/tdx:`. */
export function parseTdxLog(text: string): TdxLog {
  const said = text.split("\n").flatMap((line) => {
    const match = /(?:^|\]\s|\s)(?:virt\/)?tdx: (?:\[firmware bug\]: )?(.*)$/i.exec(line);
    return match?.[1] === undefined ? [] : [match[1].trim()];
  });
  const find = (pattern: RegExp) => said.map((line) => pattern.exec(line)).find((match) => match !== null);
  const keys = find(/^BIOS enabled: private KeyID range \[(\d+), (\d+)\)/i);
  const fields = find(/module: attributes .*major_version (\d+), minor_version (\d+), .*build_num (\d+)/);
  const version = find(/module (?:vers?i?on:? )?(\d+(?:\.\d+)+)/i);
  const failed = find(/^(?:module )?initialization failed \(-(\d+)\)/i);
  const reason = find(/^(SEAMCALL \S+ failed: \S+|.*reserved areas exhausted.*|.*clobber bug.*|.*TDMRs exhausted.*)/i);
  return {
    ...(keys === undefined ? {} : { keys: Number(keys[2]) - Number(keys[1]) }),
    tooFewKeys: find(/too few private KeyIDs/i) !== undefined,
    hibernation: find(/initialization failed: Hibernation support is enabled/i) !== undefined,
    notLoaded: find(/^(?:TDX )?module (?:is )?not loaded/i) !== undefined,
    notEnabled: find(/not enabled by BIOS/i) !== undefined,
    ...(fields !== undefined
      ? { module: fields.slice(1, 4).join(".") }
      : version?.[1] === undefined
        ? {}
        : { module: version[1] }),
    initialized: find(/^(?:TDX )?module initialized/i) !== undefined,
    ...(failed === undefined ? {} : { failed: Number(failed[1]) }),
    ...(reason?.[1] === undefined ? {} : { reason: reason[1] }),
  };
}
