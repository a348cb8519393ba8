import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { stringify } from "yaml";
import { z } from "zod";
import type { JournalEntry } from "../../sim/journal.ts";
import { freshKeyPair } from "../../sim/model/keys.ts";
import { startTwin, type Twin, type TwinOptions } from "../../sim/twin.ts";
import { pulumiEnv } from "../../tools/toolchain.ts";
import { type Platform, pinsOf, SNP } from "../e2e/drive.ts";

export const ROOT = join(dirname(fileURLToPath(import.meta.url)), "../..");

/** Limit of a test that runs the real Pulumi, in milliseconds: far more than it takes, on a busy machine too. */
export const MINUTES = 900_000;

/** What a command of the real Pulumi left behind. */
export interface Ran {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
  /** As a terminal shows it: both together, in the order of arrival. */
  readonly said: string;
}

/** A command of Pulumi on its way. */
export interface Running {
  readonly child: ChildProcess;
  readonly ended: Promise<Ran>;
  /** Process id of the dynamic provider that this command started; undefined before that. Reads /proc. */
  provider(): number | undefined;
}

const StateSchema = z.object({
  deployment: z.object({
    resources: z
      .array(
        z.looseObject({
          urn: z.string(),
          type: z.string(),
          inputs: z.record(z.string(), z.unknown()).default({}),
          outputs: z.record(z.string(), z.unknown()).default({}),
        }),
      )
      .default([]),
  }),
});
export type Resource = z.infer<typeof StateSchema>["deployment"]["resources"][number];

const PreviewSchema = z.object({
  steps: z
    .array(
      z.looseObject({
        op: z.string(),
        urn: z.string(),
        newState: z.looseObject({ inputs: z.record(z.string(), z.unknown()).default({}) }).optional(),
      }),
    )
    .default([]),
});

export const isFacet = ({ type }: Pick<Resource, "type">): boolean => type.startsWith("pulumi-nodejs:dynamic/");

/** The last part of a URN: the resource's own name. */
export const nameOf = (urn: string): string => urn.split("::").at(-1) ?? urn;

/** All that a test started and wrote; `close` ends and removes every bit of it. */
export class Site {
  readonly folder = mkdtempSync(join(tmpdir(), "teeup-pulumi-"));
  readonly twins: Twin[] = [];
  readonly #children = new Set<Running>();
  readonly #orphans = new Set<number>();

  async twin(options: TwinOptions = {}): Promise<Twin> {
    const twin = await startTwin(options);
    this.twins.push(twin);
    return twin;
  }

  path(...parts: string[]): string {
    const path = join(this.folder, ...parts);
    mkdirSync(dirname(path), { recursive: true });
    return path;
  }

  /** Writes the twin's key and gives its entry of `teeup:nodes`. */
  node(name: string, twin: Twin): Record<string, unknown> {
    const keyFile = this.path("keys", name);
    writeFileSync(keyFile, twin.ssh.privateKey ?? freshKeyPair(name).private, { mode: 0o600 });
    const { host, port, user, hostKey, publicKey } = twin.ssh;
    return {
      name,
      ssh: { host, port, user, hostKey, keyFile },
      ...(twin.bmc === undefined
        ? {}
        : { bmc: { url: twin.bmc.url, user: twin.bmc.user, certificate: twin.bmc.fingerprint } }),
      guest: { publicKey },
    };
  }

  /** Starts a program; the whole text of its output is kept. */
  start(command: string, argv: readonly string[], cwd: string, env: NodeJS.ProcessEnv, typed = ""): Running {
    const child = spawn(command, argv, { cwd, env, stdio: ["pipe", "pipe", "pipe"] });
    child.stdin.on("error", () => undefined);
    child.stdin.end(typed);
    const texts = { stdout: "", stderr: "", said: "" };
    for (const stream of ["stdout", "stderr"] as const) {
      child[stream].setEncoding("utf8").on("data", (text: string) => {
        texts[stream] += text;
        texts.said += text;
      });
    }
    const ended = new Promise<Ran>((resolve, reject) => {
      child.on("error", reject);
      // Not `close`: a provider that outlives a killed CLI keeps the pipes open.
      child.on("exit", (status, signal) => {
        const done = () => resolve({ status, ...texts });
        if (signal === null) child.on("close", done);
        else done();
      });
    });
    let seen: number | undefined;
    const running: Running = {
      child,
      ended,
      provider: () => {
        seen ??= child.pid === undefined ? undefined : childOf(child.pid, "dynamic-provider");
        if (seen !== undefined) this.#orphans.add(seen);
        return seen;
      },
    };
    this.#children.add(running);
    void ended.finally(() => this.#children.delete(running)).catch(() => undefined);
    return running;
  }

  async close(): Promise<void> {
    for (const { child } of this.#children) child.kill("SIGKILL");
    for (const pid of this.#orphans) if (isAlive(pid)) process.kill(pid, "SIGKILL");
    for (const twin of this.twins) await twin.stop();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

export interface StackOptions {
  readonly name?: string;
  /** Values of the stack config, by their whole key. */
  readonly config: Readonly<Record<string, unknown>>;
  /** Added to the environment of every command: secrets of nodes. */
  readonly env?: Readonly<Record<string, string>>;
  /** Folder and project name of the program; default: the checkout. */
  readonly program?: { readonly folder: string; readonly project: string };
}

/** One stack with a state, a home and a config file of its own. */
export class Stack {
  readonly configFile: string;
  readonly env: NodeJS.ProcessEnv;
  readonly #site: Site;
  readonly #name: string;
  readonly #cwd: string;
  /** A stand-in project: `stack init` writes the stack's file beside the project's, which is to stay out of the checkout. */
  readonly #standIn: string;

  private constructor(site: Site, options: StackOptions) {
    const { name = "dev", program } = options;
    this.#site = site;
    this.#name = name;
    this.#cwd = program?.folder ?? ROOT;
    this.#standIn = dirname(site.path(name, "project", "Pulumi.yaml"));
    this.configFile = join(this.#standIn, `Pulumi.${name}.yaml`);
    this.env = {
      ...pulumiEnv({
        home: site.path(name, "home"),
        backendDir: site.path(name, "state"),
        passphrase: "of the test's stack",
      }),
      TEEUP_SSH_CONFIG: "/dev/null",
      ...options.env,
    };
    writeFileSync(
      join(this.#standIn, "Pulumi.yaml"),
      stringify({ name: program?.project ?? "teeup", runtime: "nodejs" }),
    );
  }

  static async create(site: Site, options: StackOptions): Promise<Stack> {
    const stack = new Stack(site, options);
    await stack.#aside(["stack", "init", stack.#name]);
    stack.configure(options.config);
    return stack;
  }

  /** A stack that another one made, in the same state and with its config, as from another machine. */
  static async join(site: Site, options: StackOptions): Promise<Stack> {
    return new Stack(site, options);
  }

  /** Replaces the stack config; the salt of its secrets stays. */
  configure(config: Readonly<Record<string, unknown>>): void {
    const salt = /^encryptionsalt: .*$/m.exec(readFileSync(this.configFile, "utf8"))?.[0] ?? "";
    writeFileSync(this.configFile, `${salt}\n${stringify({ config })}`);
  }

  /** `pulumi config set --secret --path`, the value on stdin as a careful person gives it. */
  async secret(path: string, value: string): Promise<void> {
    await this.#aside(["config", "set", "--secret", "--path", path, "--config-file", this.configFile], value);
  }

  /** `pulumi config set`, as the error of a refused step says. */
  async set(key: string, value: string): Promise<void> {
    await this.#aside(["config", "set", key, value, "--config-file", this.configFile]);
  }

  start(...argv: string[]): Running {
    return this.#start(argv, this.env);
  }

  #start(argv: readonly string[], env: NodeJS.ProcessEnv): Running {
    const flags = ["--stack", this.#name, "--non-interactive", "--color", "never"];
    const config = argv[0] === "cancel" ? [] : ["--config-file", this.configFile];
    return this.#site.start("pulumi", [...argv, ...flags, ...config], this.#cwd, env);
  }

  run(...argv: string[]): Promise<Ran> {
    return this.start(...argv).ended;
  }

  up(...flags: string[]): Promise<Ran> {
    return this.run("up", "--yes", "--skip-preview", ...flags);
  }

  preview(...flags: string[]): Promise<Ran> {
    return this.run("preview", ...flags);
  }

  /** By today's config, as `npm run pulumi -- destroy` does it. */
  destroy(...flags: string[]): Promise<Ran> {
    const env = { ...this.env, PULUMI_RUN_PROGRAM: "true" };
    return this.#start(["destroy", "--yes", "--skip-preview", ...flags], env).ended;
  }

  /** Plan lines of every resource that a preview would not leave as it is, by the resource's name. */
  async plans(): Promise<{ readonly text: string; readonly plans: Readonly<Record<string, readonly string[]>> }> {
    const ran = await this.preview("--json");
    if (ran.status !== 0) throw new Error(`pulumi preview --json ended with ${ran.status}:\n${ran.said}`);
    const changing = PreviewSchema.parse(JSON.parse(ran.stdout)).steps.filter(({ op }) => op !== "same");
    const planOf = (inputs: Record<string, unknown> = {}) => z.array(z.string()).catch([]).parse(inputs["plan"]);
    return {
      text: ran.said,
      plans: Object.fromEntries(changing.map(({ urn, newState }) => [nameOf(urn), planOf(newState?.inputs)])),
    };
  }

  async export(): Promise<{ readonly text: string; readonly resources: readonly Resource[] }> {
    const text = await this.#aside(["stack", "export"]);
    return { text, resources: StateSchema.parse(JSON.parse(text)).deployment.resources };
  }

  async outputs(): Promise<Record<string, unknown>> {
    return z
      .record(z.string(), z.unknown())
      .parse(JSON.parse(await this.#aside(["stack", "output", "--json", "--show-secrets"])));
  }

  /** A command that needs no program, in the stand-in project. */
  async #aside(argv: readonly string[], typed = ""): Promise<string> {
    const named = argv[1] === "init" ? [] : ["--stack", this.#name];
    const line = ["--cwd", this.#standIn, ...argv, ...named, "--non-interactive"];
    const ran = await this.#site.start("pulumi", line, this.#standIn, this.env, typed).ended;
    if (ran.status !== 0) throw new Error(`pulumi ${argv.join(" ")} ended with ${ran.status}:\n${ran.said}`);
    return ran.stdout;
  }
}

/** Stack config of these nodes with the twins' downloads pinned. */
export function configOf(
  nodes: readonly unknown[],
  permit = "reboot",
  stack: Platform["stack"] = SNP.stack,
): Record<string, unknown> {
  const own = Object.fromEntries(Object.entries(stack).map(([key, value]) => [`teeup:${key}`, value]));
  return { ...own, "teeup:permit": permit, "teeup:pins": pinsOf(stack.profile), "teeup:nodes": nodes };
}

/** Calls back for every change that the twin carries out, before its answer leaves the twin, until told to stop. */
export function onChange(twin: Twin, seen: (entry: Omit<JournalEntry, "n">) => void): () => void {
  const { journal } = twin;
  const add = journal.add.bind(journal);
  journal.add = (entry) => {
    add(entry);
    if (entry.mutating) seen(entry);
  };
  return () => {
    journal.add = add;
  };
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** Resolves when the process is gone. A process that is no child of ours has no event for that. */
export async function gone(pid: number): Promise<void> {
  while (isAlive(pid)) await new Promise((resolve) => setTimeout(resolve, 20));
}

/** The child of a process whose command line contains `words`. */
function childOf(parent: number, words: string): number | undefined {
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const status = readFileSync(`/proc/${name}/status`, "utf8");
      const line = readFileSync(`/proc/${name}/cmdline`, "utf8");
      if (status.includes(`\nPPid:\t${parent}\n`) && line.includes(words)) return Number(name);
    } catch {
      // Gone between the two looks.
    }
  }
  return undefined;
}

/** Writes the fleet file of these stacks of the checkout, `rack0`, `rack1`, …; `labels` by their number. Returns its path. */
export function fleetOf(
  site: Site,
  stacks: readonly Stack[],
  labels?: (n: number) => Readonly<Record<string, string>>,
) {
  const path = site.path("fleet.yaml");
  const entries = stacks.map((stack, n) => ({
    stack: `rack${n}`,
    project: ROOT,
    file: stack.configFile,
    backend: stack.env["PULUMI_BACKEND_URL"],
    ...(labels === undefined ? {} : { labels: labels(n) }),
  }));
  writeFileSync(path, stringify({ stacks: entries }));
  return path;
}
