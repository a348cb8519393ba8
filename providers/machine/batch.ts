import { randomBytes } from "node:crypto";
import DataLoader from "dataloader";
import type { Answer, Answers, Ask, Asks } from "../kit/ask.ts";
import { failed } from "../kit/ask.ts";
import { NO_BMC } from "../kit/bios.ts";
import { TeeUpError } from "../kit/errors.ts";
import type { Entry, Frame } from "../kit/protocol.ts";
import { answerOf, compileBatch, decodeFrames, READ_SECONDS } from "../kit/protocol.ts";
import { BATCH_ARGV } from "../kit/session.ts";
import type { BmcClient, FleetOptions } from "./options.ts";
import { oneLine, redact, redactError } from "./redact.ts";
import type { SessionId, Shell } from "./shell.ts";
import { isUnreachable, sudoError } from "./ssh-errors.ts";

const ASK_SECONDS = 20;
const ASK_BYTES = 65_536;

/** What came of a batch: frames by entry, and why the missing ones are missing. */
export interface BatchResult {
  readonly frames: ReadonlyMap<number, Frame>;
  readonly why: string;
  /** The connection went down before all frames came. */
  readonly lost: boolean;
}

/** The guest's machine does not exist; every ask is then answered `no-machine`. */
export const NO_MACHINE = "guest.no-machine";

/**
 * Runs entries in one exec. Frames that came before something went wrong are kept. Rejects with `ssh.*` when the
 * machine cannot be reached and with `sudo.*` when root cannot be had; until then nothing has run.
 */
export async function runBatch(
  link: Shell,
  entries: readonly Entry[],
  options: FleetOptions,
  only?: SessionId,
): Promise<BatchResult> {
  const mark = randomBytes(16).toString("hex");
  const script = compileBatch(entries, mark);
  const chunks: Buffer[] = [];
  let bytes = 0;
  let why: string | undefined;
  let touch = (): void => undefined;
  const start = () =>
    link.start(
      BATCH_ARGV,
      (chunk) => {
        bytes += chunk.length;
        if (bytes <= options.maxBatchBytes) chunks.push(chunk);
        touch();
      },
      only,
    );
  // Until the script has been sent nothing can have run, so a connection that had died unnoticed is no reason to fail.
  const program = await start().catch((error: unknown) => {
    if (!(error instanceof TeeUpError) || error.code !== "ssh.lost") throw error;
    link.close();
    return start();
  });
  let hung = false;
  const stop = (reason: string) => {
    why ??= reason;
    hung = true;
    program.close();
    // A machine that hangs does not answer the closing of a channel either.
    link.close();
  };
  const limits = entries.map(secondsOf);
  const silence = Math.max(0, ...limits) * 1000 + options.silenceMs;
  const total = limits.reduce((a, b) => a + b, 0) * 1000 + options.silenceMs;
  let silent: NodeJS.Timeout | undefined;
  touch = () => {
    clearTimeout(silent);
    if (bytes > options.maxBatchBytes) return stop(`the machine sent more than ${options.maxBatchBytes} bytes`);
    silent = setTimeout(
      () => stop(`the machine was silent for ${Math.round(silence / 1000)} s: does it hang?`),
      silence,
    );
  };
  touch();
  const overall = setTimeout(() => stop(`no end within ${Math.round(total / 1000)} s`), total);
  program.stdin.end(script);
  const ended = await program.ended;
  clearTimeout(silent);
  clearTimeout(overall);
  const output = Buffer.concat(chunks);
  let frames = new Map<number, Frame>();
  try {
    frames = decodeFrames(output, mark);
  } catch (error) {
    why ??= redact((error as Error).message);
  }
  const said = program.stderr();
  if (frames.size === 0 && !hung && !ended.lost && entries.length > 0) {
    const sudo = sudoError(said, link.node);
    if (sudo !== undefined)
      throw new TeeUpError({ ...sudo, saw: redact(sudo.saw), node: link.node, subject: "ssh.sudo" });
  }
  if (ended.lost) why ??= "the connection was lost before the answer came";
  why ??= `the shell on the machine ended early (${ended.status ?? ended.signal}): ${shellWhy(ended.status, said || output.toString("utf8", 0, 300))}`;
  return { frames, why: redact(why), lost: ended.lost && !hung };
}

function shellWhy(status: number | undefined, said: string): string {
  if (status === 97 || status === 99) return "no room for temporary files in /dev/shm or /tmp";
  return said.trim().split("\n")[0] || "it says nothing";
}

function secondsOf(entry: Entry): number {
  switch (entry.verb) {
    case "ask":
      return entry.seconds + 2 + entry.gates.length * 17;
    case "read":
      return READ_SECONDS + 2;
    case "run":
      return entry.seconds + 10;
    default:
      return 60;
  }
}

/** Asks of one machine, those of a tick in one exec, each remembered until {@link Asker.forget}. */
export class Asker {
  readonly #link: Shell;
  readonly #options: FleetOptions;
  readonly #bmc: (() => Promise<BmcClient>) | undefined;
  readonly #loader: DataLoader<Ask, Answer, string>;

  constructor(link: Shell, options: FleetOptions, bmc?: () => Promise<BmcClient>) {
    this.#link = link;
    this.#options = options;
    this.#bmc = bmc;
    this.#loader = new DataLoader((asks) => this.#answer(asks), { cacheKeyFn: keyOf });
  }

  /** See Machine.observe. */
  async observe<A extends Asks>(asks: A): Promise<Answers<A>> {
    const names = Object.keys(asks) as (keyof A & string)[];
    const answers = await Promise.all(names.map((name) => this.#loader.load(asks[name] as Ask)));
    return Object.fromEntries(names.map((name, n) => [name, answers[n]])) as Answers<A>;
  }

  /** Asks now and remembers nothing. Rejects when the machine cannot be reached. */
  async fresh<A extends Asks>(asks: A): Promise<Answers<A>> {
    const names = Object.keys(asks) as (keyof A & string)[];
    const answers = await this.#ask(names.map((name) => asks[name] as Ask));
    return Object.fromEntries(names.map((name, n) => [name, answers[n]])) as Answers<A>;
  }

  forget(ask?: Ask): void {
    if (ask === undefined) this.#loader.clearAll();
    else this.#loader.clear(ask);
  }

  async #answer(asks: readonly Ask[]): Promise<(Answer | Error)[]> {
    const ofBmc = asks.some((ask) => ask.kind === "bios") ? this.#bios() : undefined;
    const [shell, bios] = await Promise.all([this.#shell(asks.filter((ask) => ask.kind !== "bios")), ofBmc]);
    const inOrder = shell.values();
    return asks.map((ask) => (ask.kind === "bios" ? bios : inOrder.next().value) ?? failed("not asked"));
  }

  async #shell(asks: readonly Ask[]): Promise<Answer[]> {
    if (asks.length === 0) return [];
    try {
      return await this.#ask(asks);
    } catch (error) {
      if (error instanceof TeeUpError && error.code === NO_MACHINE)
        return asks.map(() => ({ kind: "no-machine", why: error.parts.saw }));
      if (isUnreachable(error)) {
        const { parts, message } = redactError(error) as TeeUpError;
        return asks.map(() => ({ kind: "failed", why: oneLine(message), error: parts }));
      }
      throw error;
    }
  }

  /** One exec; a second one, on a new connection, for what a lost connection left open: asks change nothing. */
  async #ask(asks: readonly Ask[]): Promise<Answer[]> {
    const compiled = asks.map(compileAsk);
    const answers = new Map<number, Answer>();
    let open = compiled.map((_, n) => n);
    let why = "";
    for (let attempt = 0; attempt < 2 && open.length > 0; attempt++) {
      const result = await runBatch(
        this.#link,
        open.map((n) => (compiled[n] as Compiled).entry),
        this.#options,
      );
      open.forEach((n, at) => {
        const frame = result.frames.get(at);
        if (frame !== undefined) answers.set(n, finish(compiled[n] as Compiled, frame));
      });
      open = open.filter((n) => !answers.has(n));
      why = result.why;
      if (!result.lost) break;
      this.#link.close();
    }
    return compiled.map((_, n) => answers.get(n) ?? failed(why));
  }

  /** An error comes back as a value: it is of this question alone, not of those that were asked beside it. */
  async #bios(): Promise<Answer | Error> {
    if (this.#bmc === undefined) return failed(NO_BMC);
    try {
      const bmc = await this.#bmc();
      return { kind: "ran", status: 0, stdout: redact(JSON.stringify(await bmc.bios())), stderr: "" };
    } catch (error) {
      const shown = redactError(error);
      return shown instanceof TeeUpError && NEEDS_A_PERSON.has(shown.code) ? shown : failed(shown.message);
    }
  }
}

/** What the BMC is configured wrong for; anything else may pass. */
const NEEDS_A_PERSON = new Set([
  "config.bmc-password",
  "bmc.unauthorized",
  "bmc.forbidden",
  "bmc.certificate",
  "bmc.certificate-changed",
  "bmc.certificate-untrusted",
  "bmc.ca-file",
  "bmc.url",
]);

interface Compiled {
  readonly entry: Entry;
  readonly nonce: string | undefined;
  readonly whys: readonly string[];
}

function compileAsk(ask: Ask): Compiled {
  if (ask.kind === "bios") throw new Error("the BIOS is asked of the BMC");
  if (ask.kind === "file")
    return { entry: { verb: "read", path: ask.path, maxBytes: ask.maxBytes ?? ASK_BYTES }, nonce: undefined, whys: [] };
  const nonce = ask.argv.some((word) => word.includes("@nonce@")) ? randomBytes(32).toString("hex") : undefined;
  const fill = (argv: readonly string[]) =>
    argv.map((word) => (nonce === undefined ? word : word.replaceAll("@nonce@", nonce)));
  return {
    entry: {
      verb: "ask",
      argv: fill(ask.argv),
      seconds: ask.timeoutSeconds ?? ASK_SECONDS,
      maxBytes: ask.maxBytes ?? ASK_BYTES,
      gates: (ask.gates ?? []).map((gate) => ({ argv: fill(gate.argv), exit: gate.exit })),
    },
    nonce,
    whys: (ask.gates ?? []).map((gate) => gate.why),
  };
}

function finish({ entry, nonce, whys }: Compiled, frame: Frame): Answer {
  const answer = answerOf(entry, frame, whys);
  if (answer.kind === "ran") {
    const text = { ...answer, stdout: redact(answer.stdout), stderr: redact(answer.stderr) };
    return nonce === undefined ? text : { ...text, nonce };
  }
  return "why" in answer ? { ...answer, why: redact(answer.why) } : answer;
}

/** One question, one memory, whatever order its fields were written in. */
export function keyOf(ask: Ask): string {
  switch (ask.kind) {
    case "bios":
      return "bios";
    case "file":
      return JSON.stringify(["file", ask.path, ask.maxBytes]);
    case "argv":
      return JSON.stringify([
        "argv",
        ask.argv,
        ask.timeoutSeconds,
        ask.maxBytes,
        ask.gates?.map((g) => [g.argv, g.exit, g.why]),
      ]);
  }
}
