import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { basename, dirname } from "node:path";
import { promisify } from "node:util";
import { parse as parseYaml } from "yaml";
import { z } from "zod";
import type { StackConfig } from "../providers/kit/config.ts";
import { StackConfigSchema } from "../providers/kit/config.ts";
import { TeeUpError } from "../providers/kit/errors.ts";
import type { Place } from "../providers/kit/machine.ts";

const run = promisify(execFile);

export interface StackSource {
  /** Stack to ask Pulumi for; default: the selected one. */
  readonly stack?: string | undefined;
  /** A `Pulumi.<stack>.yaml` to read instead of asking Pulumi. What is encrypted in it stays unknown. */
  readonly file?: string | undefined;
  /** Environment that Pulumi is asked in for the stack's outputs; default: this process's. */
  readonly env?: NodeJS.ProcessEnv | undefined;
}

/** What `pulumi config --json` prints for one key. */
const PulumiConfigSchema = z.record(
  z.string(),
  z.object({ value: z.string().optional(), objectValue: z.unknown().optional(), secret: z.boolean().optional() }),
);
const StackFileSchema = z.object({ config: z.record(z.string(), z.unknown()).default({}) });

/**
 * The stack config under `teeup:`. Throws `config.unreadable` when neither Pulumi nor the file gives it and
 * `config.invalid`, naming every wrong field, when it is not what the schema wants.
 */
export async function loadStack(source: StackSource): Promise<StackConfig> {
  const raw = source.file === undefined ? await fromPulumi(source.stack) : await fromFile(source.file);
  const own = Object.fromEntries(
    Object.entries(raw).flatMap(([key, value]) =>
      key.startsWith("teeup:") ? [[key.slice("teeup:".length), value]] : [],
    ),
  );
  const parsed = StackConfigSchema.safeParse(own);
  if (parsed.success) return parsed.data;
  throw new TeeUpError({
    code: "config.invalid",
    subject: source.file ?? (source.stack === undefined ? "the selected stack" : `stack ${source.stack}`),
    saw: parsed.error.issues.map((i) => `teeup:${i.path.join(".")}: ${i.message}`).join("; "),
    next: "mend Pulumi.<stack>.yaml (docs/stack-config.schema.json gives editors completion)",
  });
}

const OutputsSchema = z.record(
  z.string(),
  z.looseObject({ address: z.string().min(1).optional(), hostKey: z.string().min(1).optional() }),
);

/**
 * Where the stack's last `up` left an instance that it makes, as its outputs say. Throws `node.no-place` when it has
 * none, `config.unreadable` when Pulumi does not give the outputs.
 */
export async function placeOf(node: string, { stack, file, env = process.env }: StackSource): Promise<Place> {
  const named = stack ?? (file === undefined ? undefined : /^Pulumi\.(.+)\.yaml$/.exec(basename(file))?.[1]);
  const argv = [
    "stack",
    "output",
    "nodes",
    "--json",
    "--non-interactive",
    ...(named === undefined ? [] : ["-s", named]),
  ];
  let stdout: string;
  try {
    ({ stdout } = await run("pulumi", argv, { env, ...(file === undefined ? {} : { cwd: dirname(file) }) }));
  } catch (error) {
    const { stderr = "", code } = error as { stderr?: string; code?: string | number };
    const first = stderr.trim().split("\n")[0] ?? "";
    if (/does not have output property/.test(stderr)) throw noPlace(node);
    throw new TeeUpError({
      code: "config.unreadable",
      node,
      subject: named === undefined ? "the selected stack" : `stack ${named}`,
      saw: code === "ENOENT" ? "no pulumi in PATH" : first || "pulumi stack output failed",
      next: "the address of an instance that the stack makes is in the stack's outputs: pulumi stack select <stack>",
    });
  }
  const { address, hostKey } = OutputsSchema.parse(JSON.parse(stdout))[node] ?? {};
  if (address === undefined || hostKey === undefined) throw noPlace(node);
  return { host: address, hostKeys: [hostKey] };
}

const noPlace = (node: string): TeeUpError =>
  new TeeUpError({
    code: "node.no-place",
    node,
    saw: "the stack makes this instance, and has not made it yet: its outputs have no address",
    next: "pulumi up",
  });

async function fromPulumi(stack: string | undefined): Promise<Record<string, unknown>> {
  // Secrets are decrypted here because the BMC's password is one; they stay in this process.
  const argv = [
    "config",
    "--json",
    "--show-secrets",
    "--non-interactive",
    ...(stack === undefined ? [] : ["--stack", stack]),
  ];
  let stdout: string;
  try {
    ({ stdout } = await run("pulumi", argv, { maxBuffer: 16 * 1024 * 1024 }));
  } catch (error) {
    const { stderr = "", code } = error as { stderr?: string; code?: string | number };
    throw new TeeUpError({
      code: "config.unreadable",
      subject: stack === undefined ? "the selected stack" : `stack ${stack}`,
      saw: code === "ENOENT" ? "no pulumi in PATH" : stderr.trim().split("\n")[0] || "pulumi config failed",
      next: "pulumi stack select <stack>, or name the file: --file stacks/Pulumi.<stack>.yaml",
    });
  }
  return Object.fromEntries(
    Object.entries(PulumiConfigSchema.parse(JSON.parse(stdout))).map(([key, { objectValue, value }]) => [
      key,
      objectValue ?? value,
    ]),
  );
}

async function fromFile(file: string): Promise<Record<string, unknown>> {
  try {
    return withoutSecrets(StackFileSchema.parse(parseYaml(await readFile(file, "utf8"))).config) as Record<
      string,
      unknown
    >;
  } catch (error) {
    throw new TeeUpError({
      code: "config.unreadable",
      subject: file,
      saw: error instanceof Error ? (error.message.split("\n")[0] ?? "") : String(error),
      next: "name a Pulumi.<stack>.yaml",
    });
  }
}

/** `{secure: …}` can only be opened by Pulumi: left out, so that the environment variable is looked for. */
function withoutSecrets(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutSecrets);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, v]) => !(v !== null && typeof v === "object" && "secure" in v))
      .map(([k, v]) => [k, withoutSecrets(v)]),
  );
}
