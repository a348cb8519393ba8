/**
 * The Pulumi toolchain: three executables that must stand together in PATH.
 * Taken from an installed Pulumi, else from the official release, else built from Go modules.
 */
import { spawn, spawnSync } from "node:child_process";
import { createHash, randomUUID } from "node:crypto";
import { accessSync, constants, createWriteStream, existsSync, mkdirSync, readFileSync, statSync } from "node:fs";
import { chmod, mkdir, readdir, rename, rm, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { delimiter, dirname, isAbsolute, join, resolve } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { fileURLToPath } from "node:url";
import { withLock } from "./lock.mjs";

/** Same as the SDK's version in package.json; the Go modules in tools/toolchain/cli pin the same one. */
export const PULUMI_VERSION = "3.259.0";

const LANGUAGE_HOST = "pulumi-language-nodejs";
const DYNAMIC_PROVIDER = "pulumi-resource-pulumi-nodejs";
const COMPANIONS = [LANGUAGE_HOST, DYNAMIC_PROVIDER] as const;
/** The official release has every language's files; these are the ones that a Node program uses. */
const RELEASED = new Set(["pulumi", LANGUAGE_HOST, DYNAMIC_PROVIDER, "pulumi-analyzer-policy"]);

const RELEASES = "https://get.pulumi.com/releases/sdk";
const ANSWER_TIMEOUT_MS = 8_000;
const STALL_TIMEOUT_MS = 30_000;
const RUN_TIMEOUT_MS = 30_000;
/** From here on `go` can fetch the newer Go that a go.mod asks for. */
const OLDEST_GO = "1.21";

/** The engine starts this in the program's folder, so that the program's own SDK serves its dynamic resources. */
const DYNAMIC_PROVIDER_TEXT = `#!/bin/sh
set -eu
script=$(node -p 'require.resolve("@pulumi/pulumi/cmd/dynamic-provider")')
exec node "$script" "$@"
`;

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));

const MODULES = [
  {
    folder: join(ROOT, "tools/toolchain/cli"),
    binary: "pulumi",
    main: "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi",
    ldflags: `-s -w -X github.com/pulumi/pulumi/sdk/v3/go/common/version.Version=v${PULUMI_VERSION}`,
  },
  {
    folder: join(ROOT, "tools/toolchain/host"),
    binary: LANGUAGE_HOST,
    main: "github.com/pulumi/pulumi/sdk/v3/nodejs/cmd/pulumi-language-nodejs",
    ldflags: "-s -w",
  },
] as const;

type Env = Readonly<Record<string, string | undefined>>;
type Say = (text: string) => void;

export interface Toolchain {
  /** Folders to put in front of PATH. */
  readonly path: readonly string[];
  readonly version: string;
}

/** One sentence for a person; no stack trace helps them. */
export class SetupError extends Error {
  override name = "SetupError";
}

// ---------------------------------------------------------------------------------------------- looking for one

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return statSync(file).isFile();
  } catch {
    return false;
  }
}

const foldersOf = (env: Env): string[] => (env.PATH ?? "").split(delimiter).filter((folder) => isAbsolute(folder));

/** `v3.259.0`, `go version go1.26.8 linux/amd64` → numbers to compare. */
export function parseVersion(text: string): readonly number[] | undefined {
  const match = /(\d+)\.(\d+)(?:\.(\d+))?/.exec(text);
  return match ? match.slice(1).map((part) => Number(part ?? 0)) : undefined;
}

export function isAtLeast(version: readonly number[], wanted: string): boolean {
  for (const [i, part] of (parseVersion(wanted) ?? []).entries()) {
    const difference = (version[i] ?? 0) - part;
    if (difference !== 0) return difference > 0;
  }
  return true;
}

function run(file: string, args: readonly string[], env: Env): string | undefined {
  const result = spawnSync(file, args, {
    env: { ...env, PULUMI_SKIP_UPDATE_CHECK: "true" },
    encoding: "utf8",
    timeout: RUN_TIMEOUT_MS,
    stdio: ["ignore", "pipe", "ignore"],
  });
  return result.status === 0 ? result.stdout.trim() : undefined;
}

/** The toolchain around `folder/pulumi`, or what is wrong with it. */
function inspect(folder: string, env: Env): Toolchain | string {
  const said = run(join(folder, "pulumi"), ["version"], env);
  const version = parseVersion(said ?? "");
  if (!version) return `\`pulumi version\` fails in ${folder}`;
  const text = version.join(".");
  if (!isAtLeast(version, PULUMI_VERSION)) return `Pulumi ${text} in ${folder} is too old`;
  const folders = [folder];
  for (const companion of COMPANIONS) {
    const home = [folder, ...foldersOf(env)].find((candidate) => isExecutable(join(candidate, companion)));
    if (!home) return `Pulumi ${text} in ${folder} has no ${companion}`;
    if (!folders.includes(home)) folders.push(home);
  }
  return { path: folders, version: text };
}

function lookInPath(env: Env): { readonly found?: Toolchain; readonly problems: readonly string[] } {
  const problems: string[] = [];
  const folders = new Set([...foldersOf(env), join(env.HOME ?? homedir(), ".pulumi/bin")]);
  for (const folder of folders) {
    if (!isExecutable(join(folder, "pulumi"))) continue;
    const result = inspect(folder, env);
    if (typeof result !== "string") return { found: result, problems };
    problems.push(result);
  }
  return { problems: problems.length > 0 ? problems : ["there is none in PATH"] };
}

// ------------------------------------------------------------------------------------------------ the cache

export function cacheRoot(env: Env): string {
  // The XDG rule: a relative path is to be ignored.
  const base = env.XDG_CACHE_HOME && isAbsolute(env.XDG_CACHE_HOME) ? env.XDG_CACHE_HOME : undefined;
  return join(base ?? join(env.HOME ?? homedir(), ".cache"), "teeup", "toolchain");
}

/** A changed recipe is a new folder: two checkouts of different age do not fight over one. */
export function cacheFolder(env: Env): string {
  const hash = createHash("sha256").update(`${process.platform} ${process.arch}\n${DYNAMIC_PROVIDER_TEXT}`);
  for (const { folder, main, ldflags } of MODULES) {
    hash.update(`${main} ${ldflags}\n`);
    for (const file of ["go.mod", "go.sum"]) hash.update(readFileSync(join(folder, file)));
  }
  return join(cacheRoot(env), `${PULUMI_VERSION}-${hash.digest("hex").slice(0, 12)}`);
}

function lookInCache(env: Env): Toolchain | undefined {
  const folder = cacheFolder(env);
  if (!existsSync(folder)) return undefined;
  // Companions must be the cache's own, not ones that happen to be in PATH.
  const result = inspect(folder, { ...env, PATH: dirname(process.execPath) });
  return typeof result === "string" ? undefined : result;
}

/** The toolchain that is there already; downloads and builds nothing. */
export function findToolchain(env: Env = process.env): Toolchain | undefined {
  return lookInPath(env).found ?? lookInCache(env);
}

// ------------------------------------------------------------------------------------------- getting it

async function execute(command: string, args: readonly string[], options: { cwd?: string; env: Env; log?: string }) {
  const child = spawn(command, args, {
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    env: { ...options.env },
    stdio: ["ignore", "ignore", "pipe"],
  });
  const ended = new Promise<number>((done, failed) => {
    child.on("error", failed);
    child.on("close", (code) => done(code ?? 1));
  });
  const chunks: Buffer[] = [];
  child.stderr.on("data", (chunk: Buffer) => chunks.push(chunk));
  const status = await ended;
  if (options.log !== undefined) await writeFile(options.log, Buffer.concat(chunks));
  return status;
}

/** Throws when nothing came for a while, so that a stalled download ends. */
async function* withStallTimeout(body: AsyncIterable<Uint8Array>, abort: AbortController) {
  const stalled = () => abort.abort(new Error("the download stalled"));
  let timer = setTimeout(stalled, STALL_TIMEOUT_MS);
  try {
    for await (const chunk of body) {
      clearTimeout(timer);
      timer = setTimeout(stalled, STALL_TIMEOUT_MS);
      yield chunk;
    }
  } finally {
    clearTimeout(timer);
  }
}

/** Fills `into` from the official release; answers why not, where it cannot. */
async function download(into: string, env: Env, say: Say): Promise<string | undefined> {
  const releases = env.TEEUP_PULUMI_RELEASES ?? RELEASES;
  const url = `${releases}/pulumi-v${PULUMI_VERSION}-${process.platform}-${process.arch}.tar.gz`;
  const host = new URL(url).host;
  const abort = new AbortController();
  const unanswered = setTimeout(() => abort.abort(), ANSWER_TIMEOUT_MS);
  let response: Response;
  try {
    response = await fetch(url, { signal: abort.signal });
  } catch {
    return `${host} cannot be reached`;
  } finally {
    clearTimeout(unanswered);
  }
  if (!response.ok || !response.body) return `${host} answers ${response.status}`;

  const megabytes = Math.round(Number(response.headers.get("content-length") ?? 0) / 1e6);
  say(`Downloading Pulumi ${PULUMI_VERSION} from ${host}${megabytes > 0 ? ` (${megabytes} MB)` : ""}, once.`);
  const archive = join(into, "release.tar.gz");
  const unpacked = join(into, "unpacked");
  try {
    await pipeline(Readable.from(withStallTimeout(response.body, abort)), createWriteStream(archive));
    await mkdir(unpacked);
    if ((await execute("tar", ["-xzf", archive, "-C", unpacked], { env })) !== 0) return "the release does not unpack";
    for (const entry of await readdir(unpacked, { recursive: true, withFileTypes: true })) {
      if (entry.isFile() && RELEASED.has(entry.name)) {
        await rename(join(entry.parentPath, entry.name), join(into, entry.name));
      }
    }
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
  await rm(archive);
  await rm(unpacked, { recursive: true });
  return undefined;
}

function findGo(env: Env): { readonly version: readonly number[] } | string {
  const said = run("go", ["version"], env);
  const version = parseVersion(said ?? "");
  if (!version) return "there is no Go in PATH";
  if (!isAtLeast(version, OLDEST_GO)) return `Go ${version.join(".")} in PATH is older than ${OLDEST_GO}`;
  return { version };
}

/** Fills `into` from the pinned Go modules; answers why not, where it cannot. */
async function build(into: string, env: Env, log: string, say: Say): Promise<string | undefined> {
  const go = findGo(env);
  if (typeof go === "string") return go;
  say(
    `Building Pulumi ${PULUMI_VERSION} from its Go modules: about 4 minutes on 2 cores and 2 GB of Go's caches, once.`,
  );
  const started = Date.now();
  const seconds = () => `${Math.round((Date.now() - started) / 1000)} s`;
  const alive = setInterval(() => say(`  still building (${seconds()})`), 60_000);
  try {
    for (const { folder, binary, main, ldflags } of MODULES) {
      const wanted = /^go (\S+)$/m.exec(readFileSync(join(folder, "go.mod"), "utf8"))?.[1] ?? OLDEST_GO;
      const args = ["build", "-mod=readonly", "-trimpath", "-ldflags", ldflags];
      const status = await execute("go", [...args, "-o", join(into, binary), main], {
        cwd: folder,
        env: {
          ...env,
          // No C compiler is needed, and nobody's own settings change what is built.
          CGO_ENABLED: "0",
          GOFLAGS: "-buildvcs=false",
          // The compiler lives for a moment and would collect garbage for a good part of it.
          GOGC: "400",
          GOWORK: "off",
          GOOS: "",
          GOARCH: "",
          // Golang's container images forbid fetching a newer Go; here it is the way to build at all.
          ...(isAtLeast(go.version, wanted) ? {} : { GOTOOLCHAIN: "auto" }),
        },
        log,
      });
      if (status !== 0) return `\`go build\` of ${binary} fails (${log})`;
    }
  } finally {
    clearInterval(alive);
  }
  await writeFile(join(into, DYNAMIC_PROVIDER), DYNAMIC_PROVIDER_TEXT);
  await chmod(join(into, DYNAMIC_PROVIDER), 0o755);
  await rm(log, { force: true });
  say(`Built in ${seconds()}.`);
  return undefined;
}

/** Finds a toolchain or makes one. Everything said is for a person; the answer is for programs. */
export async function ensureToolchain(options: { readonly env?: Env; readonly say: Say }): Promise<Toolchain> {
  const { env = process.env, say } = options;
  const installed = lookInPath(env);
  if (installed.found) return installed.found;
  const cached = lookInCache(env);
  if (cached) return cached;

  const root = cacheRoot(env);
  const folder = cacheFolder(env);
  await mkdir(root, { recursive: true });
  return await withLock(
    join(root, "lock"),
    async () => {
      const made = lookInCache(env);
      if (made) return made;
      // Under the lock nobody works in there: what lies there was interrupted, or does not run on this machine.
      for (const name of await readdir(root)) {
        if (name.startsWith("unfinished-")) await rm(join(root, name), { recursive: true, force: true });
      }
      await rm(folder, { recursive: true, force: true });

      const reasons = [...installed.problems];
      const log = join(root, "build.log");
      for (const way of [download, build] as const) {
        const unfinished = join(root, `unfinished-${randomUUID()}`);
        await mkdir(unfinished);
        const problem = await (way === download ? download(unfinished, env, say) : build(unfinished, env, log, say));
        const result = problem ?? inspect(unfinished, { ...env, PATH: dirname(process.execPath) });
        if (typeof result !== "string") {
          // Only now does it get its name: an interrupted set-up never looks complete.
          await rename(unfinished, folder);
          return { path: [folder], version: result.version };
        }
        reasons.push(result);
        await rm(unfinished, { recursive: true, force: true });
      }
      throw new SetupError(
        `TeeUp needs Pulumi ${PULUMI_VERSION} or newer with its Node.js language host (${reasons.join("; ")}): ` +
          "install it from https://www.pulumi.com/docs/install/, " +
          `or install Go ${OLDEST_GO} or newer from https://go.dev/dl/ so that it can be built here.`,
      );
    },
    () => say("Waiting for another set-up of Pulumi to end."),
  );
}

// -------------------------------------------------------------------------------------------- using it

export interface PulumiPlace {
  /** PULUMI_HOME: plugins, workspaces, credentials of this use alone. */
  readonly home: string;
  /** Folder that holds the state. */
  readonly backendDir: string;
  readonly passphrase: string;
  readonly env?: Env;
}

const found = new Map<string, Toolchain>();

/** The environment for a Pulumi that touches nothing of the user's: own home, own state, no update check, no downloads. */
export function pulumiEnv(place: PulumiPlace): Record<string, string> {
  const { env = process.env } = place;
  const key = env.PATH ?? "";
  const toolchain = found.get(key) ?? findToolchain(env);
  if (!toolchain) throw new SetupError(`Pulumi ${PULUMI_VERSION} or newer is not set up: run \`npm run setup\`.`);
  found.set(key, toolchain);

  const home = resolve(place.home);
  const backend = resolve(place.backendDir);
  for (const folder of [home, backend]) mkdirSync(folder, { recursive: true });
  const kept = Object.entries(env).filter(
    (entry): entry is [string, string] => entry[1] !== undefined && !entry[0].startsWith("PULUMI_"),
  );
  return {
    ...Object.fromEntries(kept),
    PATH: [join(ROOT, "node_modules/.bin"), ...toolchain.path, key].filter((part) => part !== "").join(delimiter),
    PULUMI_HOME: home,
    // The engine takes the rest of the text as a path, so nothing is percent-encoded.
    PULUMI_BACKEND_URL: `file://${backend}`,
    PULUMI_CONFIG_PASSPHRASE: place.passphrase,
    PULUMI_SKIP_UPDATE_CHECK: "true",
    PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION: "true",
    PULUMI_SUPPRESS_NEO_LINK: "true",
    // As in cli/drift.ts: an engine of seconds need not collect garbage.
    GOGC: env["GOGC"] ?? "400",
  };
}
