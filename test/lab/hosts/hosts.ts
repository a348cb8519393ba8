import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fingerprint, freshKeyPair } from "../../../sim/model/keys.ts";
import { Shell } from "../shell.ts";
import { sweep } from "../sweep.ts";
import { ensureSystem } from "../vm/vm.ts";

/*
 * Many real Linux hosts in a second: a real OpenSSH, sh, dpkg and files of a Debian, each host in mount, process, host
 * name and IPC namespaces of its own over one read-only system. Their kernel is this machine's: /sys is inert files,
 * systemd is not process 1, and nothing can restart. What needs those is the virtual machine's (vm/vm.ts).
 *
 *   const hosts = await startHosts(20);      // 127.0.1.1:2222 and on
 *   await hosts.list[0].shell.sh("hostname");
 *   hosts.list.map((host) => host.node());   // `teeup:nodes`
 *   await hosts.stop();                      // also done when this process ends or is killed
 */
export interface LabHost {
  readonly name: string;
  readonly address: string;
  readonly hostKey: string;
  readonly knownHosts: string;
  readonly keyFile: string;
  readonly shell: Shell;
  node(): Record<string, unknown>;
  sshCommand(): string;
}

export interface LabHosts {
  readonly list: readonly LabHost[];
  stop(): Promise<void>;
}

export const PORT = 2222;
const MOST = 250;

/**
 * One host's process 1. The overlay's upper layer is a tmpfs of the namespace: nothing of it outlives the host, and it
 * works where the cache itself is on an overlay. Arguments: system folder, host's folder, name, address.
 */
const HOST = `set -e
system=$1 own=$2 name=$3 address=$4
mount --make-rprivate /
mount -t tmpfs -o mode=755 lab $own/layers
mkdir $own/layers/up $own/layers/work $own/layers/root
root=$own/layers/root
mount -t overlay -o lowerdir=$system,upperdir=$own/layers/up,workdir=$own/layers/work lab $root
mount -t proc proc $root/proc
for place in sys run dev; do mount -t tmpfs -o mode=755 lab $root/$place; done
while read node major minor; do mknod -m 666 $root/dev/$node c $major $minor; done <<NODES
null 1 3
zero 1 5
full 1 7
random 1 8
urandom 1 9
tty 5 0
NODES
mkdir $root/dev/pts $root/dev/shm $root/run/sshd
mount -t devpts -o newinstance,ptmxmode=0666 devpts $root/dev/pts
ln -s pts/ptmx $root/dev/ptmx
card=$root/sys/bus/pci/devices/0000:41:00.0
mkdir -p $card $root/sys/kernel/iommu_groups/1/devices $root/sys/module/vfio_pci/parameters $root/sys/bus/pci/drivers
echo 0x10de >$card/vendor
echo 0x2331 >$card/device
echo 0x030200 >$card/class
ln -s ../../../../kernel/iommu_groups/1 $card/iommu_group
echo "BOOT_IMAGE=/boot/vmlinuz root=/dev/lab ro intel_iommu=on host=$name" >$own/layers/cmdline
mount --bind $own/layers/cmdline $root/proc/cmdline
cp $own/host_key $root/etc/ssh/ssh_host_ed25519_key
chmod 600 $root/etc/ssh/ssh_host_ed25519_key
cp $own/authorized_keys $root/root/.ssh/authorized_keys
echo $name >$root/etc/hostname
hostname $name
exec chroot $root /usr/sbin/sshd -D -e -o PidFile=none -o UsePAM=no -o ListenAddress=$address:${PORT}
`;

/** True when nobody listens there. */
async function isFree(address: string): Promise<boolean> {
  const server = createServer();
  server.listen(PORT, address);
  try {
    await once(server, "listening");
    await new Promise((resolve) => server.close(resolve));
    return true;
  } catch {
    return false;
  }
}

/** `otherSystem` is a root folder to stand on in place of Debian's. Throws when one of them does not come up, with what its sshd said; none is left running then. */
export async function startHosts(count: number, otherSystem?: string): Promise<LabHosts> {
  if (!Number.isInteger(count) || count < 1 || count > MOST)
    throw new Error(`the lab starts 1 to ${MOST} hosts, not ${count}`);
  const system = otherSystem ?? join(await ensureSystem(), "root");
  sweep(tmpdir(), "teeup-hosts");
  const folder = mkdtempSync(join(tmpdir(), `teeup-hosts-${process.pid}-`));
  /** Of all sshds together. */
  const log = join(folder, "log");
  const children: ChildProcess[] = [];
  const shells: Shell[] = [];
  const stop = async () => {
    for (const shell of shells) shell.close();
    await Promise.all(
      children.map(async (child) => {
        if (child.exitCode !== null || child.signalCode !== null) return;
        const ended = once(child, "exit");
        child.kill("SIGKILL");
        await ended;
      }),
    );
    rmSync(folder, { recursive: true, force: true });
  };

  try {
    const login = freshKeyPair("lab");
    const keyFile = join(folder, "id");
    writeFileSync(keyFile, login.private, { mode: 0o600 });
    const list: LabHost[] = [];
    for (let n = 1; list.length < count; n++) {
      if (n > MOST) throw new Error(`only ${list.length} of 127.0.1.1 to 127.0.1.${MOST} are free at port ${PORT}`);
      const address = `127.0.1.${n}`;
      if (await isFree(address)) list.push(host(system, folder, `lab-${String(n).padStart(3, "0")}`, address));
    }
    await Promise.all(
      list.map(({ shell, name }) => shell.until("hostname", ({ stdout }) => stdout.trim() === name, 60_000)),
    );
    return { list, stop };

    function host(root: string, place: string, name: string, address: string): LabHost {
      const own = join(place, name);
      mkdirSync(join(own, "layers"), { recursive: true });
      const keys = freshKeyPair(name);
      writeFileSync(join(own, "host_key"), keys.private, { mode: 0o600 });
      writeFileSync(join(own, "authorized_keys"), `${login.public}\n`);
      const hostKey = fingerprint(keys.public);
      const knownHosts = join(own, "known_hosts");
      writeFileSync(knownHosts, `[${address}]:${PORT} ${keys.public}\n`);
      // Killed with this process, and process 1 of the host with unshare.
      const argv = ["--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child"];
      const child = spawn("setpriv", [...argv, "sh", "-c", HOST, "host", root, own, name, address], {
        stdio: ["ignore", "ignore", "pipe"],
      });
      children.push(child);
      child.stderr?.on("data", (text: Buffer) => writeFileSync(log, text, { flag: "a" }));
      const shell = new Shell({ host: address, port: PORT, user: "root", privateKey: login.private, hostKey });
      shells.push(shell);
      return {
        ...{ name, address, hostKey, knownHosts, keyFile, shell },
        node: () => ({ name, ssh: { host: address, port: PORT, user: "root", keyFile, hostKey } }),
        sshCommand: () =>
          `ssh -i ${keyFile} -o IdentitiesOnly=yes -o UserKnownHostsFile=${knownHosts} -p ${PORT} root@${address}`,
      };
    }
  } catch (error) {
    const said = existsSync(log) ? readFileSync(log, "utf8") : "";
    await stop();
    throw new Error(`the lab's hosts did not come up: ${String(error)}\n${said}`);
  }
}
