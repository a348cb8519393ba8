import { z } from "zod";

/**
 * What a step costs the people who use the node, mildest first. The worst step of a plan is the plan's class.
 * `human` never runs: it names something only a person can do.
 */
export const DISRUPTIONS = ["none", "service", "gpu-reset", "guest-stop", "reboot", "power-cycle", "human"] as const;

export const DisruptionSchema = z.enum(DISRUPTIONS);
export type Disruption = z.infer<typeof DisruptionSchema>;

/** What a stack may permit (`teeup:permit`). `human` cannot be permitted. */
export const PermitSchema = z
  .enum(["none", "service", "gpu-reset", "guest-stop", "reboot", "power-cycle"])
  .describe(
    "The worst disruption that `up` may cause on a node; a step above it is refused before anything is touched.",
  );
export type Permit = z.infer<typeof PermitSchema>;

/** Worst class among `classes`; `none` for an empty list. */
export function worst(classes: readonly Disruption[]): Disruption {
  return DISRUPTIONS[Math.max(0, ...classes.map((c) => DISRUPTIONS.indexOf(c)))] ?? "none";
}

/** True when a step of class `step` may run under `permit`. */
export function permits(permit: Permit, step: Disruption): boolean {
  return step !== "human" && DISRUPTIONS.indexOf(step) <= DISRUPTIONS.indexOf(permit);
}
