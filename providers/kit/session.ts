import { LOCK_FILE, LOCK_OWNER_FILE } from "./protocol.ts";
import { quoteWords, splitLines } from "./words.ts";

/**
 * The command lines that arrive as SSH `exec` requests. There are two programs only: the batch shell, which reads a
 * script of protocol.ts on stdin, and the lock. A simulated node recognises both with {@link parseExec}.
 */

/** The batch shell. */
export const BATCH_ARGV = ["sh", "-s"] as const;

/**
 * The lock: `tee` starts only once flock has the lock, writes the owner line that it gets on stdin to the owner file
 * and echoes it, which is how the holder learns that it holds. It ends with its stdin, so the lock cannot outlive the
 * channel. When somebody else holds it, flock exits {@link LOCK_CONFLICT} and prints nothing.
 */
export function lockArgv(lockFile: string = LOCK_FILE, ownerFile: string = LOCK_OWNER_FILE): string[] {
  return ["flock", "--nonblock", "--conflict-exit-code", String(LOCK_CONFLICT), lockFile, "tee", ownerFile];
}
export const LOCK_CONFLICT = 75;

/** How a program becomes root on the machine. */
export type Become =
  /** The login user is root, or is to stay what it is. */
  | "none"
  /** `sudo -n`: fails at once when a password is needed. */
  | "sudo"
  /**
   * `sudo -S` with {@link SUDO_PROMPT}: the password (and a newline) is sent when the prompt shows on stderr, never
   * before, so that it cannot reach the program's stdin on a node that asks for none. The program's own stdin begins
   * after the line {@link SUDO_READY} came on stdout.
   */
  | "sudo-password";

export const SUDO_PROMPT = "teeup-sudo-password:";
export const SUDO_READY = "teeup-ready";
const SUDO = ["sudo", "-n", "--"];
const SUDO_WITH_PASSWORD = ["sudo", "-S", "-p", SUDO_PROMPT, "--", "sh", "-c", `echo ${SUDO_READY} && exec "$@"`, "sh"];

/** The text of an `exec` request. */
export function execCommand(become: Become, argv: readonly string[]): string {
  return quoteWords([...prefix(become), ...argv]);
}

/** The other way round. Throws on what {@link execCommand} would not write. */
export function parseExec(command: string): { become: Become; argv: string[] } {
  const [words = []] = splitLines(command);
  for (const become of ["sudo-password", "sudo"] as const) {
    const head = prefix(become);
    if (head.every((word, n) => words[n] === word)) return { become, argv: words.slice(head.length) };
  }
  return { become: "none", argv: words };
}

function prefix(become: Become): readonly string[] {
  return become === "none" ? [] : become === "sudo" ? SUDO : SUDO_WITH_PASSWORD;
}

/** Who holds the lock: one line of JSON in the owner file. */
export interface LockOwner {
  /** Differs for every holder. */
  readonly id: string;
  /** `user@controller`. */
  readonly who: string;
  readonly pid: number;
  /** E.g. "pulumi up". */
  readonly purpose: string;
  /** ISO 8601. */
  readonly since: string;
}
