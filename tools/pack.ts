/**
 * `npm pack` ships compiled files, since Node strips no types under node_modules: the `prepack` script builds dist/
 * and puts the published package.json in place, `postpack` puts ours back.
 *   node tools/pack.ts swap | restore
 */
import { spawn, spawnSync } from "node:child_process";
import {
  chmodSync,
  closeSync,
  cpSync,
  existsSync,
  linkSync,
  openSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { dirname, extname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

const MANIFEST = "package.json";
const OURS = "package.json.unpacked";
/** Rooms whose data files go along with their code. */
const ROOMS = ["components", "providers", "stacks/profiles", "cli", "sim", "tools/toolchain"];

export interface Manifest {
  readonly engines?: Record<string, string>;
  readonly exports: Record<string, string>;
  readonly dependencies: Record<string, string>;
  readonly [key: string]: unknown;
}

/** The package.json that users get. */
export function publishedManifest(ours: Manifest): Record<string, unknown> {
  const { scripts: _scripts, devDependencies: _dev, allowScripts: _allow, ...rest } = ours;
  const exports = Object.entries(ours.exports).map(([name, target]) => {
    if (extname(target) !== ".ts") return [name, target];
    const stem = target.replace(/^\.\//, "./dist/").replace(/\.ts$/, "");
    return [name, { types: `${stem}.d.ts`, default: `${stem}.js` }];
  });
  return {
    ...rest,
    // Our entry scripts start on an older Node and bring their own; a user's project has the Node it has.
    engines: { ...ours.engines, node: ">=22.19.0" },
    exports: Object.fromEntries(exports),
    // Two copies of the SDK in one program do not share the engine's connection: follow the user's own copy.
    dependencies: { ...ours.dependencies, "@pulumi/pulumi": `^${ours.dependencies["@pulumi/pulumi"]}` },
  };
}

export function swap(root: string): void {
  restore(root);
  const text = readFileSync(join(root, MANIFEST), "utf8");
  const published = `${JSON.stringify(publishedManifest(JSON.parse(text) as Manifest), null, 2)}\n`;
  const ready = join(root, `${MANIFEST}.published`);
  writeFileSync(ready, published);
  // Ours has both names before the published one takes over the first: at no moment is it without one.
  linkSync(join(root, MANIFEST), join(root, OURS));
  renameSync(ready, join(root, MANIFEST));
}

export function restore(root: string): void {
  if (existsSync(join(root, OURS))) renameSync(join(root, OURS), join(root, MANIFEST));
}

function build(root: string): void {
  const dist = join(root, "dist");
  rmSync(dist, { recursive: true, force: true });
  const { status, error } = spawnSync("tsc", ["--project", "tsconfig.build.json"], {
    cwd: root,
    // npm gives our stdout to whoever reads its own.
    stdio: ["ignore", 2, 2],
  });
  if (status !== 0) throw new Error(`dist/ does not build, nothing was packed${error ? ` (${error.message})` : ""}`);
  for (const room of ROOMS) {
    const from = join(root, room);
    if (!existsSync(from) || !existsSync(join(dist, room.split("/")[0] ?? room))) continue;
    cpSync(from, join(dist, room), { recursive: true, filter: (source) => extname(source) !== ".ts" });
  }
  const bin = join(dist, "cli/main.js");
  if (existsSync(bin)) chmodSync(bin, 0o755);
}

/** Parent and command line of a process: from /proc, as slim images have no `ps`, else from `ps`. */
function lookAt(pid: number): { readonly parent: number; readonly args: string } | undefined {
  try {
    const parent = /^PPid:\s*(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
    return { parent: Number(parent), args: readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ") };
  } catch {
    const { status, stdout } = spawnSync("ps", ["-o", "ppid=,args=", "-p", String(pid)], { encoding: "utf8" });
    const match = status === 0 ? /^\s*(\d+)\s+(.*)/.exec(stdout) : undefined;
    return match ? { parent: Number(match[1]), args: match[2] ?? "" } : undefined;
  }
}

/** The nearest npm among our ancestors; undefined where the system does not show them. */
function findNpm(): number | undefined {
  for (let pid = process.ppid; pid > 1; ) {
    const seen = lookAt(pid);
    if (!seen) return undefined;
    // Our own command line is `node tools/…`; npm shows itself as `npm pack` or `node …/npm-cli.js pack`.
    if (/\bnpm\b.* (pack|publish)\b/.test(seen.args)) return pid;
    pid = seen.parent;
  }
  return undefined;
}

/** npm runs no `postpack` when packing fails between the two scripts, so someone stays until npm is gone. */
function leaveWatcher(): void {
  const npm = findNpm();
  if (npm === undefined) return;
  const args = [fileURLToPath(import.meta.url), "restore-after", String(npm)];
  const quiet = openSync("/dev/null", "r+");
  spawn(process.execPath, args, { detached: true, stdio: [quiet, quiet, quiet] }).unref();
  closeSync(quiet);
}

async function restoreAfter(root: string, pid: number): Promise<void> {
  for (;;) {
    if (!existsSync(join(root, OURS))) return;
    try {
      process.kill(pid, 0);
    } catch {
      return restore(root);
    }
    await sleep(100);
  }
}

if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const root = dirname(dirname(fileURLToPath(import.meta.url)));
  const [verb, pid] = process.argv.slice(2);
  try {
    if (verb === "swap") {
      build(root);
      swap(root);
      leaveWatcher();
    } else if (verb === "restore") restore(root);
    else if (verb === "restore-after") await restoreAfter(root, Number(pid));
    else throw new Error("use: node tools/pack.ts swap | restore");
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
  }
}
