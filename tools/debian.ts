import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Debian packages by name, each with one of its files, which shows that it is installed. */
export type Packages = Readonly<Record<string, string>>;

/** What tests need that run a real sshd, sudo and flock on loopback. */
export const TEST_PACKAGES: Packages = {
  "openssh-server": "/usr/sbin/sshd",
  "openssh-client": "/usr/bin/ssh-keygen",
  sudo: "/usr/bin/sudo",
  "util-linux": "/usr/bin/flock",
  procps: "/usr/bin/pgrep",
};

/** What makes and starts the lab's machines, beside those. */
export const LAB_PACKAGES: Packages = {
  "qemu-system-x86": "/usr/bin/qemu-system-x86_64",
  "qemu-utils": "/usr/bin/qemu-img",
  mmdebstrap: "/usr/bin/mmdebstrap",
  "debian-archive-keyring": "/usr/share/keyrings/debian-archive-keyring.gpg",
  "grub-common": "/usr/bin/grub-mkimage",
  fdisk: "/usr/sbin/sfdisk",
  e2fsprogs: "/usr/sbin/mke2fs",
  mount: "/usr/bin/mount",
};

/** What makes the lab's Kubernetes beside Go: keys, and a network of its own. Its own programs are only unpacked. */
export const KUBERNETES_PACKAGES: Packages = {
  openssl: "/usr/bin/openssl",
  iproute2: "/usr/bin/ip",
  dpkg: "/usr/bin/dpkg",
};

/** A database that keeps states of Pulumi; the server of another version stands in a folder of its own. */
export const POSTGRES_PACKAGES: Packages = { postgresql: "/usr/share/doc/postgresql" };

/** What looks at pages as a person would. */
export const BROWSER = "/usr/bin/chromium-headless-shell";
export const BROWSER_PACKAGES: Packages = { "chromium-headless-shell": BROWSER };

/** Debian 12's kernel source, which the lab's two kernels are built from. */
export const KERNEL_SOURCE = "linux-source-6.1";
/** What builds them. */
export const KERNEL_PACKAGES: Packages = {
  [KERNEL_SOURCE]: `/usr/src/${KERNEL_SOURCE}.tar.xz`,
  gcc: "/usr/bin/gcc",
  make: "/usr/bin/make",
  flex: "/usr/bin/flex",
  bison: "/usr/bin/bison",
  bc: "/usr/bin/bc",
  rsync: "/usr/bin/rsync",
  cpio: "/usr/bin/cpio",
  kmod: "/usr/sbin/depmod",
  lz4: "/usr/bin/lz4",
  "xz-utils": "/usr/bin/xz",
  fakeroot: "/usr/bin/fakeroot",
  "dpkg-dev": "/usr/bin/dpkg-buildpackage",
  "libelf-dev": "/usr/include/libelf.h",
  "libssl-dev": "/usr/include/openssl/ssl.h",
};

const lacking = (packages: Packages) =>
  Object.entries(packages)
    .filter(([, file]) => !existsSync(file))
    .map(([name]) => name);

/** One sentence on what this machine lacks and how to get it; undefined when it has all. */
export function whatIsMissing(packages: Packages): string | undefined {
  const names = lacking(packages);
  if (names.length === 0 && process.getuid?.() === 0) return undefined;
  const install = names.length === 0 ? "" : `: apt-get install ${names.join(" ")}`;
  return `the tests need root${names.length === 0 ? "" : ` and the Debian packages ${names.join(", ")}`}${install}`;
}

/** Installs what is missing, where apt and root are there; says on stderr what it installs. Gives {@link whatIsMissing}. */
export function ensurePackages(packages: Packages): string | undefined {
  const names = lacking(packages);
  if (names.length === 0 || process.getuid?.() !== 0 || !existsSync("/usr/bin/apt-get")) return whatIsMissing(packages);
  process.stderr.write(`Installing ${names.join(", ")} for the tests (half a minute).\n`);
  // No daemon of these packages may start here: the tests start their own.
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive", RUNLEVEL: "1" };
  // One at a time: another command of the project may be at it, and apt does not wait for itself.
  const apt = (...args: string[]) =>
    spawnSync("flock", [join(tmpdir(), "teeup-apt.lock"), "apt-get", ...args], {
      stdio: ["ignore", "ignore", "inherit"],
      env,
    }).status === 0;
  const installed = () => apt("install", "-y", "-q", "--no-install-recommends", ...names);
  if (!installed() && apt("update", "-q")) installed();
  return whatIsMissing(packages);
}
