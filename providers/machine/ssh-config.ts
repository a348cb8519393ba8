import { execFile } from "node:child_process";
import { homedir, userInfo } from "node:os";
import { promisify } from "node:util";
import { TeeUpError } from "../kit/errors.ts";

const run = promisify(execFile);

/** One machine to reach over SSH, before OpenSSH's own configuration has been asked. */
export interface SshTarget {
  /** Node that errors name. */
  readonly node: string;
  /** Config field that errors name, e.g. `ssh.host`. */
  readonly field: string;
  readonly host: string;
  readonly port?: number | undefined;
  readonly user?: string | undefined;
  readonly keyFile?: string | undefined;
  readonly hostKey?: string | undefined;
  readonly knownHosts?: string | undefined;
  /** `[user@]host[:port]`, several with commas, `none`; default: ProxyJump of the configuration. */
  readonly bastion?: string | undefined;
}

/** How to reach a machine, complete. */
export interface SshSettings {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  /** The name in known_hosts: `host`, or `[host]:port` for a port other than 22. */
  readonly knownAs: string;
  /** Key files in the order to try; those that the user named must exist. */
  readonly keyFiles: readonly { readonly path: string; readonly named: boolean }[];
  /** Socket of the SSH agent. */
  readonly agent: string | undefined;
  readonly identitiesOnly: boolean;
  readonly hostKey: string | undefined;
  readonly knownHosts: readonly string[];
  /** OpenSSH's RevokedHostKeys file. */
  readonly revokedHostKeys: string | undefined;
  readonly hashKnownHosts: boolean;
  /** Jump hosts, the nearest first; empty when the machine is reached directly. */
  readonly jumps: readonly string[];
  readonly connectMs: number | undefined;
}

/**
 * Asks OpenSSH (`ssh -G`) what its configuration says of a host; the target's own fields win. Where no ssh client is
 * installed, OpenSSH's defaults count. Throws `config.ssh` for what cannot be used.
 */
export async function resolveSsh(target: SshTarget, env: NodeJS.ProcessEnv, configFile?: string): Promise<SshSettings> {
  if (!/^[^\s-]\S*$/.test(target.host)) throw wrong(target, `${JSON.stringify(target.host)} is no host name`);
  const said = await askOpenSsh(target, configFile);
  const one = (key: string) => said.get(key)?.[0];
  const host = one("hostname") ?? target.host;
  const port = target.port ?? Number(one("port") ?? 22);
  const user = target.user ?? one("user") ?? userInfo().username;
  const place = (path: string) => expand(path, { host, port, user, env });
  const files = (key: string, fallback: string) =>
    (one(key) ?? fallback)
      .split(/\s+/)
      .filter((f) => f !== "none")
      .map(place);
  const proxyCommand = one("proxycommand");
  const jump = target.bastion ?? one("proxyjump") ?? "none";
  if (jump === "none" && proxyCommand !== undefined && proxyCommand !== "none")
    throw wrong(
      target,
      `the SSH configuration has ProxyCommand for ${target.host}, which is not supported`,
      "use ProxyJump, or set ssh.bastion",
    );
  const alias = one("hostkeyalias");
  const name = alias === undefined || alias === "none" ? host.toLowerCase() : alias;
  const agent = one("identityagent") ?? "SSH_AUTH_SOCK";
  const revoked = one("revokedhostkeys");
  const seconds = Number(one("connecttimeout"));
  return {
    host,
    port,
    user,
    knownAs: port === 22 || name === alias ? name : `[${name}]:${port}`,
    keyFiles:
      target.keyFile !== undefined
        ? [{ path: place(target.keyFile), named: true }]
        : (said.get("identityfile") ?? DEFAULT_KEYS).map((path) => ({ path: place(path), named: false })),
    agent: agent === "none" ? undefined : agent === "SSH_AUTH_SOCK" ? env["SSH_AUTH_SOCK"] || undefined : place(agent),
    identitiesOnly: one("identitiesonly") === "yes",
    hostKey: target.hostKey,
    knownHosts:
      target.knownHosts !== undefined
        ? [place(target.knownHosts)]
        : [
            ...files("userknownhostsfile", "~/.ssh/known_hosts"),
            ...files("globalknownhostsfile", "/etc/ssh/ssh_known_hosts"),
          ],
    revokedHostKeys: revoked === undefined || revoked === "none" ? undefined : place(revoked),
    hashKnownHosts: one("hashknownhosts") === "yes",
    jumps: jump === "none" ? [] : jump.split(",").map((hop) => hop.trim()),
    connectMs: Number.isFinite(seconds) && seconds > 0 ? seconds * 1000 : undefined,
  };
}

const DEFAULT_KEYS = ["~/.ssh/id_ed25519", "~/.ssh/id_ecdsa", "~/.ssh/id_rsa"];

/** Splits `[user@]host[:port]` and `ssh://…`. */
export function parseHop(hop: string): { host: string; user?: string; port?: number } | undefined {
  const match = /^(?:ssh:\/\/)?(?:([^@\s]+)@)?(?:\[([^\]\s]+)\]|([^:\s[\]]+))(?::(\d{1,5}))?$/.exec(hop);
  const host = match?.[2] ?? match?.[3];
  if (match === null || host === undefined) return undefined;
  return {
    host,
    ...(match[1] === undefined ? {} : { user: match[1] }),
    ...(match[4] === undefined ? {} : { port: Number(match[4]) }),
  };
}

/** `key → values` as `ssh -G` prints them; empty without an ssh client. */
async function askOpenSsh(target: SshTarget, configFile?: string): Promise<Map<string, string[]>> {
  const args = [
    "-G",
    ...(configFile === undefined ? [] : ["-F", configFile]),
    ...(target.port === undefined ? [] : ["-p", String(target.port)]),
    ...(target.user === undefined ? [] : ["-l", target.user]),
    "--",
    target.host,
  ];
  const said = new Map<string, string[]>();
  try {
    const { stdout } = await run("ssh", args, { timeout: 10_000 });
    for (const line of stdout.split("\n")) {
      const space = line.indexOf(" ");
      if (space < 0) continue;
      const key = line.slice(0, space).toLowerCase();
      said.set(key, [...(said.get(key) ?? []), line.slice(space + 1)]);
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return said;
    const { stderr = "" } = error as { stderr?: string };
    throw wrong(
      target,
      `ssh -G cannot read the SSH configuration: ${stderr.trim() || String(error)}`,
      "mend the file that ssh names",
    );
  }
  return said;
}

/** `~/` is the local user's home. */
export const expandHome = (path: string): string => path.replace(/^~(?=\/|$)/, homedir());

/** `~` and the tokens of ssh_config that ssh -G leaves as they are. */
function expand(path: string, is: { host: string; port: number; user: string; env: NodeJS.ProcessEnv }): string {
  return expandHome(path)
    .replace(/\$\{(\w+)\}|^\$(\w+)$/g, (_all, braced: string | undefined, bare: string) => is.env[braced ?? bare] ?? "")
    .replace(/%([%dhpru])/g, (_all, token: string) => {
      const values: Record<string, string> = {
        d: homedir(),
        h: is.host,
        p: String(is.port),
        r: is.user,
        u: userInfo().username,
      };
      return values[token] ?? "%";
    });
}

function wrong(target: SshTarget, saw: string, next = "mend it in the stack config or in ~/.ssh/config"): TeeUpError {
  return new TeeUpError({ code: "config.ssh", node: target.node, subject: target.field, saw, next });
}
