import { COMMANDS } from "../commands/index.ts";
import type { Tee } from "./bios.ts";
import type { BaseFiles, FileNode } from "./files.ts";
import { baseFiles, dir, file, link, program } from "./files.ts";
import { updateGrub, writeGrubenv } from "./grub.ts";
import { makeHostKeys } from "./keys.ts";
import type { Cpu } from "./machine.ts";
import { Machine } from "./machine.ts";
import type { TwinNode } from "./node.ts";
import type { Package } from "./packages.ts";
import { repository } from "./repository.ts";
import { sevFirmwareFile } from "./stand-ins.ts";

export type OsName = "ubuntu-26.04" | "ubuntu-24.04" | "ubuntu-22.04";

interface Os {
  readonly pretty: string;
  readonly version: string;
  readonly codename: string;
  /** Kernel of a fresh installation and of the cloud image. */
  readonly kernel: string;
}

export const OS: Readonly<Record<OsName, Os>> = {
  "ubuntu-26.04": { pretty: "Ubuntu 26.04 LTS", version: "26.04", codename: "resolute", kernel: "7.0.0-14-generic" },
  "ubuntu-24.04": { pretty: "Ubuntu 24.04.3 LTS", version: "24.04", codename: "noble", kernel: "6.8.0-45-generic" },
  "ubuntu-22.04": { pretty: "Ubuntu 22.04.2 LTS", version: "22.04", codename: "jammy", kernel: "5.15.0-60-generic" },
};

const GRUB_DEFAULT = `# If you change this file, run 'update-grub' afterwards to update
# /boot/grub/grub.cfg.
GRUB_DEFAULT=0
GRUB_TIMEOUT_STYLE=hidden
GRUB_TIMEOUT=0
GRUB_DISTRIBUTOR=\`( . /etc/os-release; echo \${NAME:-Ubuntu} ) 2>/dev/null || echo Ubuntu\`
GRUB_CMDLINE_LINUX_DEFAULT=""
GRUB_CMDLINE_LINUX=""
`;

const unit = (description: string, exec: string, wanted = "multi-user.target"): FileNode =>
  file(`[Unit]\nDescription=${description}\n\n[Service]\nExecStart=${exec}\n\n[Install]\nWantedBy=${wanted}\n`);

function common(os: OsName): [string, FileNode][] {
  const { pretty, version, codename } = OS[os];
  const programs = [...COMMANDS.values()]
    .filter((c) => c.base)
    .flatMap((c) => c.names.map((name): [string, FileNode] => [`${c.folder ?? "/usr/bin"}/${name}`, program(name)]));
  return [
    ...programs,
    ["/bin", link("usr/bin")],
    ["/sbin", link("usr/sbin")],
    ["/lib", link("usr/lib")],
    ["/usr/lib/modules", dir()],
    ["/usr/lib/firmware/amd", dir()],
    ["/boot/grub", dir()],
    [
      "/etc/os-release",
      file(
        `PRETTY_NAME="${pretty}"\nNAME="Ubuntu"\nVERSION_ID="${version}"\nVERSION_CODENAME=${codename}\nID=ubuntu\nID_LIKE=debian\n`,
      ),
    ],
    ["/etc/default/grub", file(GRUB_DEFAULT)],
    ["/etc/default/grub.d", dir()],
    ["/etc/grub.d/10_linux", file("#!/bin/sh\n", "0755")],
    [
      "/etc/modprobe.d/blacklist.conf",
      file(
        "# This file lists those modules which we don't want to be loaded by\n# alias expansion.\nblacklist evbug\n",
      ),
    ],
    ["/etc/modprobe.d/blacklist-nouveau.conf", file("blacklist nouveau\noptions nouveau modeset=0\n")],
    ["/etc/modules-load.d/modules.conf", file("# /etc/modules is obsolete\n")],
    ["/etc/passwd", file("root:x:0:0:root:/root:/bin/bash\nops:x:1000:1000::/home/ops:/bin/bash\n")],
    ["/etc/ssh/sshd_config", file("Include /etc/ssh/sshd_config.d/*.conf\n")],
    [
      "/etc/apt/sources.list.d/ubuntu.sources",
      file(
        `Types: deb\nURIs: http://archive.ubuntu.com/ubuntu/\nSuites: ${codename} ${codename}-updates\nComponents: main universe\n`,
      ),
    ],
    ["/usr/lib/systemd/system/ssh.service", unit("OpenBSD Secure Shell server", "/usr/sbin/sshd -D")],
    ["/usr/sbin/sshd", program("sshd")],
    [
      "/usr/lib/systemd/system/unattended-upgrades.service",
      unit(
        "Unattended Upgrades Shutdown",
        "/usr/share/unattended-upgrades/unattended-upgrade-shutdown --wait-for-signal",
      ),
    ],
    ["/usr/share/unattended-upgrades/unattended-upgrade-shutdown", program("unattended-upgrade-shutdown")],
    [
      "/usr/lib/systemd/system/apt-daily.timer",
      file("[Unit]\nDescription=Daily apt download activities\n\n[Install]\nWantedBy=timers.target\n"),
    ],
    [
      "/usr/lib/systemd/system/apt-daily-upgrade.timer",
      file("[Unit]\nDescription=Daily apt upgrade and clean activities\n\n[Install]\nWantedBy=timers.target\n"),
    ],
    ["/etc/systemd/system/multi-user.target.wants/ssh.service", link("/usr/lib/systemd/system/ssh.service")],
    [
      "/etc/systemd/system/multi-user.target.wants/unattended-upgrades.service",
      link("/usr/lib/systemd/system/unattended-upgrades.service"),
    ],
    ["/etc/systemd/system/timers.target.wants/apt-daily.timer", link("/usr/lib/systemd/system/apt-daily.timer")],
    [
      "/etc/systemd/system/timers.target.wants/apt-daily-upgrade.timer",
      link("/usr/lib/systemd/system/apt-daily-upgrade.timer"),
    ],
    ["/root", dir("0700")],
    ["/home/ops", dir()],
    ["/var/lib/dpkg/info", dir()],
    ["/var/log", dir()],
    ["/usr/local/lib", dir()],
    ["/usr/lib/x86_64-linux-gnu", dir()],
    ["/usr/lib64", dir()],
    ["/opt", dir()],
    ["/srv", dir()],
    ["/usr/src", dir()],
  ];
}

const bases = new Map<string, BaseFiles>();

/** Files of a fresh installation, shared by every twin. */
export function systemFiles(os: OsName): BaseFiles {
  const had = bases.get(os);
  if (had !== undefined) return had;
  const made = baseFiles(common(os));
  bases.set(os, made);
  return made;
}

export const GENOA: Cpu = {
  vendor: "AuthenticAMD",
  model: "AMD EPYC 9354 32-Core Processor",
  family: 25,
  modelNumber: 17,
  sockets: 2,
  coresPerSocket: 32,
  flags: [
    "fpu",
    "vme",
    "de",
    "pse",
    "msr",
    "svm",
    "lm",
    "nx",
    "aes",
    "avx2",
    "sme",
    "sev",
    "sev_es",
    "sev_snp",
    "debug_swap",
    "vnmi",
  ],
};

export const MILAN: Cpu = { ...GENOA, model: "AMD EPYC 7763 64-Core Processor", modelNumber: 1, coresPerSocket: 64 };
export const NAPLES: Cpu = {
  ...GENOA,
  model: "AMD EPYC 7601 32-Core Processor",
  family: 23,
  modelNumber: 1,
  flags: GENOA.flags.filter((f) => f !== "sev_snp" && f !== "sev_es"),
};
export const XEON: Cpu = {
  ...GENOA,
  vendor: "GenuineIntel",
  model: "INTEL(R) XEON(R) PLATINUM 8580",
  family: 6,
  modelNumber: 207,
  flags: ["fpu", "vme", "vmx", "lm", "nx", "aes", "avx2", "tme"],
};

/** An Emerald Rapids host: the silicon has TDX, and the kernel shows what it made of it. */
export const EMERALD: Cpu = {
  ...XEON,
  coresPerSocket: 60,
  flags: [...XEON.flags, "sgx", "sgx_lc", "movdir64b", "tdx_host_platform"],
};

const SNP_GUEST: Cpu = {
  ...GENOA,
  model: "AMD EPYC-v4 Processor",
  flags: ["fpu", "lm", "nx", "aes", "avx2", "sev", "sev_es", "sev_snp", "hypervisor"],
};
const TD_GUEST: Cpu = { ...XEON, flags: ["fpu", "lm", "nx", "aes", "avx2", "hypervisor", "tdx_guest"] };

/** The processor that a guest sees. */
export const guestCpu = (tee: Tee | undefined): Cpu => (tee === "tdx" ? TD_GUEST : SNP_GUEST);

/** Names that a fresh installation has besides its kernel. */
const BASE_PACKAGES = ["python3", "openssl", "kmod", "ca-certificates", "gnupg", "linux-firmware", "pciutils"];
/** What Ubuntu's cloud images bring besides. */
const CLOUD_PACKAGES = ["curl", "wget", "git"];

/** Brings a machine's disk to a fresh installation with one kernel. */
export function installSystem(machine: Machine, kernel: string, metas: readonly string[] = []): void {
  const archive = repository(machine.kind, machine.packages.codename);
  const add = (name: string, manual: boolean) => {
    const pkg: Package | undefined = archive.get(name)?.[0];
    if (pkg === undefined || machine.packages.installed.has(name)) return;
    machine.packages.install(pkg, manual);
  };
  for (const name of [...BASE_PACKAGES, ...(machine.kind === "guest" ? CLOUD_PACKAGES : [])]) add(name, true);
  for (const part of ["image", "modules", "modules-extra", "headers"]) add(`linux-${part}-${kernel}`, false);
  for (const name of metas) {
    const pkg = archive.get(name)?.at(-1);
    // The meta package of the day the image was made points at the kernel that is there.
    if (pkg !== undefined)
      machine.packages.install(
        {
          ...pkg,
          version: kernel.replace("-generic", "").replace(/-(\d+)$/, "-$1.$1"),
          depends: [`linux-image-${kernel}`],
        },
        true,
      );
  }
  writeGrubenv(machine, new Map());
  updateGrub(machine);
}

/** What every EPYC host has: the newest firmware file that linux-firmware brings. */
export function hostFirmware(
  machine: Machine,
  newest: { major: number; minor: number; build: number } | undefined,
): void {
  if (newest !== undefined)
    machine.files.write("/lib/firmware/amd/amd_sev_fam19h_model1xh.sbin", sevFirmwareFile(newest));
}

/** A fresh guest from a cloud image: the codename of its Ubuntu, with `+kernel=…` and `+cmdline=…` for odd ones. */
export function guestSystem(node: TwinNode, image: string): Machine {
  const names = Object.keys(OS) as OsName[];
  const os = names.find((name) => image.startsWith(OS[name].codename)) ?? "ubuntu-24.04";
  const machine = new Machine({
    kind: "guest",
    hostname: "cvm0",
    node,
    clock: node.clock,
    base: systemFiles(os),
    cpu: guestCpu(undefined),
    memoryBytes: 2 ** 36,
    pci: [],
    used: 2 * 2 ** 30,
  });
  machine.files.write(
    "/etc/default/grub.d/50-cloudimg-settings.cfg",
    'GRUB_TIMEOUT=0\nGRUB_CMDLINE_LINUX_DEFAULT="console=tty1 console=ttyS0"\n',
  );
  machine.files.write("/etc/modprobe.d/blacklist-nouveau.conf", "blacklist nouveau\n");
  const [, wanted] = /\+kernel=([^+]+)/.exec(image) ?? [];
  const [, words] = /\+cmdline=([^+]+)/.exec(image) ?? [];
  if (words !== undefined) machine.files.write("/etc/default/grub.d/60-site.cfg", `GRUB_CMDLINE_LINUX="${words}"\n`);
  const kernel = wanted ?? OS[os].kernel;
  installSystem(machine, kernel, ["linux-image-virtual", "linux-headers-virtual", "linux-virtual"]);
  for (const [path, content, mode] of makeHostKeys("localhost")) machine.files.write(path, content, { mode });
  return machine;
}
