import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, readFile, rm } from "node:fs/promises";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { timed } from "./timing.ts";

export const PEERS = fileURLToPath(new URL("peers", import.meta.url));

/** Folder of the peers' programs; installed from PyPI once for each list of versions, under `~/.cache/teeup/bench`. */
export async function installPeers(say: (text: string) => void): Promise<string> {
  const requirements = join(PEERS, "requirements.txt");
  const hash = createHash("sha256")
    .update(await readFile(requirements))
    .digest("hex")
    .slice(0, 16);
  const home = join(process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"), "teeup/bench", `peers-${hash}`);
  if (existsSync(home)) return join(home, "bin");
  say("Installing the peers from PyPI…");
  await mkdir(dirname(home), { recursive: true });
  try {
    // Its programs name the folder that they stand in: made where it stays, and only whole.
    await timed(["python3", "-m", "venv", home]);
    await timed([join(home, "bin/pip"), "install", "--quiet", "--disable-pip-version-check", "-r", requirements]);
  } catch (error) {
    await rm(home, { recursive: true, force: true });
    throw error;
  }
  return join(home, "bin");
}
