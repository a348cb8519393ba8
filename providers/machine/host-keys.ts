import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import type { ServerHostKeyAlgorithm } from "ssh2";
import { TeeUpError } from "../kit/errors.ts";
import type { SshSettings } from "./ssh-config.ts";

const run = promisify(execFile);

/** One host key that is known for a name. */
export interface KnownKey {
  readonly mark: "" | "revoked" | "cert-authority";
  /** E.g. `ssh-ed25519`. */
  readonly type: string;
  /** The public key, base64 as in known_hosts. */
  readonly key: string;
}

/** `SHA256:…` as `ssh-keygen -lf` prints it. */
export function fingerprint(key: Buffer | string): string {
  const blob = typeof key === "string" ? Buffer.from(key, "base64") : key;
  return `SHA256:${createHash("sha256").update(blob).digest("base64").replace(/=+$/, "")}`;
}

/** A public key in SSH wire format begins with its type's name. */
export function keyType(blob: Buffer): string {
  // The machine's own words, before anybody has confirmed that it is the right one.
  return blob.length < 4 ? "" : blob.toString("latin1", 4, 4 + blob.readUInt32BE(0)).replace(/[^!-~]/g, "");
}

/** Lines of known_hosts or of `/etc/ssh/ssh_host_*.pub`: any text around the keys is passed over. */
export function parseKeys(text: string): KnownKey[] {
  const found = text.matchAll(
    /^(?:[^\n]*?(@revoked|@cert-authority)[ \t])?[^\n]*?\b((?:sk-)?(?:ssh-(?:ed25519|rsa)|ecdsa-sha2-nistp\d{3})(?:@openssh\.com)?)[ \t]+(AAAA[A-Za-z0-9+/]+=*)/gm,
  );
  return [...found].map(([, mark, type = "", key = ""]) => ({
    mark: mark === "@revoked" ? "revoked" : mark === "@cert-authority" ? "cert-authority" : "",
    type,
    key,
  }));
}

/**
 * What known_hosts says of a host. OpenSSH does the reading (`ssh-keygen -F`): hashed names, patterns, several names.
 * Throws `ssh.no-openssh` when there is no ssh-keygen.
 */
export async function knownKeys(settings: SshSettings, node: string): Promise<KnownKey[]> {
  const found: KnownKey[] = [];
  for (const file of settings.knownHosts) {
    const text = await readFile(file, "utf8").catch(() => "");
    // A pinned key needs nothing from known_hosts but what it revokes.
    if (text === "" || (settings.hostKey !== undefined && !text.includes("@revoked"))) continue;
    try {
      const { stdout } = await run("ssh-keygen", ["-F", settings.knownAs, "-f", file], { timeout: 10_000 });
      found.push(...parseKeys(stdout.replace(/^#.*$/gm, "")));
    } catch (error) {
      const { code } = error as { code?: string | number };
      if (code === 1) continue;
      throw new TeeUpError({
        code: code === "ENOENT" ? "ssh.no-openssh" : "ssh.known-hosts",
        node,
        saw:
          code === "ENOENT"
            ? "known_hosts cannot be read without ssh-keygen"
            : `ssh-keygen cannot read ${file}: ${(error as { stderr?: string }).stderr?.trim() ?? String(error)}`,
        next: code === "ENOENT" ? "install openssh-client, or pin ssh.hostKey in the stack config" : `mend ${file}`,
      });
    }
  }
  return found;
}

/** True when OpenSSH's RevokedHostKeys (lines of public keys, or a KRL) holds the key, or cannot be read. */
export async function revokedByFile(key: Buffer, file: string | undefined): Promise<boolean> {
  if (file === undefined) return false;
  const list = await readFile(file).catch(() => undefined);
  if (list === undefined) return true;
  const base64 = key.toString("base64");
  if (!list.toString("latin1", 0, 6).startsWith("SSHKRL"))
    return parseKeys(list.toString("utf8")).some((revoked) => revoked.key === base64);
  const folder = await mkdtemp(join(tmpdir(), "teeup-key-"));
  try {
    await writeFile(join(folder, "key.pub"), `${keyType(key)} ${base64}\n`);
    await run("ssh-keygen", ["-Q", "-f", file, join(folder, "key.pub")], { timeout: 10_000 });
    return false;
  } catch {
    return true;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

export type KeyVerdict = "good" | "unknown" | "changed" | "revoked";

/** Whether a host may go by `seen`. A certificate authority's key never counts as a host's. */
export function judgeKey(seen: Buffer, known: readonly KnownKey[], pinned: string | undefined): KeyVerdict {
  const key = seen.toString("base64");
  if (known.some((k) => k.mark === "revoked" && k.key === key)) return "revoked";
  if (pinned !== undefined) return fingerprint(seen) === pinned.replace(/=+$/, "") ? "good" : "changed";
  const plain = known.filter((k) => k.mark === "");
  if (plain.some((k) => k.key === key)) return "good";
  return plain.length === 0 ? "unknown" : "changed";
}

const ALGORITHMS: readonly ServerHostKeyAlgorithm[] = [
  "ssh-ed25519",
  "ecdsa-sha2-nistp256",
  "ecdsa-sha2-nistp384",
  "ecdsa-sha2-nistp521",
  "rsa-sha2-512",
  "rsa-sha2-256",
];

/** Algorithms of a key type: an RSA key signs in two ways, neither of them with SHA-1. */
export function algorithmsOf(type: string): ServerHostKeyAlgorithm[] {
  return ALGORITHMS.filter((algorithm) =>
    type === "ssh-rsa" ? algorithm.startsWith("rsa-sha2-") : algorithm === type,
  );
}

/**
 * What to offer a host: the types that are known of it first, so that a host known by one key does not look changed
 * because it would rather show another. The others stay on the list, so that a changed host can show what it has.
 */
export function offeredAlgorithms(
  known: readonly KnownKey[],
  without: readonly string[] = [],
): ServerHostKeyAlgorithm[] {
  const first = known.filter((k) => k.mark === "").flatMap((k) => algorithmsOf(k.type));
  const all = [...new Set([...first, ...ALGORITHMS])];
  return all.filter((algorithm) => !without.flatMap(algorithmsOf).includes(algorithm));
}
