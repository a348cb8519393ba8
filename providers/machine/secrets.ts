import { isUtf8 } from "node:buffer";
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { TeeUpError } from "../kit/errors.ts";
import { LEAST_CHARACTERS, type SecretSource } from "../kit/secrets.ts";
import { keepSecret } from "./redact.ts";

/** Looks a secret of the stack up by its name, at the moment at which it is released. */
export type Secrets = (name: string) => Promise<string>;

const COMMAND_MS = 60_000;
/** A disk key, a token, a small file. */
const MOST_BYTES = 65_536;
/**
 * The stack's secrets. Stack secrets are hidden from everything said from now on, what a command prints from when it is
 * printed. A command gets this process's environment but for TeeUp's own variables and nothing to read, and its output is
 * in no error. Secrets are text: bytes that are no UTF-8 would arrive as others.
 *
 * Rejects with `secret.unknown`, `secret.command`, `secret.empty`, `secret.short`, `secret.not-text`.
 */
export function openSecrets(
  sources: Readonly<Record<string, SecretSource>>,
  { commandMs = COMMAND_MS }: { readonly commandMs?: number } = {},
): Secrets {
  for (const source of Object.values(sources)) if (typeof source === "string") keepSecret(source);
  return async (name) => {
    const failed = (code: string, saw: string, next: string) =>
      new TeeUpError({ code, subject: `teeup:secrets.${name}`, saw, next });
    const source = Object.hasOwn(sources, name) ? sources[name] : undefined;
    if (source === undefined)
      throw failed(
        "secret.unknown",
        "the stack has no secret of that name; nothing was released",
        `pulumi config set --secret --path 'teeup:secrets["${name}"]'`,
      );
    if (typeof source === "string") return source;
    const [file = "", ...args] = source.command;
    let printed: Buffer;
    try {
      const env = Object.fromEntries(
        Object.entries(process.env).filter(([variable]) => !variable.startsWith("TEEUP_")),
      );
      const running = promisify(execFile)(file, args, {
        timeout: commandMs,
        // One that minds no other signal would be waited for without end.
        killSignal: "SIGKILL",
        maxBuffer: MOST_BYTES,
        encoding: "buffer",
        env,
      });
      // Nobody answers what it may ask.
      running.child.stdin?.end();
      printed = (await running).stdout;
    } catch (error) {
      // Neither its words nor its output: a failing command may print what it was asked for.
      const { code, killed } = error as { code?: unknown; killed?: boolean };
      const how = killed === true ? `did not end within ${commandMs / 1000} s` : `ended with ${String(code)}`;
      throw failed("secret.command", `the command ${file} ${how}; nothing was released`, `run it yourself: ${file} …`);
    }
    const refuse = (code: string, what: string, next = `run it yourself: ${file} …`) =>
      failed(code, `the command ${file} printed ${what}; nothing was released`, next);
    if (!isUtf8(printed))
      throw refuse(
        "secret.not-text",
        "bytes that are no text",
        "have it print them as base64, for the guest to decode",
      );
    const value = printed.toString("utf8").replace(/\r?\n$/, "");
    if (value === "") throw refuse("secret.empty", "nothing");
    if (value.length < LEAST_CHARACTERS) throw refuse("secret.short", `fewer than ${LEAST_CHARACTERS} characters`);
    keepSecret(value);
    return value;
  };
}
