/**
 * The lab's virtual machine as QEMU arguments. A RAM snapshot only loads into a machine of exactly the same devices, so
 * whatever stands here is part of the image's hash.
 *
 * Always TCG, also where /dev/kvm is there: the same machine everywhere, and nobody's nested virtualisation is needed.
 */
export interface Hardware {
  /** `none`: the machine has no IOMMU at all, as with the BIOS switch off. `amd` wants the image `linux-image-amd64`. */
  readonly iommu: "intel" | "amd" | "none";
  /** MiB of memory. */
  readonly memoryMiB: number;
  /** More QEMU arguments, e.g. devices. */
  readonly extra: readonly string[];
}

export const STANDARD: Hardware = { iommu: "intel", memoryMiB: 768, extra: [] };

/** PCI addresses that tests use. The first looks like a card of NVIDIA's to the guest, see ids.ts. */
export const SPARE = "0000:00:10.0";
/** Two devices behind one conventional bridge: they share an IOMMU group with it. */
export const PAIR = ["0000:01:01.0", "0000:01:02.0"] as const;

const IOMMU: Readonly<Record<Hardware["iommu"], readonly string[]>> = {
  intel: ["-device", "intel-iommu,intremap=on"],
  amd: ["-device", "amd-iommu,intremap=on"],
  none: [],
};

export interface Files {
  /** qcow2 disk. */
  readonly disk: string;
  readonly serial: string;
  /** Unix socket of QMP; at most 107 bytes. */
  readonly qmp: string;
}

/**
 * Arguments of a paused machine: `cont` over QMP starts it. Its processor does not offer fast string moves: QEMU emulates
 * them one step at a time, and a kernel and a libc that are told of them use little else (a fork took 40 ms, not 30).
 */
export function qemuArgs(hardware: Hardware, files: Files, port: number): readonly string[] {
  return [
    ...["-name", "teeup-lab", "-S", "-nodefaults", "-no-user-config", "-display", "none"],
    ...["-machine", "q35", "-accel", "tcg,thread=multi,tb-size=256", "-cpu", "max,erms=off,fsrm=off", "-smp", "1"],
    ...["-m", String(hardware.memoryMiB), ...IOMMU[hardware.iommu]],
    ...["-chardev", `file,id=serial,path=${files.serial},append=on`, "-serial", "chardev:serial"],
    ...["-qmp", `unix:${files.qmp},server=on,wait=off`],
    ...["-drive", `file=${files.disk},if=none,id=disk0,format=qcow2,cache=unsafe,discard=unmap`],
    ...["-device", "virtio-blk-pci,drive=disk0,bootindex=1"],
    ...["-netdev", `user,id=net0,hostfwd=tcp:127.0.0.1:${port}-:22`, "-device", "virtio-net-pci,netdev=net0,romfile="],
    ...["-device", "virtio-rng-pci"],
    ...["-device", "edu,id=spare,addr=0x10", "-device", "pcie-pci-bridge,id=bridge,addr=0x11"],
    ...["-device", "pci-testdev,bus=bridge,addr=1", "-device", "pci-testdev,bus=bridge,addr=2"],
    ...hardware.extra,
  ];
}
