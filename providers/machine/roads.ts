import { VM_NAME } from "../kit/argv.ts";
import type { Answer } from "../kit/ask.ts";
import type { NodeConfig } from "../kit/config.ts";
import { TeeUpError } from "../kit/errors.ts";
import { NO_MACHINE } from "./batch.ts";
import type { KnownKey } from "./host-keys.ts";
import { knownKeys, parseKeys } from "./host-keys.ts";
import type { BmcClient, FleetOptions } from "./options.ts";
import { envFor } from "./options.ts";
import { keepSecret } from "./redact.ts";
import type { Route } from "./ssh.ts";
import { Link } from "./ssh.ts";
import type { SshSettings, SshTarget } from "./ssh-config.ts";
import { expandHome, parseHop, resolveSsh } from "./ssh-config.ts";

/** Makes the connections of a stack; those to bastions are shared by the nodes behind them. */
export class Roads {
  readonly options: FleetOptions;
  readonly #env: NodeJS.ProcessEnv;
  readonly #bastions = new Map<string, Link>();
  readonly #settings = new Map<string, Promise<SshSettings>>();

  constructor(env: NodeJS.ProcessEnv, options: FleetOptions) {
    this.#env = env;
    this.options = options;
    // Before anything is read or said.
    for (const [name, value] of Object.entries(env))
      if (/^TEEUP_.*(PASSWORD|PASSPHRASE)|^PULUMI_(CONFIG_PASSPHRASE|ACCESS_TOKEN)$/.test(name) && value)
        keepSecret(value);
  }

  /** `hostKeys`: public keys that the node is known by, in place of known_hosts; a pinned fingerprint holds all the same. */
  host(node: NodeConfig, hostKeys: readonly string[] = []): Link {
    const sudoPassword = envFor(this.#env, "TEEUP_SUDO_PASSWORD", node.name);
    return new Link({
      node: node.name,
      field: "ssh",
      options: this.options,
      passphrase: this.#passphrase(node),
      sudoPassword,
      become: (settings) =>
        !(node.ssh.sudo ?? settings.user !== "root") ? "none" : sudoPassword === undefined ? "sudo" : "sudo-password",
      route: async () => {
        const settings = await this.#settingsOf(node);
        const route = await this.#route(node, settings, await this.#through(node, settings.jumps));
        if (hostKeys.length === 0 || settings.hostKey !== undefined) return route;
        return {
          ...route,
          // What known_hosts revokes stays revoked.
          known: [...route.known.filter(({ mark }) => mark === "revoked"), ...parseKeys(hostKeys.join("\n"))],
          keysFrom: "what the cloud says of the instance",
        };
      },
    });
  }

  /** A guest is reached through its host, and known by the keys that its console shows there. */
  guest(node: NodeConfig, host: Link, consoleKeys: () => Promise<Answer>): Link {
    return new Link({
      node: `${node.name}/${VM_NAME}`,
      field: "guest",
      options: this.options,
      passphrase: this.#passphrase(node),
      // Made by cloud-init, with sudo that asks for nothing.
      become: (settings) => (settings.user === "root" ? "none" : "sudo"),
      route: async (): Promise<Route> => {
        const known = guestKeys(await consoleKeys(), node.name);
        const settings = await this.#settingsOf(node);
        const { keyFile, user, port } = node.guest;
        return {
          known,
          via: host,
          keysFrom: "the VM's console log on its host",
          trust: `pulumi up once the VM has printed its host keys (${VM_NAME}'s console.log on ${node.name})`,
          settings: {
            ...settings,
            host: "127.0.0.1",
            port,
            user,
            knownAs: `the guest of ${node.name}`,
            keyFiles: keyFile === undefined ? settings.keyFiles : [{ path: expandHome(keyFile), named: true }],
            hostKey: undefined,
            knownHosts: [],
            jumps: [],
          },
        };
      },
    });
  }

  /** Every link on the way to a node in order, the node's own last. */
  async way(node: NodeConfig, own: Link): Promise<Link[]> {
    const links: Link[] = [];
    const { jumps } = await this.#settingsOf(node);
    let link = await this.#through(node, jumps);
    while (link !== undefined) {
      links.unshift(link);
      link = (await link.route()).via;
    }
    return [...links, own];
  }

  bmc(node: NodeConfig): (() => Promise<BmcClient>) | undefined {
    const { bmc } = node;
    if (bmc === undefined) return undefined;
    const password = bmc.password ?? envFor(this.#env, "TEEUP_BMC_PASSWORD", node.name);
    if (password !== undefined) keepSecret(password);
    let client: Promise<BmcClient> | undefined;
    return () => {
      if (password === undefined)
        throw new TeeUpError({
          code: "config.bmc-password",
          node: node.name,
          subject: "bmc.password",
          saw: "no password for the BMC is set",
          next: `set TEEUP_BMC_PASSWORD (or TEEUP_BMC_PASSWORD_<NODE>), or: pulumi config set --secret --path 'teeup:nodes[…].bmc.password'`,
        });
      client ??= this.options.bmc(node.name, bmc, password);
      return client;
    };
  }

  close(): void {
    for (const link of this.#bastions.values()) link.close();
  }

  #passphrase(node: NodeConfig): string | undefined {
    return envFor(this.#env, "TEEUP_SSH_PASSPHRASE", node.name);
  }

  #settingsOf(node: NodeConfig): Promise<SshSettings> {
    const { sudo: _, ...ssh } = node.ssh;
    return this.#remembered(JSON.stringify([node.name, ssh.host]), { node: node.name, field: "ssh.host", ...ssh });
  }

  async #route(node: NodeConfig, settings: SshSettings, via: Link | undefined): Promise<Route> {
    return {
      settings,
      via,
      known: await knownKeys(settings, node.name),
      keysFrom: settings.hostKey === undefined ? settings.knownHosts.join(", ") : "ssh.hostKey",
      trust: `teeup trust ${node.name}`,
    };
  }

  async #through(node: NodeConfig, hops: readonly string[], trail: readonly string[] = []): Promise<Link | undefined> {
    let via: Link | undefined;
    for (const [n, hop] of hops.entries()) via = await this.#bastion(node, hop, via, n === 0, trail);
    return via;
  }

  /** `trail`: the jump hosts whose own ProxyJump led here. Only the first hop of a list has its own one followed. */
  async #bastion(
    node: NodeConfig,
    hop: string,
    before: Link | undefined,
    first: boolean,
    trail: readonly string[],
  ): Promise<Link> {
    const place = parseHop(hop);
    if (place === undefined || trail.includes(hop))
      throw new TeeUpError({
        code: "config.ssh",
        node: node.name,
        subject: "ssh.bastion",
        saw:
          place === undefined
            ? `${JSON.stringify(hop)} is not [user@]host[:port]`
            : `jump hosts go round in a circle: ${[...trail, hop].join(", ")}`,
        next: "mend ssh.bastion, or ProxyJump in ~/.ssh/config",
      });
    const { knownHosts, keyFile } = node.ssh;
    const target = {
      node: node.name,
      field: "ssh.bastion",
      ...place,
      knownHosts,
      ...(first ? {} : { bastion: "none" }),
    };
    const settings = await this.#remembered(JSON.stringify([hop, knownHosts, first]), target);
    const via = first ? await this.#through(node, settings.jumps, [...trail, hop]) : before;
    const key = JSON.stringify([hop, via?.id, knownHosts, keyFile]);
    const made = this.#bastions.get(key);
    if (made !== undefined) return made;
    const own = keyFile === undefined ? [] : [{ path: expandHome(keyFile), named: false }];
    const link = new Link({
      node: node.name,
      field: "ssh.bastion",
      options: this.options,
      passphrase: this.#passphrase(node),
      become: () => "none",
      route: () => this.#route(node, { ...settings, keyFiles: [...own, ...settings.keyFiles] }, via),
    });
    this.#bastions.set(key, link);
    return link;
  }

  /** `ssh -G` once per place, and again after it failed. */
  #remembered(key: string, target: SshTarget): Promise<SshSettings> {
    const made = this.#settings.get(key);
    if (made !== undefined) return made;
    const settings = resolveSsh(target, this.#env, this.options.sshConfigFile);
    this.#settings.set(key, settings);
    settings.catch(() => this.#settings.delete(key));
    return settings;
  }
}

/** The keys of the last block that the console shows: an earlier one may be of a disk that was thrown away. */
function guestKeys(answer: Answer, node: string): KnownKey[] {
  const error = (code: string, saw: string, next: string) =>
    new TeeUpError({ code, node: `${node}/${VM_NAME}`, saw, next });
  if (answer.kind !== "ran")
    throw error(
      "guest.starting",
      `its host cannot be asked for the VM's console: ${"why" in answer ? answer.why : answer.kind}`,
      `teeup check ${node}`,
    );
  if (answer.status !== 0 && /No such file/.test(answer.stderr))
    throw error(NO_MACHINE, "the VM was never made", "pulumi up makes it");
  if (answer.status !== 0)
    throw error("guest.starting", `the VM's console cannot be read: ${answer.stderr.trim()}`, `teeup check ${node}`);
  const last = answer.stdout.split("-----BEGIN SSH HOST KEY KEYS-----").at(-1) ?? "";
  const keys = parseKeys(last);
  if (keys.length > 0) return keys;
  throw error(
    "guest.starting",
    "the VM was made, and its console shows no SSH host keys yet",
    `wait, or see the VM's console.log on ${node}: cloud-init prints the keys at the end of its first start`,
  );
}
