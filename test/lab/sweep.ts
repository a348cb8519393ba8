import { existsSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";

/** Removes folders `<prefix>-<pid>-…` of processes that were killed without a chance to tidy up. */
export function sweep(place: string, prefix: string): void {
  for (const name of readdirSync(place)) {
    const owner = name.startsWith(`${prefix}-`) ? /^(\d+)-/.exec(name.slice(prefix.length + 1))?.[1] : undefined;
    if (owner !== undefined && !existsSync(`/proc/${owner}`))
      rmSync(join(place, name), { recursive: true, force: true });
  }
}
