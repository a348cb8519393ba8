import { z } from "zod";
import type { Action } from "./action.ts";
import { DisruptionSchema, PermitSchema } from "./disruption.ts";
import { FindingSchema } from "./findings.ts";
import { quoteWords } from "./words.ts";

/**
 * What a preview tells a reviewer of a node, as data: the input `review` of a resource, there only in a preview that was
 * asked for it (TEEUP_REVIEW=1), never in a state. Reports are made from it; nobody parses a plan's lines.
 */
export const REVIEW_VERSION = 1;

const FileChangeSchema = z.strictObject({
  path: z.string(),
  /** What the file was: read, not there, or not to be read (then there is no diff). */
  before: z.enum(["known", "absent", "unknown"]),
  /** Unified diff; empty for a file whose owner or mode alone changes. */
  diff: z.string(),
  /** Why it could not be read. */
  why: z.string().optional(),
});
export type FileChange = z.infer<typeof FileChangeSchema>;

const StepReviewSchema = z.strictObject({
  code: z.string(),
  title: z.string(),
  why: z.string(),
  disruption: DisruptionSchema,
  files: z.array(FileChangeSchema),
  /** One line each, as a person would type it. */
  commands: z.array(z.string()),
  /** Seconds after which the step is given up, over all its actions. */
  limitSeconds: z.number(),
});
export type StepReview = z.infer<typeof StepReviewSchema>;

export const FacetReviewSchema = z.strictObject({
  facet: z.string(),
  steps: z.array(StepReviewSchema),
  /** Those that are not a pass. */
  findings: z.array(FindingSchema),
  /** What waits for a restart, and how many restarts that takes. */
  waiting: z.array(z.string()),
  boots: z.number(),
});
export type FacetReview = z.infer<typeof FacetReviewSchema>;

/** Where the facts are from. */
const FactsSchema = z.discriminatedUnion("from", [
  z.strictObject({ from: z.literal("live") }),
  z.strictObject({
    from: z.literal("recorded"),
    /** ISO 8601. */
    at: z.string(),
    hash: z.string(),
  }),
]);
export type FactsOrigin = z.infer<typeof FactsSchema>;

export const NodeReviewSchema = z.strictObject({
  version: z.literal(REVIEW_VERSION),
  node: z.string(),
  permit: PermitSchema,
  facts: FactsSchema,
  /** Whether a guest with a passed-through device runs on the host. */
  guest: z.enum(["running", "none", "unknown"]),
  unreachable: z.strictObject({ saw: z.string(), next: z.string() }).optional(),
  /** Of the whole node's plan; only the plan resource has it, and only when everything could be looked at. */
  hash: z.string().optional(),
  facets: z.array(FacetReviewSchema),
});
export type NodeReview = z.infer<typeof NodeReviewSchema>;

/** A line a person would type for it; what is written to files stands in {@link FileChange}. */
export function commandsOf(action: Action): string[] {
  switch (action.do) {
    case "write":
      return [];
    case "remove":
      return [quoteWords(["rm", "-f", action.path])];
    case "run":
      return [quoteWords(action.argv)];
    case "job":
      return action.lines.map(({ argv, cwd }) =>
        cwd === undefined ? quoteWords(argv) : `cd ${quoteWords([cwd])} && ${quoteWords(argv)}`,
      );
    case "reboot":
      return [action.trial === undefined ? "reboot" : `reboot # once into ${action.trial.kernel}`];
    case "stage-bios":
      return Object.entries(action.settings).map(([name, value]) => `# BIOS: ${name} = ${String(value)}`);
    case "wait":
      return [`until ${quoteWords(action.argv)}; do sleep 1; done # ${action.what}`];
    case "wait-guest":
      return ["# wait until the guest takes an SSH session"];
    case "release":
      return [`# release the secret ${action.secret} to ${quoteWords([action.path])}`];
    case "restart-guest":
      return ["# end the guest; its host starts it again"];
  }
}

/** Seconds after which an action is given up; the defaults are those of action.ts. */
export function limitOf(action: Action): number {
  switch (action.do) {
    case "run":
      return action.timeoutSeconds ?? 120;
    case "job":
      return action.timeoutSeconds ?? 3600;
    case "reboot":
      return action.timeoutSeconds ?? 900;
    case "wait":
    case "wait-guest":
    case "restart-guest":
      return action.timeoutSeconds;
    default:
      return 0;
  }
}
