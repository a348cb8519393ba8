import { program } from "./files.ts";
import type { GrubEntry } from "./grub.ts";
import { installedKernels } from "./kernel.ts";
import type { Machine } from "./machine.ts";

/** A machine of the Red Hat family: one menu entry per kernel (boot loader specification), grubby, dracut, rpm and dnf. */
const MARK = "/etc/redhat-release";
const ENTRIES = "/boot/loader/entries";
const KERNEL_CMDLINE = "/etc/kernel/cmdline";
export const LOCKS = "/etc/dnf/plugins/versionlock.list";
const MACHINE_ID = "6f0c2a5d3b7e4f18a9c0d1e2f3a4b5c6";
const ROOT = "root=UUID=5b6f5c1e-7d0a-4c52-9f3b-2f6f0a4d9e11";

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

/** Makes a fresh installation one of Rocky Linux 9, with the same kernel and hardware. It shows at the next boot. */
export function makeRedHat(machine: Machine): void {
  const { files, packages } = machine;
  for (const folder of ["/usr/bin", "/usr/sbin"])
    for (const name of files.listIf(folder)) if (DEBIAN.test(name)) files.remove(`${folder}/${name}`);
  for (const name of PROGRAMS) files.place(`/usr/sbin/${name}`, program(name));
  files.write(MARK, "Rocky Linux release 9.4 (Blue Onyx)\n");
  files.write(
    "/etc/os-release",
    'NAME="Rocky Linux"\nID="rocky"\nID_LIKE="rhel centos fedora"\nVERSION_ID="9.4"\nPRETTY_NAME="Rocky Linux 9.4 (Blue Onyx)"\n',
  );
  files.remove("/etc/default/grub.d");
  files.remove("/boot/grub");
  files.write(
    "/etc/default/grub",
    'GRUB_DEFAULT=saved\nGRUB_ENABLE_BLSCFG=true\nGRUB_CMDLINE_LINUX="crashkernel=1G"\n',
  );
  files.write(KERNEL_CMDLINE, `${ROOT} ro crashkernel=1G\n`);
  files.write(LOCKS, "");
  files.write("/boot/grub2/grubenv", "# GRUB Environment Block\nsaved_entry=\n");
  for (const release of installedKernels(machine)) {
    packages.install({ name: `kernel-core-${release}`, version: release });
  }
  for (const name of [...packages.installed.keys()]) if (name.startsWith("linux-")) packages.installed.delete(name);
  writeBls(machine);
  const [newest] = installedKernels(machine);
  if (newest !== undefined)
    files.write("/boot/grub2/grubenv", `# GRUB Environment Block\nsaved_entry=${idOf(newest)}\n`);
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

export function writeEntry(machine: Machine, { id, release, options }: BlsEntry): void {
  machine.files.write(
    `${ENTRIES}/${id}.conf`,
    `title Rocky Linux (${release}) 9.4 (Blue Onyx)\nversion ${release}\nlinux /boot/vmlinuz-${release}\ninitrd /boot/initramfs-${release}.img\noptions ${options}\n`,
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
    ...{ title: `Rocky Linux (${release}) 9.4 (Blue Onyx)`, id, release },
    cmdline: `BOOT_IMAGE=(hd0,gpt2)/boot/vmlinuz-${release} ${options}`,
    initrd: machine.files.exists(`/boot/initramfs-${release}.img`),
  }));
