import { VM_NAME } from "../kit/argv.ts";
import { type Cloud, cloudOf } from "../kit/cloud.ts";
import type { NodeConfig, StackConfig } from "../kit/config.ts";
import { TeeUpError } from "../kit/errors.ts";
import type { Fleet, NodeMachines, Place } from "../kit/machine.ts";
import { GUEST_KEYS, SshMachine } from "./machine.ts";
import type { FleetOptions } from "./options.ts";
import { fleetOptions } from "./options.ts";
import { redactError } from "./redact.ts";
import { Roads } from "./roads.ts";
import { openSecrets, type Secrets } from "./secrets.ts";
import type { Link } from "./ssh.ts";

/**
 * All machines of a stack. Nothing is connected before it is asked; every machine has one connection, and so has
 * every bastion, however many nodes lie behind it.
 *
 * Read from `env`: TEEUP_SSH_PASSPHRASE, TEEUP_SUDO_PASSWORD, TEEUP_BMC_PASSWORD (each also with `_<NODE>`, e.g.
 * `_GPU_01`), TEEUP_SSH_CONFIG (an ssh_config file in place of the user's), TEEUP_TIMEOUT_SCALE, SSH_AUTH_SOCK.
 */
export function openFleet(config: StackConfig, env: NodeJS.ProcessEnv, options: Partial<FleetOptions> = {}): Fleet {
  const roads = new Roads(env, fleetOptions(env, options));
  const secrets = openSecrets(config.secrets);
  const nodes = new Map<string, OpenNode>();
  const places = new Map<string, Place>();
  return {
    names: config.nodes.map((node) => node.name),
    node(name): NodeMachines {
      const found = findNode(config, name);
      const made =
        nodes.get(name) ?? openNode(found, cloudOf(config.platform, found.cloud), places.get(name), roads, secrets);
      nodes.set(name, made);
      return made;
    },
    locate(name, place) {
      const before = places.get(name);
      if (JSON.stringify(before) === JSON.stringify(place)) return;
      places.set(name, place);
      nodes.get(name)?.host.disconnect();
      nodes.delete(name);
    },
    async door(name) {
      const { link } = nodes.get(name) ?? (this.node(name) as OpenNode);
      try {
        return await link.door();
      } catch (error) {
        throw redactError(error);
      }
    },
    located: (name) => places.has(name) || findNode(config, name).ssh.host !== "",
    async close() {
      for (const { host, guest } of nodes.values()) {
        guest.disconnect();
        host.disconnect();
      }
      roads.close();
    },
  };
}

/** Throws TeeUpError `config.unknown-node` that lists the known names. */
export function findNode(config: StackConfig, name: string): NodeConfig {
  const node = config.nodes.find((n) => n.name === name);
  if (node !== undefined) return node;
  throw new TeeUpError({
    code: "config.unknown-node",
    node: name,
    subject: "teeup:nodes",
    saw: `no node of that name; known: ${config.nodes.map((n) => n.name).join(", ")}`,
    next: "name one of them, or add the node to Pulumi.<stack>.yaml",
  });
}

interface OpenNode extends NodeMachines {
  readonly link: Link;
  readonly host: SshMachine;
  readonly guest: SshMachine;
}

function openNode(
  config: NodeConfig,
  cloud: Cloud | undefined,
  place: Place | undefined,
  roads: Roads,
  secrets: Secrets,
): OpenNode {
  const { options } = roads;
  const node = place === undefined ? config : { ...config, ssh: { ...config.ssh, host: place.host } };
  if (node.ssh.host === "")
    throw new TeeUpError({
      code: "node.no-place",
      node: node.name,
      subject: "ssh.host",
      saw: "its address is not known: the stack makes the instance, and has not made it yet",
      next: "pulumi up makes it; its address is then an output of the stack",
    });
  const link = roads.host(node, place?.hostKeys);
  const host = new SshMachine({ id: node.name, link, options, bmc: roads.bmc(node), secrets });
  if (cloud !== undefined) return { link, host, guest: host, cloud };
  const consoleKeys = async () => (await host.observe(GUEST_KEYS)).keys;
  const guest = new SshMachine({
    id: `${node.name}/${VM_NAME}`,
    link: roads.guest(node, link, consoleKeys),
    options,
    host,
    secrets,
  });
  host.guest = guest;
  return { link, host, guest };
}
