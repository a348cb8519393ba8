import type { Action } from "../kit/action.ts";
import type { Collected } from "../kit/appraisal.ts";
import { GUEST_HOST_KEYS } from "../kit/argv.ts";
import type { Answers, Asks } from "../kit/ask.ts";
import type { Method } from "../kit/attest.ts";
import { TeeUpError } from "../kit/errors.ts";
import type { ActOptions, Lock, Machine } from "../kit/machine.ts";
import type { Entry, Frame } from "../kit/protocol.ts";
import { interpret } from "./actions.ts";
import { Asker, runBatch } from "./batch.ts";
import { HostLock } from "./lock.ts";
import type { BmcClient, FleetOptions } from "./options.ts";
import { redact, redactError } from "./redact.ts";
import { openSecrets, type Secrets } from "./secrets.ts";
import type { SessionId, Shell } from "./shell.ts";
import type { Site } from "./site.ts";

/** Host: the public host keys of its guest, as the VM's console shows them. */
export const GUEST_KEYS = { keys: { kind: "argv", argv: GUEST_HOST_KEYS } } as const satisfies Asks;

export interface MachineParts {
  readonly id: string;
  readonly link: Shell;
  readonly options: FleetOptions;
  readonly bmc?: (() => Promise<BmcClient>) | undefined;
  /** For a guest: the machine it runs on. */
  readonly host?: SshMachine;
  /** Values of the stack's secrets; default: there are none. */
  readonly secrets?: Secrets | undefined;
}

/** A machine behind a {@link Shell}: a host, or the guest of one. */
export class SshMachine implements Machine, Site {
  readonly id: string;
  readonly options: FleetOptions;
  readonly bmc: (() => Promise<BmcClient>) | undefined;
  guest: SshMachine | undefined;
  readonly #link: Shell;
  readonly #asker: Asker;
  readonly #host: SshMachine | undefined;
  readonly #secrets: Secrets;
  #held: HostLock | undefined;

  constructor({ id, link, options, bmc, host, secrets = openSecrets({}) }: MachineParts) {
    this.id = id;
    this.options = options;
    this.bmc = bmc;
    this.#link = link;
    this.#asker = new Asker(link, options, bmc);
    this.#host = host;
    this.#secrets = secrets;
  }

  get host(): SshMachine {
    return this.#host ?? this;
  }

  get lockHeld(): HostLock | undefined {
    const held = this.host.#held;
    return held?.active === true ? held : undefined;
  }

  async observe<A extends Asks>(asks: A): Promise<Answers<A>> {
    // Asked in the same tick, so that it travels in the host's own batch.
    if (this.#host !== undefined && !this.#link.connected) void this.#host.observe(GUEST_KEYS).catch(() => undefined);
    try {
      return await this.#asker.observe(asks);
    } catch (error) {
      const redacted = redactError(error);
      // A guest that lets nobody in is unknown; its host can still be seen, and mended.
      if (this.#host !== undefined && redacted instanceof TeeUpError && redacted.code === "ssh.auth-failed") {
        const why = `${redacted.parts.saw}; next: ${redacted.parts.next}`;
        return Object.fromEntries(Object.keys(asks).map((name) => [name, { kind: "failed", why }])) as Answers<A>;
      }
      throw redacted;
    }
  }

  forget(): void {
    this.#asker.forget();
    this.#link.reset();
    this.guest?.forget();
  }

  async act(action: Action, options: ActOptions): Promise<void> {
    try {
      await interpret(this, action, { signal: options.signal, onProgress: (line) => options.onProgress(redact(line)) });
    } catch (error) {
      throw redactError(error);
    } finally {
      // What is done to a guest may show on its host: a GPU that it holds, a unit that was restarted.
      this.host.forget();
    }
  }

  async lock(purpose: string): Promise<Lock> {
    if (this.#host !== undefined) return this.#host.lock(purpose);
    try {
      this.#held = await HostLock.take(this.#link, this.#asker, this.options, purpose);
      return this.#held;
    } catch (error) {
      throw redactError(error);
    }
  }

  async change(
    entries: readonly Entry[],
    only?: SessionId,
  ): Promise<{ frames: (Frame | undefined)[]; why: string; lost: boolean }> {
    const { frames, why, lost } = await runBatch(this.#link, entries, this.options, only);
    return { frames: entries.map((_, n) => frames.get(n)), why, lost };
  }

  async evidence(gpu: readonly Method[]): Promise<Collected> {
    try {
      const { collect } = await import("./evidence.ts");
      const id = async () => {
        if (this.#link.session !== undefined) return this.#link.session();
        throw new TeeUpError({
          code: "evidence.host-key",
          node: this.id,
          subject: "evidence",
          saw: "there is no SSH session that evidence could be bound to",
          next: `teeup attest ${this.host.id}, from another machine`,
        });
      };
      const change = (entries: readonly Entry[], only: SessionId) => this.change(entries, only);
      const look = () => collect({ node: this.id, id, asker: this.#asker, change }, gpu);
      // One that had died unnoticed is found out by its first use, and no part of the evidence may be of another.
      return await look().catch((error: unknown) => {
        if (error instanceof TeeUpError && error.code === "ssh.other-session") return look();
        throw error;
      });
    } catch (error) {
      throw redactError(error);
    }
  }

  secret(name: string): Promise<string> {
    return this.#secrets(name);
  }

  fresh<A extends Asks>(asks: A): Promise<Answers<A>> {
    return this.#asker.fresh(asks);
  }

  disconnect(): void {
    this.#link.close();
    this.#host?.forgetGuestKeys();
  }

  forgetGuestKeys(): void {
    this.#asker.forget(GUEST_KEYS.keys);
  }
}
