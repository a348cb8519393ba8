import { execFile } from "node:child_process";
import { existsSync, mkdirSync, renameSync, rmSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { withLock } from "../../tools/lock.mjs";

/** Where images and packages that take minutes are kept between runs, each by the hash of its recipe. */
export const labCache = (): string => process.env["TEEUP_LAB_CACHE"] ?? join(homedir(), ".cache/teeup/lab");

/**
 * A folder of the cache, made by whoever first needs it; a half made one is never seen under its name. `make` must not
 * block: a lock whose holder gives no sign of life for half a minute counts as a dead one's.
 */
export async function cached(name: string, make: (folder: string) => Promise<void>): Promise<string> {
  const folder = join(labCache(), name);
  if (existsSync(folder)) return folder;
  return await withLock(
    `${folder}.lock`,
    async () => {
      if (existsSync(folder)) return folder;
      const making = `${folder}.making`;
      rmSync(making, { recursive: true, force: true });
      mkdirSync(making, { recursive: true });
      await make(making);
      renameSync(making, folder);
      return folder;
    },
    () => process.stderr.write(`Waiting for another process that makes ${folder}.\n`),
  );
}

/** What a program printed; this process's own timers, and so its locks, go on meanwhile. */
export async function run(program: string, ...args: string[]): Promise<string> {
  return (await promisify(execFile)(program, args, { encoding: "utf8", maxBuffer: 64 << 20 })).stdout;
}

/** A new Debian system. What it mounts meanwhile ends with it, also when it is killed: a later `rm` must never meet it. */
export const mmdebstrap = (...args: string[]): Promise<string> =>
  run("unshare", "--mount", "--propagation", "private", "mmdebstrap", ...args);
