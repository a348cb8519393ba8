import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

const FOLDER = join(import.meta.dirname, "../../../shared/captures");

/**
 * The captures of real machines lie beside the repository, not in it. Where they are not at hand, the tests that read
 * them are counted as skipped, and this says so.
 */
export function withCaptures<T extends { readonly skip: unknown }>(it: T): T {
  if (existsSync(FOLDER)) return it;
  process.stderr.write(`Skipped: tests that read captures of real machines; there are none at ${FOLDER}\n`);
  return it.skip as T;
}

/** Text of a real machine, read in place. Throws a clear error where the captures are not at hand. */
export function capture(path: string): string {
  const file = join(FOLDER, path);
  if (!existsSync(file)) throw new Error(`this test reads real captures in place and there is none at ${file}`);
  return readFileSync(file, "utf8");
}

/** As {@link capture}, for what is no text. */
export function captureBytes(path: string): Buffer {
  const file = join(FOLDER, path);
  if (!existsSync(file)) throw new Error(`this test reads real captures in place and there is none at ${file}`);
  return readFileSync(file);
}

/** One `## command` section of a capture that holds several. */
export function section(path: string, command: string): string {
  const parts = capture(path).split(/^## /m);
  const found = parts.find((part) => part.startsWith(`${command}\n`));
  if (found === undefined) throw new Error(`${path} has no section ${JSON.stringify(command)}`);
  return found.slice(command.length + 1).replace(/^rc=\d+\n?/m, "");
}
