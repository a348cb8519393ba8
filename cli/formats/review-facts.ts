import { stripVTControlCharacters } from "node:util";
import { z } from "zod";
import { configuredNodes } from "../../providers/kit/config.ts";
import {
  DISRUPTIONS,
  type Disruption,
  DisruptionSchema,
  PermitSchema,
  permits,
  worst,
} from "../../providers/kit/disruption.ts";
import { TeeUpError } from "../../providers/kit/errors.ts";
import { PARTS } from "../../providers/kit/names.ts";
import type { FacetReview, NodeReview } from "../../providers/kit/review.ts";
import { FacetReviewSchema, NodeReviewSchema } from "../../providers/kit/review.ts";
import { redact } from "../../providers/machine/redact.ts";
import { describe } from "../../providers/reconcile.ts";

/** What a review is told of a preview: the facts that Markdown, JSON and SARIF are made from. */
const DowntimeSchema = z.strictObject({
  /** Restarts of the host. */
  restarts: z.int(),
  gpuResets: z.int(),
  /** Times that a guest is stopped or restarted, those by a restart of the host included. */
  guestStops: z.int(),
  /** Seconds after which every interrupting step would have been given up: the most that it can take. */
  atMostSeconds: z.number(),
});

const NodeSchema = z.strictObject({
  node: z.string(),
  /**
   * `unknown`: nothing is planned, and something could not be looked at. `failing`: nothing is planned, and a check
   * fails. `later`: decided once the instance exists. `removed`: its resources go.
   */
  status: z.enum(["changes", "as-wanted", "failing", "unknown", "unreachable", "later", "removed"]),
  /** Worst class of its steps. */
  disruption: DisruptionSchema,
  permit: z.strictObject({ given: PermitSchema, enough: z.boolean() }).optional(),
  downtime: DowntimeSchema,
  guest: z.strictObject({ state: z.enum(["running", "none", "unknown"]), stops: z.boolean() }),
  facts: NodeReviewSchema.shape.facts.optional(),
  unreachable: NodeReviewSchema.shape.unreachable,
  /** Approves this plan: `teeup:approved`. */
  hash: z.string().optional(),
  facets: z.array(FacetReviewSchema.extend({ op: z.string() })),
  /** What could not be looked at, one line each. */
  unknown: z.array(z.string()),
  /** Facets whose resources would be deleted; what that undoes is in no preview. */
  removed: z.array(z.string()),
});
export type ReviewedNode = z.infer<typeof NodeSchema>;

export const ReviewReportSchema = z.strictObject({
  version: z.literal(1),
  stack: z.string(),
  project: z.string(),
  /** `lines`: the preview was made without TEEUP_REVIEW=1, so there are no commands, no file diffs and no hash. */
  detail: z.enum(["full", "lines"]),
  nodes: z.array(NodeSchema),
  /** Resources of other providers that change. */
  others: z.array(z.strictObject({ name: z.string(), type: z.string(), op: z.string() })),
  /** Errors of the preview: it is not whole. */
  errors: z.array(z.string()),
  /**
   * `teeup:approved` for all nodes with a plan; absent when one of them has no hash, and when this is not all that `up`
   * would do: an error, a part that is removed, a step that no part shows.
   */
  approval: z.string().optional(),
});
export type ReviewReport = z.infer<typeof ReviewReportSchema>;

/** What is read of `pulumi preview --json`; all else in it, the provider's text above all, is left behind. */
const StateSchema = z.looseObject({ inputs: z.record(z.string(), z.unknown()).default({}) });
const PreviewSchema = z.object({
  config: z.record(z.string(), z.unknown()).nullish(),
  steps: z
    .array(
      z.looseObject({
        op: z.string(),
        urn: z.string(),
        oldState: StateSchema.optional(),
        newState: StateSchema.optional(),
      }),
    )
    .default([]),
  diagnostics: z
    .array(z.looseObject({ message: z.string().default(""), severity: z.string().default("") }))
    .nullish()
    .transform((all) => all ?? []),
});
type PreviewStep = z.infer<typeof PreviewSchema>["steps"][number];

const InputsSchema = z.looseObject({
  node: z.string(),
  facet: z.string(),
  plan: z.array(z.string()).default([]),
  review: NodeReviewSchema.optional(),
});

/** `failed`: what is known besides of why it is not whole. Throws `report.no-preview` for a text that is no `pulumi preview --json`. */
export function reviewReport(text: string, failed: readonly string[] = []): ReviewReport {
  const { config, steps, diagnostics } = parsePreview(text);
  const own = steps.flatMap(partsIn);
  const errors = [
    ...failed.map(withoutTrace),
    ...diagnostics.filter(({ severity }) => severity === "error").map(({ message }) => withoutTrace(message)),
    // What cannot be read is not nothing.
    ...steps
      .filter((step) => OURS.has(typeOf(step)) && step.op !== "same" && !own.some((part) => part.step.urn === step.urn))
      .map((step) => `${nameOf(step)}: its ${step.op} cannot be read by this version`),
  ];
  // A node that is as wanted has no step at all.
  const names = new Set([...own.map(({ inputs }) => inputs.node), ...configuredNodes(config?.["teeup:nodes"])]);
  const nodes = [...names].map((name) =>
    nodeOf(
      name,
      own.filter(({ inputs }) => inputs.node === name),
      errors.length === 0,
    ),
  );
  const planned = nodes.filter(({ status }) => status === "changes");
  const approved = planned.flatMap(({ node, hash }) => (hash === undefined ? [] : [`${node}=${hash}`]));
  const ours = new Set(own.map(({ step }) => step.urn));
  // What is approved is all that the review shows, and nothing that it does not.
  const whole =
    errors.length === 0 && nodes.every(({ removed, facets }) => removed.length === 0 && !facets.some(isUnshown));
  return ReviewReportSchema.parse({
    version: 1,
    stack: steps[0]?.urn.split("::")[0]?.replace(/^urn:pulumi:/, "") ?? "unknown",
    project: steps[0]?.urn.split("::")[1] ?? "unknown",
    detail: own.every(({ inputs, step }) => isRemoval(step) || inputs.review !== undefined) ? "full" : "lines",
    nodes,
    others: steps
      .filter((step) => !ours.has(step.urn) && step.op !== "same" && !/^(pulumi:|teeup:)/.test(typeOf(step)))
      .map((step) => ({ name: nameOf(step), type: typeOf(step), op: step.op })),
    errors,
    ...(whole && approved.length > 0 && approved.length === planned.length ? { approval: approved.join(",") } : {}),
  });
}

const OWN_TYPE = "pulumi-nodejs:dynamic/";
const NODE_PLAN = "node-plan";
const OURS: ReadonlySet<string> = new Set([...Object.values(PARTS), "node:NodePlan"].map((type) => OWN_TYPE + type));

/** A part that becomes one of another node, or another facet, is undone where it was. */
function partsIn(step: PreviewStep): Part[] {
  if (!typeOf(step).startsWith(OWN_TYPE)) return [];
  const inputs = InputsSchema.safeParse((step.newState ?? step.oldState)?.inputs);
  if (!inputs.success) return [];
  const before = InputsSchema.safeParse(step.oldState?.inputs);
  const moved = before.success && ["node", "facet"].some((key) => before.data[key] !== inputs.data[key]);
  return [{ step, inputs: inputs.data }, ...(moved ? [{ step: { ...step, op: "delete" }, inputs: before.data }] : [])];
}
const isRemoval = ({ op }: PreviewStep): boolean => op.startsWith("delete");
/** Made of lines of the node's plan that no part of it shows. */
const isUnshown = ({ facet, steps }: FacetReview): boolean => facet === NODE_PLAN && steps.length > 0;

function parsePreview(text: string): z.infer<typeof PreviewSchema> {
  let raw: unknown;
  try {
    raw = JSON.parse(text);
  } catch {
    throw noPreview("it is no JSON");
  }
  const parsed = PreviewSchema.safeParse(raw);
  if (!parsed.success) throw noPreview(parsed.error.issues.map((i) => `${i.path.join(".")}: ${i.message}`).join("; "));
  if (parsed.data.steps.length === 0 && parsed.data.diagnostics.length === 0) throw noPreview("it has no steps");
  return parsed.data;
}

const noPreview = (saw: string): TeeUpError =>
  new TeeUpError({
    code: "report.no-preview",
    saw: `this is not what pulumi preview --json prints: ${saw}`,
    next: "TEEUP_REVIEW=1 pulumi preview --json > preview.json, then teeup report preview.json",
  });

/** `urn:pulumi:<stack>::<project>::<types>::<name>`: the last of the types, joined by `$`. */
const typeOf = ({ urn }: PreviewStep): string => urn.split("::")[2]?.split("$").at(-1) ?? "";
const nameOf = ({ urn }: PreviewStep): string => urn.split("::").slice(3).join("::");

/** The stack trace of a program's exception says nothing to a reviewer. */
const withoutTrace = (message: string): string =>
  redact(stripVTControlCharacters(message))
    .split("\n")
    .filter((line) => !/^\s+at /.test(line))
    .join("\n")
    .trim();

interface Part {
  readonly step: PreviewStep;
  readonly inputs: z.infer<typeof InputsSchema>;
}

/** `whole`: the preview got to its end, so that a node without a step is as it should be. */
function nodeOf(node: string, parts: readonly Part[], whole: boolean): ReviewedNode {
  const kept = parts.filter(({ step }) => !isRemoval(step));
  const plan = kept.find(({ inputs }) => inputs.facet === NODE_PLAN);
  const said: NodeReview | undefined = (plan ?? kept[0])?.inputs.review;
  const own = kept.filter(({ inputs }) => inputs.facet !== NODE_PLAN).map(facetOf);
  const shown = new Set(own.flatMap((facet) => facet.steps.map((step) => redact(describe(step)))));
  const more = fromLines(NODE_PLAN, plan?.inputs.plan.filter((line) => !shown.has(line)) ?? []);
  const facets = plan !== undefined && isUnshown(more) ? [...own, { op: plan.step.op, ...more, findings: [] }] : own;
  const steps = facets.flatMap((facet) => facet.steps);
  const findings = facets.flatMap((facet) => facet.findings.map((finding) => ({ facet: facet.facet, ...finding })));
  const unreachable = kept.flatMap(({ inputs }) => inputs.review?.unreachable ?? [])[0];
  const missing = parts.length === 0 && !whole ? ["the preview ended before it got here"] : [];
  const unknown = findings.filter(({ level }) => level === "unknown").map(({ code, saw }) => `${code}: ${saw}`);
  const removed = parts.filter(({ step }) => isRemoval(step)).map(({ inputs }) => inputs.facet);
  const status = (): ReviewedNode["status"] => {
    if (parts.length === 0) return whole ? "as-wanted" : "unknown";
    if (kept.length === 0 && removed.includes(NODE_PLAN)) return "removed";
    if (unreachable !== undefined) return "unreachable";
    if (steps.length + removed.length > 0) return "changes";
    if (parts.some(({ inputs }) => inputs.plan.some((line) => line.startsWith("[later]")))) return "later";
    if (findings.some(({ level }) => level === "fail")) return "failing";
    return unknown.length > 0 || !whole ? "unknown" : "as-wanted";
  };
  const disruption = worst(steps.map((step) => step.disruption));
  const guest = said?.guest ?? "unknown";
  const stops = steps.some((step) => STOPS_GUEST.includes(step.disruption));
  return {
    node,
    status: status(),
    disruption,
    ...(said === undefined
      ? {}
      : { permit: { given: said.permit, enough: permits(said.permit, disruption) }, facts: said.facts }),
    downtime: downtimeOf(facets, guest),
    guest: { state: guest, stops: stops && guest !== "none" },
    ...(unreachable === undefined ? {} : { unreachable }),
    ...(plan?.inputs.review?.hash === undefined ? {} : { hash: plan.inputs.review.hash }),
    facets,
    unknown: [...missing, ...unknown],
    removed,
  };
}

const STOPS_GUEST: readonly Disruption[] = ["guest-stop", "reboot", "power-cycle"];

function facetOf({ step, inputs }: Part): ReviewedNode["facets"][number] {
  const reviewed = inputs.review?.facets.find(({ facet }) => facet === inputs.facet);
  return { op: step.op, ...(reviewed ?? fromLines(inputs.facet, inputs.review === undefined ? inputs.plan : [])) };
}

/** Of a preview without reviews: class and title of each step, as the terminal shows them. */
function fromLines(facet: string, plan: readonly string[]): FacetReview {
  const lines = plan.flatMap((line) => {
    const [, mark = "", title = ""] = /^\[([a-z-]+)\] (.*)$/s.exec(line) ?? [];
    return title === "" ? [] : [{ mark, title }];
  });
  const disruptionOf = (mark: string) => DISRUPTIONS.find((name) => name === mark);
  return {
    facet,
    steps: lines.flatMap(({ mark, title }) => {
      const disruption = disruptionOf(mark);
      return disruption === undefined
        ? []
        : [{ code: facet, title, why: "", disruption, files: [], commands: [], limitSeconds: 0 }];
    }),
    findings: lines
      .filter(({ mark }) => mark === "check" || mark === "unknown")
      .map(({ mark, title }) => {
        const [, code = facet, want = "", saw = title] = /^(\S+): want (.*), saw (.*)$/s.exec(title) ?? [];
        return {
          code,
          level: mark === "check" ? ("fail" as const) : ("unknown" as const),
          want,
          saw,
          hint: "",
          source: "",
        };
      }),
    waiting: [],
    boots: 0,
  };
}

function downtimeOf(facets: readonly FacetReview[], guest: ReviewedNode["guest"]["state"]): ReviewedNode["downtime"] {
  const steps = facets.flatMap((facet) => facet.steps);
  const count = (...classes: Disruption[]) => steps.filter((step) => classes.includes(step.disruption)).length;
  const reboots = count("reboot", "power-cycle");
  // Settings that open only once others act take a restart each, of one step.
  const restarts = reboots === 0 ? 0 : Math.max(reboots, ...facets.map(({ boots }) => boots));
  return {
    restarts,
    gpuResets: count("gpu-reset"),
    guestStops: count("guest-stop") + (guest === "none" ? 0 : restarts),
    atMostSeconds: steps
      .filter(({ disruption }) => disruption !== "none")
      .reduce((sum, { disruption, limitSeconds }) => {
        const times = disruption === "reboot" && reboots > 0 ? Math.max(1, restarts / reboots) : 1;
        return sum + limitSeconds * times;
      }, 0),
  };
}
