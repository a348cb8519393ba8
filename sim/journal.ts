/** One thing that somebody asked a machine of the twin to do. */
export interface JournalEntry {
  readonly n: number;
  /** `host`, `guest` or `bmc`. */
  readonly machine: "host" | "guest" | "bmc";
  readonly verb: "ask" | "read" | "run" | "put" | "remove" | "job" | "exec" | "stage-bios" | "reset";
  /** argv, or the path of a read, put or remove. */
  readonly argv: readonly string[];
  readonly mutating: boolean;
  readonly status: number;
  /** A gate held the question back: nothing was run. */
  readonly skipped?: true;
}

export interface JournalCounts {
  /** SSH exec requests, on host and guest. */
  readonly execs: number;
  readonly hostExecs: number;
  readonly guestExecs: number;
  readonly connections: number;
  /** Times the host came up again. */
  readonly reboots: number;
  /** Times a confidential VM started, the first included. */
  readonly guestStarts: number;
  readonly guestRestarts: number;
  /** Resets of a GPU by the mode tool. */
  readonly gpuResets: number;
  readonly mutations: number;
}

/** What happened to a twin, counted. Nothing that arrives on stdin but a batch's entries is ever kept here. */
export class Journal {
  readonly entries: JournalEntry[] = [];
  /** argv lines that the twin could not answer truthfully; tests assert that this stays empty. */
  readonly unmodelled: string[] = [];
  hostExecs = 0;
  guestExecs = 0;
  connections = 0;
  reboots = 0;
  guestStarts = 0;
  gpuResets = 0;

  add(entry: Omit<JournalEntry, "n">): void {
    this.entries.push({ n: this.entries.length + 1, ...entry });
  }

  mutations(): readonly JournalEntry[] {
    return this.entries.filter((entry) => entry.mutating);
  }

  counts(): JournalCounts {
    return {
      execs: this.hostExecs + this.guestExecs,
      hostExecs: this.hostExecs,
      guestExecs: this.guestExecs,
      connections: this.connections,
      reboots: this.reboots,
      guestStarts: this.guestStarts,
      guestRestarts: Math.max(0, this.guestStarts - 1),
      gpuResets: this.gpuResets,
      mutations: this.mutations().length,
    };
  }

  /** Forgets what was recorded, to count one run alone. */
  clear(): void {
    this.entries.length = 0;
    this.unmodelled.length = 0;
    this.hostExecs = 0;
    this.guestExecs = 0;
    this.connections = 0;
    this.reboots = 0;
    this.guestStarts = 0;
    this.gpuResets = 0;
  }
}
