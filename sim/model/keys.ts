import { createHash } from "node:crypto";
import ssh2 from "ssh2";

const { generateKeyPairSync, parseKey } = ssh2.utils;

/** A fresh ed25519 pair. ssh2 writes one in some hundreds so that it cannot be read back: those are thrown away. */
export function freshKeyPair(comment: string): { private: string; public: string } {
  for (;;) {
    const pair = generateKeyPairSync("ed25519", { comment });
    if (!(parseKey(pair.private) instanceof Error) && !(parseKey(pair.public) instanceof Error)) return pair;
  }
}

/** Files of a fresh set of SSH host keys: path, content, mode. */
export function makeHostKeys(hostname: string): [string, string, string][] {
  const pair = freshKeyPair(`root@${hostname}`);
  return [
    ["/etc/ssh/ssh_host_ed25519_key", pair.private, "0600"],
    ["/etc/ssh/ssh_host_ed25519_key.pub", `${pair.public.trim()}\n`, "0644"],
  ];
}

/** `SHA256:…` of an OpenSSH public key line. */
export function fingerprint(publicKey: string): string {
  const blob = Buffer.from(publicKey.trim().split(/\s+/)[1] ?? "", "base64");
  return `SHA256:${createHash("sha256").update(blob).digest("base64").replace(/=+$/, "")}`;
}
