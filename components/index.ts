/** What a Pulumi program imports from `teeup`. */
export * from "./parts.ts";
export { SnpNode, type SnpNodeArgs } from "./snp-node.ts";
export { FacetResource, NodePlan } from "../providers/resource.ts";
