import * as pulumi from "@pulumi/pulumi";
import { z } from "zod";
import type { GpuNode, GpuNodeArgs } from "../components/index.ts";
import type { NodeConfig, StackConfig } from "../providers/kit/config.ts";
import { TeeUpError } from "../providers/kit/errors.ts";
import { readStackConfig } from "../providers/kit/read-config.ts";
import { PLATFORMS } from "./profiles/resolve.ts";

/** What a program may know of the stack config: everything but credentials. */
export type PublicStackConfig = Omit<StackConfig, "nodes" | "secrets"> & {
  readonly nodes: readonly Omit<NodeConfig, "ssh" | "bmc">[];
};

/**
 * The stack config under `teeup:`, checked. Throws with the fields and the file to mend.
 * How to reach nodes, and every credential, stay behind: only the provider reads those.
 */
export function stackConfig(): PublicStackConfig {
  try {
    // Not Config.getObject: it warns about secrets in `nodes`, which never leave this function.
    const { nodes, secrets, ...rest } = readStackConfig((key) => pulumi.runtime.getConfig(key));
    const stored = Object.keys(secrets).filter((name) => typeof secrets[name] === "string");
    if (stored.length > 0 && !isSecret("teeup:secrets"))
      throw new TeeUpError({
        code: "config.plain-secret",
        subject: "teeup:secrets",
        saw: `${stored.join(", ")} stand in the stack's file for everybody to read`,
        next: `choose new ones, then: pulumi config set --secret --path 'teeup:secrets["${stored[0]}"]'`,
      });
    if (rest.instance.commands.length > 0 && isSecret("teeup:instance"))
      throw new TeeUpError({
        code: "config.secret-command",
        subject: "teeup:instance",
        saw: "it holds commands and is a secret, and a command's words stand in the state and in process lists",
        next: "keep the secret in a file of the instance that the command reads; pulumi config rm teeup:instance, then set it without --secret",
      });
    return { ...rest, nodes: nodes.map(({ name, guest, labels }) => ({ name, guest, labels })) };
  } catch (error) {
    throw error instanceof TeeUpError ? new pulumi.RunError(error.message) : error;
  }
}

/** Keys of the stack config that hold a secret, as Pulumi tells its programs. */
const SecretKeys = z.array(z.string());

const isSecret = (key: string): boolean =>
  SecretKeys.parse(JSON.parse(process.env["PULUMI_CONFIG_SECRET_KEYS"] ?? "[]")).includes(key);

/** Makes each node of the stack config; what the program exports of it, by its name. */
export function eachNode(
  platform: keyof typeof PLATFORMS,
  make: (name: string, args: GpuNodeArgs) => GpuNode,
): Record<string, unknown> {
  const { nodes, profile = PLATFORMS[platform].profile, gpuMode, vm, pins, attestation: demands } = stackConfig();
  return Object.fromEntries(
    nodes.map(({ name, guest }) => {
      const { attestation, evidence, measurement, plan } = make(name, {
        node: name,
        profile,
        gpuMode,
        vm,
        pins,
        guest,
        attestation: demands,
      });
      return [name, { attestation, evidence, measurement, plan }];
    }),
  );
}
