// A lock file between processes of one machine, in plain JavaScript that Node 20 runs without node_modules.
import { randomUUID } from "node:crypto";
import { link, mkdir, open, readFile, rename, rm, stat, utimes } from "node:fs/promises";
import { hostname } from "node:os";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const BEAT_MS = 2_000;
const STALE_MS = 30_000;
const POLL_MS = 100;

const unless = (code, fallback) => (error) => {
  if (error.code === code) return fallback;
  throw error;
};

/** Claims the lock with a text of our own, or says that someone has it. */
async function claim(path, token) {
  const file = await open(path, "wx").catch(unless("EEXIST", undefined));
  if (!file) return false;
  await file.writeFile(token);
  await file.close();
  return true;
}

/** The holder's text, where the holder is dead: its process is gone or, seen from another container, its beat stopped. */
async function deadHolder(path) {
  const [text, entry] = await Promise.all([
    readFile(path, "utf8").catch(unless("ENOENT", undefined)),
    stat(path).catch(unless("ENOENT", undefined)),
  ]);
  if (text === undefined || entry === undefined) return undefined;
  if (Date.now() - entry.mtimeMs > STALE_MS) return text;
  const [host, pid] = text.split(" ");
  if (host !== hostname() || !pid) return undefined;
  try {
    process.kill(Number(pid), 0);
    return undefined;
  } catch (error) {
    return error.code === "ESRCH" ? text : undefined;
  }
}

/** Takes a dead lock away; two who try at once must not take away the next holder's. */
async function bury(path, text) {
  const aside = `${path}.${randomUUID()}`;
  if ((await rename(path, aside).catch(unless("ENOENT", "gone"))) === "gone") return;
  if ((await readFile(aside, "utf8")) !== text) await link(aside, path).catch(unless("EEXIST", undefined));
  await rm(aside, { force: true });
}

/** Runs `work` while holding `path`; `onWait` is called once if someone else holds it. */
export async function withLock(path, work, onWait) {
  await mkdir(dirname(path), { recursive: true });
  const token = `${hostname()} ${process.pid} ${randomUUID()}`;
  for (let waited = false; !(await claim(path, token)); waited = true) {
    const dead = await deadHolder(path);
    if (dead !== undefined) {
      await bury(path, dead);
      continue;
    }
    if (!waited) onWait?.();
    await sleep(POLL_MS);
  }
  const beat = setInterval(() => {
    const now = new Date();
    utimes(path, now, now).catch(() => {});
  }, BEAT_MS);
  try {
    return await work();
  } finally {
    clearInterval(beat);
    // After a long sleep of the machine the lock may be someone else's by now.
    if ((await readFile(path, "utf8").catch(unless("ENOENT", undefined))) === token) await rm(path, { force: true });
  }
}
