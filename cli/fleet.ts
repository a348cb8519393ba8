import { readFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { parse as parseYaml } from "yaml";
import { z } from "zod";
import type { NodeConfig } from "../providers/kit/config.ts";
import { TeeUpError } from "../providers/kit/errors.ts";
import { oneLine } from "../providers/machine/redact.ts";
import { loadStack } from "./stack.ts";

const LabelsSchema = z.record(z.string(), z.string()).default({});

const StackEntrySchema = z
  .strictObject({
    stack: z.string().min(1).describe("Name of the Pulumi stack, as `pulumi stack ls` shows it."),
    project: z.string().default(".").describe("Folder with its Pulumi.yaml, from the fleet file's folder."),
    file: z
      .string()
      .optional()
      .describe("Its Pulumi.<stack>.yaml, from the same folder; default: where Pulumi has it."),
    labels: LabelsSchema.describe("Labels of all its nodes; a node's own (teeup:nodes[].labels) come before them."),
    backend: z.string().optional().describe("PULUMI_BACKEND_URL of its state; default: the environment's."),
    passphraseFile: z
      .string()
      .optional()
      .describe("PULUMI_CONFIG_PASSPHRASE_FILE of the stack, from the same folder; default: the environment's."),
  })
  .describe("One stack of nodes.");
export type StackEntry = z.infer<typeof StackEntrySchema>;

/** A fleet: stacks, each with the nodes that its config names. */
export const FleetSchema = z.strictObject({
  stacks: z
    .array(StackEntrySchema)
    .min(1)
    // A result is known by stack and node: in one name the nodes of two would be one another's.
    .superRefine((all, context) => {
      for (const [n, { stack }] of all.entries())
        if (all.findIndex((other) => other.stack === stack) < n)
          context.addIssue({
            code: "custom",
            path: [n, "stack"],
            message: `${stack} is there twice; those of two projects are told apart as organization/<project>/<stack>`,
          });
    }),
});
export type FleetFile = z.infer<typeof FleetSchema>;

/** Throws `fleet.unreadable` or `fleet.invalid`, which names every wrong field. Paths come back absolute. */
export async function loadFleet(path: string): Promise<FleetFile> {
  const bad = (code: string, saw: string) =>
    new TeeUpError({ code, subject: path, saw, next: "docs/fleet.schema.json describes every field" });
  let raw: unknown;
  try {
    raw = parseYaml(await readFile(path, "utf8"));
  } catch (error) {
    throw bad("fleet.unreadable", error instanceof Error ? (error.message.split("\n")[0] ?? "") : String(error));
  }
  const parsed = FleetSchema.safeParse(raw);
  if (!parsed.success)
    throw bad(
      "fleet.invalid",
      parsed.error.issues.map((i) => `${i.path.join(".") || "fleet"}: ${i.message}`).join("; "),
    );
  const from = dirname(resolve(path));
  const absolute = (file: string | undefined) => (file === undefined ? undefined : resolve(from, file));
  return {
    stacks: parsed.data.stacks.map((entry) => ({
      ...entry,
      project: resolve(from, entry.project),
      file: absolute(entry.file),
      passphraseFile: absolute(entry.passphraseFile),
    })),
  };
}

export interface FleetNode {
  readonly entry: StackEntry;
  /** `*` for the nodes of a stack whose config cannot be read. */
  readonly node: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Absent with {@link FleetNode.error}. */
  readonly config?: NodeConfig;
  /** Why the stack's nodes are not known. */
  readonly error?: TeeUpError;
}

/** Every node of every stack, in the order of the files. A stack that cannot be read is one entry with its error. */
export async function fleetNodes({ stacks }: FleetFile): Promise<FleetNode[]> {
  const all = await Promise.all(
    stacks.map(async (entry): Promise<FleetNode[]> => {
      const { stack, labels } = entry;
      try {
        const config = await loadStack({ file: await stackFile(entry) });
        return config.nodes.map((node) => ({
          entry,
          node: node.name,
          config: node,
          labels: { ...labels, ...node.labels, stack, node: node.name },
        }));
      } catch (error) {
        if (!(error instanceof TeeUpError)) throw error;
        return [{ entry, node: "*", labels: { ...labels, stack }, error }];
      }
    }),
  );
  return all.flat();
}

const ProjectSchema = z.looseObject({ stackConfigDir: z.string().default(".") });

/** Where Pulumi keeps the stack's config. Throws `fleet.no-project`. */
export async function stackFile({ project, stack, file }: StackEntry): Promise<string> {
  if (file !== undefined) return file;
  try {
    const { stackConfigDir } = ProjectSchema.parse(parseYaml(await readFile(join(project, "Pulumi.yaml"), "utf8")));
    return join(project, stackConfigDir, `Pulumi.${stack.split("/").at(-1)}.yaml`);
  } catch (error) {
    // Whatever is wrong with it, the other stacks are still looked at.
    throw new TeeUpError({
      code: "fleet.no-project",
      subject: project,
      saw: oneLine(error instanceof Error ? error.message : String(error)),
      next: "name the folder of its Pulumi.yaml in the fleet file: project",
    });
  }
}

/**
 * Nodes that have every one of these labels; `stack` and `node` are labels too. A stack whose nodes are not known stays:
 * they may be meant. Throws `fleet.bad-select`.
 */
export function select(nodes: readonly FleetNode[], wanted: readonly string[]): FleetNode[] {
  const labels = wanted.map((text) => {
    const at = text.indexOf("=");
    if (at > 0) return [text.slice(0, at), text.slice(at + 1)] as const;
    throw new TeeUpError({
      code: "fleet.bad-select",
      subject: `--select ${text}`,
      saw: "not label=value",
      next: "e.g. --select rack=r7 --select stack=rack7; all of them must fit",
    });
  });
  return nodes.filter(
    (node) => node.error !== undefined || labels.every(([label, value]) => node.labels[label] === value),
  );
}

/**
 * The `i`-th of `n` equal parts, in order, so that a stack is cut between shards as seldom as possible. All shards agree
 * without a word as long as they read the same files.
 */
export function shardOf<T>(items: readonly T[], { index, of }: Shard): T[] {
  const cut = (n: number) => Math.floor((n * items.length) / of);
  return items.slice(cut(index - 1), cut(index));
}

export interface Shard {
  /** From 1. */
  readonly index: number;
  readonly of: number;
}

/** `2/3`. Throws `fleet.bad-shard`. */
export function parseShard(text: string): Shard {
  const [, index = "", of = ""] = /^(\d+)\/(\d+)$/.exec(text) ?? [];
  const shard = { index: Number(index), of: Number(of) };
  if (index !== "" && shard.index >= 1 && shard.index <= shard.of && shard.of <= 10_000) return shard;
  throw new TeeUpError({
    code: "fleet.bad-shard",
    subject: `--shard ${text}`,
    saw: "not <i>/<n> with 1 ≤ i ≤ n",
    next: "e.g. --shard 2/3; a Kubernetes Indexed Job counts from 0: --shard $((JOB_COMPLETION_INDEX + 1))/3",
  });
}
