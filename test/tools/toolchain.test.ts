import { execFileSync, spawn, spawnSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import {
  cacheFolder,
  cacheRoot,
  ensureToolchain,
  isAtLeast,
  PULUMI_VERSION,
  parseVersion,
  pulumiEnv,
  SetupError,
} from "../../tools/toolchain.ts";

const SETUP = join(import.meta.dirname, "../../tools/setup.ts");

let place: string;
beforeEach(() => {
  place = mkdtempSync(join(tmpdir(), "teeup-toolchain-"));
});
afterEach(() => rmSync(place, { recursive: true, force: true }));

/** A folder of PATH with these executables; each body is a shell script. */
function folder(name: string, files: Record<string, string>): string {
  const path = join(place, name);
  mkdirSync(path, { recursive: true });
  for (const [file, body] of Object.entries(files)) {
    writeFileSync(join(path, file), `#!/bin/sh\n${body}\n`);
    chmodSync(join(path, file), 0o755);
  }
  return path;
}

const pulumi = (version = PULUMI_VERSION): string => `echo v${version}`;
const COMPANIONS = { "pulumi-language-nodejs": ":", "pulumi-resource-pulumi-nodejs": ":" };

/** A Go that "builds" by writing a script to the place named after -o, and counts how often it did. */
function fakeGo(version: string, options: { readonly works: boolean; readonly slow?: boolean }): string {
  return folder("go", {
    go: `
if [ "$1" = version ]; then echo "go version go${version} linux/amd64"; exit 0; fi
echo build >> "${place}/builds"
${options.slow ? "/bin/sleep 0.3" : ""}
${options.works ? "" : "echo 'dial tcp: no such host' >&2; exit 1"}
while [ "$1" != -o ]; do shift; done
printf '#!/bin/sh\\necho v${PULUMI_VERSION}\\n' > "$2"
/bin/chmod 755 "$2"`,
  });
}

const builds = (): number =>
  existsSync(join(place, "builds")) ? readFileSync(join(place, "builds"), "utf8").trim().split("\n").length : 0;

function envOf(path: readonly string[], extra: Record<string, string> = {}): Record<string, string> {
  return {
    PATH: path.join(":"),
    HOME: join(place, "home"),
    // Nothing listens there: the offline case.
    TEEUP_PULUMI_RELEASES: "http://127.0.0.1:1",
    ...extra,
  };
}

const said: string[] = [];
beforeEach(() => {
  said.length = 0;
});
const ensure = (env: Record<string, string>) => ensureToolchain({ env, say: (text) => said.push(text) });

describe("an installed Pulumi", () => {
  test("is used as it is, without a word and without a cache", async () => {
    const dir = folder("a", { pulumi: pulumi(), ...COMPANIONS });
    const env = envOf([dir]);
    await expect(ensure(env)).resolves.toEqual({ path: [dir], version: PULUMI_VERSION });
    expect(said).toEqual([]);
    expect(existsSync(cacheRoot(env))).toBe(false);
  });

  test("may be newer", async () => {
    const dir = folder("a", { pulumi: pulumi("3.300.1"), ...COMPANIONS });
    await expect(ensure(envOf([dir]))).resolves.toEqual({ path: [dir], version: "3.300.1" });
  });

  test("may have its companions elsewhere in PATH", async () => {
    const cli = folder("a", { pulumi: pulumi() });
    const companions = folder("b", COMPANIONS);
    await expect(ensure(envOf([cli, companions]))).resolves.toMatchObject({ path: [cli, companions] });
  });

  test("is found in ~/.pulumi/bin, where the official installer puts it", async () => {
    const dir = folder("home/.pulumi/bin", { pulumi: pulumi(), ...COMPANIONS });
    await expect(ensure(envOf([]))).resolves.toMatchObject({ path: [dir] });
  });

  test("is looked for behind an older one", async () => {
    const old = folder("a", { pulumi: pulumi("3.100.0"), ...COMPANIONS });
    const good = folder("b", { pulumi: pulumi(), ...COMPANIONS });
    await expect(ensure(envOf([old, good]))).resolves.toMatchObject({ path: [good] });
  });
});

describe("without network and without a usable Go, one sentence says what was found and what to install", () => {
  test.each([
    ["nothing there", {}, undefined, "there is none in PATH"],
    ["too old", { pulumi: pulumi("3.100.0"), ...COMPANIONS }, undefined, "Pulumi 3.100.0 in DIR is too old"],
    [
      "no language host",
      { pulumi: pulumi(), "pulumi-resource-pulumi-nodejs": ":" },
      undefined,
      "has no pulumi-language-nodejs",
    ],
    [
      "no dynamic provider",
      { pulumi: pulumi(), "pulumi-language-nodejs": ":" },
      undefined,
      "has no pulumi-resource-pulumi-nodejs",
    ],
    ["does not run", { pulumi: "exit 127", ...COMPANIONS }, undefined, "`pulumi version` fails in DIR"],
    ["no network", {}, undefined, "127.0.0.1:1 cannot be reached"],
    ["no Go", {}, undefined, "there is no Go in PATH"],
    ["Debian's Go", {}, { version: "1.19.8", works: true }, "Go 1.19.8 in PATH is older than 1.21"],
    ["Go without a module proxy", {}, { version: "1.26.8", works: false }, "`go build` of pulumi fails"],
  ])("%s", async (_name, files, go, reason) => {
    const dir = folder("a", files as Record<string, string>);
    const env = envOf([dir, ...(go ? [fakeGo(go.version, go)] : [])]);
    const error = await ensure(env).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(SetupError);
    const { message } = error as SetupError;
    expect(message).toContain(reason.replace("DIR", dir));
    expect(message).toContain("install it from https://www.pulumi.com/docs/install/");
    expect(message.split("\n")).toHaveLength(1);
    expect(existsSync(cacheFolder(env))).toBe(false);
  });

  test("the command prints that sentence alone and exits 1", () => {
    const result = spawnSync(process.execPath, [SETUP, "--print-path"], { env: envOf([]), encoding: "utf8" });
    expect(result.status).toBe(1);
    expect(result.stdout).toBe("");
    expect(result.stderr).toMatch(/^TeeUp needs Pulumi [^\n]+\.\n$/);
  });

  test("a failed build leaves its log", async () => {
    const env = envOf([fakeGo("1.26.8", { works: false })]);
    await expect(ensure(env)).rejects.toThrow("build.log");
    expect(readFileSync(join(cacheRoot(env), "build.log"), "utf8")).toContain("no such host");
  });
});

describe("building from Go modules", () => {
  test("makes all three executables once, and says how long it takes", async () => {
    const env = envOf([fakeGo("1.26.8", { works: true })]);
    const dir = cacheFolder(env);
    await expect(ensure(env)).resolves.toEqual({ path: [dir], version: PULUMI_VERSION });
    expect(readdirSync(dir).sort()).toEqual(["pulumi", ...Object.keys(COMPANIONS)].sort());
    expect(said[0]).toMatch(/about \d+ minutes/);
    expect(builds()).toBe(2);
    await ensure(env);
    expect(builds()).toBe(2);
    expect(readdirSync(cacheRoot(env))).toEqual([dir.slice(cacheRoot(env).length + 1)]);
  });

  test("happens once when two set-ups start together", async () => {
    const env = envOf([fakeGo("1.26.8", { works: true, slow: true })]);
    const results = await Promise.all([ensure(env), ensure(env)]);
    expect(results[0]).toEqual(results[1]);
    expect(builds()).toBe(2);
    expect(said).toContain("Waiting for another set-up of Pulumi to end.");
  });

  test("interrupted, never looks complete, and the next set-up starts afresh", async () => {
    const env = envOf([fakeGo("1.26.8", { works: true, slow: true })]);
    const child = spawn(process.execPath, [SETUP], { env, stdio: "ignore" });
    const ended = new Promise((done) => child.on("close", done));
    for (let waited = 0; builds() < 2 && waited < 20_000; waited += 20) await sleep(20);
    child.kill("SIGKILL");
    await ended;
    expect(existsSync(cacheFolder(env))).toBe(false);
    expect(readdirSync(cacheRoot(env)).some((name) => name.startsWith("unfinished-"))).toBe(true);
    await ensure(env);
    expect(readdirSync(cacheRoot(env)).some((name) => name.startsWith("unfinished-"))).toBe(false);
  });

  test("replaces a cached toolchain that does not run", async () => {
    const env = envOf([fakeGo("1.26.8", { works: true })]);
    await ensure(env);
    writeFileSync(join(cacheFolder(env), "pulumi"), "#!/bin/sh\nexit 1\n");
    await ensure(env);
    expect(builds()).toBe(4);
  });
});

describe("downloading the official release", () => {
  /** Serves one archive under any address, or a status. */
  async function withReleases<T>(answer: Buffer | number, work: (url: string, asked: string[]) => Promise<T>) {
    const asked: string[] = [];
    const server = createServer((request, response) => {
      asked.push(request.url ?? "");
      if (typeof answer === "number") response.writeHead(answer).end();
      else response.writeHead(200, { "content-length": answer.length }).end(answer);
    });
    await new Promise<void>((ready) => server.listen(0, "127.0.0.1", ready));
    try {
      return await work(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, asked);
    } finally {
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
    }
  }

  function archive(files: Record<string, string>): Buffer {
    folder("release/pulumi", files);
    return execFileSync("tar", ["-czf", "-", "-C", join(place, "release"), "pulumi"]);
  }

  /** Folders of the system that hold tar and gzip hold no Pulumi in these tests' machines, but might elsewhere. */
  const tools = (): string => folder("tools", { tar: 'exec /bin/tar "$@"', gzip: 'exec /bin/gzip "$@"' });

  test("takes what a Node program needs", async () => {
    const release = archive({ pulumi: pulumi(), ...COMPANIONS, "pulumi-language-python": ":" });
    await withReleases(release, async (url, asked) => {
      const env = envOf([tools()], { TEEUP_PULUMI_RELEASES: url });
      await expect(ensure(env)).resolves.toEqual({ path: [cacheFolder(env)], version: PULUMI_VERSION });
      expect(asked).toEqual([`/pulumi-v${PULUMI_VERSION}-${process.platform}-${process.arch}.tar.gz`]);
      expect(readdirSync(cacheFolder(env)).sort()).toEqual(["pulumi", ...Object.keys(COMPANIONS)].sort());
    });
  });

  test.each([
    ["is not there", 404, /answers 404/],
    ["is no archive", Buffer.from("<html>"), /does not unpack/],
  ])("goes on to Go when the release %s", async (_name, answer, reason) => {
    await withReleases(answer, async (url) => {
      const env = envOf([tools()], { TEEUP_PULUMI_RELEASES: url });
      await expect(ensure(env)).rejects.toThrow(reason);
      const withGo = envOf([tools(), fakeGo("1.26.8", { works: true })], { TEEUP_PULUMI_RELEASES: url });
      await expect(ensure(withGo)).resolves.toMatchObject({ version: PULUMI_VERSION });
    });
  });

  test("refuses a release that lacks the language host", async () => {
    const release = archive({ pulumi: pulumi() });
    await withReleases(release, async (url) => {
      const env = envOf([tools()], { TEEUP_PULUMI_RELEASES: url });
      await expect(ensure(env)).rejects.toThrow("has no pulumi-language-nodejs");
    });
  });
});

describe("pulumiEnv", () => {
  test("keeps a run away from everything of the user's", () => {
    const dir = folder("a", { pulumi: pulumi(), ...COMPANIONS });
    const env = envOf([dir], { PULUMI_ACCESS_TOKEN: "pul-1", PULUMI_STACK: "theirs", LANG: "C.UTF-8" });
    const home = join(place, "pulumi home");
    const backendDir = join(place, "state of mine");
    const result = pulumiEnv({ home, backendDir, passphrase: "p", env });
    expect(result).toMatchObject({
      LANG: "C.UTF-8",
      PULUMI_HOME: home,
      PULUMI_BACKEND_URL: `file://${backendDir}`,
      PULUMI_CONFIG_PASSPHRASE: "p",
      PULUMI_SKIP_UPDATE_CHECK: "true",
      PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION: "true",
    });
    expect(Object.keys(result)).not.toEqual(expect.arrayContaining(["PULUMI_ACCESS_TOKEN"]));
    expect(Object.keys(result)).not.toEqual(expect.arrayContaining(["PULUMI_STACK"]));
    expect(result.PATH?.split(":").slice(0, 2)).toEqual([expect.stringMatching(/node_modules\/\.bin$/), dir]);
    expect(existsSync(home) && existsSync(backendDir)).toBe(true);
  });

  test("names the command that helps when nothing is set up", () => {
    const env = envOf([]);
    expect(() => pulumiEnv({ home: place, backendDir: place, passphrase: "", env })).toThrow("npm run setup");
  });
});

test.each([
  ["v3.259.0", "3.259.0", true],
  ["v3.300.0-alpha.1+abc", "3.259.0", true],
  ["v3.258.9", "3.259.0", false],
  ["v4.0.0", "3.259.0", true],
  ["go version go1.21 linux/amd64", "1.21", true],
  ["go version go1.19.8 linux/amd64", "1.21", false],
])("%s is at least %s: %s", (text, wanted, expected) => {
  expect(isAtLeast(parseVersion(text) ?? [], wanted)).toBe(expected);
});
