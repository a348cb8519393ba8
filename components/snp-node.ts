import type * as pulumi from "@pulumi/pulumi";
import { GpuNode, type GpuNodeArgs } from "./gpu-node.ts";

export type SnpNodeArgs = GpuNodeArgs;

/** One on-prem AMD SEV-SNP GPU node (seed 001, all personas but the container user). Throws as {@link GpuNode} does. */
export class SnpNode extends GpuNode {
  constructor(name: string, args: SnpNodeArgs, opts?: pulumi.ComponentResourceOptions) {
    super("SnpNode", "sev-snp", name, args, opts);
  }
}
