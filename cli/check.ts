import { FACETS, facetNamed } from "../providers/facets/index.ts";
import { findNode, openFleet } from "../providers/machine/fleet.ts";
import { Reconciler } from "../providers/reconcile.ts";
import { goalsOfNode } from "../stacks/profiles/resolve.ts";
import type { FacetReport, NodeReport } from "./report.ts";
import { facetReport, nodeReport } from "./report.ts";
import type { StackSource } from "./stack.ts";
import { loadStack, placeOf } from "./stack.ts";

/**
 * Observes a node and judges it against what its stack wants. Writes nothing. A node that cannot be reached throws the
 * TeeUpError that says why; a question that cannot be answered is an `unknown` finding.
 */
export async function checkNode(name: string, source: StackSource, env = process.env): Promise<NodeReport> {
  const started = performance.now();
  const config = await loadStack(source);
  const node = findNode(config, name);
  const goals = goalsOfNode(config, node.guest);
  // Certificates and signatures are loaded only where evidence is wanted.
  const appraise =
    config.attestation === undefined
      ? undefined
      : (await import("../providers/appraise.ts")).siteAppraiser(config, env);
  const reconciler = new Reconciler(openFleet({ ...config, nodes: [node] }, env), { appraise });
  try {
    if (reconciler.located(name)) reconciler.prefetch(FACETS);
    else reconciler.locate(name, await placeOf(name, source), FACETS);
    await reconciler.reach(name);
    const facets: FacetReport[] = [];
    // In order: facets that stage come before the one that boots.
    for (const goal of goals) {
      const facet = facetNamed(goal.facet);
      const { findings, steps } = await reconciler.look(
        { facet, node: name, want: facet.want.parse(goal.want) },
        { evidence: true },
      );
      facets.push(facetReport(facet, findings, steps));
    }
    return nodeReport(name, facets, (performance.now() - started) / 1000);
  } finally {
    await reconciler.close();
  }
}
