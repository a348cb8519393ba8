import type * as pulumi from "@pulumi/pulumi";
import { GpuNode, type GpuNodeArgs } from "./gpu-node.ts";

export type TdxNodeArgs = GpuNodeArgs;

/** One on-prem Intel TDX GPU node (seed 004). Throws as {@link GpuNode} does. */
export class TdxNode extends GpuNode {
  constructor(name: string, args: TdxNodeArgs, opts?: pulumi.ComponentResourceOptions) {
    super("TdxNode", "tdx", name, args, opts);
  }
}
