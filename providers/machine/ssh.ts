import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import type { Duplex, Writable } from "node:stream";
import type { AnyAuthMethod, ClientChannel, ConnectConfig, ServerHostKeyAlgorithm } from "ssh2";
import ssh2 from "ssh2";
import { TeeUpError } from "../kit/errors.ts";
import type { Become } from "../kit/session.ts";
import { execCommand, SUDO_PROMPT, SUDO_READY } from "../kit/session.ts";
import type { KeyVerdict, KnownKey } from "./host-keys.ts";
import { algorithmsOf, fingerprint, judgeKey, keyType, offeredAlgorithms, revokedByFile } from "./host-keys.ts";
import type { FleetOptions } from "./options.ts";
import { keepSecret, redact } from "./redact.ts";
import type { SshSettings } from "./ssh-config.ts";

const { Client, utils } = ssh2;
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

/** Codes of errors that say that a machine cannot be reached now; all others need a person. */
const UNREACHABLE = new Set([
  "guest.starting",
  "ssh.dns",
  "ssh.refused",
  "ssh.timeout",
  "ssh.unreachable",
  "ssh.closed",
  "ssh.lost",
]);
export const isUnreachable = (error: unknown): error is TeeUpError =>
  error instanceof TeeUpError && UNREACHABLE.has(error.code);

const STDERR_CHARS = 16_384;

const execs = new Map<string, number>();
/** SSH `exec` requests of this process, for one machine or for all. */
export const execCount = (machine?: string): number =>
  machine === undefined ? [...execs.values()].reduce((a, b) => a + b, 0) : (execs.get(machine) ?? 0);
export const resetExecCount = (): void => execs.clear();

/** One SSH connection, made when it is first needed, kept, and made again when it was lost. */
export class Link {
  readonly id = randomUUID();
  readonly #parts: LinkParts;
  #client: Promise<SshClient> | undefined;
  #open: SshClient | undefined;
  #settings: SshSettings | undefined;
  #via: Link | undefined;

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
  async start(argv: readonly string[], onStdout: (chunk: Buffer) => void): Promise<Program> {
    const client = await this.connect();
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
    const auth = await this.#authMethods(route);
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
      if (tried.length > 0 && attempt.error.code === "ssh.handshake") throw this.#noPinnedKey(route);
      throw attempt.error;
    }
  }

  get route(): () => Promise<Route> {
    return this.#parts.route;
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
  async #attempt(
    route: Route,
    auth: { methods: AnyAuthMethod[]; names: string[] },
    algorithms: ServerHostKeyAlgorithm[],
    probe = false,
  ): Promise<Attempt> {
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
        return { error: this.#reachError(error as Error, route, connectMs) };
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
            ? this.#keyError(verdict, seen, route)
            : this.#connectError(last, route, auth.names, connectMs);
        client.destroy();
        sock?.destroy();
        resolve({ error, seen, verdict });
      };
      // Without this every small packet waits 40 ms for the acknowledgement of the one before.
      client.on("connect", () => client.setNoDelay(true));
      client.on("ready", () => {
        ready = true;
        this.#open = client;
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

  /** Keys and the agent, in the order OpenSSH would try them; a key that the user named goes first. */
  async #authMethods({ settings }: Route): Promise<{ methods: AnyAuthMethod[]; names: string[] }> {
    const { user: username, agent } = settings;
    const named: AnyAuthMethod[] = [];
    const others: AnyAuthMethod[] = [];
    const names: string[] = [];
    const { passphrase } = this.#parts;
    for (const file of settings.keyFiles) {
      const key = await readFile(file.path).catch((error: NodeJS.ErrnoException) => {
        if (file.named)
          throw this.#error(
            "ssh.key-file",
            `key file ${file.path}: ${error.code ?? error.message}`,
            "mend ssh.keyFile in the stack config",
            "ssh.keyFile",
          );
        return undefined;
      });
      if (key === undefined) continue;
      const parsed = utils.parseKey(key, passphrase);
      if (parsed instanceof Error) {
        const encrypted = /encrypted|passphrase|bad decrypt|integrity/i.test(parsed.message);
        // An agent may hold the key although the file cannot be opened here.
        if (file.named && (agent === undefined || !encrypted || passphrase !== undefined))
          throw this.#error(
            encrypted ? "ssh.key-passphrase" : "ssh.key-file",
            encrypted
              ? `key file ${file.path} is encrypted and ${passphrase === undefined ? "no passphrase is set" : "the passphrase does not open it"}`
              : `key file ${file.path} is no private key: ${parsed.message}`,
            encrypted
              ? `set TEEUP_SSH_PASSPHRASE (or TEEUP_SSH_PASSPHRASE_<NODE>), or add the key to an SSH agent`
              : "mend ssh.keyFile in the stack config",
            "ssh.keyFile",
          );
        names.push(`${file.path} (${encrypted ? "encrypted, no matching passphrase" : "unreadable"})`);
        continue;
      }
      keepSecret(key);
      names.push(file.path);
      (file.named ? named : others).push({
        type: "publickey",
        username,
        key,
        ...(passphrase === undefined ? {} : { passphrase }),
      });
    }
    const byAgent: AnyAuthMethod[] =
      agent === undefined || (settings.identitiesOnly && named.length > 0) ? [] : [{ type: "agent", username, agent }];
    if (byAgent.length > 0) names.push("the SSH agent");
    return { methods: [...named, ...byAgent, ...others], names };
  }

  #keyError(verdict: Exclude<KeyVerdict, "good">, seen: Buffer, route: Route): TeeUpError {
    const { settings } = route;
    const what = `${settings.knownAs} shows the ${keyType(seen)} host key ${fingerprint(seen)}`;
    const authority = route.known.some((k) => k.mark === "cert-authority")
      ? "; a certificate authority is known for it, but host certificates are not checked here"
      : "";
    const says = {
      unknown: `${what}, which nobody has confirmed (${route.keysFrom})${authority}`,
      changed: `${what}, which is not the one that is ${settings.hostKey === undefined ? `known (${route.keysFrom})` : `pinned (${settings.hostKey})`}: reinstalled, or somebody in between`,
      revoked: `${what}, which is revoked`,
    };
    const next = {
      unknown: `${route.trust}, and compare the fingerprint with the machine's own (ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub)`,
      changed: `find out why it changed; if that is right: ${route.trust}`,
      revoked: `make new host keys on the machine, then: ${route.trust}`,
    };
    return this.#error(`ssh.host-key-${verdict}`, says[verdict], next[verdict]);
  }

  #noPinnedKey(route: Route): TeeUpError {
    const { knownAs, hostKey } = route.settings;
    return this.#error(
      "ssh.host-key-changed",
      `${knownAs} has no host key with the pinned fingerprint ${hostKey}`,
      `find out why it changed; if that is right: ${route.trust}`,
    );
  }

  #connectError(error: Error | undefined, route: Route, tried: readonly string[], connectMs: number): TeeUpError {
    const { settings } = route;
    const {
      level,
      code,
      message = "the connection closed during the handshake",
    } = (error ?? {}) as { level?: string; code?: string; message?: string };
    const login = `${settings.user}@${settings.host}:${settings.port}`;
    if (level === "client-authentication" || /too many authentication failures/i.test(message))
      return this.#error(
        "ssh.auth-failed",
        `${login} accepts none of: ${tried.join(", ") || "no key file and no agent was found"}`,
        `ssh -v -p ${settings.port} ${settings.user}@${settings.host} true; then set ssh.user or ssh.keyFile`,
      );
    if (level === "agent")
      return this.#error(
        "ssh.agent",
        `the SSH agent at ${settings.agent}: ${message}`,
        "start the agent, or set ssh.keyFile",
      );
    if (/no matching/i.test(message))
      return this.#error(
        "ssh.handshake",
        `${login}: ${message}`,
        `ssh -vv -p ${settings.port} ${settings.user}@${settings.host} true`,
      );
    return this.#reachError(
      Object.assign(error ?? new Error(message), code === undefined ? {} : { code }),
      route,
      connectMs,
    );
  }

  #reachError(error: Error, { settings, via }: Route, connectMs: number): TeeUpError {
    const { code, level, message, reason } = error as Error & { code?: string; level?: string; reason?: number };
    const place = `${settings.host}:${settings.port}${via === undefined ? "" : ` through ${via.name}`}`;
    const ssh = `ssh -v -p ${settings.port} ${settings.user}@${settings.host} true`;
    if (code === "ENOTFOUND" || code === "EAI_AGAIN" || /name or service not known|could not resolve/i.test(message))
      return this.#error(
        "ssh.dns",
        `the name ${settings.host} cannot be resolved (${code ?? message})`,
        "mend ssh.host, or add the name to DNS or ~/.ssh/config",
      );
    if (code === "ECONNREFUSED" || /connection refused/i.test(message))
      return this.#error(
        "ssh.refused",
        `${place} refuses connections: nothing listens there`,
        `see that sshd runs on the machine and that ssh.port is right; ${ssh}`,
      );
    if (code === "ETIMEDOUT" || level === "client-timeout" || /timed out/i.test(message))
      return this.#error(
        "ssh.timeout",
        `${place} does not answer within ${connectMs / 1000} s`,
        `see that the machine is on and no firewall is in between; ${ssh}`,
      );
    if (code === "EHOSTUNREACH" || code === "ENETUNREACH" || code === "EADDRNOTAVAIL")
      return this.#error(
        "ssh.unreachable",
        `no route to ${place} (${code})`,
        `see to the network of the machine; ${ssh}`,
      );
    const why = reason === undefined ? message : `${message} (${reason})`;
    return this.#error("ssh.closed", `${place} ends the connection: ${why}`, ssh);
  }

  #lost(why: string): TeeUpError {
    return this.#error("ssh.lost", `the connection was lost: ${why}`, `teeup check ${this.node.split("/")[0]}`);
  }

  #error(code: string, saw: string, next: string, subject: string = this.#parts.field): TeeUpError {
    return new TeeUpError({ code, node: this.node, subject, saw: redact(saw), next });
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

/** What sudo's own words mean; undefined when they are not sudo's. */
export function sudoError(stderr: string, node: string): { code: string; saw: string; next: string } | undefined {
  const said = stderr.trim();
  if (/a (?:terminal|password) is required|no password was provided/.test(said))
    return {
      code: "sudo.password-needed",
      saw: "sudo asks for a password",
      next: "set TEEUP_SUDO_PASSWORD (or TEEUP_SUDO_PASSWORD_<NODE>), or allow the user NOPASSWD",
    };
  if (/not in the sudoers|not allowed to (?:execute|run)|may not run sudo/.test(said))
    return {
      code: "sudo.denied",
      saw: `the login user may not become root: ${said.split("\n")[0]}`,
      next: "let the user run all commands in sudoers, or set ssh.user to one who may",
    };
  if (/sudo: (?:command )?not found|sudo: No such file/.test(said))
    return { code: "sudo.missing", saw: "the machine has no sudo", next: "install sudo, or set ssh.user to root" };
  if (/must have a tty/.test(said))
    return { code: "sudo.tty", saw: "sudo wants a terminal", next: "remove requiretty for this user from sudoers" };
  if (/^sudo: /m.test(said))
    return { code: "sudo.failed", saw: said.split("\n")[0] ?? said, next: `ssh ${node} sudo -v` };
  return undefined;
}
