/** What a Pulumi program imports from `teeup`. */

export { FacetResource, NodePlan } from "../providers/resource.ts";
export * from "./parts.ts";
export { SnpNode, type SnpNodeArgs } from "./snp-node.ts";
