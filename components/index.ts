export { BaiduNode, type InstanceNodeArgs } from "./baidu-node.ts";
/** What a Pulumi program imports from `teeup`. */

export { FacetResource, NodePlan } from "../providers/resource.ts";
export { type Profile, profile } from "../stacks/profiles/schema.ts";
export { GpuNode, type GpuNodeArgs } from "./gpu-node.ts";
export * from "./parts.ts";
export { SnpNode, type SnpNodeArgs } from "./snp-node.ts";
export { TdxNode, type TdxNodeArgs } from "./tdx-node.ts";
