import { z } from "zod";

const Value = z.union([z.string(), z.number(), z.boolean(), z.null()]);

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
      readOnly: z.boolean(),
      /** Allowed value names of an Enumeration. */
      values: z.array(z.string()),
      /** Menu path as the registry has it, "" when it has none. */
      menuPath: z.string(),
    }),
  ),
  /** True when the BMC offers an attribute registry; without it names are matched exactly. */
  hasRegistry: z.boolean(),
});
export type BiosSnapshot = z.infer<typeof BiosSnapshotSchema>;
