import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { TeeUpError } from "../kit/errors.ts";
import type { SecretSource } from "../kit/secrets.ts";
import { keepSecret } from "./redact.ts";

/** Looks a secret of the stack up by its name, at the moment at which it is released. */
export type Secrets = (name: string) => Promise<string>;

const COMMAND_MS = 60_000;
/** A disk key, a token, a small file. */
const MOST_BYTES = 65_536;

/**
 * The stack's secrets. Stack secrets are hidden from everything said from now on, what a command prints from when it is
 * printed. A command gets this process's environment but for TeeUp's own variables, and its output is in no error.
 *
 * Rejects with `secret.unknown`, `secret.command`, `secret.empty`.
 */
export function openSecrets(sources: Readonly<Record<string, SecretSource>>): Secrets {
  for (const source of Object.values(sources)) if (typeof source === "string") keepSecret(source);
  return async (name) => {
    const failed = (code: string, saw: string, next: string) =>
      new TeeUpError({ code, subject: `teeup:secrets.${name}`, saw, next });
    const source = sources[name];
    if (source === undefined)
      throw failed(
        "secret.unknown",
        "the stack has no secret of that name; nothing was released",
        `pulumi config set --secret --path 'teeup:secrets["${name}"]'`,
      );
    if (typeof source === "string") return source;
    const [file = "", ...args] = source.command;
    try {
      const env = Object.fromEntries(
        Object.entries(process.env).filter(([variable]) => !variable.startsWith("TEEUP_")),
      );
      const { stdout } = await promisify(execFile)(file, args, {
        timeout: COMMAND_MS,
        maxBuffer: MOST_BYTES,
        env,
      });
      const value = stdout.replace(/\r?\n$/, "");
      if (value !== "") keepSecret(value);
      if (value !== "") return value;
    } catch (error) {
      // Neither its words nor its output: a failing command may print what it was asked for.
      const { code, killed } = error as { code?: unknown; killed?: boolean };
      const how = killed === true ? `did not end within ${COMMAND_MS / 1000} s` : `ended with ${String(code)}`;
      throw failed("secret.command", `the command ${file} ${how}; nothing was released`, `run it yourself: ${file} …`);
    }
    throw failed(
      "secret.empty",
      `the command ${file} printed nothing; nothing was released`,
      `run it yourself: ${file} …`,
    );
  };
}
