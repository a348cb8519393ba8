import { createInterface } from "node:readline/promises";
import pc from "picocolors";
import { TeeUpError } from "../providers/kit/errors.ts";
import type { SeenHost } from "../providers/machine/trust.ts";
import { pinHost, seeHosts } from "../providers/machine/trust.ts";
import type { StackSource } from "./stack.ts";
import { loadStack } from "./stack.ts";

export interface TrustOptions extends StackSource {
  /** Do not ask; only together with `fingerprint`. */
  readonly yes?: boolean;
  /** What the hosts' keys must be: one for the node, and one for each bastion that is not trusted yet. */
  readonly fingerprint?: readonly string[];
}

export interface Terminal {
  readonly input: NodeJS.ReadableStream;
  readonly output: NodeJS.WritableStream;
}

/**
 * Shows the host keys of a node and of the bastions before it, asks for each that is not trusted yet, and adds it to
 * known_hosts. Throws `trust.needs-fingerprint`, `trust.declined`, `trust.pinned`, and what seeHosts and pinHost throw.
 */
export async function trustNode(
  node: string,
  options: TrustOptions,
  { input, output }: Terminal = { input: process.stdin, output: process.stdout },
  env = process.env,
): Promise<void> {
  const expected = options.fingerprint ?? [];
  if (options.yes === true && expected.length === 0) {
    throw new TeeUpError({
      code: "trust.needs-fingerprint",
      node,
      saw: "--yes alone would trust whoever answers",
      next: `teeup trust ${node} --yes --fingerprint SHA256:…, as ssh-keygen -lf prints it on the machine`,
    });
  }
  const config = await loadStack(options);
  const say = (text: string) => output.write(`${text}\n`);
  const pinned = new Set<string>();
  for (;;) {
    const hosts = await seeHosts(config, node, env);
    const open = hosts.find((host) => host.verdict !== "good");
    // Behind a bastion nothing can be seen before the bastion itself is trusted: hence the loop.
    if (open === undefined) {
      for (const host of hosts)
        if (!pinned.has(host.name)) say(`${title(host)} is trusted already:\n${keyLines(host.keys)}`);
      return;
    }
    if (pinned.has(open.name)) {
      throw new TeeUpError({
        code: "trust.not-kept",
        node,
        subject: open.name,
        saw: `${open.file} was written, and the host still is ${open.verdict}`,
        next: `look for other lines about ${open.name} in ${open.file}`,
      });
    }
    say(`${title(open)} ${SAYS[open.verdict]}\n${keyLines(open.keys)}`);
    if (open.verdict === "changed" && open.known.length > 0) say(`Known in ${open.file}:\n${keyLines(open.known)}`);
    if (open.pinned !== undefined) {
      throw new TeeUpError({
        code: "trust.pinned",
        node,
        subject: "ssh.hostKey",
        saw: `the stack config pins ${open.pinned}, which ${open.name} does not have`,
        next: "find out why it changed; if that is right, put the new fingerprint into ssh.hostKey",
      });
    }
    const match = expected.find((f) => open.keys.some((key) => key.fingerprint === f.replace(/=+$/, "")));
    const fingerprint = expected.length === 0 ? undefined : (match ?? expected[0]);
    // With a wrong fingerprint there is nothing to ask: pinHost refuses.
    if (options.yes !== true && (expected.length === 0 || match !== undefined)) await ask(open, input, output);
    await pinHost(open, fingerprint);
    pinned.add(open.name);
    say(`added to ${open.file}`);
  }
}

/** A key that changed is what an attacker in between looks like: for that nobody's fingers have a habit. */
async function ask(host: SeenHost, input: NodeJS.ReadableStream, output: NodeJS.WritableStream): Promise<void> {
  if (host.verdict === "revoked") return;
  output.write(
    "Compare with what the machine itself says (on its console: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub).\n",
  );
  const replacing = `replace ${host.name}`;
  const [consent, question] =
    host.verdict === "changed"
      ? [replacing, `Is one of the new ones its key, and do you know why it changed? Type "${replacing}": `]
      : ["yes", "Is one of these its key? Type yes: "];
  const lines = createInterface({ input, output, terminal: false });
  try {
    output.write(question);
    const answer = await new Promise<string>((resolve) => {
      lines.once("line", resolve);
      // The end of the input is no consent.
      lines.once("close", () => resolve(""));
    });
    if (answer.trim().toLowerCase() === consent.toLowerCase()) return;
  } finally {
    lines.close();
  }
  throw new TeeUpError({
    code: "trust.declined",
    node: host.node,
    subject: host.name,
    saw: "nobody confirmed the key; nothing was written",
    next: `teeup trust ${host.node}, once the fingerprint is known`,
  });
}

const SAYS = {
  good: "is trusted.",
  unknown: "is not known yet. It shows:",
  changed: "shows OTHER KEYS than the ones that are known. Reinstalled, or somebody in between:",
  revoked: "shows a REVOKED key:",
} as const;

const title = (host: SeenHost): string => pc.bold(`${host.role} ${host.name}`);

const keyLines = (keys: SeenHost["known"]): string =>
  keys.map((key) => `  ${key.type.padEnd(20)} ${key.fingerprint}`).join("\n");
