import type { Machine } from "./machine.ts";

/** A kernel as its image behaves once booted. */
export interface Kernel {
  /** `uname -r`. */
  readonly release: string;
  /** `uname -v`. */
  readonly build: string;
  /** Whose words and ways it has: those of a guide's own tree (5.19 for SEV-SNP, 6.9-rc for TDX), or upstream's. */
  readonly style: "seed" | "upstream";
  /** Can run SNP guests (upstream: from 6.11 with CONFIG_KVM_AMD_SEV). */
  readonly snpHost: boolean;
  /** Can run TDX guests (upstream: from 6.16 with CONFIG_KVM_INTEL_TDX). */
  readonly tdxHost: boolean;
  /** Full text of /boot/config-<release>. */
  readonly config: string;
  /** What happens when it boots. */
  readonly behaviour: "good" | "hang" | "panic";
}

const BASE_CONFIG = [
  "CONFIG_64BIT=y",
  "CONFIG_KVM=m",
  "CONFIG_KVM_AMD=m",
  "CONFIG_KVM_AMD_SEV=y",
  "CONFIG_AMD_MEM_ENCRYPT=y",
  "CONFIG_CRYPTO_DEV_CCP=y",
  "CONFIG_CRYPTO_DEV_CCP_DD=m",
  "CONFIG_CRYPTO_DEV_SP_PSP=y",
  "CONFIG_AMD_IOMMU=y",
  "CONFIG_IOMMU_DEFAULT_DMA_LAZY=y",
  "CONFIG_IOMMUFD=m",
  "CONFIG_VFIO=m",
  "CONFIG_VFIO_PCI=m",
  "CONFIG_CGROUP_MISC=y",
  "CONFIG_CRYPTO_ECC=m",
  "CONFIG_CRYPTO_ECDH=m",
  "CONFIG_CRYPTO_ECDSA=m",
  "CONFIG_CRYPTO_ECRDSA=m",
  "CONFIG_SEV_GUEST=m",
  "CONFIG_TSM_REPORTS=m",
  "CONFIG_MODULES=y",
  "CONFIG_KVM_INTEL=m",
  "CONFIG_X86_SGX=y",
  "CONFIG_INTEL_IOMMU=y",
  "CONFIG_INTEL_IOMMU_DEFAULT_ON=y",
  "CONFIG_INTEL_TDX_GUEST=y",
  "CONFIG_TDX_GUEST_DRIVER=m",
  "CONFIG_HIBERNATION=y",
  "CONFIG_KEXEC=y",
  "CONFIG_KEXEC_FILE=y",
  "CONFIG_CRASH_DUMP=y",
];

/** What a distribution turns on once its kernel has it. */
const LATER = [{ since: [6, 16], options: ["CONFIG_INTEL_TDX_HOST=y", "CONFIG_KVM_INTEL_TDX=y"] }] as const;

/** `[major, minor]` of a release. */
export function kernelVersion(release: string): readonly [number, number] {
  const match = /^(\d+)\.(\d+)/.exec(release);
  return [Number(match?.[1] ?? 0), Number(match?.[2] ?? 0)];
}

export function atLeast(release: string, major: number, minor: number): boolean {
  const [a, b] = kernelVersion(release);
  return a > major || (a === major && b >= minor);
}

/** `panic=` of a command line, the last one as the kernel takes it; 0: a panic stands for ever. */
export function panicSeconds(cmdline: string): number {
  return Number([...cmdline.matchAll(/(?:^|\s)panic=(-?\d+)(?!\S)/g)].at(-1)?.[1] ?? 0);
}

/** Config text of a distribution kernel, with `changes` on top (`undefined` turns an option off). */
export function configText(release: string, changes: Readonly<Record<string, string | undefined>> = {}): string {
  const later = LATER.flatMap(({ since, options }) => (atLeast(release, since[0], since[1]) ? options : []));
  const table = new Map([...BASE_CONFIG, ...later].map((line) => line.split("=", 2) as [string, string]));
  const off: string[] = [];
  for (const [name, value] of Object.entries(changes)) {
    if (value === undefined) {
      table.delete(name);
      off.push(name);
    } else table.set(name, value);
  }
  return [
    "#",
    "# Automatically generated file; DO NOT EDIT.",
    `# Linux/x86 ${release.replace(/^(\d+\.\d+\.\d+(?:-rc\d+)?).*$/, "$1")} Kernel Configuration`,
    "#",
    ...[...table].map(([name, value]) => `${name}=${value}`),
    ...off.map((name) => `# ${name} is not set`),
    "",
  ].join("\n");
}

/** Options of a config text: name → y, m, n or a value. */
export function parseConfig(text: string): Map<string, string> {
  const options = new Map<string, string>();
  for (const line of text.split("\n")) {
    const set = /^(CONFIG_\w+)=(.*)$/.exec(line);
    if (set?.[1] !== undefined) options.set(set[1], set[2] ?? "");
    const unset = /^# (CONFIG_\w+) is not set$/.exec(line);
    if (unset?.[1] !== undefined) options.delete(unset[1]);
  }
  return options;
}

export function makeKernel(release: string, extra: Partial<Kernel> = {}): Kernel {
  const config = extra.config ?? configText(release);
  const options = parseConfig(config);
  const sev = options.get("CONFIG_KVM_AMD_SEV") === "y" && options.get("CONFIG_AMD_MEM_ENCRYPT") === "y";
  return {
    release,
    build: extra.build ?? "#1 SMP PREEMPT_DYNAMIC",
    style: extra.style ?? (atLeast(release, 6, 9) ? "upstream" : "seed"),
    snpHost: extra.snpHost ?? (sev && (atLeast(release, 6, 11) || release.includes("snp-host"))),
    tdxHost:
      extra.tdxHost ??
      (atLeast(release, 6, 16) &&
        ["CONFIG_INTEL_TDX_HOST", "CONFIG_KVM_INTEL_TDX"].every((name) => options.get(name) === "y")),
    config,
    behaviour: extra.behaviour ?? "good",
  };
}

/** Puts a kernel's files into /boot and /lib/modules. */
export function installKernel(machine: Machine, kernel: Kernel): void {
  machine.kernels.set(kernel.release, kernel);
  const { files } = machine;
  files.write(`/boot/vmlinuz-${kernel.release}`, `linux ${kernel.release}\n`, { mode: "0600", size: 14_900_000 });
  files.write(`/boot/config-${kernel.release}`, kernel.config);
  files.write(`/boot/System.map-${kernel.release}`, "", { mode: "0600", size: 9_000_000 });
  files.write(`/lib/modules/${kernel.release}/modules.dep`, "kernel/drivers/vfio/pci/vfio-pci.ko:\n");
}

export function removeKernel(machine: Machine, release: string): void {
  for (const name of ["vmlinuz", "config", "System.map", "initrd.img"])
    machine.files.remove(`/boot/${name}-${release}`);
  machine.files.remove(`/lib/modules/${release}`);
}

/** What an initramfs was built from: module options and hooks act early only from here. */
export function updateInitramfs(machine: Machine, release: string): void {
  const { files } = machine;
  const modprobe = files.listIf("/etc/modprobe.d").filter((name) => name.endsWith(".conf"));
  const text = modprobe.map((name) => `etc/modprobe.d/${name}\n${files.readIf(`/etc/modprobe.d/${name}`) ?? ""}`);
  files.write(`/boot/initrd.img-${release}`, `initramfs ${release}\n${text.join("\n")}`, {
    mode: "0600",
    size: 72_000_000,
  });
}

/** Kernels whose image is there, newest first, as GRUB sorts them. */
export function installedKernels(machine: Machine): string[] {
  return machine.files
    .listIf("/boot")
    .filter((name) => name.startsWith("vmlinuz-"))
    .map((name) => name.slice("vmlinuz-".length))
    .sort((a, b) => compareReleases(b, a));
}

export function compareReleases(a: string, b: string): number {
  const split = (s: string) => s.split(/[.\-+~_]/);
  const [x, y] = [split(a), split(b)];
  for (let i = 0; i < Math.max(x.length, y.length); i++) {
    const [p, q] = [x[i] ?? "", y[i] ?? ""];
    if (p === q) continue;
    const [m, n] = [Number(p), Number(q)];
    if (p !== "" && q !== "" && !Number.isNaN(m) && !Number.isNaN(n)) return m - n;
    return p < q ? -1 : 1;
  }
  return 0;
}
