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

const RELEVANT =
  /smee?(?![a-z])|smee|sev|snp|rmp|asid|secure ?memory|memory ?encryption|nested ?paging|iommu|io ?vt|amd-?vi|svm|virtuali[sz]|sr-?iov|tdx|trust ?domain|tme(?![a-z])|sgx|seam|key ?split|limit ?cpu ?pa|above ?4g|mmio|re-?size ?bar|secure ?boot|x2apic|\bsmt|logical ?proc/i;
const SECRET = /password|passwd|salt|secret|\bkey(?!split)|credential/i;

/**
 * The attributes that a snapshot holds: memory encryption, virtualisation, IOMMU, address windows, Secure Boot.
 * Vendors write the same words as `SEV-SNPSupport#01A7`, `Processors_SEV_SNPSupport` or `CbsSevSnpSupport`.
 * Passwords and their hashes, which some BIOS resources carry, never match.
 */
export function isBiosAttributeKept(name: string, displayName = ""): boolean {
  const words = `${name.replace(/[_-]/g, " ")} ${name.replace(/([a-z])([A-Z])/g, "$1 $2")} ${displayName}`;
  return RELEVANT.test(words) && !SECRET.test(words);
}

/** A BIOS attribute's name without the board's own suffix, case and punctuation: `SEV-SNPSupport#01A7` → `sevsnpsupport`. */
export function bareBiosName(name: string): string {
  return name
    .replace(/[#_][0-9A-F]{4}$/, "")
    .replace(/[^A-Za-z0-9]/g, "")
    .toLowerCase();
}
