import { VM_NAME } from "../kit/argv.ts";
import type { NodeConfig, StackConfig } from "../kit/config.ts";
import { TeeUpError } from "../kit/errors.ts";
import type { Fleet, NodeMachines } from "../kit/machine.ts";
import { GUEST_KEYS, SshMachine } from "./machine.ts";
import type { FleetOptions } from "./options.ts";
import { fleetOptions } from "./options.ts";
import { Roads } from "./roads.ts";

/**
 * All machines of a stack. Nothing is connected before it is asked; every machine has one connection, and so has
 * every bastion, however many nodes lie behind it.
 *
 * Read from `env`: TEEUP_SSH_PASSPHRASE, TEEUP_SUDO_PASSWORD, TEEUP_BMC_PASSWORD (each also with `_<NODE>`, e.g.
 * `_GPU_01`), TEEUP_SSH_CONFIG (an ssh_config file in place of the user's), TEEUP_TIMEOUT_SCALE, SSH_AUTH_SOCK.
 */
export function openFleet(config: StackConfig, env: NodeJS.ProcessEnv, options: Partial<FleetOptions> = {}): Fleet {
  const roads = new Roads(env, fleetOptions(env, options));
  const nodes = new Map<string, { host: SshMachine; guest: SshMachine }>();
  return {
    names: config.nodes.map((node) => node.name),
    node(name): NodeMachines {
      const made = nodes.get(name) ?? openNode(findNode(config, name), roads);
      nodes.set(name, made);
      return made;
    },
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

function openNode(node: NodeConfig, roads: Roads): { host: SshMachine; guest: SshMachine } {
  const { options } = roads;
  const link = roads.host(node);
  const host = new SshMachine({ id: node.name, link, options, bmc: roads.bmc(node) });
  const consoleKeys = async () => (await host.observe(GUEST_KEYS)).keys;
  const guest = new SshMachine({
    id: `${node.name}/${VM_NAME}`,
    link: roads.guest(node, link, consoleKeys),
    options,
    host,
  });
  host.guest = guest;
  return { host, guest };
}
