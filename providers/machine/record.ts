import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { VM_NAME } from "../kit/argv.ts";
import type { Answer, Answers, Ask, Asks } from "../kit/ask.ts";
import { cloudOf } from "../kit/cloud.ts";
import type { StackConfig } from "../kit/config.ts";
import { TeeUpError } from "../kit/errors.ts";
import type { Fleet, Lock, Machine, NodeMachines } from "../kit/machine.ts";
import { keyOf } from "./batch.ts";
import { findNode } from "./fleet.ts";
import { redact } from "./redact.ts";

/**
 * A node's answers in a file, so that a preview can be made where the node cannot be reached. They passed redact() like
 * everything that leaves this room; the hash shows a record that was changed by hand, and nothing more than that: it is no
 * signature.
 */
const AnswerSchema: z.ZodType<Answer> = z.discriminatedUnion("kind", [
  z.object({
    kind: z.literal("ran"),
    status: z.number(),
    stdout: z.string(),
    stderr: z.string(),
    nonce: z.string().exactOptional(),
  }),
  z.object({ kind: z.literal("missing") }),
  z.object({ kind: z.literal("denied"), why: z.string() }),
  z.object({ kind: z.literal("skipped"), why: z.string() }),
  z.object({ kind: z.literal("failed"), why: z.string() }),
  z.object({ kind: z.literal("no-machine"), why: z.string() }),
]);
const AnswersSchema = z.record(z.string(), AnswerSchema);

const RecordSchema = z.strictObject({
  version: z.literal(1),
  node: z.string(),
  /** ISO 8601. */
  at: z.iso.datetime(),
  /** By question. */
  host: AnswersSchema,
  guest: AnswersSchema,
  /** SHA-256 of everything else. */
  hash: z.string(),
});
export type NodeRecord = z.infer<typeof RecordSchema>;

const hashOf = (body: object): string => createHash("sha256").update(JSON.stringify(body)).digest("hex");

/** Throws `record.invalid` for a text that is no record, `record.changed` when its hash is not that of what it holds. */
export function parseRecord(text: string, name: string): NodeRecord {
  let raw: unknown;
  try {
    raw = JSON.parse(text);
  } catch {
    raw = undefined;
  }
  const parsed = RecordSchema.safeParse(raw);
  const bad = (code: string, saw: string) =>
    new TeeUpError({ code, node: name, subject: "teeup:records", saw, next: `teeup record ${name} makes it anew` });
  if (!parsed.success)
    throw bad("record.invalid", `no record: ${parsed.error.issues.map((i) => i.path.join(".")).join(", ")}`);
  if (parsed.data.node !== name) throw bad("record.other", `it is a record of ${parsed.data.node}`);
  const { hash, ...body } = raw as NodeRecord;
  if (hashOf(body) !== hash) throw bad("record.changed", "somebody changed the record: its hash is another one");
  return parsed.data;
}

/** A fleet that remembers every answer it gives. */
export class Recording implements Fleet {
  readonly #fleet: Fleet;
  readonly #machines = new Map<string, { host: RecordingMachine; guest: RecordingMachine }>();

  constructor(fleet: Fleet) {
    this.#fleet = fleet;
  }

  get names(): readonly string[] {
    return this.#fleet.names;
  }

  node(name: string): NodeMachines {
    const { host, guest, cloud } = this.#fleet.node(name);
    const made = this.#machines.get(name) ?? { host: new RecordingMachine(host), guest: new RecordingMachine(guest) };
    this.#machines.set(name, made);
    return { ...made, cloud };
  }

  close(): Promise<void> {
    return this.#fleet.close();
  }

  /** Everything that was answered so far; `at` is now. */
  async record(name: string, now: Date): Promise<NodeRecord> {
    const { host, guest } = this.#machines.get(name) ?? {};
    const body = {
      version: 1 as const,
      node: name,
      at: now.toISOString(),
      host: (await host?.answers()) ?? {},
      guest: (await guest?.answers()) ?? {},
    };
    const clean = JSON.parse(redact(JSON.stringify(body))) as typeof body;
    return { ...clean, hash: hashOf(clean) };
  }
}

class RecordingMachine implements Machine {
  readonly id: string;
  readonly #machine: Machine;
  readonly #heard = new Map<string, Answer>();
  readonly #pending = new Set<Promise<unknown>>();

  constructor(machine: Machine) {
    this.id = machine.id;
    this.#machine = machine;
  }

  async observe<A extends Asks>(asks: A): Promise<Answers<A>> {
    const asked = this.#machine.observe(asks);
    this.#pending.add(asked);
    const answers = await asked;
    for (const [name, ask] of Object.entries(asks)) {
      const answer = answers[name];
      if (answer === undefined) continue;
      // What stands beside it names how the recorder reached the machine.
      if (answer.kind === "failed") this.#heard.set(keyOf(ask), { kind: "failed", why: answer.why });
      else this.#heard.set(keyOf(ask), answer);
    }
    return answers;
  }

  async answers(): Promise<Record<string, Answer>> {
    await Promise.allSettled(this.#pending);
    return Object.fromEntries([...this.#heard].sort(([a], [b]) => (a < b ? -1 : 1)));
  }

  forget(): void {
    this.#machine.forget();
  }

  act(): Promise<void> {
    return Promise.reject(readOnly(this.id));
  }

  lock(): Promise<Lock> {
    return Promise.reject(readOnly(this.id));
  }
}

/**
 * Nodes as `teeup record` saw them, from `<folder>/<node>.json`. A node without a record is like one that cannot be
 * reached. Nothing can be changed through it: `act` and `lock` throw `facts.recorded`.
 */
export function openRecorded(config: StackConfig, folder: string): Fleet {
  const records = new Map<string, Promise<NodeRecord>>();
  const recordOf = (name: string): Promise<NodeRecord> => {
    const read = records.get(name) ?? readRecord(folder, name);
    records.set(name, read);
    read.catch(() => undefined);
    return read;
  };
  return {
    names: config.nodes.map((node) => node.name),
    node: (name) => {
      const cloud = cloudOf(config.platform, findNode(config, name).cloud);
      const host = new RecordedMachine(name, async () => (await recordOf(name)).host);
      const guest = new RecordedMachine(`${name}/${VM_NAME}`, async () => (await recordOf(name)).guest);
      return cloud === undefined ? { host, guest } : { host, guest: host, cloud };
    },
    recorded: async (name) => {
      const { at, hash } = await recordOf(name);
      return { at, hash };
    },
    close: async () => undefined,
  };
}

async function readRecord(folder: string, name: string): Promise<NodeRecord> {
  const path = join(folder, `${name}.json`);
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    throw new TeeUpError({
      code: "record.missing",
      node: name,
      subject: "teeup:records",
      saw: `${path}: ${error instanceof Error ? error.message : String(error)}`,
      next: `teeup record ${name}, where the node can be reached`,
    });
  }
  return parseRecord(text, name);
}

class RecordedMachine implements Machine {
  readonly id: string;
  readonly #answers: () => Promise<Readonly<Record<string, Answer>>>;

  constructor(id: string, answers: () => Promise<Readonly<Record<string, Answer>>>) {
    this.id = id;
    this.#answers = answers;
  }

  async observe<A extends Asks>(asks: A): Promise<Answers<A>> {
    const all = Object.entries<Ask>(asks);
    try {
      const answers = await this.#answers();
      const notAsked: Answer = { kind: "failed", why: "the record does not have it: record the node again" };
      return Object.fromEntries(all.map(([name, ask]) => [name, answers[keyOf(ask)] ?? notAsked])) as Answers<A>;
    } catch (error) {
      if (!(error instanceof TeeUpError) || error.code !== "record.missing") throw error;
      const answer: Answer = { kind: "failed", why: error.message, error: error.parts };
      return Object.fromEntries(all.map(([name]) => [name, answer])) as Answers<A>;
    }
  }

  forget(): void {}

  act(): Promise<void> {
    return Promise.reject(readOnly(this.id));
  }

  lock(): Promise<Lock> {
    return Promise.reject(readOnly(this.id));
  }
}

/** The refusal of every change that would rest on a record. */
export const readOnly = (node: string): TeeUpError =>
  new TeeUpError({
    code: "facts.recorded",
    node,
    subject: "teeup:facts",
    saw: "these facts are a record, not the node: nothing was changed",
    next: "pulumi config set teeup:facts live, then pulumi preview and up where the node can be reached",
  });

const UNITS: readonly (readonly [Intl.RelativeTimeFormatUnitSingular, number])[] = [
  ["day", 86_400_000],
  ["hour", 3_600_000],
  ["minute", 60_000],
  ["second", 1000],
];

/** `3 days ago`; whole units, the largest that fits. */
export function ago(at: string, now: number = Date.now()): string {
  const ms = now - Date.parse(at);
  const [unit, size] = UNITS.find(([, each]) => Math.abs(ms) >= each) ?? (["second", 1000] as const);
  return new Intl.RelativeTimeFormat("en", { numeric: "always" }).format(-Math.trunc(ms / size), unit);
}
