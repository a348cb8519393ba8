import { spawn } from "node:child_process";
import type { FileHandle } from "node:fs/promises";
import { mkdir, open, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { stringify } from "yaml";
import { z } from "zod";
import { TeeUpError } from "../../providers/kit/errors.ts";
import { pulumiEnv } from "../../tools/toolchain.ts";

/** The checkout. */
export const ROOT = join(dirname(fileURLToPath(import.meta.url)), "../..");

/** How often the event log is looked at. */
const TAIL_MS = 25;

/** What is read of the engine's event log; everything else in it is left alone. */
const EventSchema = z.looseObject({
  resourcePreEvent: z
    .object({
      metadata: z.object({
        urn: z.string(),
        op: z.string(),
        type: z.string(),
        new: z.object({ inputs: z.record(z.string(), z.unknown()).nullish() }).nullish(),
      }),
    })
    .optional(),
  resOutputsEvent: z.object({ metadata: z.object({ urn: z.string(), op: z.string() }) }).optional(),
  summaryEvent: z.object({ resourceChanges: z.record(z.string(), z.number()).nullable().default({}) }).optional(),
  diagnosticEvent: z.object({ message: z.string(), severity: z.string(), urn: z.string().optional() }).optional(),
});
type EngineEvent = z.infer<typeof EventSchema>;

export interface PulumiRun {
  readonly status: number;
  /** Wall time of the whole command. */
  readonly seconds: number;
  readonly stdout: string;
  readonly stderr: string;
  /** Resources per operation, as Pulumi's own summary counts them; empty when it did not get that far. */
  readonly changes: Readonly<Record<string, number>>;
  readonly events: readonly EngineEvent[];
  /** Resources in the order in which they were done. */
  readonly parts: readonly Part[];
}

export interface Part {
  readonly urn: string;
  readonly type: string;
  readonly name: string;
  readonly op: string;
  /** What the facet would do, or did next, as the provider's check put it among the inputs. */
  readonly plan: readonly string[];
  /** From the engine's start of the operation to its end, seconds, to about 50 ms. */
  readonly seconds: number;
}

export interface StackOptions {
  /** An empty folder that this stack may fill; the caller removes it. */
  readonly dir: string;
  readonly stack: string;
  /** Values of the stack config, by their whole key. */
  readonly config: Readonly<Record<string, unknown>>;
  /** Folder of the Pulumi program; default: the checkout. */
  readonly program?: string;
  /** Name of the project of that program; default teeup. */
  readonly project?: string;
  /** Added to the environment of every command. */
  readonly env?: Readonly<Record<string, string>>;
}

export interface RunOptions {
  /** Where the output goes as it comes; without it the output is only returned. */
  readonly live?: NodeJS.WritableStream;
  readonly signal?: AbortSignal;
}

/** A stack of a program with its state, home and config in a folder of its own: neither checkout nor user is touched. */
export class PulumiStack {
  readonly configFile: string;
  readonly env: Readonly<Record<string, string>>;
  readonly #options: StackOptions;
  #runs = 0;

  private constructor(options: StackOptions) {
    this.#options = options;
    this.configFile = join(options.dir, "project", `Pulumi.${options.stack}.yaml`);
    this.env = {
      ...pulumiEnv({ home: join(options.dir, "home"), backendDir: join(options.dir, "state"), passphrase: "demo" }),
      // The only way to `--event-log`, Pulumi's own account of what it did.
      PULUMI_DEBUG_COMMANDS: "true",
      ...options.env,
    };
  }

  static async create(options: StackOptions): Promise<PulumiStack> {
    const stack = new PulumiStack(options);
    const project = dirname(stack.configFile);
    await mkdir(project, { recursive: true });
    // `stack init` writes the stack's file beside the project's: a stand-in project keeps it out of the checkout.
    await writeFile(join(project, "Pulumi.yaml"), stringify({ name: options.project ?? "teeup", runtime: "nodejs" }));
    const made = await stack.#spawn(["--cwd", project, "stack", "init", options.stack], project, {});
    if (made.status !== 0) throw failed("pulumi stack init", made.stderr);
    await stack.configure(options.config);
    return stack;
  }

  /** Replaces the stack config; its encryption salt stays. */
  async configure(config: Readonly<Record<string, unknown>>): Promise<void> {
    const salt = /^encryptionsalt: .*$/m.exec(await readFile(this.configFile, "utf8"))?.[0] ?? "";
    await writeFile(this.configFile, `${salt}\n${stringify({ config })}`);
  }

  preview(options: RunOptions = {}, ...flags: string[]): Promise<PulumiRun> {
    return this.#operate(["preview", ...flags], options);
  }

  up(options: RunOptions = {}, ...flags: string[]): Promise<PulumiRun> {
    return this.#operate(["up", "--yes", "--skip-preview", ...flags], options);
  }

  refresh(options: RunOptions = {}, ...flags: string[]): Promise<PulumiRun> {
    // Pulumi refuses both together.
    const yes = flags.includes("--preview-only") ? [] : ["--yes"];
    return this.#operate(["refresh", ...yes, ...flags], options);
  }

  destroy(options: RunOptions = {}, ...flags: string[]): Promise<PulumiRun> {
    return this.#operate(["destroy", "--yes", "--skip-preview", ...flags], options);
  }

  /** `pulumi stack export`: the text and the resources in it. */
  async export(): Promise<{ readonly text: string; readonly resources: readonly StateResource[] }> {
    const project = dirname(this.configFile);
    const run = await this.#spawn(["--cwd", project, "stack", "export", "--stack", this.#options.stack], project, {});
    if (run.status !== 0) throw failed("pulumi stack export", run.stderr);
    return { text: run.stdout, resources: StateSchema.parse(JSON.parse(run.stdout)).deployment.resources };
  }

  async #operate(command: readonly string[], options: RunOptions): Promise<PulumiRun> {
    const log = join(this.#options.dir, `events-${++this.#runs}.json`);
    const cwd = this.#options.program ?? ROOT;
    const argv = [
      ...command,
      ...["--stack", this.#options.stack, "--config-file", this.configFile, "--event-log", log, "--non-interactive"],
      ...["--color", options.live !== undefined && isTty(options.live) ? "always" : "never"],
    ];
    const tail = new EventTail(log);
    const run = await this.#spawn(argv, cwd, options);
    const events = await tail.end();
    const changes =
      events.find(({ event }) => event.summaryEvent !== undefined)?.event.summaryEvent?.resourceChanges ?? {};
    return { ...run, events: events.map(({ event }) => event), changes, parts: partsOf(events) };
  }

  async #spawn(
    argv: readonly string[],
    cwd: string,
    options: RunOptions,
  ): Promise<Omit<PulumiRun, "events" | "changes" | "parts">> {
    const started = performance.now();
    const child = spawn("pulumi", argv, {
      cwd,
      // As `npm run pulumi -- destroy`: by today's config.
      env: argv[0] === "destroy" ? { ...this.env, PULUMI_RUN_PROGRAM: "true" } : this.env,
      stdio: ["ignore", "pipe", "pipe"],
      ...(options.signal === undefined ? {} : { signal: options.signal, killSignal: "SIGINT" as const }),
    });
    const out: Buffer[] = [];
    const err: Buffer[] = [];
    child.stdout.on("data", (chunk: Buffer) => out.push(chunk));
    child.stderr.on("data", (chunk: Buffer) => err.push(chunk));
    if (options.live !== undefined)
      for (const stream of [child.stdout, child.stderr]) stream.pipe(options.live, { end: false });
    const status = await new Promise<number>((resolve, reject) => {
      child.on("error", reject);
      child.on("close", (code) => resolve(code ?? 1));
    });
    return {
      status,
      seconds: (performance.now() - started) / 1000,
      stdout: Buffer.concat(out).toString("utf8"),
      stderr: Buffer.concat(err).toString("utf8"),
    };
  }
}

const StateSchema = z.object({
  deployment: z.object({
    resources: z
      .array(
        z.looseObject({
          urn: z.string(),
          type: z.string(),
          custom: z.boolean().default(false),
          inputs: z.record(z.string(), z.unknown()).default({}),
          outputs: z.record(z.string(), z.unknown()).default({}),
        }),
      )
      .default([]),
  }),
});
export type StateResource = z.infer<typeof StateSchema>["deployment"]["resources"][number];

/** True for a resource that stands for something on a machine (not the stack, a component or a provider). */
export const isFacetResource = (resource: { readonly type: string }): boolean =>
  resource.type.startsWith("pulumi-nodejs:dynamic");

interface Timed {
  readonly event: EngineEvent;
  /** When the line was seen, milliseconds of performance.now(). */
  readonly at: number;
}

/** The engine's own time stamps are whole seconds; watching the log as it grows tells more. */
class EventTail {
  readonly #path: string;
  readonly #events: Timed[] = [];
  readonly #timer: NodeJS.Timeout;
  #offset = 0;
  #reading: Promise<void> = Promise.resolve();

  constructor(path: string) {
    this.#path = path;
    this.#timer = setInterval(() => {
      this.#reading = this.#reading.then(() => this.#read());
    }, TAIL_MS);
  }

  /** All events, once the command has ended; none when Pulumi ended before its engine started. */
  async end(): Promise<readonly Timed[]> {
    clearInterval(this.#timer);
    await this.#reading;
    await this.#read();
    return this.#events;
  }

  async #read(): Promise<void> {
    let file: FileHandle;
    try {
      file = await open(this.#path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return;
      throw error;
    }
    try {
      const { size } = await file.stat();
      const chunk = Buffer.alloc(size - this.#offset);
      const { bytesRead } = await file.read(chunk, 0, chunk.length, this.#offset);
      // Cut at a line's end: a character may be half written.
      const whole = chunk.subarray(0, bytesRead).lastIndexOf(0x0a) + 1;
      this.#offset += whole;
      const at = performance.now();
      for (const line of chunk.toString("utf8", 0, whole).split("\n")) {
        if (line !== "") this.#events.push({ event: EventSchema.parse(JSON.parse(line)), at });
      }
    } finally {
      await file.close();
    }
  }
}

function partsOf(events: readonly Timed[]): Part[] {
  const started = new Map<string, Timed>();
  const parts: Part[] = [];
  for (const timed of events) {
    const { resourcePreEvent: pre, resOutputsEvent: done } = timed.event;
    if (pre !== undefined) started.set(pre.metadata.urn, timed);
    const before = done === undefined ? undefined : started.get(done.metadata.urn);
    if (done === undefined || before?.event.resourcePreEvent === undefined) continue;
    const { urn, op } = done.metadata;
    const { type, new: now } = before.event.resourcePreEvent.metadata;
    const plan = z.array(z.string()).safeParse(now?.inputs?.["plan"]).data ?? [];
    parts.push({ urn, type, name: urn.split("::").at(-1) ?? urn, op, plan, seconds: (timed.at - before.at) / 1000 });
    started.delete(urn);
  }
  return parts;
}

const isTty = (stream: NodeJS.WritableStream): boolean => "isTTY" in stream && stream.isTTY === true;

function failed(command: string, stderr: string): TeeUpError {
  return new TeeUpError({
    code: "pulumi.failed",
    subject: command,
    saw: stderr.trim() || "no message",
    next: "npm run setup finds or makes the Pulumi toolchain",
  });
}
