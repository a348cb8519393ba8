import type { env } from "node:process";
import { facetNamed } from "./facets/index.ts";
import type { Appraise } from "./kit/appraisal.ts";
import type { StackConfig } from "./kit/config.ts";
import { TeeUpError } from "./kit/errors.ts";
import type { Goal } from "./reconcile.ts";

/** What a part of a node is to be, checked. Throws TeeUpError `want.invalid` and what {@link facetNamed} throws. */
export function goalOf(node: string, name: string, want: unknown): Goal {
  const facet = facetNamed(name);
  const parsed = facet.want.safeParse(want);
  if (parsed.success) return { facet, node, want: parsed.data };
  throw new TeeUpError({
    code: "want.invalid",
    node,
    subject: name,
    saw: parsed.error.issues.map((i) => `${["want", ...i.path].join(".")}: ${i.message}`).join("; "),
    next: `docs/facets.md#${name} describes every field`,
  });
}

/** Loaded only where evidence is verified: certificates and signatures would cost every other run its start. */
export function appraiseOf(config: StackConfig, environment: typeof env): Appraise {
  let appraise: Promise<Appraise> | undefined;
  return async (...args) => {
    appraise ??= import("./appraise.ts").then(({ siteAppraiser }) => siteAppraiser(config, environment));
    return (await appraise)(...args);
  };
}
