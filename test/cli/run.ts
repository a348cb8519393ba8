import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const ROOT = join(dirname(fileURLToPath(import.meta.url)), "../..");

export interface Ran {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A place for a program's temporary files of its own: those of other tests come and go meanwhile. */
export function ownPlace() {
  const folder = mkdtempSync(join(tmpdir(), "td-"));
  return {
    env: { TMPDIR: folder },
    leftovers: () => readdirSync(folder).filter((name) => name.startsWith("teeup-")),
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}

/** Runs one of the checkout's programs as npm's scripts do. */
export function run(argv: readonly string[], env: Readonly<Record<string, string>> = {}, typed = ""): Promise<Ran> {
  const child = spawn(process.execPath, argv, {
    cwd: ROOT,
    env: { ...process.env, ...env },
    stdio: ["pipe", "pipe", "pipe"],
  });
  child.stdin.end(typed);
  const [out, err]: [Buffer[], Buffer[]] = [[], []];
  child.stdout.on("data", (chunk: Buffer) => out.push(chunk));
  child.stderr.on("data", (chunk: Buffer) => err.push(chunk));
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) =>
      resolve({
        status: code ?? 1,
        stdout: Buffer.concat(out).toString("utf8"),
        stderr: Buffer.concat(err).toString("utf8"),
      }),
    );
  });
}
