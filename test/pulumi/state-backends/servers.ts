import { type ChildProcess, execFile, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { cached } from "../../lab/cache.ts";

const exec = promisify(execFile);
const HERE = dirname(fileURLToPath(import.meta.url));

/** A place for states of Pulumi, on this machine alone, that ends with `stop`. */
export interface StateServer {
  /** Value of PULUMI_BACKEND_URL. */
  readonly url: string;
  /** What else a client has to be told. */
  readonly env: Readonly<Record<string, string>>;
  stop(): Promise<void>;
}

/** What PostgreSQL's own programs lack here, or undefined. */
export const postgresBin = (): string | undefined => {
  const root = "/usr/lib/postgresql";
  const versions = existsSync(root) ? readdirSync(root).sort((a, b) => Number(b) - Number(a)) : [];
  return versions.map((version) => join(root, version, "bin")).find((bin) => existsSync(join(bin, "initdb")));
};

/** A PostgreSQL of its own: a fresh cluster that listens on a free port of loopback, with a password. */
export async function startPostgres(): Promise<StateServer> {
  const bin = postgresBin();
  if (bin === undefined) throw new Error("no PostgreSQL: apt-get install postgresql");
  const folder = mkdtempSync(join(tmpdir(), "teeup-postgres-"));
  const password = createHash("sha256").update(`${process.hrtime.bigint()}`).digest("hex");
  const [data, word] = [join(folder, "data"), join(folder, "password")];
  // It refuses to run as root.
  const asOwner = process.getuid?.() === 0 ? await ownerOf("postgres") : undefined;
  const argv = (program: string, ...args: string[]): [string, string[]] =>
    asOwner === undefined
      ? [join(bin, program), args]
      : [
          "setpriv",
          [`--reuid=${asOwner.uid}`, `--regid=${asOwner.gid}`, "--clear-groups", join(bin, program), ...args],
        ];
  writeFileSync(word, password, { mode: 0o600 });
  if (asOwner !== undefined) for (const path of [folder, word]) chownSync(path, asOwner.uid, asOwner.gid);
  chmodSync(folder, 0o700);
  const init = ["--pgdata", data, "--username", "teeup", "--pwfile", word, "--auth", "scram-sha-256", "--no-sync"];
  await exec(...argv("initdb", ...init), { cwd: "/", env: { PATH: process.env["PATH"], LC_ALL: "C" } });
  const port = await freePort();
  const options = ["-D", data, "-p", String(port), "-h", "127.0.0.1", "-k", folder, "-c", "fsync=off"];
  const [program, args] = argv("postgres", ...options);
  const child = spawn(program, args, {
    cwd: "/",
    env: { PATH: process.env["PATH"], LC_ALL: "C" },
    stdio: ["ignore", "ignore", "pipe"],
  });
  let said = "";
  child.stderr.on("data", (text: Buffer) => {
    said += text.toString();
  });
  try {
    await until(
      () => /ready to accept connections/.test(said),
      child,
      () => said,
    );
  } catch (error) {
    rmSync(folder, { recursive: true, force: true });
    throw error;
  }
  return {
    url: `postgres://teeup:${password}@127.0.0.1:${port}/postgres?sslmode=disable`,
    env: {},
    stop: async () => {
      // Fast shutdown: open sessions are ended.
      await end(child, "SIGINT");
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** gofakes3, a small server of the S3 protocol, built once from its Go module. It keeps all in memory. */
export async function startS3(): Promise<StateServer> {
  const bin = await s3Server();
  const port = await freePort();
  const child = spawn(bin, ["-backend", "memory", "-initialbucket", "states", "-host", `127.0.0.1:${port}`], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  let said = "";
  child.stderr.on("data", (text: Buffer) => {
    said += text.toString();
  });
  const answers = async () => (await fetch(`http://127.0.0.1:${port}/`).catch(() => undefined))?.ok === true;
  await until(answers, child, () => said);
  return {
    url: `s3://states?endpoint=http://127.0.0.1:${port}&s3ForcePathStyle=true&region=us-east-1`,
    env: { AWS_ACCESS_KEY_ID: "anybody", AWS_SECRET_ACCESS_KEY: "anything", AWS_EC2_METADATA_DISABLED: "true" },
    stop: () => end(child, "SIGTERM"),
  };
}

/** Built by the hash of what it is built from; go.sum verifies every module. */
export async function s3Server(): Promise<string> {
  const module = join(HERE, "s3");
  const files = ["go.mod", "go.sum"].map((name) => readFileSync(join(module, name)));
  const name = `s3-${createHash("sha256").update(Buffer.concat(files)).digest("hex").slice(0, 12)}`;
  const folder = await cached(name, async (making) => {
    const argv = [
      "build",
      "-trimpath",
      "-mod=readonly",
      "-o",
      join(making, "gofakes3"),
      "github.com/johannesboyne/gofakes3/cmd/gofakes3",
    ];
    await exec("go", argv, { cwd: module, env: { ...process.env, CGO_ENABLED: "0" } });
  });
  return join(folder, "gofakes3");
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  await new Promise((resolve) => server.close(resolve));
  return address.port;
}

async function ownerOf(user: string): Promise<{ uid: number; gid: number }> {
  const [uid, gid] = await Promise.all([exec("id", ["-u", user]), exec("id", ["-g", user])]);
  return { uid: Number(uid.stdout), gid: Number(gid.stdout) };
}

async function until(check: () => boolean | Promise<boolean>, child: ChildProcess, said: () => string): Promise<void> {
  const end = Date.now() + 60_000;
  while (!(await check())) {
    if (child.exitCode !== null || Date.now() > end) throw new Error(`${child.spawnfile} does not come up: ${said()}`);
    await setTimeout(50);
  }
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, "exit");
  child.kill(signal);
  await ended;
}
