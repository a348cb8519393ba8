import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

const FOLDER = join(import.meta.dirname, "../../../shared/captures");

/** Text of a real machine, read in place. Throws a clear error where the captures are not at hand. */
export function capture(path: string): string {
  const file = join(FOLDER, path);
  if (!existsSync(file)) throw new Error(`this test reads real captures in place and there is none at ${file}`);
  return readFileSync(file, "utf8");
}

/** One `## command` section of a capture that holds several. */
export function section(path: string, command: string): string {
  const parts = capture(path).split(/^## /m);
  const found = parts.find((part) => part.startsWith(`${command}\n`));
  if (found === undefined) throw new Error(`${path} has no section ${JSON.stringify(command)}`);
  return found.slice(command.length + 1).replace(/^rc=\d+\n?/m, "");
}
