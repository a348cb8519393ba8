import { PARTS } from "../../providers/kit/names.ts";
import { FacetResource, NodePlan } from "../../providers/resource.ts";
import { stackConfig } from "../../stacks/nodes.ts";
import { type NodeGoal, nodeGoals } from "../../stacks/profiles/goals.ts";
import { profileFor, resolveProfile } from "../../stacks/profiles/resolve.ts";

// As in the main program: no frames of the loader in the state.
await Promise.resolve();

const { nodes, gpuMode, vm, pins, profile = "snp-upstream" } = stackConfig();
const recipe = resolveProfile(profileFor("sev-snp", profile), pins);
for (const { name, guest } of nodes) {
  const { hardware, host, gpu, cvm } = nodeGoals(recipe, { gpus: "all", gpuMode, vm, guest });
  const goals: readonly NodeGoal[] = [...hardware, ...host, ...gpu, ...cvm];
  const plan = new NodePlan(`${name}-plan`, { node: name, goals });
  for (const { facet, want } of goals)
    new FacetResource(PARTS[facet], facet, `${name}-${facet}`, { node: name, want }, { dependsOn: plan });
}
