import { dcapPackages } from "./dcap.ts";
import { fabricFiles } from "./fabric.ts";
import { dir, file, program } from "./files.ts";
import { atLeast, configText } from "./kernel.ts";
import type { Package } from "./packages.ts";
import { rpmPackages } from "./rpm-archive.ts";
import { sgxPackages } from "./sgx.ts";
import { ovmfData, qemuData } from "./stand-ins.ts";

/** The archives that a machine can reach: names, versions and what each package brings. All of it synthetic. */
const CUDA = "developer.download.nvidia.com";

/** Packages that only have to be there: name → version. */
const PLAIN: Readonly<Record<string, string>> = {
  "ninja-build": "1.11.1-2",
  iasl: "20230628-1",
  "acpica-tools": "20230628-1",
  nasm: "2.16.01-1build1",
  flex: "2.6.4-8.2build1",
  bison: "2:3.8.2+dfsg-1build2",
  openssl: "3.0.13-0ubuntu3.6",
  dkms: "3.0.11-1ubuntu13",
  autoconf: "2.71-3",
  automake: "1:1.16.5-1.3ubuntu1",
  python3: "3.12.3-0ubuntu2",
  "python3-pip": "24.0+dfsg-1ubuntu1.3",
  "python3-venv": "3.12.3-0ubuntu2",
  "python3.10-venv": "3.10.12-1~22.04.11",
  "python3.12-venv": "3.12.3-1ubuntu0.8",
  "python3-tomli": "2.0.1-2",
  "python3-sphinx": "7.2.6-6",
  "libncurses-dev": "6.4+20240113-1ubuntu2",
  "libssl-dev": "3.0.13-0ubuntu3.6",
  "libelf-dev": "0.190-1.1ubuntu0.1",
  "libdw-dev": "0.190-1.1ubuntu0.1",
  "libudev-dev": "255.4-1ubuntu8.11",
  "libpci-dev": "1:3.10.0-2build1",
  "libiberty-dev": "20230104-1",
  libtool: "2.4.7-7build1",
  "libsdl-console": "2.1-6",
  "libsdl-console-dev": "2.1-6",
  "libpango1.0-dev": "1.52.1+ds-1build1",
  "libjpeg8-dev": "8c-2ubuntu11",
  "libpixman-1-dev": "0.42.2-1build1",
  "libslirp-dev": "4.7.0-1ubuntu3",
  "libcairo2-dev": "1.18.0-3build1",
  "libgif-dev": "5.2.2-1ubuntu1",
  "libglib2.0-dev": "2.80.0-6ubuntu3.4",
  "libcap-ng-dev": "0.8.4-2build2",
  "libaio-dev": "0.3.113-6build1",
  "zlib1g-dev": "1:1.3.dfsg-3.1ubuntu2.1",
  "uuid-dev": "2.39.3-9ubuntu6.3",
  "pkg-config": "1.8.1-2build1",
  "build-essential": "12.10ubuntu1",
  debhelper: "13.14.1ubuntu5",
  "git-lfs": "3.4.1-1ubuntu0.3",
  meson: "1.3.2-1ubuntu1",
  dwarves: "1.25-0ubuntu3",
  bc: "1.07.1-3ubuntu4",
  cpio: "2.15+dfsg-1ubuntu2",
  kmod: "31+20240202-2ubuntu7.1",
  "ca-certificates": "20240203",
  gnupg: "2.4.4-2ubuntu17.3",
  "linux-firmware": "20240318.git3b128b60-0ubuntu2.18",
  "apt-transport-https": "2.8.3",
  xmlstarlet: "1.6.1-4",
  numactl: "2.0.18-1build1",
  socat: "1.8.0.0-4build3",
};

/** Packages that bring programs: name → [version, programs]. */
const TOOLS: Readonly<Record<string, readonly [string, Readonly<Record<string, string>>]>> = {
  driverctl: ["0.115-2", { driverctl: "0.115" }],
  pciutils: ["1:3.10.0-2build1", { lspci: "3.10.0", setpci: "3.10.0" }],
  git: ["1:2.43.0-1ubuntu7.3", { git: "2.43.0" }],
  curl: ["8.5.0-2ubuntu10.6", { curl: "8.5.0" }],
  wget: ["1.21.4-1ubuntu4.1", { wget: "1.21.4" }],
  unzip: ["6.0-28ubuntu4.1", { unzip: "6.00" }],
  jq: ["1.7.1-3ubuntu0.24.04.1", { jq: "1.7.1" }],
  patch: ["2.7.6-7build3", { patch: "2.7.6" }],
  rsync: ["3.2.7-1ubuntu1.2", { rsync: "3.2.7" }],
  make: ["4.3-4.1build2", { make: "4.3" }],
  gcc: ["4:13.2.0-7ubuntu1", { gcc: "13.3.0" }],
  "g++": ["4:13.2.0-7ubuntu1", { "g++": "13.3.0" }],
  ninja: ["1.11.1-2", { ninja: "1.11.1" }],
  "cloud-image-utils": ["0.33-1", { "cloud-localds": "0.33" }],
  genisoimage: ["9:1.1.11-3.5", { genisoimage: "1.1.11" }],
  xorriso: ["1:1.5.6-1.1ubuntu3", { xorriso: "1.5.6", xorrisofs: "1.5.6" }],
  mtools: ["4.0.43-1build1", { mcopy: "4.0.43" }],
};

/** Empty folders that packages bring. */
const FOLDERS: Readonly<Record<string, string>> = { driverctl: "/etc/driverctl.d" };

const DEPENDS: Readonly<Record<string, readonly string[]>> = {
  "build-essential": ["gcc", "g++", "make"],
  "cloud-image-utils": ["genisoimage", "qemu-utils"],
  dkms: ["build-essential"],
  "ninja-build": ["ninja"],
};

/** QEMU, OVMF and libvirt of a distribution; upstream's QEMU has TDX from 10.1. */
const VIRTUALISATION = {
  noble: { qemu: "1:8.2.2+ds-0ubuntu1.10", ovmf: "2024.02-2ubuntu0.6", libvirt: "10.0.0-2ubuntu8.9" },
  resolute: { qemu: "1:10.2.1+ds-1ubuntu3", ovmf: "2025.11-3ubuntu2", libvirt: "12.0.0-1ubuntu5" },
} as const;

/** As the package brings it: every setting a comment. */
const QEMU_CONF = `# Master configuration file for the QEMU driver.
# All settings described here are optional - if omitted, sensible
# defaults are used.

#security_driver = "selinux"
#user = "libvirt-qemu"
#group = "kvm"
#dynamic_ownership = 1
#remember_owner = 1
#clear_emulator_capabilities = 1
`;
const LIBVIRTD_UNIT = `[Unit]
Description=libvirt legacy monolithic daemon
After=network.target

[Service]
Type=notify
ExecStart=/usr/sbin/libvirtd
KillMode=process
Restart=on-failure

[Install]
WantedBy=multi-user.target
`;

/** Kernels in the archive, oldest first. */
const HOST_KERNELS = [
  "5.15.0-60-generic",
  "6.8.0-45-generic",
  "6.8.0-90-generic",
  "6.11.0-29-generic",
  "6.14.0-33-generic",
  "6.14.0-37-generic",
];
/** Of the first long-term Ubuntu whose own kernel has TDX hosts (canonical/tdx#411). */
const RESOLUTE_KERNELS = ["7.0.0-14-generic", "7.0.0-31-generic"];
const GUEST_KERNELS = [
  "5.15.0-60-generic",
  "5.19.0-43-generic",
  "6.2.0-26-generic",
  "6.5.0-44-generic",
  "6.8.0-45-generic",
  "6.8.0-90-generic",
  "6.11.0-29-generic",
  "6.14.0-37-generic",
];

const kernelVersionOf = (release: string): string =>
  `${release.replace(/-generic$/, "").replace(/-(\d+)$/, "-$1.$1")}~24.04.1`;

function kernelPackages(release: string): Package[] {
  const version = kernelVersionOf(release);
  const plain = (name: string, depends: readonly string[] = []): Package => ({
    name: `${name}-${release}`,
    version,
    depends,
  });
  const short = release.replace(/-generic$/, "");
  return [
    {
      name: `linux-image-${release}`,
      version,
      depends: [`linux-modules-${release}`, "kmod"],
      kernel: release,
      config: configText(release, atLeast(release, 6, 8) ? {} : { CONFIG_TSM_REPORTS: undefined }),
      size: 14_000_000,
    },
    { name: `linux-image-unsigned-${release}`, version, depends: [`linux-modules-${release}`], kernel: release },
    { ...plain("linux-modules"), size: 120_000_000 },
    { ...plain("linux-modules-extra", [`linux-modules-${release}`]), size: 120_000_000 },
    plain("linux-headers", [`linux-headers-${short}`]),
    { name: `linux-headers-${short}`, version },
    plain("linux-tools"),
  ];
}

function metaPackages(prefix: string, release: string, suffix: string): Package[] {
  const version = kernelVersionOf(release).replace(/~24\.04\.1$/, "");
  return [
    { name: `linux-image-${prefix}${suffix}`, version, depends: [`linux-image-${release}`] },
    { name: `linux-headers-${prefix}${suffix}`, version, depends: [`linux-headers-${release}`] },
    {
      name: `linux-${prefix}${suffix}`,
      version,
      depends: [`linux-image-${prefix}${suffix}`, `linux-headers-${prefix}${suffix}`],
    },
  ];
}

function libvirtPackages(codename: keyof typeof VIRTUALISATION): Package[] {
  const { libvirt: version } = VIRTUALISATION[codename];
  const upstream = version.split("-")[0] ?? "";
  return [
    {
      name: "libvirt-daemon-system",
      version,
      depends: ["libvirt-daemon", "libvirt-clients", "qemu-system-x86"],
      files: {
        "/etc/libvirt/qemu.conf": file(QEMU_CONF, "0600"),
        "/usr/sbin/libvirtd": program("libvirtd", upstream),
        "/usr/lib/systemd/system/libvirtd.service": file(LIBVIRTD_UNIT),
      },
      enables: ["libvirtd.service"],
    },
    { name: "libvirt-daemon", version },
    { name: "libvirt-clients", version, programs: { virsh: upstream } },
  ];
}

function virtualisation(codename: keyof typeof VIRTUALISATION): Package[] {
  const { qemu: version, ovmf } = VIRTUALISATION[codename];
  const upstream = /:([\d.]+)/.exec(version)?.[1] ?? "";
  const edk2 = ovmf.split("-")[0] ?? "";
  const all = codename === "resolute";
  const image = file(ovmfData(edk2, true, all));
  return [
    {
      name: "qemu-system-x86",
      version,
      depends: ["qemu-system-common", "seabios"],
      programs: { "qemu-system-x86_64": qemuData(upstream, all, all, all) },
    },
    { name: "qemu-system-common", version, depends: ["qemu-utils"] },
    { name: "qemu-utils", version, programs: { "qemu-img": upstream, "qemu-nbd": upstream } },
    { name: "seabios", version: "1.16.3-2" },
    {
      name: "ovmf",
      version: ovmf,
      files: {
        "/usr/share/ovmf/OVMF.fd": image,
        "/usr/share/OVMF/OVMF_CODE_4M.fd": image,
        "/usr/share/OVMF/OVMF_VARS_4M.fd": file("ovmf variables\n"),
        "/usr/share/ovmf/OVMF.amdsev.fd": image,
      },
    },
    ...(all
      ? [
          {
            name: "ovmf-inteltdx",
            version: ovmf,
            files: {
              "/usr/share/ovmf/OVMF.inteltdx.fd": image,
              "/usr/share/ovmf/OVMF.inteltdx.ms.fd": image,
            },
          },
        ]
      : []),
    ...libvirtPackages(codename),
  ];
}

function nvidia(): Package[] {
  const branch = (major: string, versions: readonly string[], server: boolean): Package[] =>
    versions.flatMap((version) => {
      const tail = server ? `${major}-server` : major;
      const full = `${version}-0ubuntu0.24.04.1`;
      return [
        {
          name: `nvidia-dkms-${tail}-open`,
          version: full,
          depends: ["dkms"],
          driver: { version, open: true },
          provides: [`nvidia-kernel-source-${tail}-open`],
        },
        { name: `nvidia-dkms-${tail}`, version: full, depends: ["dkms"], driver: { version, open: false } },
        { name: `nvidia-utils-${tail}`, version: full },
        // One package for both kinds of a branch.
        ...(server
          ? [
              { name: `nvidia-fabricmanager-${major}`, version: full, files: fabricFiles(version) },
              {
                name: `libnvidia-nscq-${major}`,
                version: full,
                files: { [`/usr/lib/x86_64-linux-gnu/libnvidia-nscq.so.${version}`]: file("synthetic\n") },
              },
            ]
          : []),
        { name: `libnvidia-compute-${tail}`, version: full },
        { name: `nvidia-compute-utils-${tail}`, version: full },
        { name: `nvidia-firmware-${tail}-${version}`, version: full },
        {
          name: `nvidia-headless-no-dkms-${tail}-open`,
          version: full,
          depends: [`libnvidia-compute-${tail}`, `nvidia-compute-utils-${tail}`],
        },
        {
          name: `nvidia-headless-${tail}-open`,
          version: full,
          depends: [`nvidia-headless-no-dkms-${tail}-open`, `nvidia-dkms-${tail}-open`],
        },
        {
          name: `nvidia-headless-${tail}`,
          version: full,
          depends: [`libnvidia-compute-${tail}`, `nvidia-dkms-${tail}`],
        },
        {
          name: `nvidia-driver-${tail}-open`,
          version: full,
          depends: [`nvidia-dkms-${tail}-open`, `nvidia-utils-${tail}`],
        },
        { name: `nvidia-driver-${tail}`, version: full, depends: [`nvidia-dkms-${tail}`, `nvidia-utils-${tail}`] },
      ];
    });
  const cuda = (version: string, tail: string): Package[] => [
    { name: "nvidia-open", version: `${version}-1${tail}`, from: CUDA, depends: ["nvidia-open-580"] },
    {
      name: "nvidia-open-580",
      version: `${version}-1${tail}`,
      from: CUDA,
      depends: ["dkms"],
      driver: { version, open: true },
    },
  ];
  return [
    ...branch("535", ["535.274.02"], true),
    ...branch("570", ["570.195.03"], true),
    ...branch("580", ["580.95.05", "580.105.08"], true),
    ...branch("580", ["580.95.05"], false),
    ...cuda("580.105.08", "ubuntu1"),
    {
      name: "nvattest",
      version: "1.1.0.1770935842-1",
      from: CUDA,
      programs: { nvattest: "1.1.0" },
      depends: ["libnvat1"],
    },
    { name: "libnvat1", version: "1.1.0.1770935842-1", from: CUDA },
    { name: "nvidia-persistenced", version: "580.105.08-1ubuntu1", from: CUDA },
    { name: "nvidia-fabricmanager", version: "580.105.08-1ubuntu1", from: CUDA, files: fabricFiles("580.105.08") },
    { name: "cuda-toolkit", version: "13.0.2-1", from: CUDA },
  ];
}

function build(kind: "host" | "guest", codename: string): ReadonlyMap<string, readonly Package[]> {
  const resolute = codename === "resolute";
  const kernels = kind === "host" ? HOST_KERNELS : GUEST_KERNELS;
  const list: Package[] = [
    ...Object.entries(PLAIN).map(([name, version]): Package => ({ name, version, depends: DEPENDS[name] ?? [] })),
    ...Object.entries(TOOLS).map(
      ([name, [version, programs]]): Package => ({
        ...{ name, version, programs, depends: DEPENDS[name] ?? [] },
        ...(FOLDERS[name] === undefined ? {} : { files: { [FOLDERS[name]]: dir() } }),
      }),
    ),
    ...virtualisation(resolute ? "resolute" : "noble"),
    ...(resolute ? RESOLUTE_KERNELS : kernels).flatMap(kernelPackages),
    ...metaPackages("generic", resolute ? "7.0.0-31-generic" : "6.8.0-90-generic", ""),
    ...(resolute ? [] : metaPackages("generic", "6.14.0-37-generic", "-hwe-24.04")),
    ...metaPackages("virtual", resolute ? "7.0.0-31-generic" : "6.8.0-90-generic", ""),
    ...(kind === "guest" ? metaPackages("generic", "6.5.0-44-generic", "-hwe-22.04") : []),
    ...nvidia(),
    ...(kind === "host" ? sgxPackages() : dcapPackages()),
  ];
  return byName(list);
}

function byName(list: readonly Package[]): ReadonlyMap<string, readonly Package[]> {
  const map = new Map<string, Package[]>();
  for (const p of list) map.set(p.name, [...(map.get(p.name) ?? []), p]);
  return map;
}

const made = new Map<string, ReadonlyMap<string, readonly Package[]>>();

/** The archive of a host or a guest with this Ubuntu, or with this release of the Red Hat family; made once for all twins. */
export function repository(kind: "host" | "guest", codename: string): ReadonlyMap<string, readonly Package[]> {
  const key = `${kind} ${codename}`;
  const had = made.get(key);
  if (had !== undefined) return had;
  const map = /^(al|el)\d/.test(codename) ? byName(rpmPackages()) : build(kind, codename);
  made.set(key, map);
  return map;
}
