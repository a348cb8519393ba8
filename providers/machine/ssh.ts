import { randomUUID } from "node:crypto";
import type { Duplex } from "node:stream";
import type { ClientChannel, ConnectConfig, ServerHostKeyAlgorithm } from "ssh2";
import ssh2 from "ssh2";
import { TeeUpError } from "../kit/errors.ts";
import type { Door } from "../kit/machine.ts";
import type { Become } from "../kit/session.ts";
import { execCommand, SUDO_PROMPT, SUDO_READY } from "../kit/session.ts";
import type { KeyVerdict, KnownKey } from "./host-keys.ts";
import { algorithmsOf, judgeKey, keyType, offeredAlgorithms, revokedByFile } from "./host-keys.ts";
import type { FleetOptions } from "./options.ts";
import { type Ended, type Program, type SessionId, type Shell, STDERR_CHARS } from "./shell.ts";
import { type Auth, authMethods } from "./ssh-auth.ts";
import type { SshSettings } from "./ssh-config.ts";
import { type About, connectError, keyError, noPinnedKey, reachError, sshError, sudoError } from "./ssh-errors.ts";

const { Client } = ssh2;
type SshClient = InstanceType<typeof Client>;

/** Everything a connection needs, worked out when it is first wanted. */
export interface Route {
  readonly settings: SshSettings;
  readonly known: readonly KnownKey[];
  /** The connection that this one goes through. */
  readonly via?: Link | undefined;
  /** Said by errors about an unknown or changed key, e.g. where the known ones come from. */
  readonly keysFrom: string;
  /** The command that lets a person compare and pin the key. */
  readonly trust: string;
}

export interface LinkParts {
  /** Machine that errors name: `gpu-01`, `gpu-01/cvm0`; for a bastion the node that goes through it. */
  readonly node: string;
  /** Config field that errors name. */
  readonly field: string;
  readonly route: () => Promise<Route>;
  readonly passphrase: string | undefined;
  readonly become: (settings: SshSettings) => Become;
  readonly sudoPassword?: string | undefined;
  readonly options: FleetOptions;
}

type Attempt =
  | { readonly client: SshClient; readonly error?: undefined; readonly seen?: undefined; readonly verdict?: undefined }
  | {
      readonly client?: undefined;
      readonly error: TeeUpError;
      readonly seen?: Buffer | undefined;
      readonly verdict?: KeyVerdict | undefined;
    };

const execs = new Map<string, number>();
/** SSH `exec` requests of this process, for one machine or for all. */
export const execCount = (machine?: string): number =>
  machine === undefined ? [...execs.values()].reduce((a, b) => a + b, 0) : (execs.get(machine) ?? 0);
export const resetExecCount = (): void => execs.clear();

/** One SSH connection, made when it is first needed, kept, and made again when it was lost. */
export class Link implements Shell {
  readonly id = randomUUID();
  readonly #parts: LinkParts;
  #client: Promise<SshClient> | undefined;
  #open: SshClient | undefined;
  #settings: SshSettings | undefined;
  #via: Link | undefined;
  /** Of the connection that was made last, with the host key that was verified then. */
  #session: SessionId | undefined;

  constructor(parts: LinkParts) {
    this.#parts = parts;
  }

  /** What errors call it when another machine lies behind it. */
  get name(): string {
    return this.#parts.field === "ssh.bastion" ? `the bastion ${this.#settings?.knownAs ?? ""}`.trim() : this.node;
  }

  get isHost(): boolean {
    return this.#parts.field !== "ssh.bastion";
  }

  get route(): () => Promise<Route> {
    return this.#parts.route;
  }

  get #about(): About {
    return { node: this.node, field: this.#parts.field };
  }

  get node(): string {
    return this.#parts.node;
  }

  /** True while the connection stands. */
  get connected(): boolean {
    return this.#open !== undefined;
  }

  /**
   * Connects once; a failure is remembered until {@link reset}, so that a wrong key is not tried again and again.
   * Rejects with a TeeUpError `ssh.*`.
   */
  connect(): Promise<SshClient> {
    this.#client ??= this.#connect();
    return this.#client;
  }

  /** Forgets a failed attempt, also of what this connection goes through. */
  reset(): void {
    if (this.#open !== undefined) return;
    this.#client = undefined;
    this.#via?.reset();
  }

  /** Ends the connection; the next use makes a new one. */
  close(): void {
    const client = this.#open;
    this.#open = undefined;
    this.#client = undefined;
    client?.end();
    client?.destroy();
  }

  async session(): Promise<SessionId> {
    await this.connect();
    if (this.#session === undefined) throw this.#lost("it closed again");
    return this.#session;
  }

  /** How this machine was reached. */
  async door(): Promise<Door> {
    await this.connect();
    const [settings, key] = [this.#settings, this.#session?.hostKey];
    if (settings === undefined || key === undefined) throw this.#lost("it closed again");
    const { host, port, user } = settings;
    const hostKey = `${keyType(key)} ${key.toString("base64")}`;
    return { host, port, user, hostKey, ...(this.#via === undefined ? {} : { via: await this.#via.door() }) };
  }

  /** A stream to a port as seen from this machine. */
  async forward(host: string, port: number): Promise<Duplex> {
    const client = await this.connect();
    return new Promise((resolve, reject) => {
      client.forwardOut("127.0.0.1", 0, host, port, (error, stream) => {
        if (error === undefined) resolve(stream);
        else reject(error);
      });
    });
  }

  /**
   * Starts a program as root. Resolves when the program reads its stdin, i.e. after sudo had its password.
   * Rejects with a TeeUpError `ssh.*` or `sudo.*`.
   */
  async start(argv: readonly string[], onStdout: (chunk: Buffer) => void, only?: SessionId): Promise<Program> {
    const client = await this.connect();
    const { id, hostKey } = this.#session ?? {};
    if (only !== undefined && (id !== only.id || hostKey?.equals(only.hostKey) !== true))
      throw this.#error(
        "ssh.other-session",
        `the session that the evidence is bound to has ended${hostKey?.equals(only.hostKey) === true ? "" : ", and the new one has another host key"}; nothing was sent`,
        `pulumi up again attests it anew; teeup attest ${this.node.split("/")[0]}`,
      );
    const become = this.#settings === undefined ? "none" : this.#parts.become(this.#settings);
    execs.set(this.node, (execs.get(this.node) ?? 0) + 1);
    return new Promise<Program>((resolve, reject) => {
      const closed = () => reject(this.#lost("the connection closed"));
      client.once("close", closed);
      try {
        client.exec(execCommand(become, argv), (error, channel) => {
          client.off("close", closed);
          if (error !== undefined) return reject(this.#lost(error.message));
          // Listened to at once: the exit status of a short program comes in the same packet as this call.
          const started = programOf(channel);
          if (become === "sudo-password") this.#sudo(channel, started, onStdout).then(() => resolve(started), reject);
          else {
            channel.on("data", onStdout);
            resolve(started);
          }
        });
      } catch (error) {
        // The connection went down since it was handed out.
        client.off("close", closed);
        reject(this.#lost(error instanceof Error ? error.message : String(error)));
      }
    });
  }

  /** Gives sudo its password when it asks, once, and never to anything else. */
  #sudo(channel: ClientChannel, program: Program, onStdout: (chunk: Buffer) => void): Promise<void> {
    return new Promise((resolve, reject) => {
      let early = Buffer.alloc(0);
      let ready = false;
      let answered = false;
      const give = (code: string, saw: string, next: string) => {
        clearTimeout(timer);
        reject(this.#error(code, saw, next));
        program.close();
      };
      const timer = setTimeout(() => {
        give(
          "sudo.silent",
          `sudo neither asked for the password nor started: ${program.stderr().trim() || "it says nothing"}`,
          `ssh ${this.node} sudo -v`,
        );
      }, this.#parts.options.connectMs);
      channel.on("data", (chunk: Buffer) => {
        if (ready) return onStdout(chunk);
        early = Buffer.concat([early, chunk]);
        const mark = early.indexOf(`${SUDO_READY}\n`);
        if (mark < 0) return;
        ready = true;
        clearTimeout(timer);
        const rest = early.subarray(mark + SUDO_READY.length + 1);
        if (rest.length > 0) onStdout(rest);
        resolve();
      });
      channel.stderr.on("data", () => {
        const prompts = program.stderr().split(SUDO_PROMPT).length - 1;
        if (ready || prompts === 0) return;
        if (prompts > 1)
          return give(
            "sudo.password-wrong",
            "sudo does not take the password",
            `set TEEUP_SUDO_PASSWORD (or TEEUP_SUDO_PASSWORD_<NODE>) to the password of the login user`,
          );
        if (answered) return;
        answered = true;
        channel.stdin.write(`${this.#parts.sudoPassword ?? ""}\n`);
      });
      void program.ended.then((end) => {
        if (ready) return;
        const refused = sudoError(program.stderr().replaceAll(SUDO_PROMPT, ""), this.node);
        const { code, saw, next } = refused ?? {
          code: "ssh.lost",
          saw: `sudo ended (${end.status ?? "connection lost"})`,
          next: `teeup check ${this.node}`,
        };
        give(code, saw, next);
      });
    });
  }

  async #connect(): Promise<SshClient> {
    const route = await this.#parts.route();
    this.#settings = route.settings;
    this.#via = route.via;
    const auth = await authMethods(this.#about, route.settings, this.#parts.passphrase);
    const tried: string[] = [];
    for (;;) {
      const attempt = await this.#attempt(route, auth, offeredAlgorithms(route.known, tried));
      if (attempt.client !== undefined) return attempt.client;
      // With a pinned fingerprint the key's type is not known: let the host show its other keys too.
      if (route.settings.hostKey !== undefined && attempt.verdict === "changed" && attempt.seen !== undefined) {
        const others = tried.concat(keyType(attempt.seen));
        if (offeredAlgorithms(route.known, others).length > 0 && !tried.includes(keyType(attempt.seen))) {
          tried.push(keyType(attempt.seen));
          continue;
        }
      }
      // Its other keys had been tried before it had none left.
      if (tried.length > 0 && attempt.error.code === "ssh.handshake") throw noPinnedKey(this.#about, route);
      throw attempt.error;
    }
  }

  /** Every host key that the machine shows, without ever logging in. Rejects when it cannot be reached. */
  async showKeys(): Promise<{ route: Route; keys: Buffer[] }> {
    const route = await this.#parts.route();
    const keys: Buffer[] = [];
    for (const type of [
      "ssh-ed25519",
      "ecdsa-sha2-nistp256",
      "ecdsa-sha2-nistp384",
      "ecdsa-sha2-nistp521",
      "ssh-rsa",
    ]) {
      const { seen, error } = await this.#attempt(route, { methods: [], names: [] }, algorithmsOf(type), true);
      if (seen !== undefined) keys.push(seen);
      else if (error !== undefined && error.code !== "ssh.handshake") throw error;
    }
    return { route, keys };
  }

  /** With `probe` the attempt ends once the host has shown its key. */
  async #attempt(route: Route, auth: Auth, algorithms: ServerHostKeyAlgorithm[], probe = false): Promise<Attempt> {
    const { settings } = route;
    const { options } = this.#parts;
    const connectMs = settings.connectMs ?? options.connectMs;
    let sock: Duplex | undefined;
    if (route.via !== undefined) {
      try {
        sock = await route.via.forward(settings.host, settings.port);
      } catch (error) {
        if (error instanceof TeeUpError)
          return {
            error: new TeeUpError({
              ...error.parts,
              node: this.node,
              ...(route.via.isHost ? {} : { subject: "ssh.bastion" }),
            }),
          };
        return { error: reachError(this.#about, error as Error, route, connectMs) };
      }
    }
    let seen: Buffer | undefined;
    let verdict: KeyVerdict | undefined;
    const config: ConnectConfig = {
      host: settings.host,
      port: settings.port,
      username: settings.user,
      readyTimeout: connectMs,
      keepaliveInterval: options.keepaliveMs,
      keepaliveCountMax: 4,
      algorithms: { serverHostKey: algorithms },
      authHandler: auth.methods,
      hostVerifier: (key: Buffer, verify: (good: boolean) => void) => {
        seen = key;
        verdict = probe ? "unknown" : judgeKey(key, route.known, settings.hostKey);
        if (verdict !== "good") return verify(false);
        revokedByFile(key, settings.revokedHostKeys).then(
          (revoked) => {
            if (revoked) verdict = "revoked";
            verify(!revoked);
          },
          () => verify(false),
        );
      },
      ...(sock === undefined ? {} : { sock }),
    };
    const client = new Client();
    return new Promise((resolve) => {
      let ready = false;
      let last: Error | undefined;
      const fail = () => {
        if (ready) return;
        const error =
          verdict !== undefined && verdict !== "good" && seen !== undefined
            ? keyError(this.#about, verdict, seen, route)
            : connectError(this.#about, last, route, auth.names, connectMs);
        client.destroy();
        sock?.destroy();
        resolve({ error, seen, verdict });
      };
      // Without this every small packet waits 40 ms for the acknowledgement of the one before.
      client.on("connect", () => client.setNoDelay(true));
      client.on("ready", () => {
        ready = true;
        this.#open = client;
        this.#session = seen === undefined ? undefined : { id: randomUUID(), hostKey: seen };
        resolve({ client });
      });
      client.on("error", (error) => {
        last ??= error;
        fail();
      });
      client.on("close", () => {
        if (this.#open === client) {
          this.#open = undefined;
          this.#client = undefined;
        }
        fail();
      });
      try {
        client.connect(config);
      } catch (error) {
        last = error as Error;
        fail();
      }
    });
  }

  #lost(why: string): TeeUpError {
    return this.#error("ssh.lost", `the connection was lost: ${why}`, `teeup check ${this.node.split("/")[0]}`);
  }

  #error(code: string, saw: string, next: string, subject: string = this.#parts.field): TeeUpError {
    return sshError({ node: this.node, field: subject }, code, saw, next);
  }
}

function programOf(channel: ClientChannel): Program {
  let stderr = "";
  let [status, signal]: [number | undefined, string | undefined] = [undefined, undefined];
  channel.on("error", () => undefined);
  channel.stdin.on("error", () => undefined);
  channel.on("exit", (code: number | null, name?: string) => {
    status = code ?? undefined;
    signal = name;
  });
  channel.stderr.on("data", (chunk: Buffer) => {
    if (stderr.length < STDERR_CHARS) stderr += chunk.toString("utf8");
  });
  const ended = new Promise<Ended>((resolve) => {
    channel.once("close", () => resolve({ status, signal, lost: status === undefined && signal === undefined }));
  });
  return { stdin: channel.stdin, ended, stderr: () => stderr, close: () => channel.close() };
}
