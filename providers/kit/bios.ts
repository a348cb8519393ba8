import { z } from "zod";

const Value = z.union([z.string(), z.number(), z.boolean(), z.null()]);
/** A BIOS attribute's value as Redfish has it. */
export type BiosValue = z.infer<typeof Value>;

/** MapFromCondition of the DMTF AttributeRegistry. */
export const BIOS_CONDITIONS = ["EQU", "NEQ", "GTR", "GEQ", "LSS", "LEQ"] as const;

/** When `when` holds for the values in force, the attribute is (`locks`) or is not (otherwise) closed to writing. */
export const BiosDependencySchema = z.object({
  attribute: z.string(),
  locks: z.boolean(),
  when: z.array(
    z.object({
      attribute: z.string(),
      condition: z.enum(BIOS_CONDITIONS),
      value: Value,
      /** How this condition joins the ones before it. */
      terms: z.enum(["AND", "OR"]),
    }),
  ),
});
export type BiosDependency = z.infer<typeof BiosDependencySchema>;

/** What the BMC says of the BIOS: the JSON answer of an ask of kind `bios`. */
export const BiosSnapshotSchema = z.object({
  /** As ComputerSystem.Manufacturer gives it. */
  manufacturer: z.string(),
  model: z.string(),
  biosVersion: z.string(),
  /** Values in force. */
  current: z.record(z.string(), Value),
  /** Values staged for the next reset (only those that differ from current). */
  staged: z.record(z.string(), Value),
  /** From the attribute registry: only attributes whose name or display name matters here. */
  registry: z.record(
    z.string(),
    z.object({
      displayName: z.string(),
      type: z.string(),
      /** Closed to writing now, for good or because of a dependency. */
      readOnly: z.boolean(),
      /** Allowed values of an Enumeration, spelled as the BIOS resource spells them. */
      values: z.array(z.string()),
      /** Menu path as the registry has it, "" when it has none. */
      menuPath: z.string(),
      /** Bounds of an Integer. */
      lowerBound: z.number().optional(),
      upperBound: z.number().optional(),
    }),
  ),
  /** Which attributes are closed to writing until others are in force; from the registry. */
  dependencies: z.array(BiosDependencySchema).optional(),
  /** True when the BMC offers an attribute registry; without it names are matched exactly. */
  hasRegistry: z.boolean(),
});
export type BiosSnapshot = z.infer<typeof BiosSnapshotSchema>;

/** The snapshot as the ask's stdout carries it. */
export const BiosSnapshotJson = z
  .string()
  .transform((text, context): unknown => {
    try {
      return JSON.parse(text);
    } catch {
      context.addIssue({ code: "custom", message: "not JSON" });
      return z.NEVER;
    }
  })
  .pipe(BiosSnapshotSchema);

/** Reason of the `failed` answer to an ask of kind `bios` for a node without a BMC: not an error of its own. */
export const NO_BMC = "no BMC is configured for this node";

/** Over bare names; what follows in brackets keeps out EventLog, SysMemSize, FRMPercent, PlatformPower, BootMenu, Seamless. */
const RELEVANT =
  /sme(?!ss|m)|sev(?!en|er)|snp|rmp(?!ercent|ower|hys)|asid|securememory|memoryencryption|nestedpaging|iommu|iovt|amdvi|svm|virtuali[sz]ation|vtd$|vtfordirected|sriov|tdx|trustdomain|tme(?!nu|ss)|sgx|seam(?!less)|mem(?:ory)?integrity|keysplit|nodeinterleav|limitcpupa|cpupalimit|above4g|mmio|resizebar|secureboot|x2apic|^smt|procsmt|logicalproc/;
const SECRET = /password|passwd|salt|secret|credential|sha256|keyhash|sgxlepub/;

/**
 * The attributes that a snapshot holds: memory encryption, virtualisation, IOMMU, address windows, Secure Boot.
 * Vendors write the same words as `SEV-SNPSupport#01A7`, `Processors_SEV_SNPSupport` or `CbsSevSnpSupport`.
 * Passwords and their hashes, which some BIOS resources carry, never match.
 */
export function isBiosAttributeKept(name: string, displayName = ""): boolean {
  const forms = [bareBiosName(name), bareBiosName(displayName)];
  return forms.some((form) => RELEVANT.test(form)) && !forms.some((form) => SECRET.test(form));
}

/** A BIOS attribute's name without the board's own suffix, case and punctuation: `SEV-SNPSupport#01A7` → `sevsnpsupport`. */
export function bareBiosName(name: string): string {
  return name
    .replace(/[#_][0-9A-F]{4}$/, "")
    .replace(/[^A-Za-z0-9]/g, "")
    .toLowerCase();
}
