import { BaiduNode } from "../components/index.ts";
import { stackConfig } from "./nodes.ts";

/** Baidu BCC, 7th generation: every node of the stack config is an instance that exists, adopted by its address. */
export function baiduBcc(): Record<string, unknown> {
  const { nodes, profile, pins, instance, attestation: demands } = stackConfig();
  return Object.fromEntries(
    nodes.map(({ name }) => {
      const { attestation, evidence, plan } = new BaiduNode(name, {
        node: name,
        profile,
        pins,
        ...instance,
        attestation: demands,
      });
      return [name, { attestation, evidence, plan }];
    }),
  );
}
