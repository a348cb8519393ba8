import { installAgent } from "./agents.ts";
import { program } from "./files.ts";
import type { GrubEntry } from "./grub.ts";
import { readGrubenv, writeGrubenv } from "./grub.ts";
import { configText, installedKernels } from "./kernel.ts";
import type { Machine } from "./machine.ts";

/** A machine of the Red Hat family: one menu entry per kernel (boot loader specification), grubby, dracut, rpm and dnf. */
const MARK = "/etc/redhat-release";
const ENTRIES = "/boot/loader/entries";
const KERNEL_CMDLINE = "/etc/kernel/cmdline";
export const LOCKS = "/etc/dnf/plugins/versionlock.list";
const MACHINE_ID = "6f0c2a5d3b7e4f18a9c0d1e2f3a4b5c6";
const ROOT = "root=UUID=5b6f5c1e-7d0a-4c52-9f3b-2f6f0a4d9e11";

const DEBIAN_UNITS = /^(apt-|unattended-upgrades)/;
const WANTS = ["multi-user.target.wants", "timers.target.wants"].map((name) => `/etc/systemd/system/${name}`);
const DEBIAN = /^(apt|dpkg|update-grub|update-initramfs|lsinitramfs|grub-)/;
const PROGRAMS = [
  ...["grubby", "dracut", "rpm", "dnf"],
  ...["grub2-editenv", "grub2-reboot", "grub2-set-default", "grub2-mkconfig"],
];

export const isRedHat = (machine: Machine): boolean => machine.files.exists(MARK);

export interface BlsEntry {
  /** Name of its file without `.conf`. */
  readonly id: string;
  readonly release: string;
  readonly options: string;
}

interface Distribution {
  /** /etc/redhat-release. */
  readonly release: string;
  readonly osRelease: string;
  /** Words of the command line that every kernel gets. */
  readonly words: string;
}

const ROCKY: Distribution = {
  release: "Rocky Linux release 9.4 (Blue Onyx)\n",
  osRelease:
    'NAME="Rocky Linux"\nVERSION="9.4 (Blue Onyx)"\nID="rocky"\nID_LIKE="rhel centos fedora"\nVERSION_ID="9.4"\nPLATFORM_ID="platform:el9"\nPRETTY_NAME="Rocky Linux 9.4 (Blue Onyx)"\n',
  words: "crashkernel=1G",
};
/** As Alibaba's images have it; the words are those that its public images are known for, written from memory. */
const ALINUX: Distribution = {
  release: "Alibaba Cloud Linux release 3 (Soaring Falcon)\n",
  osRelease:
    'NAME="Alibaba Cloud Linux"\nVERSION="3 (Soaring Falcon)"\nID="alinux"\nID_LIKE="rhel fedora centos anolis"\nVERSION_ID="3"\nPLATFORM_ID="platform:al8"\nPRETTY_NAME="Alibaba Cloud Linux 3.2104 U11 (OpenAnolis Edition)"\n',
  words: "crashkernel=0M-2G:0M,2G-8G:192M,8G-:256M net.ifnames=0 console=tty0 console=ttyS0,115200n8",
};

/** Makes a fresh installation one of Rocky Linux 9, with the same kernel and hardware. It shows at the next boot. */
export function makeRedHat(machine: Machine, { release, osRelease, words }: Distribution = ROCKY): void {
  const { files, packages } = machine;
  for (const folder of ["/usr/bin", "/usr/sbin"])
    for (const name of files.listIf(folder)) if (DEBIAN.test(name)) files.remove(`${folder}/${name}`);
  for (const name of PROGRAMS) files.place(`/usr/sbin/${name}`, program(name));
  files.write(MARK, release);
  files.write("/etc/os-release", osRelease);
  for (const folder of ["/etc/default/grub.d", "/boot/grub", "/etc/apt"]) files.remove(folder);
  for (const folder of ["/usr/lib/systemd/system", ...WANTS])
    for (const name of files.listIf(folder)) if (DEBIAN_UNITS.test(name)) files.remove(`${folder}/${name}`);
  files.write("/etc/default/grub", `GRUB_DEFAULT=saved\nGRUB_ENABLE_BLSCFG=true\nGRUB_CMDLINE_LINUX="${words}"\n`);
  files.write(KERNEL_CMDLINE, `${ROOT} ro ${words}\n`);
  files.write(LOCKS, "");
  files.write("/boot/grub2/grubenv", "# GRUB Environment Block\nsaved_entry=\n");
  for (const kernel of installedKernels(machine)) packages.install({ name: `kernel-core-${kernel}`, version: kernel });
  for (const name of [...packages.installed.keys()]) if (name.startsWith("linux-")) packages.installed.delete(name);
  writeBls(machine);
  bootNewest(machine);
}

function bootNewest(machine: Machine): void {
  const [newest] = installedKernels(machine);
  if (newest !== undefined) writeGrubenv(machine, readGrubenv(machine).set("saved_entry", idOf(newest)));
}

/**
 * What the image has besides its kernel. That compiler and kernel headers are there is taken from seed 002, which builds
 * the driver and installs neither.
 */
const IMAGE = [
  "openssl",
  "kmod",
  "ca-certificates",
  "pciutils",
  "curl",
  "wget",
  "gcc",
  "make",
  "python3",
  "kernel-headers",
];

/** Brings a machine's disk to a fresh Alibaba Cloud Linux 3 with one kernel, as its instances start with it. */
export function installAlinux(machine: Machine, kernel: string): void {
  const { packages } = machine;
  makeRedHat(machine, ALINUX);
  for (const name of IMAGE) for (const pkg of packages.resolve([name])) packages.install(pkg);
  const version = kernel.replace(/\.x86_64$/, "");
  packages.install({
    name: `kernel-core-${kernel}`,
    version,
    kernel,
    config: configText(kernel, { CONFIG_TSM_REPORTS: undefined }),
  });
  for (const part of ["kernel", "kernel-modules", "kernel-devel"])
    packages.install({ name: `${part}-${kernel}`, version });
  bootNewest(machine);
  installAgent(machine, "cloudmonitor.service", "/usr/local/cloudmonitor/bin/argusagent", ["network.target"]);
}

const idOf = (release: string): string => `${MACHINE_ID}-${release}`;

/** What kernel-install and grub2-mkconfig leave: entries for new kernels, none for those that are gone, grub.cfg. */
export function writeBls(machine: Machine): string[] {
  const { files } = machine;
  const releases = installedKernels(machine);
  for (const name of files.listIf(ENTRIES))
    if (!releases.some((release) => name === `${idOf(release)}.conf`)) files.remove(`${ENTRIES}/${name}`);
  for (const release of releases)
    if (!files.exists(`${ENTRIES}/${idOf(release)}.conf`))
      writeEntry(machine, { id: idOf(release), release, options: (files.readIf(KERNEL_CMDLINE) ?? "").trim() });
  // A kernel's package has its initramfs made.
  for (const release of releases)
    if (!files.exists(`/boot/initramfs-${release}.img`))
      files.write(`/boot/initramfs-${release}.img`, files.readIf(`/boot/initrd.img-${release}`) ?? "");
  const saved = /^GRUB_DEFAULT=saved$/m.test(files.readIf("/etc/default/grub") ?? "");
  const usual = saved ? `$\{saved_entry}` : "0";
  files.write(
    "/boot/grub2/grub.cfg",
    `if [ "$\{next_entry}" ] ; then\n   set default="$\{next_entry}"\nelse\n   set default="${usual}"\nfi\nblscfg\n`,
  );
  return ["Generating grub configuration file ...", "done"];
}

/** As the boot menu shows a kernel. */
export function titleOf(machine: Machine, release: string): string {
  const field = (name: string) =>
    new RegExp(`^${name}="([^"]*)"$`, "m").exec(machine.files.readIf("/etc/os-release") ?? "")?.[1] ?? "";
  return `${field("NAME")} (${release}) ${field("VERSION")}`;
}

export function writeEntry(machine: Machine, { id, release, options }: BlsEntry): void {
  machine.files.write(
    `${ENTRIES}/${id}.conf`,
    `title ${titleOf(machine, release)}\nversion ${release}\nlinux /boot/vmlinuz-${release}\ninitrd /boot/initramfs-${release}.img\noptions ${options}\n`,
  );
}

/** Entries, newest kernel first, as GRUB shows them. */
export function blsEntries(machine: Machine): BlsEntry[] {
  return installedKernels(machine).flatMap((release) => {
    const text = machine.files.readIf(`${ENTRIES}/${idOf(release)}.conf`);
    return text === undefined
      ? []
      : [{ id: idOf(release), release, options: /^options (.*)$/m.exec(text)?.[1]?.trim() ?? "" }];
  });
}

/** The same, as the boot wants them. */
export const blsMenu = (machine: Machine): GrubEntry[] =>
  blsEntries(machine).map(({ id, release, options }) => ({
    ...{ title: titleOf(machine, release), id, release },
    cmdline: `BOOT_IMAGE=(hd0,gpt2)/boot/vmlinuz-${release} ${options}`,
    initrd: machine.files.exists(`/boot/initramfs-${release}.img`),
  }));
