import { chmodSync, cpSync, mkdirSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { mmdebstrap, run } from "../cache.ts";
import { putPackages } from "./repository.ts";

/** What the image is made of. */
export interface Recipe {
  /** Debian's package of the first kernel: the cloud kernel boots fastest but knows no AMD IOMMU. */
  readonly kernel: "linux-image-cloud-amd64" | "linux-image-amd64";
}

/** Debian release of the guest; pinned, whatever release the machine that builds it runs. */
const SUITE = "bookworm";
const DISK_MIB = 3072;
/**
 * Words of the guest's kernel. `no_timer_check`: an emulated processor that gets no time for some milliseconds fails the
 * kernel's test of its timer, and that is a panic ("timer doesn't work through Interrupt-remapped IO-APIC").
 * `clearcpuid`: see qemuArgs.
 */
const KERNEL_WORDS = "console=ttyS0,115200 net.ifnames=0 no_timer_check clearcpuid=rep_good";
/**
 * Debian's larger kernel has two modules too many: nouveau, which is at the made-up card for minutes and cannot be
 * unbound meanwhile, and kvm, after whose last word an emulated machine hangs in a restart.
 */
const FEWER_MODULES = "module_blacklist=nouveau,kvm_amd,kvm_intel,kvm";
const wordsOf = ({ kernel }: Recipe): string =>
  kernel === "linux-image-amd64" ? `${KERNEL_WORDS} ${FEWER_MODULES}` : KERNEL_WORDS;

const INCLUDE = [
  ...["systemd-sysv", "dbus", "udev", "openssh-server", "sudo", "iproute2", "kmod", "pciutils", "procps", "e2fsprogs"],
  ...[
    "initramfs-tools",
    "lz4",
    "zstd",
    "grub-pc-bin",
    "grub2-common",
    "driverctl",
    "python3",
    "curl",
    "ca-certificates",
  ],
  // The confidential VM's stand-in runs a machine inside the machine.
  "qemu-system-x86",
];

/**
 * Debian's own packages that the guest's apt source has beside the made-up ones, with all that they need and the guest
 * lacks. Not installed: that is what a test does.
 */
const OFFERED = ["cloud-image-utils", "ovmf"];

/** What a reboot on an emulated CPU would wait for and no test looks at. */
const MASKED = [
  ...["apt-daily.timer", "apt-daily-upgrade.timer", "e2scrub_all.timer", "e2scrub_reap.service", "fstrim.timer"],
  ...["dpkg-db-backup.timer", "systemd-networkd-wait-online.service", "systemd-resolved.service"],
  ...["systemd-timesyncd.service", "getty@tty1.service", "getty-static.service", "serial-getty@ttyS0.service"],
  ...["fuse", "configfs", "drm", "efi_pstore", "dm_mod", "loop"].map((name) => `modprobe@${name}.service`),
  ...["dev-hugepages.mount", "dev-mqueue.mount", "sys-fs-fuse-connections.mount", "systemd-fsck-root.service"],
  ...["ldconfig.service", "systemd-pcrphase.service", "systemd-pcrphase-sysinit.service", "systemd-pstore.service"],
  ...["systemd-binfmt.service", "systemd-update-utmp.service", "systemd-update-utmp-runlevel.service"],
  ...["systemd-logind.service", "systemd-machine-id-commit.service"],
];

/** Files of the guest, by path. */
const filesOf = (recipe: Recipe): Readonly<Record<string, string>> => ({
  "etc/hostname": "lab\n",
  "etc/hosts": "127.0.0.1 localhost lab\n",
  "etc/fstab": "LABEL=root / ext4 noatime 0 0\n",
  "etc/resolv.conf": "nameserver 10.0.2.3\n",
  "etc/systemd/network/10-lab.network":
    "[Match]\nName=en* eth*\n[Network]\nAddress=10.0.2.15/24\nGateway=10.0.2.2\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n",
  "etc/systemd/journald.conf.d/lab.conf": "[Journal]\nStorage=persistent\nSystemMaxUse=32M\n",
  "etc/systemd/system.conf.d/lab.conf": "[Manager]\nDefaultTimeoutStopSec=10s\n",
  // Two host key types would double the slowest part of a login, key exchange on an emulated CPU.
  "etc/ssh/sshd_config.d/lab.conf":
    "UseDNS no\nHostKey /etc/ssh/ssh_host_ed25519_key\nPermitRootLogin prohibit-password\nMaxStartups 50:100:100\nMaxSessions 50\n",
  "etc/sudoers.d/ops": "ops ALL=(ALL) NOPASSWD: ALL\n",
  "etc/default/grub": `GRUB_DEFAULT=0
GRUB_TIMEOUT=0
GRUB_TIMEOUT_STYLE=hidden
GRUB_DISTRIBUTOR=Debian
GRUB_CMDLINE_LINUX_DEFAULT=""
GRUB_CMDLINE_LINUX="${wordsOf(recipe)}"
GRUB_TERMINAL="serial"
GRUB_DISABLE_OS_PROBER=true
GRUB_DISABLE_RECOVERY=true
GRUB_DISABLE_LINUX_PARTUUID=true
`,
  "etc/apt/sources.list": "deb [trusted=yes] file:/srv/lab-packages ./\n",
});

/** This machine's own Debian mirrors, as apt knows them; Debian's when it has none. */
async function mirrors(): Promise<readonly string[]> {
  const fields = "$(REPO_URI) $(RELEASE) $(COMPONENT) $(ORIGIN)";
  const said = await run("apt-get", "indextargets", "--format", fields, "Created-By: Packages");
  const own = said
    .trim()
    .split("\n")
    .map((line) => line.split(" "))
    .filter(([, , component, origin]) => component === "main" && origin === "Debian");
  const first = (security: boolean) => own.find(([, release = ""]) => release.endsWith("-security") === security)?.[0];
  return [
    `deb ${first(false) ?? "http://deb.debian.org/debian"} ${SUITE} main`,
    `deb ${first(true) ?? "http://deb.debian.org/debian-security"} ${SUITE}-security main`,
  ];
}

/** `--aptopt` for each proxy that this machine's apt is told to use; mmdebstrap reads no apt.conf. */
const proxies = async (): Promise<string[]> =>
  (await run("apt-config", "dump", "Acquire"))
    .split("\n")
    .filter((line) => /^Acquire::\S*proxy\S* "\S+";$/i.test(line))
    .map((line) => `--aptopt=${line}`);

/** Makes `root/` (also the lower layer of the namespace hosts), `id`, `host.pub` and `first.qcow2` in `folder`. */
export async function buildImage(recipe: Recipe, folder: string): Promise<void> {
  const root = join(folder, "root");
  const work = join(folder, "work");
  mkdirSync(work, { recursive: true });
  const put = (path: string, text: string, mode = 0o644) => {
    const file = join(root, path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, text, { mode });
    chmodSync(file, mode);
  };

  // Only what this machine's disk needs: a tenth of the time and the size, at every update-initramfs.
  writeFileSync(join(work, "lab.conf"), "MODULES=list\nCOMPRESS=lz4\nFSTYPE=ext4\nRESUME=none\nKEYMAP=n\n");
  writeFileSync(join(work, "modules"), "virtio_pci\nvirtio_blk\next4\n");
  await mmdebstrap(
    ...["--quiet", "--mode=root", "--variant=minbase", ...(await proxies())],
    ...["--aptopt=APT::Install-Recommends false"],
    ...["man", "locale", "doc"].map((name) => `--dpkgopt=path-exclude=/usr/share/${name}/*`),
    `--include=${[...INCLUDE, recipe.kernel].join(",")}`,
    '--essential-hook=mkdir -p "$1/etc/initramfs-tools/conf.d"',
    `--essential-hook=copy-in '${work}/lab.conf' /etc/initramfs-tools/conf.d`,
    `--essential-hook=copy-in '${work}/modules' /etc/initramfs-tools`,
    '--customize-hook=mkdir -p "$1/srv/lab-packages/partial"',
    `--customize-hook=chroot "$1" apt-get install --yes --quiet --download-only --option Dir::Cache::archives=/srv/lab-packages ${OFFERED.join(" ")}`,
    '--customize-hook=rm -r "$1/srv/lab-packages/partial" "$1/srv/lab-packages/lock"',
    ...[SUITE, root, ...(await mirrors())],
  );

  for (const [path, text] of Object.entries(filesOf(recipe)))
    put(path, text, path.startsWith("etc/sudoers.d") ? 0o440 : 0o644);
  await run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "teeup-lab", "-f", join(folder, "id"));
  const login = readFileSync(join(folder, "id.pub"), "utf8");
  const inside = (...argv: string[]) => run("chroot", root, ...argv);
  await inside("useradd", "--create-home", "--shell", "/bin/sh", "ops");
  for (const home of ["root", "home/ops"]) {
    put(`${home}/.ssh/authorized_keys`, login, 0o600);
    chmodSync(join(root, home, ".ssh"), 0o700);
  }
  await inside("chown", "-R", "ops:ops", "/home/ops/.ssh");
  // Accounts without a password count as locked for sshd unless the field is a star.
  await inside("usermod", "-p", "*", "ops");
  cpSync(join(root, "etc/ssh/ssh_host_ed25519_key.pub"), join(folder, "host.pub"));
  // One that lasts: the journal of an earlier boot lies under it.
  await inside("systemd-machine-id-setup");
  await inside("systemctl", "mask", ...MASKED);
  await inside("systemctl", "enable", "systemd-networkd", "ssh");
  await putPackages(join(root, "srv/lab-packages"), work);

  const version = readdirSync(join(root, "boot"))
    .map((name) => /^vmlinuz-(.+)$/.exec(name)?.[1])
    .find((name) => name !== undefined);
  if (version === undefined) throw new Error(`${recipe.kernel} installed no kernel`);
  const grub = join(root, "usr/lib/grub/i386-pc");
  cpSync(grub, join(root, "boot/grub/i386-pc"), { recursive: true });
  await run("grub-editenv", join(root, "boot/grub/grubenv"), "create");
  // For the first boot only: the guest's own update-grub writes the real one.
  put(
    "boot/grub/grub.cfg",
    `search --no-floppy --label root --set=root
linux /boot/vmlinuz-${version} root=LABEL=root ro ${wordsOf(recipe)}
initrd /boot/initrd.img-${version}
boot
`,
  );
  rmSync(join(root, "var/lib/apt/lists"), { recursive: true, force: true });
  mkdirSync(join(root, "var/lib/apt/lists/partial"), { recursive: true });

  // No loop device: the file system is made from the folder, and GRUB's core goes into the gap before it.
  const disk = join(work, "disk.img");
  writeFileSync(disk, "");
  truncateSync(disk, (DISK_MIB + 2) * 2 ** 20);
  await run("sh", "-c", 'echo "2048,$0M,83,*" | sfdisk -q "$1"', `${DISK_MIB}`, disk);
  const ext4 = ["-q", "-F", "-t", "ext4", "-L", "root", "-m0", "-E", `offset=${2 ** 20}`, "-d", root];
  await run("mke2fs", ...ext4, disk, `${DISK_MIB}M`);
  writeFileSync(join(work, "early.cfg"), "search --no-floppy --label root --set=root\nset prefix=($root)/boot/grub\n");
  await run(
    "grub-mkimage",
    ...["-O", "i386-pc", "-d", grub, "-c", join(work, "early.cfg"), "-p", "(hd0,msdos1)/boot/grub"],
    ...["-o", join(work, "core.img"), "biosdisk", "part_msdos", "ext2", "search", "search_label", "normal", "serial"],
  );
  const dd = (from: string, ...args: string[]) => run("dd", `if=${from}`, `of=${disk}`, "conv=notrunc,sparse", ...args);
  await dd(join(grub, "boot.img"), "bs=446", "count=1");
  await dd(join(work, "core.img"), "bs=512", "seek=1");
  await run("qemu-img", "convert", "-O", "qcow2", disk, join(folder, "first.qcow2"));
  rmSync(work, { recursive: true, force: true });
}
