// Entry of every npm script: makes a fresh clone ready, then runs the real command.
//   node tools/bootstrap.mjs [--no-toolchain] [command args…]
// Plain JavaScript without dependencies, because it must run before `npm ci` and on a Node that strips no types.
import { spawn } from "node:child_process";
import { existsSync, readFileSync, realpathSync } from "node:fs";
import { constants } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { withLock } from "./lock.mjs";

const OLDEST_NODE = 20;

/** Everything said here goes to stderr: with `--json`, stdout belongs to the command alone. */
const say = (text) => process.stderr.write(`${text}\n`);

/** True when node_modules is what the lock file asks for: by content, so that a hand-run `npm ci` counts too. */
export function isInstalled(root) {
  const read = (path) => JSON.parse(readFileSync(join(root, path), "utf8")).packages;
  try {
    const wanted = read("package-lock.json");
    // npm writes this one last, so an interrupted install is recognised.
    const present = read("node_modules/.package-lock.json");
    for (const [path, entry] of Object.entries(wanted)) {
      if (path === "") continue;
      const got = present[path];
      // Optional packages of other platforms are rightly absent.
      if (!got ? !entry.optional : got.version !== entry.version) return false;
    }
  } catch (error) {
    if (error.code === "ENOENT") return false;
    throw error;
  }
  return existsSync(join(root, "node_modules/.bin/node"));
}

/** Starts a command and resolves with its exit status, a signal counted as shells do. */
function start(command, args, options) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, options);
    // A terminal sends its interrupt to the whole group; passing it on as well would make Pulumi, which ends
    // gracefully at the first one, abort at the second.
    const atTerminal = process.stdin.isTTY || process.stdout.isTTY || process.stderr.isTTY;
    const handlers = {
      SIGINT: () => atTerminal || child.kill("SIGINT"),
      SIGTERM: () => child.kill("SIGTERM"),
      SIGHUP: () => child.kill("SIGHUP"),
    };
    for (const [signal, handler] of Object.entries(handlers)) process.on(signal, handler);
    child.on("error", reject);
    child.on("close", (code, signal) => {
      for (const [name, handler] of Object.entries(handlers)) process.off(name, handler);
      resolve(code ?? 128 + constants.signals[signal]);
    });
  });
}

/** What the command needs in front of PATH: the current Node and local tools, then Pulumi. */
const pathOf = (root, env, toolchain = []) =>
  [join(root, "node_modules/.bin"), ...toolchain, env.PATH ?? ""].filter(Boolean).join(delimiter);

async function install(root, env) {
  if (isInstalled(root)) return 0;
  return await withLock(
    join(root, ".cache/install.lock"),
    async () => {
      if (isInstalled(root)) return 0;
      say("Installing the packages of package-lock.json into node_modules: about half a minute, once.");
      const npm = env.npm_execpath?.endsWith(".js") ? [process.execPath, env.npm_execpath] : ["npm"];
      // A NODE_ENV=production in the environment would leave out what tests need.
      const args = [...npm.slice(1), "ci", "--include=dev", "--no-audit", "--no-fund", "--loglevel=error"];
      const status = await start(npm[0], args, { cwd: root, env, stdio: ["ignore", 2, 2] });
      if (status !== 0) say(`\`npm ci\` failed with exit status ${status}; see its message above.`);
      return status;
    },
    () => say("Waiting for another installation in this folder to end."),
  );
}

/** Asks tools/setup.ts, which the Node from node_modules can run, where Pulumi is. */
async function toolchain(root, env) {
  const node = join(root, "node_modules/.bin/node");
  const chunks = [];
  const status = await new Promise((resolve, reject) => {
    const child = spawn(node, [join(root, "tools/setup.ts"), "--print-path"], {
      cwd: root,
      // Node's fetch looks at HTTPS_PROXY only when asked to.
      env: { ...env, PATH: pathOf(root, env), NODE_USE_ENV_PROXY: "1" },
      stdio: ["ignore", "pipe", "inherit"],
    });
    child.stdout.on("data", (chunk) => chunks.push(chunk));
    child.on("error", reject);
    child.on("close", (code) => resolve(code ?? 1));
  });
  return { status, path: Buffer.concat(chunks).toString("utf8").split("\n").filter(Boolean) };
}

export async function main(root, argv, env) {
  if (Number(process.versions.node.split(".")[0]) < OLDEST_NODE) {
    say(`TeeUp needs Node.js ${OLDEST_NODE} or newer to start; this is ${process.version}.`);
    return 1;
  }
  const withoutToolchain = argv[0] === "--no-toolchain";
  const [command, ...args] = withoutToolchain ? argv.slice(1) : argv;
  const installed = await install(root, env);
  if (installed !== 0) return installed;
  const pulumi = withoutToolchain ? { status: 0, path: [] } : await toolchain(root, env);
  if (pulumi.status !== 0) return pulumi.status;
  if (!command) return 0;
  // Else Pulumi destroys by the config of the last up, and TeeUp refuses that.
  const today = command === "pulumi" && args.includes("destroy") ? { PULUMI_RUN_PROGRAM: "true" } : {};
  return await start(command, args, {
    cwd: root,
    // Each run of Pulumi starts three processes of Node, and every one would compile the same files anew.
    env: { NODE_COMPILE_CACHE: join(root, ".cache/compiled"), ...today, ...env, PATH: pathOf(root, env, pulumi.path) },
    stdio: "inherit",
  });
}

if (process.argv[1] && import.meta.url === pathToFileURL(realpathSync(process.argv[1])).href) {
  const root = dirname(dirname(fileURLToPath(import.meta.url)));
  try {
    process.exitCode = await main(root, process.argv.slice(2), process.env);
  } catch (error) {
    say(error.message);
    process.exitCode = 1;
  }
}
