import { TeeUpError } from "../kit/errors.ts";
import type { KeyVerdict } from "./host-keys.ts";
import { fingerprint, keyType } from "./host-keys.ts";
import { oneLine, redact } from "./redact.ts";
import type { Route } from "./ssh.ts";

/** What an error is about: the machine, and the config field. */
export interface About {
  readonly node: string;
  readonly field: string;
}

/** Codes of errors that say that a machine cannot be reached now; all others need a person. */
const UNREACHABLE = new Set([
  "guest.starting",
  "ssh.dns",
  "ssh.refused",
  "ssh.timeout",
  "ssh.unreachable",
  "ssh.closed",
  "ssh.lost",
]);
export const isUnreachable = (error: unknown): error is TeeUpError =>
  error instanceof TeeUpError && UNREACHABLE.has(error.code);

export function sshError(about: About, code: string, saw: string, next: string): TeeUpError {
  return new TeeUpError({ code, node: about.node, subject: about.field, saw: oneLine(saw), next: redact(next) });
}

/** For a key that was refused before logging in. */
export function keyError(about: About, verdict: Exclude<KeyVerdict, "good">, seen: Buffer, route: Route): TeeUpError {
  const { settings } = route;
  const what = `${settings.knownAs} shows the ${keyType(seen)} host key ${fingerprint(seen)}`;
  const authority = route.known.some((k) => k.mark === "cert-authority")
    ? "; a certificate authority is known for it, but host certificates are not checked here"
    : "";
  const says = {
    unknown: `${what}, which nobody has confirmed (${route.keysFrom})${authority}`,
    changed: `${what}, which is not the one that is ${settings.hostKey === undefined ? `known (${route.keysFrom})` : `pinned (${settings.hostKey})`}: reinstalled, or somebody in between`,
    revoked: `${what}, which is revoked`,
  };
  const next = {
    unknown: `${route.trust}, and compare the fingerprint with the machine's own (ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub)`,
    changed: `find out why it changed; if that is right: ${route.trust}`,
    revoked: `make new host keys on the machine, then: ${route.trust}`,
  };
  return sshError(about, `ssh.host-key-${verdict}`, says[verdict], next[verdict]);
}

/** None of the host's keys is the pinned one. */
export function noPinnedKey(about: About, route: Route): TeeUpError {
  const { knownAs, hostKey } = route.settings;
  return sshError(
    about,
    "ssh.host-key-changed",
    `${knownAs} has no host key with the pinned fingerprint ${hostKey}`,
    `find out why it changed; if that is right: ${route.trust}`,
  );
}

/** For a handshake or login that failed. */
export function connectError(
  about: About,
  error: Error | undefined,
  route: Route,
  tried: readonly string[],
  connectMs: number,
): TeeUpError {
  const { settings } = route;
  const {
    level,
    code,
    message = "the connection closed during the handshake",
  } = (error ?? {}) as { level?: string; code?: string; message?: string };
  const login = `${settings.user}@${settings.host}:${settings.port}`;
  if (level === "client-authentication" || /too many authentication failures/i.test(message))
    return sshError(
      about,
      "ssh.auth-failed",
      `${login} accepts none of: ${tried.join(", ") || "no key file and no agent was found"}`,
      `ssh -v -p ${settings.port} ${settings.user}@${settings.host} true; then set ssh.user or ssh.keyFile`,
    );
  if (level === "agent")
    return sshError(
      about,
      "ssh.agent",
      `the SSH agent at ${settings.agent}: ${message}`,
      "start the agent, or set ssh.keyFile",
    );
  if (/no matching/i.test(message))
    return sshError(
      about,
      "ssh.handshake",
      `${login}: ${message}`,
      `ssh -vv -p ${settings.port} ${settings.user}@${settings.host} true`,
    );
  return reachError(
    about,
    Object.assign(error ?? new Error(message), code === undefined ? {} : { code }),
    route,
    connectMs,
  );
}

/** For a machine that cannot be reached. */
export function reachError(about: About, error: Error, { settings, via }: Route, connectMs: number): TeeUpError {
  const { code, level, message, reason } = error as Error & { code?: string; level?: string; reason?: number };
  const place = `${settings.host}:${settings.port}${via === undefined ? "" : ` through ${via.name}`}`;
  const ssh = `ssh -v -p ${settings.port} ${settings.user}@${settings.host} true`;
  if (code === "ENOTFOUND" || code === "EAI_AGAIN" || /name or service not known|could not resolve/i.test(message))
    return sshError(
      about,
      "ssh.dns",
      `the name ${settings.host} cannot be resolved (${code ?? message})`,
      "mend ssh.host, or add the name to DNS or ~/.ssh/config",
    );
  if (code === "ECONNREFUSED" || /connection refused/i.test(message))
    return sshError(
      about,
      "ssh.refused",
      `${place} refuses connections: nothing listens there`,
      `see that sshd runs on the machine and that ssh.port is right; ${ssh}`,
    );
  if (code === "ETIMEDOUT" || level === "client-timeout" || /timed out/i.test(message))
    return sshError(
      about,
      "ssh.timeout",
      `${place} does not answer within ${connectMs / 1000} s`,
      `see that the machine is on and no firewall is in between; ${ssh}`,
    );
  if (code === "EHOSTUNREACH" || code === "ENETUNREACH" || code === "EADDRNOTAVAIL")
    return sshError(
      about,
      "ssh.unreachable",
      `no route to ${place} (${code})`,
      `see to the network of the machine; ${ssh}`,
    );
  const why = reason === undefined ? message : `${message} (${reason})`;
  return sshError(about, "ssh.closed", `${place} ends the connection: ${why}`, ssh);
}

/** What sudo's own words mean; undefined when they are not sudo's. */
export function sudoError(stderr: string, node: string): { code: string; saw: string; next: string } | undefined {
  const said = stderr.trim();
  if (/a (?:terminal|password) is required|no password was provided/.test(said))
    return {
      code: "sudo.password-needed",
      saw: "sudo asks for a password",
      next: "set TEEUP_SUDO_PASSWORD (or TEEUP_SUDO_PASSWORD_<NODE>), or allow the user NOPASSWD",
    };
  if (/not in the sudoers|not allowed to (?:execute|run)|may not run sudo/.test(said))
    return {
      code: "sudo.denied",
      saw: `the login user may not become root: ${said.split("\n")[0]}`,
      next: "let the user run all commands in sudoers, or set ssh.user to one who may",
    };
  if (/sudo: (?:command )?not found|sudo: No such file/.test(said))
    return { code: "sudo.missing", saw: "the machine has no sudo", next: "install sudo, or set ssh.user to root" };
  if (/must have a tty/.test(said))
    return { code: "sudo.tty", saw: "sudo wants a terminal", next: "remove requiretty for this user from sudoers" };
  if (/^sudo: /m.test(said))
    return { code: "sudo.failed", saw: said.split("\n")[0] ?? said, next: `ssh ${node} sudo -v` };
  return undefined;
}
