import type { Action, JobLine } from "./action.ts";
import { TOOLS_DIR } from "./argv.ts";
import type { Ask, Asks } from "./ask.ts";
import type { Fact } from "./facts.ts";
import { known, mapFact, valueIfKnown } from "./facts.ts";
import { parseOsRelease } from "./parse-packages.ts";

/** Places on a host that TeeUp owns, and questions that several host facets ask alike. */

/** Downloads and built packages, each verified by sha256. */
export const ARTIFACTS_DIR = "/var/lib/teeup/artifacts";
/** Sources under build; nothing outside a build looks there. */
export const BUILD_DIR = "/var/lib/teeup/build";
/** Why TeeUp restarted the host last; gone once nothing waits for a restart. */
export const RESTART_RECORD = "/var/lib/teeup/restart.json";
/** Stands beside the record until the restart really happens: /run is empty after every boot. */
export const RESTART_ASKED = "/run/teeup/restart-asked";
/** A file here means "staged since the last boot", for settings whose effect cannot be told from a refusal. */
export const STAGED_DIR = "/run/teeup/staged";
export const GRUB_DROP_IN = "/etc/default/grub.d/50-teeup.cfg";
export const MODPROBE_FILE = "/etc/modprobe.d/teeup.conf";
export const MODULES_LOAD_FILE = "/etc/modules-load.d/teeup.conf";
/** QEMU and OVMF that TeeUp built. */
export const QEMU_BUILT = `${TOOLS_DIR}/qemu/bin/qemu-system-x86_64`;
export const OVMF_BUILT = `${TOOLS_DIR}/ovmf/OVMF.fd`;

export const OS_RELEASE = { kind: "file", path: "/etc/os-release" } as const satisfies Ask;
export const KERNEL_RELEASE = { kind: "argv", argv: ["uname", "-r"] } as const satisfies Ask;
export const CPU_COUNT = { kind: "argv", argv: ["nproc", "--all"] } as const satisfies Ask;
export const GRUB_CFG = { kind: "file", path: "/boot/grub/grub.cfg", maxBytes: 524_288 } as const satisfies Ask;
export const GRUB_ENVIRONMENT = { kind: "argv", argv: ["grub-editenv", "list"] } as const satisfies Ask;
/** Parameters of the modules whose options matter, as `path:value`. */
export const MODULE_PARAMETERS = {
  kind: "argv",
  argv: [
    "grep",
    "-rH",
    "",
    "/sys/module/kvm_amd/parameters",
    "/sys/module/kvm_intel/parameters",
    "/sys/module/vfio_pci/parameters",
  ],
} as const satisfies Ask;
/** Packages of kernels, QEMU and OVMF: `status name version`. Exit 1 only says that one pattern matched nothing. */
export const STACK_PACKAGES = {
  kind: "argv",
  argv: [
    "dpkg-query",
    "--show",
    // biome-ignore lint/suspicious/noTemplateCurlyInString: dpkg-query's own fields
    "--showformat=${db:Status-Status} ${Package} ${Version}\\n",
    "linux-*",
    "qemu-*",
    "ovmf*",
  ],
  maxBytes: 262_144,
} as const satisfies Ask;

/**
 * Every Debian package: status, name, what it provides, and what is wanted of it (`hold`). Without the pattern those on
 * hold that are not installed are left out. `apt-mark showhold` says the same, and takes most of a second of processor.
 */
export const DPKG_PACKAGES = {
  kind: "argv",
  argv: [
    "dpkg-query",
    "--show",
    // biome-ignore lint/suspicious/noTemplateCurlyInString: dpkg-query's own fields
    "--showformat=${db:Status-Status}\\t${Package}\\t${Provides}\\t${db:Status-Want}\\n",
    "*",
  ],
  maxBytes: 2_097_152,
} as const satisfies Ask;
export const RPM_NAMES = {
  kind: "argv",
  argv: ["rpm", "-qa", "--qf", "%{NAME}\\n"],
  maxBytes: 1_048_576,
} as const satisfies Ask;
/** Python packages that pip installed leave a folder; starting pip to ask would take a second. */
export const PIP_FOLDERS = {
  kind: "argv",
  argv: ["find", "/usr/local/lib", "-maxdepth", "3", "-name", "*.dist-info", "-printf", "%f\\n"],
} as const satisfies Ask;

/** `name version-release.arch` of what rpm has of kernels and their parts. */
export const RPM_KERNELS = {
  kind: "argv",
  argv: ["rpm", "-qa", "--qf", "%{NAME} %{VERSION}-%{RELEASE}.%{ARCH}\\n", "kernel*"],
} as const satisfies Ask;
/**
 * dnf's version locks as they stand in its file: `dnf versionlock list` itself fetches the repositories' lists first.
 * Missing where the plugin is not installed.
 */
export const VERSION_LOCKS = { kind: "file", path: "/etc/dnf/plugins/versionlock.list" } as const satisfies Ask;

export const PACKAGE_ASKS = {
  os: OS_RELEASE,
  dpkg: DPKG_PACKAGES,
  rpm: RPM_NAMES,
  locks: VERSION_LOCKS,
  pip: PIP_FOLDERS,
} as const satisfies Asks;

/** apt in a job: installs wait up to five minutes for another apt (unattended-upgrades); `update` never waits. */
export const APT = ["apt-get", "-y", "-o", "DPkg::Lock::Timeout=300"] as const;
/** What apt-get and dpkg say while another one (unattended-upgrades) holds one of their locks, and by which process. */
const BUSY = ["Could not get lock", "was locked by another process"];
/** A step's apt or dpkg. Its own time-out would end without naming the holder, and neither update nor hold has one. */
const debian = (timeoutSeconds: number, ...argv: [string, ...string[]]): Action => {
  return { do: "run", argv, timeoutSeconds, retryWhile: BUSY };
};

/** Ends what a restart cut off in the middle: until then apt-get refuses everything. Nothing to do takes no time. */
const GO_ON = debian(1800, "dpkg", "--configure", "-a");

/** Installs packages with the distribution's tool. */
export function installPackages(family: "debian" | "rpm", names: readonly string[]): Action[] {
  if (family === "rpm") return [{ do: "run", argv: ["dnf", "install", "-y", ...names], timeoutSeconds: 1800 }];
  const install = debian(1800, "apt-get", "-y", "--no-remove", "install", ...names);
  return [GO_ON, debian(600, "apt-get", "-y", "update"), install];
}

/** Installs one package file that is on the machine. */
export const installPackageFile = (family: "debian" | "rpm", file: string): Action[] =>
  family === "rpm"
    ? [{ do: "run", argv: ["dnf", "install", "-y", file], timeoutSeconds: 1800 }]
    : [GO_ON, debian(1800, "apt-get", "-y", "install", file)];

/**
 * Has dracut take a file of /etc/modprobe.d into the initramfs. By itself it does so only in images for this host alone,
 * which cloud images and Debian switch off (seen in the lab).
 */
export const dracutTakes = (file: string): Action => ({
  do: "write",
  path: dracutFile(file),
  content: `# Written by TeeUp.\ninstall_items+=" ${file} "\n`,
});
export const dracutFile = (file: string): string => `/etc/dracut.conf.d/${file.split("/").at(-1) ?? "teeup.conf"}`;

/** Every kernel's initramfs anew: the one that is tried next is seldom the one that runs. */
export const DRACUT_ALL = {
  do: "run",
  argv: ["dracut", "--regenerate-all", "--force"],
  timeoutSeconds: 900,
} as const satisfies Action;

const LOCK_PLUGIN = "python3-dnf-plugin-versionlock";

/** What holding needs first: dnf's plugin, where its file is missing. */
export const lockPlugin = (locks: Fact<unknown>): Action[] =>
  locks.state === "absent" ? installPackages("rpm", [LOCK_PLUGIN]) : [];

/** Keeps packages from being upgraded, and lets them again. */
export const holdPackages = (family: "debian" | "rpm", names: readonly string[]): Action =>
  family === "rpm"
    ? { do: "run", argv: ["dnf", "versionlock", "add", ...names] }
    : debian(120, "apt-mark", "hold", ...names);
export const unholdPackages = (family: "debian" | "rpm", names: readonly string[]): Action =>
  family === "rpm"
    ? { do: "run", argv: ["dnf", "versionlock", "delete", ...names] }
    : debian(120, "apt-mark", "unhold", ...names);

/** Package family of an /etc/os-release text; undefined for one that TeeUp cannot handle. */
export function packageFamily(osRelease: string): "debian" | "rpm" | undefined {
  const { id, like } = parseOsRelease(osRelease);
  const all = [id, ...like];
  if (all.some((name) => name === "debian" || name === "ubuntu")) return "debian";
  return all.some((name) => ["fedora", "rhel", "centos"].includes(name)) ? "rpm" : undefined;
}

/** The family of /etc/os-release; a machine without that file is taken for Debian's, whose tools it then lacks. */
export const familyOf = (osRelease: Fact<string>): Fact<"debian" | "rpm"> =>
  osRelease.state === "absent"
    ? known("debian")
    : mapFact(osRelease, (t) => (packageFamily(t) === "rpm" ? "rpm" : "debian"));

/** The answer of the family's own tool; unknown as long as the family is. */
export const ofFamily = <T>(family: Fact<"debian" | "rpm">, debian: () => Fact<T>, rpm: () => Fact<T>): Fact<T> =>
  family.state === "unknown" ? family : valueIfKnown(family) === "rpm" ? rpm() : debian();

/**
 * Downloads a file into the artifacts folder and verifies it; the file keeps the last part of its url as name. `referer`:
 * the page that the request says it comes from, where a mirror asks for one.
 */
export function download(
  url: string,
  sha256: string,
  referer?: string,
): { file: string; checks: Action; lines: JobLine[] } {
  const file = `${ARTIFACTS_DIR}/${url.split("/").at(-1) ?? "download"}`;
  const from = referer === undefined ? [] : ["--referer", referer];
  const curl = ["curl", "--fail", "--location", "--silent", "--show-error", "--retry", "3"] as const;
  return {
    file,
    checks: { do: "write", path: `${file}.sha256`, content: `${sha256}  ${file}\n` },
    lines: [
      { argv: [...curl, ...from, "--output", file, url] },
      { argv: ["sha256sum", "--check", "--strict", `${file}.sha256`] },
    ],
  };
}

/** Sets an archive of packages up from its keyring file (.deb) or its .repo file, which is on the machine already. */
export const addRepository = (family: "debian" | "rpm", name: string, file: string): JobLine =>
  family === "rpm"
    ? { argv: ["install", "-D", "--mode=0644", file, `/etc/yum.repos.d/${name}.repo`] }
    : { argv: ["dpkg", "--install", file] };

/** Installs packages as lines of a job. */
export const installLines = (family: "debian" | "rpm", names: readonly string[], ...options: string[]): JobLine[] =>
  family === "rpm"
    ? [{ argv: ["dnf", "install", "-y", ...names] }]
    : [{ argv: [...APT, "update"] }, { argv: [...APT, "install", ...options, ...names] }];

/** Clones exactly one commit into `folder`, also over an earlier, half-done clone. */
export const checkout = (url: string, commit: string, folder: string): JobLine[] => [
  { argv: ["git", "init", "--quiet", folder] },
  { argv: ["git", "-C", folder, "fetch", "--quiet", "--depth=1", url, commit] },
  { argv: ["git", "-C", folder, "checkout", "--quiet", "--force", commit] },
  { argv: ["git", "-C", folder, "clean", "-ffdxq"] },
];

/** A job whose effect was looked for and is missing. */
export const job = (name: string, lines: readonly JobLine[], timeoutSeconds: number): Action[] => [
  { do: "job", name, lines, timeoutSeconds },
];
