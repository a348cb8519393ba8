import { z } from "zod";
import type { Finding } from "../kit/facet.ts";
import type { Fact } from "../kit/facts.ts";
import { valueIfKnown } from "../kit/facts.ts";
import { findingsOf } from "../kit/findings.ts";
import { compareVersions } from "../kit/parse-packages.ts";
import type { TdxLog } from "../kit/parse-tdx-log.ts";

export const VERIFY = "canonical/tdx README, Verify Intel TDX is Enabled on Host OS";
const KERNEL = "Linux, arch/x86/virt/vmx/tdx/tdx.c";
const { pass, fail, unsure } = findingsOf("tdx-ready", VERIFY);
const MODULE = "update the BIOS or the TDX module, /boot/efi/EFI/TDX/TDX-SEAM.so (Intel TDX Enabling Guide)";
export const BIOS = "set the BIOS as the bios checklist says (TME, TME-MT, TDX, SEAM Loader, key split), then restart";

export const TdxReadySchema = z.strictObject({
  minimumModule: z
    .string()
    .regex(/^\d+\.\d+(\.\d+)?$/)
    .optional()
    .describe("Lowest version of the TDX module; default: whatever initialises."),
  minimumTds: z.int().min(1).default(1).describe("How many TDs must be able to run at once."),
});
export type TdxReadyWant = z.output<typeof TdxReadySchema>;

export interface TdxReadyFacts {
  readonly kernel: Fact<string>;
  readonly log: Fact<TdxLog>;
  /** `kvm_intel.<name>` → value. */
  readonly parameters: Fact<Readonly<Record<string, string>>>;
  /** The flag tdx_host_platform of /proc/cpuinfo: the kernel itself found a TDX platform (kernels from 6.8 on). */
  readonly platform: Fact<boolean>;
}

/** What `module initialization failed (-n)` means: code, what to do, where that is written. */
const CODES: Readonly<Record<number, readonly [what: string, hint: string, source: string]>> = {
  5: [
    "module-old",
    `the module refuses what this kernel asks of it, mostly since it is too old: ${MODULE}`,
    "canonical/tdx#331",
  ],
  12: ["no-memory", "free memory for the PAMT (1/256 of all memory), then restart", KERNEL],
  19: ["module-missing", `no TDX module is in memory: SEAM Loader on in the BIOS; else ${MODULE}`, KERNEL],
  22: ["module-rbp", `the module clobbers the frame pointer: ${MODULE}`, KERNEL],
  28: [
    "areas-exhausted",
    "the memory map has more holes than the module takes: a newer kernel or BIOS; in the BIOS, do not exclude memory below 1 MB from the CMRs",
    "canonical/tdx#415, #135",
  ],
};

const initialised = "the kernel initialised the TDX module";

/** What upstream's kernels initialise at all: they read the module's fields as only modules from here on can be read. */
const READABLE = "1.5";
const UPSTREAM = "6.16";
const METADATA = "Linux, arch/x86/virt/vmx/tdx/tdx_global_metadata.c (TDH.SYS.RD); canonical/tdx#331";

/** The version of a module that was initialised, against the lowest that is wanted. Kernels before 7.1 do not name it. */
function versionFindings({ module }: TdxLog, kernel: Fact<string>, minimum: string | undefined): Finding[] {
  if (minimum === undefined) return [];
  const want = `TDX module ${minimum} or later`;
  if (module !== undefined)
    return [
      compareVersions(module, minimum) < 0
        ? fail("module-version", want, module, MODULE)
        : pass("module-version", want, module),
    ];
  const release = valueIfKnown(kernel);
  const upstream = release !== undefined && compareVersions(release, UPSTREAM) >= 0;
  if (upstream && compareVersions(READABLE, minimum) >= 0)
    return [pass("module-version", want, `kernel ${release} initialises none before ${READABLE}`, METADATA)];
  const hint = "kernels from 7.1 on name it: journalctl -k -b --grep 'module version'; else leave minimumModule out";
  return [unsure("module-version", want, `kernel ${release ?? "unknown"} does not name the module's version`, hint)];
}

function moduleFindings(log: TdxLog, kernel: Fact<string>, minimum: string | undefined): Finding[] {
  if (log.initialized)
    return [
      pass("module", initialised, `module initialized${log.module === undefined ? "" : `, version ${log.module}`}`),
      ...versionFindings(log, kernel, minimum),
    ];
  if (log.failed === undefined) {
    if (log.notLoaded || log.notEnabled) {
      const saw = log.notLoaded ? "module not loaded" : "TDX not enabled by BIOS";
      return [fail("module-missing", initialised, saw, `SEAM Loader and TDX on in the BIOS; else ${MODULE}`, KERNEL)];
    }
    const hint = "kvm_intel.tdx=1 on the command line, then restart; or load it: modprobe kvm_intel tdx=1";
    return [fail("module", initialised, "the kernel log does not say so", hint)];
  }
  const [what, hint, source] = CODES[log.failed] ?? [
    "module-failed",
    `errno ${log.failed}; journalctl -k -b --grep tdx`,
    KERNEL,
  ];
  const more = [log.reason, log.module === undefined ? undefined : `module ${log.module}`].filter(
    (s) => s !== undefined,
  );
  return [
    fail(
      what,
      initialised,
      `module initialization failed (-${log.failed})${more.map((m) => `; ${m}`).join("")}`,
      hint,
      source,
    ),
  ];
}

/** Findings from the kernel log; every known cause has its own code. */
export function logFindings(want: TdxReadyWant, facts: TdxReadyFacts): Finding[] {
  if (facts.log.state !== "known") {
    const why = facts.log.state === "unknown" ? facts.log.why : "journalctl is not installed";
    return [unsure("log", "the kernel log of this boot", why, "journalctl -k -b")];
  }
  const log = facts.log.value;
  const wanted = `private KeyIDs from the BIOS, for the module and ${want.minimumTds} ${want.minimumTds === 1 ? "TD" : "TDs"}`;
  const enough = log.keys !== undefined && !log.tooFewKeys && log.keys > want.minimumTds;
  return [
    enough
      ? pass("keys", wanted, `${log.keys} KeyIDs`)
      : log.keys === undefined
        ? fail("keys", wanted, "no private KeyID range in the kernel log", BIOS, VERIFY)
        : fail("keys-few", wanted, `${log.keys} KeyIDs`, "a higher TME-MT/TDX key split in the BIOS", KERNEL),
    ...(log.hibernation
      ? [
          fail(
            "hibernation",
            "hibernation is off, which TDX does not survive",
            "initialization failed: Hibernation support is enabled",
            "nohibernate on the command line (kernel-cmdline), then restart",
            KERNEL,
          ),
        ]
      : []),
    ...moduleFindings(log, facts.kernel, want.minimumModule),
  ];
}

const CAUSES = [
  "keys",
  "keys-few",
  "hibernation",
  "module-missing",
  ...Object.values(CODES).map(([what]) => what),
  "module-failed",
];

/** Where the kernel says why TDX did not start, the findings without what only follows from that. */
export function withoutConsequences(findings: readonly Finding[], facts: TdxReadyFacts): Finding[] {
  const failing = (what: string) => findings.some((f) => f.code === `tdx-ready.${what}` && f.level === "fail");
  const causes = CAUSES.filter(failing);
  if (causes.length === 0) return [...findings];
  const follows = ["parameters", "platform", "module"];
  // Without keys, or with hibernation, KVM finds no TDX: it says so in the words of a missing module.
  const first = causes.some((c) => ["keys", "keys-few", "hibernation"].includes(c));
  if (first && valueIfKnown(facts.log)?.failed === undefined) follows.push("module-missing");
  return findings.filter((f) => f.level === "pass" || !follows.some((what) => f.code === `tdx-ready.${what}`));
}
