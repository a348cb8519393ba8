import { spawn, spawnSync } from "node:child_process";
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { hostname, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import { isInstalled } from "../../tools/bootstrap.mjs";
import { withLock } from "../../tools/lock.mjs";

const TOOLS = join(import.meta.dirname, "../../tools");

let place: string;
beforeEach(() => {
  place = mkdtempSync(join(tmpdir(), "teeup-bootstrap-"));
});
afterEach(() => rmSync(place, { recursive: true, force: true }));

function put(path: string, text: string): void {
  mkdirSync(dirname(join(place, path)), { recursive: true });
  writeFileSync(join(place, path), text);
}

const lock = (packages: Record<string, object>): string => JSON.stringify({ packages: { "": {}, ...packages } });

describe("isInstalled", () => {
  const wanted = { "node_modules/a": { version: "1.0.0" }, "node_modules/mac": { version: "1.0.0", optional: true } };

  test.each([
    ["the same packages", { "node_modules/a": { version: "1.0.0" } }, true],
    ["and more", { "node_modules/a": { version: "1.0.0" }, "node_modules/b": { version: "1.0.0" } }, true],
    ["another version", { "node_modules/a": { version: "0.9.0" } }, false],
    ["another version of an optional one", { ...wanted, "node_modules/mac": { version: "0.9.0" } }, false],
    ["one missing", {}, false],
  ])("%s: %#", (_name, present, expected) => {
    put("package-lock.json", lock(wanted));
    put("node_modules/.package-lock.json", lock(present));
    put("node_modules/.bin/node", "");
    expect(isInstalled(place)).toBe(expected);
  });

  test("an interrupted installation, which has no list yet", () => {
    put("package-lock.json", lock(wanted));
    put("node_modules/a/package.json", "{}");
    expect(isInstalled(place)).toBe(false);
  });

  test("this repository's own", () => {
    expect(isInstalled(join(TOOLS, ".."))).toBe(true);
  });
});

describe("the bootstrap in a fresh clone", () => {
  /** A clone in which npm only writes down that it ran and what it "installed". */
  function clone(npm = ""): NodeJS.ProcessEnv {
    put("package-lock.json", lock({ "node_modules/a": { version: "1.0.0" } }));
    cpSync(join(TOOLS, "bootstrap.mjs"), join(place, "tools/bootstrap.mjs"));
    cpSync(join(TOOLS, "lock.mjs"), join(place, "tools/lock.mjs"));
    put("tools/setup.ts", `console.error("setting up"); console.log("/toolchain");`);
    put(
      "bin/npm",
      `#!/bin/sh
echo "$@" >> "${place}/npm-ran"
echo "npm speaks"
${npm}
mkdir -p node_modules/.bin
ln -s "${process.execPath}" node_modules/.bin/node
cp package-lock.json node_modules/.package-lock.json
`,
    );
    chmodSync(join(place, "bin/npm"), 0o755);
    return { PATH: `${join(place, "bin")}:/usr/bin:/bin`, HOME: place };
  }

  const bootstrap = (env: NodeJS.ProcessEnv, ...args: string[]) =>
    spawnSync(process.execPath, [join(place, "tools/bootstrap.mjs"), ...args], { env, encoding: "utf8" });

  test("installs, sets up, and runs the command with the new Node and Pulumi in PATH; stdout is the command's", () => {
    const env = clone();
    const first = bootstrap(env, "sh", "-c", 'echo "{}"; echo "$PATH" >&2');
    expect(first).toMatchObject({ status: 0, stdout: "{}\n" });
    expect(first.stderr).toContain("npm speaks");
    expect(first.stderr).toContain(`${join(place, "node_modules/.bin")}:/toolchain:`);
    expect(readFileSync(join(place, "npm-ran"), "utf8")).toMatch(/^ci --include=dev .*\n$/);
  });

  test("a second run installs nothing", () => {
    const env = clone();
    bootstrap(env, "true");
    expect(bootstrap(env, "true").stderr).toBe("setting up\n");
    expect(readFileSync(join(place, "npm-ran"), "utf8").trim().split("\n")).toHaveLength(1);
  });

  test("--no-toolchain needs no Pulumi", () => {
    const env = clone();
    put("tools/setup.ts", "process.exit(9);");
    expect(bootstrap(env, "--no-toolchain", "echo", "packed")).toMatchObject({ status: 0, stdout: "packed\n" });
  });

  test.each([
    ["the command's", "", ["sh", "-c", "exit 7"], 7],
    ["a signal's", "", ["sh", "-c", "kill -TERM $$"], 143],
    ["npm's", "exit 5", ["true"], 5],
  ])("%s exit status is passed on", (_name, npm, args, status) => {
    expect(bootstrap(clone(npm), ...args).status).toBe(status);
  });

  test("a failed set-up ends it", () => {
    const env = clone();
    put("tools/setup.ts", "process.exit(1);");
    expect(bootstrap(env, "echo", "never")).toMatchObject({ status: 1, stdout: "" });
  });

  test("a missing command is one line, not a stack trace", () => {
    expect(bootstrap(clone(), "no-such-command").stderr).toMatch(/\nspawn no-such-command ENOENT\n$/);
  });

  test("two started together install once", async () => {
    const env = clone("sleep 0.5");
    const run = () =>
      new Promise((done) => {
        const child = spawn(process.execPath, [join(place, "tools/bootstrap.mjs"), "true"], { env, stdio: "ignore" });
        child.on("close", done);
      });
    expect(await Promise.all([run(), run()])).toEqual([0, 0]);
    expect(readFileSync(join(place, "npm-ran"), "utf8").trim().split("\n")).toHaveLength(1);
  });
});

describe("withLock", () => {
  test("lets one in at a time", async () => {
    const path = join(place, "deep/lock");
    let inside = 0;
    const work = async () => {
      inside += 1;
      expect(inside).toBe(1);
      await new Promise((done) => setImmediate(done));
      inside -= 1;
    };
    await Promise.all([1, 2, 3].map(() => withLock(path, work)));
    expect(existsSync(path)).toBe(false);
  });

  test("is freed when the work fails", async () => {
    const path = join(place, "lock");
    await expect(withLock(path, () => Promise.reject(new Error("no")))).rejects.toThrow("no");
    await expect(withLock(path, async () => "again")).resolves.toBe("again");
  });

  test("a dead process's lock is taken over", async () => {
    const { pid } = spawnSync("true");
    put("lock", `${hostname()} ${pid} x`);
    await expect(withLock(join(place, "lock"), async () => "mine")).resolves.toBe("mine");
  });

  test("a lock from elsewhere counts until its beat stops", async () => {
    put("lock", "elsewhere 1 x");
    let waits = 0;
    const held = withLock(
      join(place, "lock"),
      async () => "mine",
      () => {
        waits += 1;
        const longAgo = new Date(Date.now() - 60_000);
        utimesSync(join(place, "lock"), longAgo, longAgo);
      },
    );
    await expect(held).resolves.toBe("mine");
    expect(waits).toBe(1);
  });
});
