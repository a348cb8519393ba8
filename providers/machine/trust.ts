import { execFile } from "node:child_process";
import { appendFile, chmod, mkdir, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import type { StackConfig } from "../kit/config.ts";
import { TeeUpError } from "../kit/errors.ts";
import { findNode } from "./fleet.ts";
import type { KeyVerdict } from "./host-keys.ts";
import { fingerprint, judgeKey, keyType, revokedByFile } from "./host-keys.ts";
import type { FleetOptions } from "./options.ts";
import { fleetOptions } from "./options.ts";
import { redactError } from "./redact.ts";
import { Roads } from "./roads.ts";

const run = promisify(execFile);

/** A machine on the way to a node, and the host keys that it shows now. */
export interface SeenHost {
  readonly node: string;
  readonly role: "bastion" | "node";
  /** Its name in known_hosts. */
  readonly name: string;
  /** `good` when at least one of its keys is known or pinned. */
  readonly verdict: KeyVerdict;
  readonly keys: readonly {
    readonly type: string;
    /** `SHA256:…`, for a person to compare with `ssh-keygen -lf /etc/ssh/ssh_host_…_key.pub` on the machine. */
    readonly fingerprint: string;
    /** Base64, as in known_hosts. */
    readonly key: string;
    readonly verdict: KeyVerdict;
  }[];
  /** What known_hosts holds for it so far; empty when the stack config pins its key. */
  readonly known: readonly { readonly type: string; readonly fingerprint: string }[];
  /** The known_hosts file that {@link pinHost} writes. */
  readonly file: string;
  readonly hashed: boolean;
  /** The fingerprint that the stack config pins (`ssh.hostKey`): known_hosts does not count beside it. */
  readonly pinned: string | undefined;
}

/**
 * The host keys of a node, and of the bastions before it, without logging in anywhere that is not trusted: the list
 * ends with the first machine whose keys are not `good`, since what lies behind it cannot be asked yet.
 * Rejects with `ssh.*` when one cannot be reached.
 */
export async function seeHosts(
  config: StackConfig,
  node: string,
  env: NodeJS.ProcessEnv,
  options: Partial<FleetOptions> = {},
): Promise<SeenHost[]> {
  const found = findNode(config, node);
  const roads = new Roads(env, fleetOptions(env, options));
  const seen: SeenHost[] = [];
  try {
    for (const link of await roads.way(found, roads.host(found))) {
      const { route, keys } = await link.showKeys();
      const { settings, known } = route;
      const judged = await Promise.all(
        keys.map(async (key) => ({
          type: keyType(key),
          fingerprint: fingerprint(key),
          key: key.toString("base64"),
          verdict: (await revokedByFile(key, settings.revokedHostKeys))
            ? ("revoked" as const)
            : judgeKey(key, known, settings.hostKey),
        })),
      );
      const host: SeenHost = {
        node,
        role: link.isHost ? "node" : "bastion",
        name: settings.knownAs,
        verdict: overall(judged.map((key) => key.verdict)),
        keys: judged,
        known: known
          .filter(({ mark }) => mark === "")
          .map(({ type, key }) => ({ type, fingerprint: fingerprint(key) })),
        file: settings.knownHosts[0] ?? "",
        hashed: settings.hashKnownHosts,
        pinned: settings.hostKey,
      };
      seen.push(host);
      if (host.verdict !== "good") break;
    }
    return seen;
  } catch (error) {
    throw redactError(error);
  } finally {
    roads.close();
  }
}

/** A revoked key spoils the host; one good key is enough; a key that differs from a known one is a change. */
function overall(verdicts: readonly KeyVerdict[]): KeyVerdict {
  for (const verdict of ["revoked", "good", "changed"] as const) if (verdicts.includes(verdict)) return verdict;
  return "unknown";
}

/**
 * Writes the keys that {@link seeHosts} saw to known_hosts, in place of what stood there for that name. Only to be
 * called once a person has compared a fingerprint, or with `expected`, the fingerprint that somebody gave.
 * Rejects with `ssh.host-key-revoked` or, when no key has the expected fingerprint, `ssh.host-key-changed`.
 */
export async function pinHost(seen: SeenHost, expected?: string): Promise<void> {
  const { node, name, file, keys, hashed } = seen;
  const refuse = (code: string, saw: string, next: string) => new TeeUpError({ code, node, subject: name, saw, next });
  if (seen.verdict === "revoked")
    throw refuse(
      "ssh.host-key-revoked",
      "it shows a host key that is revoked",
      "make new host keys on the machine (ssh-keygen -A), and trust those",
    );
  const right = expected === undefined ? keys : keys.filter((key) => key.fingerprint === expected.replace(/=+$/, ""));
  if (right.length === 0)
    throw refuse(
      "ssh.host-key-changed",
      keys.length === 0
        ? "it shows no host key"
        : `none of its keys is ${expected}; it shows ${keys.map((k) => k.fingerprint).join(", ")}`,
      "ask whoever runs the machine for the fingerprint of its host key",
    );
  if (file === "")
    throw refuse(
      "config.ssh",
      "the SSH configuration names no known_hosts file",
      "set ssh.knownHosts in the stack config",
    );
  await mkdir(dirname(file), { recursive: true, mode: 0o700 });
  const before = await readFile(file, "utf8").catch(() => "");
  if (before !== "") {
    const { mode } = await stat(file);
    await run("ssh-keygen", ["-R", name, "-f", file]).catch((error: { stderr?: string }) => {
      if (!/not found in/.test(error.stderr ?? "")) throw error;
    });
    await chmod(file, mode);
  }
  const plain = right.map((key) => `${name} ${key.type} ${key.key}\n`).join("");
  const lines = hashed ? await hash(plain) : plain;
  await appendFile(file, `${before === "" || before.endsWith("\n") ? "" : "\n"}${lines}`, { mode: 0o600 });
}

/** Host names hashed the way OpenSSH does it; only the new lines, whatever else stands in the file. */
async function hash(lines: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "teeup-trust-"));
  try {
    await writeFile(join(folder, "lines"), lines, { mode: 0o600 });
    await run("ssh-keygen", ["-H", "-f", join(folder, "lines")]);
    return await readFile(join(folder, "lines"), "utf8");
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
