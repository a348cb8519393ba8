import { createHash } from "node:crypto";
import ssh2 from "ssh2";

const { generateKeyPairSync } = ssh2.utils;

/** Files of a fresh set of SSH host keys: path, content, mode. */
export function makeHostKeys(hostname: string): [string, string, string][] {
  const pair = generateKeyPairSync("ed25519", { comment: `root@${hostname}` });
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
