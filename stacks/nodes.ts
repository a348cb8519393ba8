import * as pulumi from "@pulumi/pulumi";
import { type NodeConfig, type StackConfig, StackConfigSchema } from "../providers/kit/config.ts";

/** What a program may know of the stack config: everything but credentials. */
export type PublicStackConfig = Omit<StackConfig, "nodes"> & {
  readonly nodes: readonly Omit<NodeConfig, "ssh" | "bmc">[];
};

/**
 * The stack config under `teeup:`, checked. Throws with the field, its value's fault and the file to mend.
 * How to reach nodes, and every credential, stay behind: only the provider reads those.
 */
export function stackConfig(): PublicStackConfig {
  const raw = Object.fromEntries(
    Object.keys(StackConfigSchema.shape).flatMap((key) => {
      // Not Config.getObject: it warns about secrets in `nodes`, which never leave this function.
      const text = pulumi.runtime.getConfig(`teeup:${key}`);
      return text === undefined ? [] : [[key, /^[[{]/.test(text) ? JSON.parse(text) : text]];
    }),
  );
  const parsed = StackConfigSchema.safeParse(raw);
  if (!parsed.success) {
    const faults = parsed.error.issues.map((i) => `  teeup:${i.path.join(".")}: ${i.message}`).join("\n");
    throw new pulumi.RunError(
      `the stack config is not valid:\n${faults}\n  next: mend stacks/Pulumi.${pulumi.getStack()}.yaml (docs/stack-config.schema.json describes every field)`,
    );
  }
  const { nodes, ...rest } = parsed.data;
  return { ...rest, nodes: nodes.map(({ name, guest, labels }) => ({ name, guest, labels })) };
}
