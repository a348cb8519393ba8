/**
 * What a kernel needs to boot the lab's machine (q35, virtio, systemd, sshd) on top of `make tinyconfig`: small enough to
 * build in minutes on two cores, real enough for dpkg, GRUB and an initramfs. Options of the 6.1 series.
 */
const GOOD = [
  // The image, its initramfs and its console.
  ...["64BIT", "SMP", "KERNEL_LZ4", "BLK_DEV_INITRD", "RD_LZ4", "RD_ZSTD"],
  ...["PRINTK", "TTY", "SERIAL_8250", "SERIAL_8250_CONSOLE", "RTC_CLASS", "HIGH_RES_TIMERS", "NO_HZ_IDLE"],
  ...["MODULES", "MODULE_UNLOAD", "BINFMT_ELF", "BINFMT_SCRIPT"],
  // What systemd, udev and sshd ask of a kernel.
  ...["MULTIUSER", "SYSVIPC", "POSIX_MQUEUE", "PROC_FS", "PROC_SYSCTL", "SYSFS", "DEVTMPFS", "DEVTMPFS_MOUNT"],
  ...["TMPFS", "TMPFS_XATTR", "TMPFS_POSIX_ACL", "SHMEM", "FHANDLE", "INOTIFY_USER", "FILE_LOCKING"],
  ...["CGROUPS", "CGROUP_PIDS", "MEMCG", "NAMESPACES", "NET_NS", "KCMP", "SECCOMP", "SECCOMP_FILTER"],
  ...["FUTEX", "EPOLL", "SIGNALFD", "TIMERFD", "EVENTFD", "AIO", "POSIX_TIMERS", "ADVISE_SYSCALLS", "MEMBARRIER"],
  // The machine.
  ...["PCI", "PCI_MSI", "ACPI", "DMI", "VIRTIO_MENU", "VIRTIO_PCI", "HW_RANDOM", "HW_RANDOM_VIRTIO"],
  ...["NET", "UNIX", "INET", "PACKET", "NETDEVICES", "NET_CORE", "VIRTIO_NET"],
  ...["BLOCK", "BLK_DEV", "VIRTIO_BLK", "PARTITION_ADVANCED", "MSDOS_PARTITION", "EXT4_FS", "EXT4_FS_POSIX_ACL"],
  ...["CRYPTO", "CRYPTO_CRC32C"],
] as const;

/** What the configuration would switch on by itself and nothing here needs; half of the build's time. */
const UNUSED = [
  ...["IPV6", "INET_DIAG", "ETHTOOL_NETLINK", "WIRELESS", "WLAN", "ETHERNET", "PTP_1588_CLOCK", "NETWORK_FILESYSTEMS"],
  ...["VT", "INPUT", "SERIO", "HID", "SERIAL_8250_PCI", "SWAP", "EFI_PARTITION", "PCIEASPM"],
  ...["RD_GZIP", "RD_BZIP2", "RD_LZMA", "RD_XZ", "RD_LZO", "MQ_IOSCHED_DEADLINE", "MQ_IOSCHED_KYBER"],
] as const;

/** Without these a kernel finds no root file system and panics, as one does that was built without its disk's driver. */
const DISK = ["VIRTIO_BLK", "BLK_DEV_INITRD"] as const satisfies readonly (typeof GOOD)[number][];

export interface Variant {
  /** CONFIG_LOCALVERSION: what tells the releases apart. */
  readonly local: string;
  readonly on: readonly string[];
  readonly off: readonly string[];
}

/** In the order in which they are built, each from the one before: only what differs is compiled again. */
export const VARIANTS = {
  good: { local: "-lab-good", on: GOOD, off: UNUSED },
  panics: { local: "-lab-panics", on: [], off: DISK },
} as const satisfies Readonly<Record<string, Variant>>;
