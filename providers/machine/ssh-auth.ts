import { readFile } from "node:fs/promises";
import type { AnyAuthMethod } from "ssh2";
import ssh2 from "ssh2";
import { keepSecret } from "./redact.ts";
import type { SshSettings } from "./ssh-config.ts";
import { type About, sshError } from "./ssh-errors.ts";

export interface Auth {
  readonly methods: AnyAuthMethod[];
  /** What is tried, for the error when none is accepted. */
  readonly names: string[];
}

/** Keys and the agent, in the order OpenSSH would try them; a key that the user named goes first. */
export async function authMethods(about: About, settings: SshSettings, passphrase: string | undefined): Promise<Auth> {
  const { user: username, agent } = settings;
  const named: AnyAuthMethod[] = [];
  const others: AnyAuthMethod[] = [];
  const names: string[] = [];
  const wrong = (code: string, saw: string, next: string) =>
    sshError({ ...about, field: "ssh.keyFile" }, code, saw, next);
  for (const file of settings.keyFiles) {
    const key = await readFile(file.path).catch((error: NodeJS.ErrnoException) => {
      if (file.named)
        throw wrong(
          "ssh.key-file",
          `key file ${file.path}: ${error.code ?? error.message}`,
          "mend ssh.keyFile in the stack config",
        );
      return undefined;
    });
    if (key === undefined) continue;
    const parsed = ssh2.utils.parseKey(key, passphrase);
    if (parsed instanceof Error) {
      const encrypted = /encrypted|passphrase|bad decrypt|integrity/i.test(parsed.message);
      // An agent may hold the key although the file cannot be opened here.
      if (file.named && (agent === undefined || !encrypted || passphrase !== undefined))
        throw wrong(
          encrypted ? "ssh.key-passphrase" : "ssh.key-file",
          encrypted
            ? `key file ${file.path} is encrypted and ${passphrase === undefined ? "no passphrase is set" : "the passphrase does not open it"}`
            : `key file ${file.path} is no private key: ${parsed.message}`,
          encrypted
            ? `set TEEUP_SSH_PASSPHRASE (or TEEUP_SSH_PASSPHRASE_<NODE>), or add the key to an SSH agent`
            : "mend ssh.keyFile in the stack config",
        );
      names.push(`${file.path} (${encrypted ? "encrypted, no matching passphrase" : "unreadable"})`);
      continue;
    }
    keepSecret(key);
    names.push(file.path);
    (file.named ? named : others).push({
      type: "publickey",
      username,
      key,
      ...(passphrase === undefined ? {} : { passphrase }),
    });
  }
  const byAgent: AnyAuthMethod[] =
    agent === undefined || (settings.identitiesOnly && named.length > 0) ? [] : [{ type: "agent", username, agent }];
  if (byAgent.length > 0) names.push("the SSH agent");
  return { methods: [...named, ...byAgent, ...others], names };
}
