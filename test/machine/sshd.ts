import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import type { StackConfig } from "../../providers/kit/config.ts";
import { StackConfigSchema } from "../../providers/kit/config.ts";
import type { FleetOptions } from "../../providers/machine/options.ts";

/**
 * A host for tests: the real OpenSSH sshd, sudo and flock on loopback, in a mount namespace of its own, so that /run,
 * /var/lib, the users and the boot id are the test's. systemd is not pid 1 there: systemctl, systemd-run and
 * journalctl are small stand-ins in /usr/local/sbin, the first folder of a batch's PATH.
 *
 * Needs root and the Debian packages openssh-server, openssh-client, sudo, util-linux, procps.
 */
export interface Host {
  /** Everything of this host lies here: `run/` is its /run, `lib/` its /var/lib, `etc/`, `sbin/`. */
  readonly dir: string;
  readonly port: number;
  readonly pid: () => number;
  /** Login user's private key; `.pub` beside it. */
  readonly key: string;
  /** Public host keys by type, as in `/etc/ssh/ssh_host_*.pub`. */
  readonly hostKeys: Readonly<Record<HostKeyType, string>>;
  /** What sshd said so far. */
  log(): string;
  /** Ends every connection, as a cut cable does for the server. */
  dropConnections(): void;
  /** Ends sshd; {@link Host.start} starts it again. */
  halt(): Promise<void>;
  start(): Promise<void>;
  stop(): Promise<void>;
}

export type HostKeyType = "ed25519" | "rsa" | "ecdsa";

export interface HostOptions {
  readonly hostKeys?: readonly HostKeyType[];
  /** Kind of sudo that the user `ops` has; default: as much as wanted, without a password. */
  readonly sudo?: "nopasswd" | "password" | "denied";
  /** Lines for sshd_config. */
  readonly sshd?: readonly string[];
}

/** Password of the user `ops`. */
export const OPS_PASSWORD = "correct horse; reboot 'now'";

const hosts: Host[] = [];
const folders: string[] = [];

/** Throws with one sentence when this machine lacks what {@link startHost} needs. Nothing is skipped. */
export function requireTools(): void {
  const need = {
    "/usr/sbin/sshd": "openssh-server",
    "/usr/bin/ssh-keygen": "openssh-client",
    "/usr/bin/sudo": "sudo",
    "/usr/bin/flock": "util-linux",
    "/usr/bin/pkill": "procps",
  };
  const lacking = Object.entries(need)
    .filter(([file]) => !existsSync(file))
    .map(([, name]) => name);
  if (lacking.length > 0) throw new Error(`these tests need: apt-get install -y ${lacking.join(" ")}`);
  if (process.getuid?.() !== 0)
    throw new Error("these tests need root, for a mount namespace per host: run them with sudo or in a container");
}

export async function startHost(options: HostOptions = {}): Promise<Host> {
  requireTools();
  const dir = tempFolder("host-");
  chmodSync(dir, 0o755);
  for (const name of ["run/sshd", "lib/sudo", "etc", "sbin", "home", "units", "boot/grub"])
    mkdirSync(join(dir, name), { recursive: true });
  const port = await freePort();
  const types = options.hostKeys ?? ["ed25519"];
  const keygen = (type: string, file: string) =>
    execFileSync("ssh-keygen", ["-q", "-t", type, "-N", "", "-C", `test-${type}`, "-f", file]);
  for (const type of types) keygen(type, join(dir, "etc", `key_${type}`));
  const key = join(dir, "id");
  keygen("ed25519", key);
  writeFileSync(join(dir, "etc/authorized_keys"), readFileSync(`${key}.pub`));
  const crypted = execFileSync("perl", ["-e", "print crypt($ARGV[0], q($6$teeup$))", OPS_PASSWORD], {
    encoding: "utf8",
  });
  // A login shell and home of its own: what this machine's root has in its .bashrc is none of the test's business.
  const passwd = readFileSync("/etc/passwd", "utf8").replace(/^root:.*$/m, `root:x:0:0::${dir}/home:/bin/sh`);
  writeFileSync(join(dir, "etc/passwd"), `${passwd}ops:x:64001:64001::${dir}/home:/bin/sh\n`);
  writeFileSync(join(dir, "etc/shadow"), `${readFileSync("/etc/shadow", "utf8")}ops:${crypted}:19000:0:99999:7:::\n`, {
    mode: 0o640,
  });
  const rule = { nopasswd: "ops ALL=(ALL) NOPASSWD: ALL", password: "ops ALL=(ALL) ALL", denied: "" };
  writeFileSync(
    join(dir, "etc/sudoers"),
    `Defaults !fqdn\nDefaults passwd_tries=3\nroot ALL=(ALL) ALL\n${rule[options.sudo ?? "nopasswd"]}\n`,
    { mode: 0o440 },
  );
  writeFileSync(
    join(dir, "etc/sshd_config"),
    [
      `Port ${port}`,
      "ListenAddress 127.0.0.1",
      ...types.map((type) => `HostKey ${dir}/etc/key_${type}`),
      `AuthorizedKeysFile ${dir}/etc/authorized_keys`,
      "PidFile none",
      "UsePAM no",
      "UseDNS no",
      "StrictModes no",
      "PermitRootLogin yes",
      "PasswordAuthentication no",
      "KbdInteractiveAuthentication no",
      "LogLevel VERBOSE",
      "MaxStartups 100:100:100",
      "MaxSessions 50",
      ...(options.sshd ?? []),
      "",
    ].join("\n"),
  );
  standIns(dir);
  writeFileSync(join(dir, "boot_id"), "boot-1\n");
  writeFileSync(join(dir, "kernel"), "6.1.0-old\n");

  let child: ChildProcess | undefined;
  let log = "";
  const mounts = [
    ["run", "/run"],
    ["lib", "/var/lib"],
    ["sbin", "/usr/local/sbin"],
    ["etc/passwd", "/etc/passwd"],
    ["etc/shadow", "/etc/shadow"],
    ["etc/sudoers", "/etc/sudoers"],
    ["boot", "/boot"],
    ["boot_id", "/proc/sys/kernel/random/boot_id"],
  ].map(([from, to]) => `mount --bind '${dir}/${from}' ${to}`);
  const script = `set -e\n${mounts.join("\n")}\nexec /usr/sbin/sshd -D -e -f '${dir}/etc/sshd_config'`;
  const host: Host = {
    dir,
    port,
    key,
    hostKeys: Object.fromEntries(
      types.map((type) => [type, readFileSync(join(dir, "etc", `key_${type}.pub`), "utf8").trim()]),
    ) as Record<HostKeyType, string>,
    pid: () => child?.pid ?? 0,
    log: () => log,
    dropConnections() {
      // pkill exits 1 when there was no connection.
      try {
        execFileSync("pkill", ["-KILL", "-P", String(child?.pid)]);
      } catch {}
    },
    async halt() {
      const running = child;
      child = undefined;
      if (running === undefined || running.exitCode !== null || running.signalCode !== null) return;
      const ended = once(running, "exit");
      try {
        execFileSync("pkill", ["-KILL", "-P", String(running.pid)]);
      } catch {}
      running.kill("SIGKILL");
      await ended;
    },
    async start() {
      const started = spawn("unshare", ["--mount", "--propagation", "private", "--", "sh", "-c", script], {
        stdio: ["ignore", "ignore", "pipe"],
      });
      child = started;
      writeFileSync(join(dir, "sshd.pid"), String(started.pid));
      started.stderr?.on("data", (chunk: Buffer) => {
        log += chunk.toString();
      });
      while (!(await listens(port))) {
        if (started.exitCode !== null) throw new Error(`sshd did not start: ${log}`);
        await pause(10);
      }
    },
    async stop() {
      await host.halt();
      try {
        execFileSync("pkill", ["-KILL", "-f", `${dir}/lib/`]);
      } catch {}
      rmSync(dir, { recursive: true, force: true });
    },
  };
  await host.start();
  hosts.push(host);
  return host;
}

/** For afterAll: ends every host that this file started. */
export async function stopHosts(): Promise<void> {
  await Promise.all(hosts.splice(0).map((host) => host.stop()));
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
}

export function tempFolder(prefix = ""): string {
  const folder = mkdtempSync(join(tmpdir(), `teeup-${prefix}`));
  folders.push(folder);
  return folder;
}

/** The stack config of one node `gpu-01` on `host`, whose keys are in a known_hosts file of its own. */
export function stackOf(
  host: Host,
  ssh: Record<string, unknown> = {},
  more: Record<string, unknown> = {},
): StackConfig {
  const file = join(host.dir, "known_hosts");
  if (!existsSync(file))
    writeFileSync(
      file,
      Object.values(host.hostKeys)
        .map((key) => `${knownAs(host)} ${key}\n`)
        .join(""),
    );
  return StackConfigSchema.parse({
    nodes: [
      {
        name: "gpu-01",
        ssh: { host: "127.0.0.1", port: host.port, user: "root", keyFile: host.key, knownHosts: file, ...ssh },
        ...more,
      },
    ],
  });
}

export const knownAs = (host: Host): string => `[127.0.0.1]:${host.port}`;

/** An environment without the developer's own SSH configuration, agent and secrets. */
export function cleanEnv(more: Record<string, string> = {}): NodeJS.ProcessEnv {
  const file = join(tempFolder("env-"), "ssh_config");
  writeFileSync(file, "Host *\n  GlobalKnownHostsFile none\n");
  return { TEEUP_SSH_CONFIG: file, ...more };
}

/** Short intervals. */
export const FAST: Partial<FleetOptions> = { pollFirstMs: 20, pollMaxMs: 100, connectMs: 5000 };

export async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

function listens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}

/** Just enough of systemd: units are processes, their output a file, and a unit that ended is forgotten. */
function standIns(dir: string): void {
  const put = (name: string, text: string) =>
    writeFileSync(join(dir, "sbin", name), `#!/bin/sh\nD='${dir}'\n${text}`, { mode: 0o755 });
  put(
    "systemd-run",
    `echo "$*" >>"$D/units/starts"
for a; do case $a in --unit=*) u=\${a#--unit=};; esac; done
if [ -e "$D/units/refuse" ]; then echo "Failed to start transient service unit: refused" >&2; exit 1; fi
for a; do p=$l; l=$a; done
setsid "$p" "$l" >>"$D/units/$u.log" 2>&1 </dev/null &
echo $! >"$D/units/$u.pid"
`,
  );
  put(
    "systemctl",
    `echo "$*" >>"$D/units/systemctl"
case $1 in
  show)
    u=\${2%.service}; s=inactive
    # A process that ended and was not waited for yet has an empty command line.
    if [ -e "$D/units/$u.pid" ] && grep -q . "/proc/$(cat "$D/units/$u.pid")/cmdline" 2>/dev/null; then s=active; fi
    [ ! -e "$D/units/$u.failed" ] || s=failed
    echo "ActiveState=$s";;
  reset-failed) rm -f "$D/units/\${2%.service}.failed";;
  reboot)
    [ ! -e "$D/inhibit" ] || { echo "Operation inhibited by backup" >&2; exit 1; }
    [ ! -e "$D/kernel.next" ] || cat "$D/kernel.next" >"$D/kernel"
    echo "boot-$(cat /proc/uptime)" >"$D/boot_id"
    rm -f /run/teeup.owner
    if [ -e "$D/stays-off" ]; then kill -KILL "$(cat "$D/sshd.pid")"; fi
    pkill -KILL -P "$(cat "$D/sshd.pid")"; kill -KILL $PPID;;
  stop|start)
    [ ! -x "$D/on-$1" ] || "$D/on-$1" "$2";;
esac
`,
  );
  put(
    "journalctl",
    `n=10
while [ $# -gt 0 ]; do case $1 in -u) u=$2; shift;; -n) n=$2; shift;; esac; shift; done
[ ! -e "$D/units/$u.log" ] || tail -n "$n" "$D/units/$u.log"
`,
  );
  put("uname", `case "$*" in -r) cat "$D/kernel";; *) exec /usr/bin/uname "$@";; esac\n`);
  put("grub-reboot", `[ -e "$D/grub-deaf" ] || echo "next_entry=$1" >>"$D/grubenv"\n`);
  put(
    "grub-editenv",
    `case "$*" in
  list) cat "$D/grubenv" 2>/dev/null; :;;
  "- unset next_entry") [ ! -e "$D/grub-full" ] || { echo "environment block too small" >&2; exit 1; }
    sed -i "/^next_entry=/d" "$D/grubenv";;
  *) exit 2;;
esac
`,
  );
}
