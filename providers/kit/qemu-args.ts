import { VM_DIR, VM_NAME, VM_UNIT_PREFIX } from "./argv.ts";
import type { Ask } from "./ask.ts";
import { SHOWN } from "./parse-systemctl.ts";

/** The systemd unit of the node's confidential VM, and the name that its QEMU process carries. */
export const VM_UNIT = `${VM_UNIT_PREFIX}${VM_NAME}.service`;
export const VM_UNIT_FILE = `/etc/systemd/system/${VM_UNIT}`;
export const VM_PROCESS = `${VM_UNIT_PREFIX}${VM_NAME}`;
/** State of the unit, and the number of its process: 0 when it has none. */
export const VM_STATE = {
  kind: "argv",
  argv: ["systemctl", "show", VM_UNIT, ...SHOWN, "-p", "MainPID"],
} as const satisfies Ask;
const DIR = `${VM_DIR}/${VM_NAME}`;
const QMP = `/run/${VM_PROCESS}.qmp`;

/** Paths of the VM's files. */
export const VM_FILES = {
  disk: `${DIR}/disk.qcow2`,
  seed: `${DIR}/seed.iso`,
  console: `${DIR}/console.log`,
} as const;

/** What keeps the guest's memory from the host. */
export const TEES = ["sev-snp", "tdx"] as const;
export type Tee = (typeof TEES)[number];

export interface VmSpec {
  readonly tee: Tee;
  readonly qemu: string;
  readonly ovmf: string;
  /** `bios`: one image for `-bios`; `pflash`: the code image of a split build. */
  readonly ovmfAs: "bios" | "pflash";
  readonly cpuModel: string;
  readonly cpus: number;
  readonly memoryGiB: number;
  /** For SEV-SNP. */
  readonly snp: {
    readonly cbitpos: number;
    readonly reducedPhysBits: number;
    /** Guest policy as hex text; undefined lets QEMU choose. */
    readonly policy: string | undefined;
  };
  /** For TDX: where the quote generation service listens, `unix:/path` or `vsock:cid:port`. */
  readonly quoteSocket: string;
  /** Memory from a memfd; QEMU's upstream SNP needs one that is shared. */
  readonly memfd: boolean;
  /** Hand devices over through /dev/iommu instead of the older group interface. */
  readonly iommufd: boolean;
  /** Full PCI addresses. */
  readonly gpus: readonly string[];
  /** The same of the NVSwitches that go to the guest: all of them under Protected PCIe, else none. */
  readonly switches: readonly string[];
  /** 64-bit MMIO window in MiB for one GPU; the whole window is a power of two. */
  readonly mmio64MiBPerGpu: number;
  readonly sshPort: number;
}

/** 64-bit MMIO window for all GPUs together: OVMF wants a power of two, and one GPU keeps the documents' value. */
export function mmioWindow(perGpuMiB: number, gpus: number): number {
  return 2 ** Math.ceil(Math.log2(perGpuMiB * Math.max(1, gpus)));
}

/** Parts of a `quoteSocket`. */
export function quoteSocketOf(socket: string): Readonly<Record<string, string>> {
  const [type = "", first = "", port = ""] = socket.split(":");
  return type === "vsock" ? { type, cid: first, port } : { type, path: first };
}

/**
 * What each TEE is to QEMU and to libvirt; all else of a launch is the same. Sources: QEMU
 * docs/system/i386/{amd-memory-encryption,tdx}.rst; launch-qemu.sh of AMDESE/AMDSEV snp-latest; guest-tools/run_td and
 * trust_domain.xml.template of canonical/tdx (seed 004, Boot TD with GPU passthrough).
 */
export const LAUNCH = {
  "sev-snp": {
    title: "SEV-SNP",
    object: "sev-snp-guest",
    id: "sev0",
    /** Without a CPU model of its own. */
    cpuModel: "EPYC-v4",
    machine: [],
    properties: ({ snp }: VmSpec): readonly string[] => [
      `cbitpos=${snp.cbitpos}`,
      `reduced-phys-bits=${snp.reducedPhysBits}`,
      ...(snp.policy === undefined ? [] : [`policy=${snp.policy}`]),
    ],
  },
  tdx: {
    title: "TDX",
    object: "tdx-guest",
    id: "tdx0",
    cpuModel: "host",
    // The module keeps the interrupt controller from the host's kernel: KVM has the local APICs only.
    machine: ["kernel-irqchip=split"],
    properties: ({ quoteSocket }: VmSpec): readonly string[] =>
      Object.entries(quoteSocketOf(quoteSocket)).map(([key, value]) => `quote-generation-socket.${key}=${value}`),
  },
} as const;

/**
 * QEMU's arguments for a confidential guest with GPUs. Sources: seed 001 "Launching the Guest OS" (launch_vm.sh of
 * NVIDIA/nvtrust v1.2.0) and those of {@link LAUNCH}.
 *
 * - The VFIO devices stand early: older pgrep sees only the first part of a command line, and "does a guest hold a
 *   GPU" must never be answered with no.
 * - The console is appended to: cloud-init prints the host keys once per instance, not at every boot.
 * - `-no-reboot`: a confidential guest cannot be reset, so its reboot ends QEMU and systemd starts a fresh one.
 */
export function qemuArgv(vm: VmSpec): readonly [string, ...string[]] {
  const tee = LAUNCH[vm.tee];
  const machine = [
    "q35",
    `confidential-guest-support=${tee.id}`,
    "vmport=off",
    ...tee.machine,
    ...(vm.memfd ? ["memory-backend=ram0"] : []),
  ];
  const object = [tee.object, `id=${tee.id}`, ...tee.properties(vm)];
  return [
    vm.qemu,
    ...["-name", VM_PROCESS],
    ...(vm.iommufd ? ["-object", "iommufd,id=iommufd0"] : []),
    ...[...vm.gpus, ...vm.switches].flatMap((bdf, i) => [
      "-device",
      `pcie-root-port,id=pci.${i + 1},bus=pcie.0,chassis=${i + 1}`,
      "-device",
      `vfio-pci,host=${bdf},bus=pci.${i + 1}${vm.iommufd ? ",iommufd=iommufd0" : ""}`,
    ]),
    ...["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"],
    ...["-accel", "kvm", "-machine", machine.join(","), "-object", object.join(",")],
    ...(vm.memfd ? ["-object", `memory-backend-memfd,id=ram0,size=${vm.memoryGiB}G,share=true,prealloc=false`] : []),
    ...["-cpu", vm.cpuModel, "-smp", String(vm.cpus), "-m", `${vm.memoryGiB}G`],
    ...(vm.ovmfAs === "bios"
      ? ["-bios", vm.ovmf]
      : ["-drive", `if=pflash,format=raw,unit=0,file=${vm.ovmf},readonly=on`]),
    ...["-device", "virtio-scsi-pci,id=scsi0,disable-legacy=on,iommu_platform=true"],
    ...["-drive", `file=${VM_FILES.disk},if=none,id=disk0,format=qcow2`, "-device", "scsi-hd,bus=scsi0.0,drive=disk0"],
    ...[
      "-drive",
      `file=${VM_FILES.seed},if=none,id=seed0,format=raw,readonly=on`,
      "-device",
      "scsi-cd,bus=scsi0.0,drive=seed0",
    ],
    ...["-netdev", `user,id=net0,hostfwd=tcp:127.0.0.1:${vm.sshPort}-:22`],
    ...["-device", "virtio-net-pci,disable-legacy=on,iommu_platform=true,netdev=net0,romfile="],
    ...["-fw_cfg", `name=opt/ovmf/X-PciMmio64Mb,string=${mmioWindow(vm.mmio64MiBPerGpu, vm.gpus.length)}`],
    ...["-chardev", `file,id=con0,path=${VM_FILES.console},append=on`, "-serial", "chardev:con0"],
    ...["-qmp", `unix:${QMP},server=on,wait=off`],
  ];
}

/** Presses the guest's power button and waits until QEMU has gone; systemd's stop time-out bounds it. */
const POWER_DOWN = [
  "/usr/bin/python3",
  "-c",
  [
    "import socket",
    "s = socket.socket(socket.AF_UNIX)",
    `s.connect('${QMP}')`,
    "f = s.makefile('rw')",
    `[(f.write('{"execute": "%s"}\\n' % c), f.flush()) for c in ('qmp_capabilities', 'system_powerdown')]`,
    "[line for line in f]",
  ].join("; "),
] as const;

/** The unit file. `gpuMode` is kept for when the GPU's mode cannot be read because the guest holds it. */
export function vmUnit(vm: VmSpec, gpuMode: string): string {
  return `# Written by TeeUp.
[Unit]
Description=Confidential VM ${VM_NAME} (${LAUNCH[vm.tee].title})
After=network-online.target
Wants=network-online.target
StartLimitIntervalSec=0

[Service]
ExecStart=${execLine(qemuArgv(vm))}
ExecStop=-${execLine(POWER_DOWN)}
Restart=always
RestartSec=5
TimeoutStopSec=120
LimitMEMLOCK=infinity

[Install]
WantedBy=multi-user.target

[X-TeeUp]
GpuMode=${gpuMode}
`;
}

/** The GPU mode that a unit file says its VM was made for. */
export function gpuModeOfUnit(unit: string): string | undefined {
  return /^GpuMode=(\S+)$/m.exec(unit)?.[1];
}

/** Addresses of the GPUs and NVSwitches that a unit file gives its VM. */
export function devicesOfUnit(unit: string): readonly string[] {
  return [...unit.matchAll(/\bvfio-pci,host=([0-9a-f:.]+)/g)].flatMap((match) => match[1] ?? []);
}

/** QEMU's arguments in a unit that {@link vmUnit} wrote, joined by blanks as process listings show them. */
export function argvOfUnit(unit: string): string {
  const line = /^ExecStart=(.*)$/m.exec(unit)?.[1];
  return (line ?? "").replaceAll('"', "").replaceAll("%%", "%").replaceAll("$$", "$");
}

/** One ExecStart line: specifiers and variables of systemd escaped, words with blanks or quotes quoted. */
export function execLine(argv: readonly string[]): string {
  return argv
    .map((word) => word.replaceAll("%", "%%").replaceAll("$", "$$$$"))
    .map((word) => (/^[^\s"'\\;]+$/.test(word) ? word : `"${word.replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"`))
    .join(" ");
}
