import type { Writable } from "node:stream";

/** What ended a program. */
export interface Ended {
  readonly status: number | undefined;
  readonly signal: string | undefined;
  /** The channel closed before the program's exit status came. */
  readonly lost: boolean;
}

/** A running program on the machine. */
export interface Program {
  readonly stdin: Writable;
  readonly ended: Promise<Ended>;
  /** What it said on stderr so far, the first 16 KiB. */
  stderr(): string;
  /** Closes the channel. */
  close(): void;
}

/**
 * One session with a machine. Its keys are in the memory of the system that it was made with and end with that, while a
 * host key lies on a disk: who holds the disk can start another system that shows the same one.
 */
export interface SessionId {
  /** Random, of this process; another one for every session. */
  readonly id: string;
  /** Blob of the host key that was verified when the session was made. */
  readonly hostKey: Buffer;
}

/** How much of a program's stderr is kept. */
export const STDERR_CHARS = 16_384;

/** The way programs are started on a machine: an SSH connection, or this very machine. */
export interface Shell {
  /** Machine that errors name: `gpu-01`, `gpu-01/cvm0`. */
  readonly node: string;
  /** True while programs can be started without connecting first. */
  readonly connected: boolean;
  /**
   * Starts a program as root. Resolves when the program reads its stdin. Rejects with a TeeUpError; with `only`, also on
   * any other session (`ssh.other-session`).
   */
  start(argv: readonly string[], onStdout: (chunk: Buffer) => void, only?: SessionId): Promise<Program>;
  /** The session that programs are started over; connects first. Absent where there is none. */
  session?(): Promise<SessionId>;
  /** Forgets a failed attempt to connect. */
  reset(): void;
  /** Ends the connection; the next use makes a new one. */
  close(): void;
}
