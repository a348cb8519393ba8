import { randomUUID } from "node:crypto";
import { hostname, userInfo } from "node:os";
import { setTimeout as pause } from "node:timers/promises";
import { z } from "zod";
import { TeeUpError } from "../kit/errors.ts";
import type { Lock } from "../kit/machine.ts";
import type { LockOwner } from "../kit/session.ts";
import { LOCK_CONFLICT, lockArgv } from "../kit/session.ts";
import type { Asker } from "./batch.ts";
import type { FleetOptions } from "./options.ts";
import { redact } from "./redact.ts";
import type { Program, Shell } from "./shell.ts";

const OwnerSchema = z.object({
  id: z.string(),
  who: z.string(),
  pid: z.number(),
  purpose: z.string(),
  since: z.string(),
});

/** How long a connection of this run that broke may still hold the lock on the machine before that is an error. */
const STALE_MS = 60_000;

/** The lock of one host: held by a program on an open channel, so it ends with the connection. */
export class HostLock implements Lock {
  readonly #link: Shell;
  readonly #asker: Asker;
  readonly #options: FleetOptions;
  readonly #owner: LockOwner;
  readonly #lost = new AbortController();
  #program: Program | undefined;
  #released = false;
  #tolerating = 0;

  private constructor(link: Shell, asker: Asker, options: FleetOptions, purpose: string) {
    this.#link = link;
    this.#asker = asker;
    this.#options = options;
    this.#owner = {
      id: randomUUID(),
      who: `${userInfo().username}@${hostname()}`,
      pid: process.pid,
      purpose,
      since: new Date().toISOString(),
    };
  }

  /** Rejects with `lock.held` that names the holder, or with `lock.failed`. */
  static async take(link: Shell, asker: Asker, options: FleetOptions, purpose: string): Promise<HostLock> {
    const lock = new HostLock(link, asker, options, purpose);
    const holder = await lock.#acquire();
    if (holder !== undefined) throw lock.#held(holder);
    return lock;
  }

  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  /** Neither released nor lost. */
  get active(): boolean {
    return !this.#released && !this.#lost.signal.aborted;
  }

  async release(): Promise<void> {
    this.#released = true;
    const program = this.#program;
    if (program === undefined) return;
    program.stdin.end();
    await Promise.race([program.ended, pause(2000, undefined, { ref: false })]);
    program.close();
  }

  /**
   * Runs work during which the connection may go down without the lock counting as lost: a reboot, or a job that
   * systemd runs. The lock is taken again before the work counts as done.
   */
  async tolerate<T>(work: () => Promise<T>): Promise<T> {
    this.#tolerating++;
    try {
      const done = await work();
      await this.ensure();
      return done;
    } finally {
      this.#tolerating--;
      if (this.#tolerating === 0 && this.#program === undefined && !this.#released) this.#lost.abort();
    }
  }

  /** Takes the lock again if the connection that held it went down. Rejects with `lock.held` if somebody else has it. */
  async ensure(): Promise<void> {
    if (this.#program !== undefined || this.#released) return;
    const until = Date.now() + STALE_MS * this.#options.timeoutScale;
    for (;;) {
      const holder = await this.#acquire();
      if (holder === undefined) return;
      // The machine may not have noticed yet that this run's earlier connection is gone.
      if (holder?.id !== this.#owner.id || Date.now() > until) {
        this.#lost.abort();
        throw this.#held(holder);
      }
      await pause(this.#options.pollFirstMs);
    }
  }

  /** Undefined when the lock was taken, otherwise who holds it; null when that is not written there. */
  async #acquire(): Promise<LockOwner | null | undefined> {
    const { lockFile, lockOwnerFile, connectMs } = this.#options;
    let echoed = "";
    let echo = (): void => undefined;
    const held = new Promise<"held">((resolve) => {
      echo = () => resolve("held");
    });
    const program = await this.#link.start(lockArgv(lockFile, lockOwnerFile), (chunk) => {
      echoed += chunk.toString("utf8");
      if (echoed.endsWith("\n")) echo();
    });
    program.stdin.write(`${JSON.stringify(this.#owner)}\n`);
    const timer = new AbortController();
    const late = pause(connectMs, "late" as const, { signal: timer.signal }).catch(() => "late" as const);
    const outcome = await Promise.race([held, program.ended, late]);
    timer.abort();
    if (outcome === "held") {
      this.#program = program;
      void program.ended.then(() => {
        if (this.#program !== program) return;
        this.#program = undefined;
        if (!this.#released && this.#tolerating === 0) this.#lost.abort();
      });
      return undefined;
    }
    program.close();
    if (outcome !== "late" && outcome.status === LOCK_CONFLICT) return this.#holder();
    throw new TeeUpError({
      code: "lock.failed",
      node: this.#link.node,
      saw: redact(
        outcome === "late"
          ? `flock on ${lockFile} gives no answer`
          : `flock on ${lockFile} ended (${outcome.status ?? "connection lost"}): ${program.stderr().trim() || "it says nothing"}`,
      ),
      next: "see that util-linux is installed and that the login user may become root",
    });
  }

  async #holder(): Promise<LockOwner | null> {
    for (let attempt = 0; attempt < 3; attempt++) {
      const { owner } = await this.#asker.fresh({ owner: { kind: "file", path: this.#options.lockOwnerFile } });
      // The holder writes it just after it has the lock.
      if (owner.kind === "ran" && owner.stdout.trim() === "") await pause(this.#options.pollFirstMs);
      else if (owner.kind === "ran") return parseOwner(owner.stdout);
      else break;
    }
    return null;
  }

  #held(holder: LockOwner | null): TeeUpError {
    const mine = holder?.id === this.#owner.id;
    const who = holder === null ? "somebody" : `${holder.who} (pid ${holder.pid})`;
    const since = holder === null ? "" : ` since ${holder.since}: ${holder.purpose}`;
    return new TeeUpError({
      code: "lock.held",
      node: this.#link.node,
      saw: redact(
        mine
          ? `this run's earlier connection still holds the node${since}`
          : `${who} holds the node${since}; nothing was changed`,
      ),
      next: `wait until that run has ended, then pulumi up again; if it is gone for good: ssh ${this.#link.node} sudo fuser -k ${this.#options.lockFile}`,
    });
  }
}

function parseOwner(text: string): LockOwner | null {
  try {
    return OwnerSchema.parse(JSON.parse(text));
  } catch {
    return null;
  }
}
