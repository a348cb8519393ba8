import { SnpNode } from "../components/index.ts";
import { stackConfig } from "./nodes.ts";

/** On-prem AMD SEV-SNP: every node of the stack config, from BIOS to attested GPU. */
export function onpremSnp(): Record<string, unknown> {
  const { nodes, profile = "snp-upstream", gpuMode, vm, pins } = stackConfig();
  return Object.fromEntries(
    nodes.map((node) => {
      const made = new SnpNode(node.name, { node: node.name, profile, gpuMode, vm, pins, guest: node.guest });
      return [node.name, { attestation: made.attestation, plan: made.plan }];
    }),
  );
}
