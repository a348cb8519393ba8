import { type StackConfig, StackConfigSchema } from "./config.ts";
import { TeeUpError } from "./errors.ts";

/**
 * The stack config under `teeup:`, checked. `get` gives a key's text as Pulumi has it: plain values as they are,
 * structured ones as JSON text. Throws TeeUpError `config.invalid` that names the fields and never shows a value:
 * a password may stand beside the fault.
 */
export function readStackConfig(get: (key: string) => unknown): StackConfig {
  const raw = Object.fromEntries(
    Object.keys(StackConfigSchema.shape).flatMap((name) => {
      const value = get(`teeup:${name}`);
      return value === undefined ? [] : [[name, decode(name, value)]];
    }),
  );
  const parsed = StackConfigSchema.safeParse(raw);
  if (parsed.success) return parsed.data;
  const { issues } = parsed.error;
  throw invalid(
    issues.map((i) => `teeup:${i.path.join(".")}`).join(", "),
    issues.map((i) => `${i.path.join(".") || "teeup"}: ${i.message}`).join("; "),
  );
}

function decode(name: string, value: unknown): unknown {
  if (typeof value !== "string" || !/^[[{]/.test(value)) return value;
  try {
    return JSON.parse(value);
  } catch {
    throw invalid(`teeup:${name}`, "the value begins like JSON but is none");
  }
}

function invalid(subject: string, saw: string): TeeUpError {
  return new TeeUpError({
    code: "config.invalid",
    subject,
    saw,
    next: "mend stacks/Pulumi.<stack>.yaml (docs/stack-config.schema.json describes every field)",
  });
}
