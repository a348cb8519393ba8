import type { FacetReview, NodeReview, StepReview } from "../../../providers/kit/review.ts";
import { PROVIDER_TEXT } from "../../../providers/resource.ts";

/** Previews as Pulumi prints them. Synthetic, in the form that CLI 3.259.0 was seen to print. */

export const step = (over: Partial<StepReview> = {}): StepReview => ({
  code: "module-options.stage",
  title: "write /etc/modprobe.d/teeup.conf",
  why: "acts at the next restart",
  disruption: "none",
  files: [],
  commands: [],
  limitSeconds: 0,
  ...over,
});

export const facet = (name: string, over: Partial<FacetReview> = {}): FacetReview => ({
  facet: name,
  steps: [],
  findings: [],
  waiting: [],
  boots: 0,
  ...over,
});

export const finding = (
  level: "fail" | "unknown" | "warn",
  code = "cpu.sev",
  saw = "no sev",
): FacetReview["findings"][number] => ({
  code,
  level,
  want: "sev_snp",
  saw,
  hint: "another processor",
  source: "seed 001",
});

export interface PreviewNode {
  readonly name: string;
  readonly facets?: readonly FacetReview[];
  readonly over?: Partial<NodeReview>;
  readonly op?: string;
  /** Plan lines of a preview without reviews. */
  readonly lines?: Readonly<Record<string, readonly string[]>>;
}

/** What `pulumi preview --json` prints of these nodes. */
export function previewOf(nodes: readonly PreviewNode[], more: Record<string, unknown> = {}): string {
  const stack = "urn:pulumi:rack7::teeup";
  const steps = nodes.flatMap(({ name, facets = [], over = {}, op = "create", lines }) => {
    const review = (of: readonly FacetReview[], hash?: string): NodeReview => ({
      version: 1,
      node: name,
      permit: "none",
      facts: { from: "live" },
      guest: "none",
      facets: [...of],
      ...(hash === undefined ? {} : { hash }),
      ...over,
    });
    const resource = (type: string, facetName: string, own: NodeReview | undefined) => {
      const inputs = {
        __provider: PROVIDER_TEXT,
        facet: facetName,
        node: name,
        plan: lines?.[facetName] ?? [],
        ...(own === undefined ? {} : { review: own }),
      };
      return {
        op,
        urn: `${stack}::teeup:node:SnpNode$pulumi-nodejs:dynamic/${type}::${name}-${facetName}`,
        [op === "delete" ? "oldState" : "newState"]: { type, custom: true, inputs },
        detailedDiff: null,
      };
    };
    const names = lines === undefined ? facets.map((one) => one.facet) : Object.keys(lines);
    const unreachable = over.unreachable !== undefined;
    return [
      resource(
        "node:NodePlan",
        "node-plan",
        lines === undefined ? review([], unreachable ? undefined : "a".repeat(32)) : undefined,
      ),
      ...names.map((facetName) =>
        resource(
          "host:Part",
          facetName,
          lines === undefined ? review(facets.filter((one) => one.facet === facetName)) : undefined,
        ),
      ),
    ];
  });
  return JSON.stringify({
    config: { "teeup:nodes": JSON.stringify(nodes.map(({ name }) => ({ name, ssh: { host: name } }))) },
    steps: [{ op: "same", urn: `${stack}::pulumi:pulumi:Stack::teeup-rack7`, newState: {} }, ...steps],
    duration: 1,
    changeSummary: {},
    ...more,
  });
}
