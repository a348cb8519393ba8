import { execFileSync, spawn } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { parse as parseYaml, stringify } from "yaml";
import type { DemoTwin } from "../../cli/demo/twin.ts";
import { startDemoTwin } from "../../cli/demo/twin.ts";

/*
 * Somebody follows the README with a new node: every command of it, in its order, word by word, in a copy of the
 * checkout. Only the names of the machines lead to a twin, through the SSH configuration, as names do.
 */
const ROOT = join(dirname(fileURLToPath(import.meta.url)), "../..");
const README = readFileSync(join(ROOT, "README.md"), "utf8");
const COMMANDS = [...README.matchAll(/```sh\n([\s\S]*?)```/g)].flatMap(([, block = ""]) => block.trim().split("\n"));

/** Commands that have a test of their own, or are this very run. */
const ELSEWHERE: Readonly<Record<string, string>> = {
  "npm run demo": "test/cli/demo.test.ts",
  "npm test": "what runs this",
  "npm run bench": "measures for an hour; test/bench runs parts of it",
  "npm run test:lab": "runs tests of its own, on machines that take minutes",
};

/** What a person types when the command asks. */
const TYPED: Readonly<Record<string, (twin: DemoTwin) => string>> = {
  "npm run teeup -- trust gpu-01": () => "yes\n",
  "npm run pulumi -- config set --secret --path 'teeup:nodes[0].bmc.password'": (twin) => `${bmcOf(twin).password}\n`,
};

/** Exit statuses other than 0 that the README announces. `check` finds a node that nobody has brought up yet. */
const STATUS: Readonly<Record<string, number>> = {
  "npm run teeup -- check gpu-01": 3,
  // A profile leaves open what only a stack can say.
  "npm run teeup -- check gpu-01.rack7 --profile snp-upstream": 3,
};

function bmcOf({ facts: { bmc } }: DemoTwin): NonNullable<DemoTwin["facts"]["bmc"]> {
  if (bmc === undefined) throw new Error("the twin has no BMC");
  return bmc;
}

let dir: string;
let twin: DemoTwin;
const checkout = (): string => join(dir, "checkout");

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), "teeup-readme-"));
  twin = await startDemoTwin(join(dir, "twin"));
  const files = execFileSync("git", ["ls-files", "-z", "--cached", "--others", "--exclude-standard"], {
    cwd: ROOT,
    encoding: "utf8",
  });
  for (const file of files.split("\0").filter((f) => f !== "" && !f.startsWith("test/"))) {
    cpSync(join(ROOT, file), join(checkout(), file));
  }
  symlinkSync(join(ROOT, "node_modules"), join(checkout(), "node_modules"));
  mkdirSync(join(dir, "home"));
  const { port, user, keyFile } = twin.facts.ssh;
  writeFileSync(
    join(dir, "ssh_config"),
    [
      "Host gpu-01.rack7",
      "  HostName 127.0.0.1",
      `  Port ${port}`,
      `  User ${user}`,
      `  IdentityFile ${keyFile}`,
      "  IdentitiesOnly yes",
      "Host *",
      `  UserKnownHostsFile ${join(dir, "home/known_hosts")}`,
      "  GlobalKnownHostsFile /dev/null",
      "",
    ].join("\n"),
  );
}, 60_000);

afterAll(async () => {
  await twin?.close();
  rmSync(dir, { recursive: true, force: true });
});

test("every command of the README works, in its order, on a twin", async () => {
  const ran: string[] = [];
  for (const command of COMMANDS) {
    if (ELSEWHERE[command] !== undefined) continue;
    const { status, output } = await type(command);
    expect([command, status, status === (STATUS[command] ?? 0) ? "" : output]).toEqual([
      command,
      STATUS[command] ?? 0,
      "",
    ]);
    ran.push(command);
    if (command.endsWith("stack init rack7")) writeStack();
  }
  expect(ran.length + Object.keys(ELSEWHERE).length).toBe(COMMANDS.length);
  expect(ran.at(-1)).toBe("npm run pulumi -- destroy");
  expect((await twin.counts()).unmodelled).toEqual([]);
}, 600_000);

/** The README's settings, with the twin's address and keys in place of the reader's. */
function writeStack(): void {
  const [, yaml = ""] = /```yaml\n([\s\S]*?)```/.exec(README) ?? [];
  const { config } = parseYaml(yaml) as { config: Record<string, unknown> };
  const [node] = config["teeup:nodes"] as [Record<string, object>];
  const { url, user, certificate } = bmcOf(twin);
  const nodes = [
    { ...node, bmc: { ...node["bmc"], url, user, certificate }, guest: { publicKey: twin.facts.ssh.publicKey } },
  ];
  const pins = twin.config["teeup:pins"];
  expect(Object.keys(config["teeup:pins"] as object)).toEqual(Object.keys(pins as object));
  const file = join(checkout(), "stacks/Pulumi.rack7.yaml");
  const salt = readFileSync(file, "utf8");
  writeFileSync(file, `${salt}${stringify({ config: { ...config, "teeup:nodes": nodes, "teeup:pins": pins } })}`);
}

function type(command: string): Promise<{ status: number; output: string }> {
  const child = spawn("sh", ["-c", command], {
    cwd: checkout(),
    env: {
      ...Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(PULUMI|TEEUP)_/.test(name))),
      HOME: join(dir, "home"),
      // Set-up looks for its toolchain there; it is the one thing shared with the person who runs the tests.
      XDG_CACHE_HOME: process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"),
      npm_config_update_notifier: "false",
      TEEUP_SSH_CONFIG: join(dir, "ssh_config"),
      // Pulumi takes the home folder from the system's user list, so HOME alone would not keep it away from there.
      PULUMI_HOME: join(dir, "home/.pulumi"),
      PULUMI_BACKEND_URL: `file://${join(dir, "home")}`,
      PULUMI_CONFIG_PASSPHRASE: "readme",
      PULUMI_SKIP_UPDATE_CHECK: "true",
      // In place of the yes that a person chooses in the terminal.
      ...(/ (up|destroy)$/.test(command) ? { PULUMI_SKIP_CONFIRMATIONS: "true" } : {}),
    },
    stdio: ["pipe", "pipe", "pipe"],
  });
  child.stdin.end(TYPED[command]?.(twin) ?? "");
  const chunks: Buffer[] = [];
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk: Buffer) => chunks.push(chunk));
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => resolve({ status: code ?? 1, output: Buffer.concat(chunks).toString("utf8") }));
  });
}
