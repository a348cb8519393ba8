import type { ErrorParts } from "./errors.ts";
import type { Fact } from "./facts.ts";
import { absent, flatMapFact, known, unknown } from "./facts.ts";

/**
 * A read-only question to a machine. Asks are static (the same for every want), so one batch can carry the asks
 * of all facets of a machine before any resource is known. A path or argv is never built from user input.
 */
export type Ask =
  | {
      readonly kind: "file";
      readonly path: string;
      readonly maxBytes?: number;
    }
  | {
      readonly kind: "argv";
      /** `@nonce@` in an element is replaced by 64 fresh hex digits per observation; the answer carries them. */
      readonly argv: readonly [string, ...string[]];
      /** Seconds; default 20. */
      readonly timeoutSeconds?: number;
      /** Default 65,536. A longer answer is `failed`, never cut silently. */
      readonly maxBytes?: number;
      /**
       * Commands that must first exit with the given status, in order; otherwise the ask is `skipped`.
       * For questions that are only safe in some states, e.g. `nvidia-smi` only once nvidia-persistenced is active.
       */
      readonly gates?: readonly Gate[];
    }
  /** The BIOS of the node as its BMC shows it: the answer's stdout is JSON of {@link BiosSnapshot} in bios.ts. */
  | { readonly kind: "bios" };

export interface Gate {
  readonly argv: readonly [string, ...string[]];
  /** Exit status that lets the ask run. */
  readonly exit: number;
  /** Said when the gate is shut, e.g. "a running guest holds a GPU". */
  readonly why: string;
}

/** What a machine answered. Each way of not answering keeps its own name. */
export type Answer =
  /** The program ran, or the file was read (then status 0). */
  | {
      readonly kind: "ran";
      readonly status: number;
      readonly stdout: string;
      readonly stderr: string;
      readonly nonce?: string;
    }
  /** No such file, or no such program. */
  | { readonly kind: "missing" }
  | { readonly kind: "denied"; readonly why: string }
  /** A gate was shut. */
  | { readonly kind: "skipped"; readonly why: string }
  /** Time-out, too long, connection lost, no BMC configured, malformed. */
  | {
      readonly kind: "failed";
      /** One line. */
      readonly why: string;
      /** Set when the machine could not be reached: what there is to see and to do. */
      readonly error?: ErrorParts;
    }
  /** The machine itself does not exist yet (a guest whose VM was never made). */
  | { readonly kind: "no-machine"; readonly why: string };

export type Asks = Readonly<Record<string, Ask>>;
export type Answers<A extends Asks = Asks> = { readonly [K in keyof A]: Answer };

/** stdout of a program that exited 0 (or a file's text) as a fact; a failing exit is unknown, a missing one absent. */
export function text(answer: Answer): Fact<string> {
  switch (answer.kind) {
    case "ran":
      return answer.status === 0
        ? known(answer.stdout)
        : unknown(`exit ${answer.status}: ${lastLine(answer.stderr || answer.stdout)}`);
    case "missing":
    case "no-machine":
      return absent;
    default:
      return unknown(answer.why);
  }
}

/** As {@link text}, for programs such as grep or systemctl whose other exit statuses mean something. */
export function ran(answer: Answer): Fact<{ status: number; stdout: string; stderr: string }> {
  if (answer.kind === "ran") return known(answer);
  if (answer.kind === "missing" || answer.kind === "no-machine") return absent;
  return unknown(answer.why);
}

const NOT_THERE = /: No such file or directory$|: no packages found matching /;

/**
 * stdout of grep, find, stat, dpkg-query or journalctl over places of which some may be missing: their exit status says
 * as much, so it does not count. Any other complaint on stderr makes the answer unknown.
 */
export function collected(answer: Answer): Fact<string> {
  return flatMapFact(ran(answer), ({ stdout, stderr }) => {
    const complaint = stderr.split("\n").find((line) => line.trim() !== "" && !NOT_THERE.test(line));
    return complaint === undefined ? known(stdout) : unknown(complaint.trim());
  });
}

/** Whether the file of a `file` ask exists. */
export function isThere(answer: Answer): Fact<boolean> {
  const read = text(answer);
  return read.state === "unknown" ? read : known(read.state === "known");
}

export function lastLine(s: string): string {
  return s.trim().split("\n").at(-1) ?? "";
}

/** Test and example helper: a program that ran. */
export const ok = (stdout: string, status = 0, stderr = ""): Answer => ({ kind: "ran", status, stdout, stderr });
export const missing: Answer = { kind: "missing" };
export const failed = (why: string): Answer => ({ kind: "failed", why });
