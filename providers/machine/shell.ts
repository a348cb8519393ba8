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

/** How much of a program's stderr is kept. */
export const STDERR_CHARS = 16_384;

/** The way programs are started on a machine: an SSH connection, or this very machine. */
export interface Shell {
  /** Machine that errors name: `gpu-01`, `gpu-01/cvm0`. */
  readonly node: string;
  /** True while programs can be started without connecting first. */
  readonly connected: boolean;
  /**
   * Starts a program as root. Resolves when the program reads its stdin. Rejects with a TeeUpError; with `hostKey`, a
   * key's blob, also on a session of any other key (`ssh.other-session`).
   */
  start(argv: readonly string[], onStdout: (chunk: Buffer) => void, hostKey?: Buffer): Promise<Program>;
  /** Blob of the host key that was verified when the session was made; connects first. Absent where there is none. */
  hostKey?(): Promise<Buffer>;
  /** Forgets a failed attempt to connect. */
  reset(): void;
  /** Ends the connection; the next use makes a new one. */
  close(): void;
}
