import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { promisify } from "node:util";
import { parse as parseYaml } from "yaml";
import { z } from "zod";
import type { StackConfig } from "../providers/kit/config.ts";
import { StackConfigSchema } from "../providers/kit/config.ts";
import { TeeUpError } from "../providers/kit/errors.ts";

const run = promisify(execFile);

export interface StackSource {
  /** Stack to ask Pulumi for; default: the selected one. */
  readonly stack?: string | undefined;
  /** A `Pulumi.<stack>.yaml` to read instead of asking Pulumi. What is encrypted in it stays unknown. */
  readonly file?: string | undefined;
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
