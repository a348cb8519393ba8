import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { PulumiStack } from "../cli/demo/pulumi.ts";
import { startHosts } from "../test/lab/hosts/hosts.ts";
import type { Fleet } from "./fleet/stacks.ts";
import { scan } from "./fleet.ts";
import { installPeers, PEERS } from "./peers.ts";
import { inTurns, timed } from "./timing.ts";

/** Seconds, medians. */
export interface Drift20 {
  readonly teeup: number;
  readonly ansible: number;
  readonly pyinfra: number;
  /** One connection and one bare exec (`uname -r`) to each host, in a process of its own. */
  readonly bareSsh2: number;
  /** `pulumi refresh --preview-only` of a stack with one dynamic resource that does nothing. */
  readonly emptyRefresh: number;
}

export const HOSTS = 20;
const BARE = fileURLToPath(new URL("bare.ts", import.meta.url));

/**
 * The same 20 hosts (real sshd, sh and dpkg in namespaces of this machine), looked at by each in turn. The hosts are
 * bare Debians: to every side they differ from what is wanted in all there is.
 */
export async function drift20(
  dir: string,
  fleet: Fleet,
  empty: PulumiStack,
  runs: number,
  say: (text: string) => void,
): Promise<Drift20> {
  const bin = await installPeers(say);
  const hosts = await startHosts(HOSTS);
  try {
    const known = join(dir, "known_hosts");
    await writeFile(known, (await Promise.all(hosts.list.map((h) => readFile(h.knownHosts, "utf8")))).join(""));
    const [first] = hosts.list;
    const keyFile = first?.keyFile ?? "";
    const nodes = hosts.list.map((host) => ({ ...host.node(), name: host.name }));
    const stacks = await fleet.stacks("drift20", nodes, 1);
    const nodesFile = join(dir, "nodes.json");
    await writeFile(nodesFile, JSON.stringify(nodes));
    const ini = join(dir, "hosts.ini");
    await writeFile(
      ini,
      `[all]\n${hosts.list.map(({ name, address }) => `${name} ansible_host=${address} ansible_port=2222 ansible_user=root ansible_ssh_private_key_file=${keyFile} ansible_python_interpreter=/usr/bin/python3`).join("\n")}\n`,
    );
    const inventory = join(dir, "inventory.py");
    const data = { ssh_port: 2222, ssh_user: "root", ssh_key: keyFile, ssh_known_hosts_file: known };
    await writeFile(
      inventory,
      `hosts = ${JSON.stringify(hosts.list.map(({ address }) => [address, data]))
        .replaceAll("[[", "[(")
        .replaceAll("]]", ")]")
        .replaceAll("],[", "),(")}\n`,
    );
    const ansible = {
      ANSIBLE_FORKS: "16",
      ANSIBLE_PIPELINING: "1",
      ANSIBLE_HOST_KEY_CHECKING: "1",
      ANSIBLE_SSH_ARGS: `-o ControlMaster=auto -o ControlPersist=60s -o UserKnownHostsFile=${known} -o IdentitiesOnly=yes`,
      ANSIBLE_HOME: join(dir, "ansible"),
      ANSIBLE_NOCOLOR: "1",
    };
    const playbook = [join(bin, "ansible-playbook"), "-i", ini, "--check", "--diff", join(PEERS, "playbook.yml")];
    return await inTurns(runs, {
      teeup: async () => {
        const { seconds, report } = await scan(stacks);
        const seen = report.nodes.map(({ facets }) => facets.filter(({ status }) => status !== "unreachable").length);
        if (seen.length !== HOSTS || seen.some((facets) => facets !== fleet.facets))
          throw new Error(`the scan did not see all of all hosts: ${seen.join(" ")} of ${fleet.facets} facets`);
        return seconds;
      },
      ansible: async () => {
        const { seconds, stdout } = await timed(playbook, { env: ansible, cwd: dir });
        if ((stdout.match(/ok=12 /g) ?? []).length !== HOSTS) throw new Error(`ansible: ${stdout.slice(-2000)}`);
        return seconds;
      },
      pyinfra: async () => {
        const argv = [join(bin, "pyinfra"), "--dry", inventory, join(PEERS, "deploy.py")];
        const { seconds, stdout, stderr } = await timed(argv, { cwd: dir });
        if (!new RegExp(`module options +${HOSTS} \\(`).test(`${stdout}${stderr}`))
          throw new Error(`pyinfra: ${stdout.slice(-2000)}${stderr.slice(-2000)}`);
        return seconds;
      },
      bareSsh2: async () => (await timed([process.execPath, BARE, nodesFile])).seconds,
      emptyRefresh: async () => (await empty.refresh({}, "--preview-only")).seconds,
    });
  } finally {
    await hosts.stop();
  }
}
