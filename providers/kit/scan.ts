import { z } from "zod";
import { type NodeConfig, NodeSchema, type StackConfig } from "./config.ts";
import { DisruptionSchema } from "./disruption.ts";
import { FindingSchema } from "./findings.ts";

/**
 * What a fleet scan sees of one facet of one node: the output `scan` of a resource in a read-only refresh that was asked
 * for it (TEEUP_SCAN), never in a state.
 */

/**
 * `drifted`: seen, and not as wanted. `unreachable`: the node does not answer. `broken`: it answers and could not be looked
 * at, or something else than the node is wrong. Unknown is never clean.
 */
export const ScanStatusSchema = z.enum(["clean", "drifted", "unreachable", "broken"]);
export type ScanStatus = z.infer<typeof ScanStatusSchema>;

export const ScanErrorSchema = z.strictObject({ code: z.string(), saw: z.string(), next: z.string() });
export type ScanError = z.infer<typeof ScanErrorSchema>;

export const FacetScanSchema = z.strictObject({
  facet: z.string(),
  status: ScanStatusSchema,
  /** Those that are not a pass. */
  findings: z.array(FindingSchema),
  /** What `pulumi up` would do. */
  steps: z.array(z.strictObject({ code: z.string(), title: z.string(), disruption: DisruptionSchema })),
  error: ScanErrorSchema.optional(),
});
export type FacetScan = z.infer<typeof FacetScanSchema>;

/** The nodes to look at, as TEEUP_SCAN has them: their part of the stack config as it is now, without any password. */
export const scanText = (nodes: readonly NodeConfig[]): string =>
  JSON.stringify(
    nodes.map((node) => (node.bmc === undefined ? node : { ...node, bmc: { ...node.bmc, password: undefined } })),
  );

/**
 * The config of a scan: only nodes that are to be looked at. A refresh gives the provider the config of the last update,
 * from the state; where a node is and who it is now stands in the stack's file. Throws on a text that is none of ours.
 */
export function scanConfig(kept: StackConfig, text: string): StackConfig {
  const now = new Map(
    z
      .array(NodeSchema)
      .parse(JSON.parse(text))
      .map((node) => [node.name, node]),
  );
  return {
    ...kept,
    nodes: kept.nodes.flatMap((node) => {
      const found = now.get(node.name);
      if (found === undefined) return [];
      const password = node.bmc?.password;
      return [
        found.bmc === undefined || password === undefined ? found : { ...found, bmc: { ...found.bmc, password } },
      ];
    }),
  };
}
