import type { Permit } from "../../providers/kit/disruption.ts";
import { addGroupMember, defaultGrub } from "../../sim/scenarios.ts";
import type { Twin, TwinOptions } from "../../sim/twin.ts";
import type { Want } from "./production.ts";
import { H100 } from "./vm/ids.ts";
import { SPARE } from "./vm/machine.ts";
import type { Vm, VmOptions } from "./vm/vm.ts";

/**
 * What goes wrong on real machines, each set on a real kernel (traps.test.ts) and on the twin (test/sim/traps.test.ts):
 * the same wants must end in the same error on both, and well once the cause is gone.
 */
export interface Trap {
  readonly name: string;
  readonly wants: readonly Want[];
  readonly permit?: Permit;
  /** What is taken down instead of brought up. */
  readonly destroy?: true;
  /** Brought up before the cause is set. */
  readonly first?: readonly Want[];
  readonly vm: {
    readonly options?: VmOptions;
    set(vm: Vm): Promise<unknown>;
    clear(vm: Vm): Promise<unknown>;
    /** What the machine itself says in the end. */
    readonly proof?: { readonly ask: string; readonly says: string };
  };
  readonly twin: { readonly options?: TwinOptions; set(twin: Twin): void; clear(twin: Twin): void };
  /** Where the product itself takes the cause away. */
  readonly cured?: readonly Want[];
  readonly ends: {
    readonly code: string;
    /** Step, or facet, that the error names. */
    readonly subject: string;
    readonly saw: RegExp;
    readonly next: RegExp;
  };
}

const BINDING: readonly Want[] = [["vfio-binding", { gpus: "all" }]];
const OTHER = "0000:00:12.1";
const at = (bdf: string) => `/sys/bus/pci/devices/${bdf}`;
const WORD = "vfio-pci.disable_idle_d3=1";
const CMDLINE: readonly Want[] = [["kernel-cmdline", { present: [WORD] }]];

/** Holds one of apt's locks as apt does: fcntl's, which flock(1) cannot take. */
const HOLDER = `import fcntl, sys, time
held = open(sys.argv[1], "w")
fcntl.lockf(held, fcntl.LOCK_EX)
open("/run/lab-holds", "w").close()
time.sleep(3600)
`;
export const holdLock = (vm: Vm, path: string) =>
  vm.sh(
    `cat >/root/holder.py && systemd-run --quiet --collect --unit=lab-holder python3 /root/holder.py ${path} && until test -e /run/lab-holds; do sleep 0.1; done`,
    HOLDER,
  );
export const freeLock = (vm: Vm) => vm.sh("systemctl stop lab-holder");

/** All but a few MiB in one go, which fallocate gives at once, and the rest byte by byte. */
const FILL = `fallocate -l $(($(stat -f -c '%a * %S' /) - 8388608)) /fill; cat /dev/zero >/fill-rest 2>/dev/null; sync; test $(stat -f -c %a /) -eq 0`;
const full: Pick<Trap, "vm" | "twin"> = {
  vm: { set: (vm) => vm.sh(FILL), clear: (vm) => vm.sh("rm /fill /fill-rest") },
  twin: {
    set: ({ host }) => {
      host.files.capacity = host.files.used;
    },
    clear: ({ host }) => {
      host.files.capacity = host.files.used + 2 ** 35;
    },
  },
};

const apt = (lock: "lists/lock" | "dpkg/lock-frontend"): Trap => {
  const path = lock === "lists/lock" ? "/var/lib/apt/lists/lock" : "/var/lib/dpkg/lock-frontend";
  return {
    name: `another process holds ${path}`,
    wants: [["packages", { names: ["lab-tool"] }]],
    vm: { set: (vm) => holdLock(vm, path), clear: freeLock },
    twin: {
      set: ({ host }) => {
        host.packages.lock = { path, by: "4711 (python3)" };
      },
      clear: ({ host }) => {
        host.packages.lock = undefined;
      },
    },
    ends: {
      code: "action.busy",
      subject: "packages.install",
      // Before apt-get installs, dpkg is asked to end what was begun.
      saw:
        lock === "lists/lock"
          ? new RegExp(`Could not get lock ${path}\\. It is held by process \\d+ \\(python3\\)`)
          : /"dpkg --configure -a" ended with 2: .*frontend lock was locked by another process with pid \d+/,
      next: /ps -fp PID.*pulumi up again/,
    },
  };
};

/** Off by a word on the command line, as Debian's kernels turn it on by themselves; the product takes the word off. */
const iommuOff = (word: string): Trap => ({
  name: `${word}: binding would report success and bind nothing`,
  wants: BINDING,
  vm: {
    set: async (vm) => {
      await vm.sh(
        `sed -i 's/^GRUB_CMDLINE_LINUX_DEFAULT=.*/GRUB_CMDLINE_LINUX_DEFAULT="${word}"/' /etc/default/grub && update-grub`,
      );
      await vm.reboot();
    },
    clear: () => Promise.resolve(),
    proof: { ask: `basename $(readlink /sys/bus/pci/devices/${SPARE}/driver)`, says: "vfio-pci" },
  },
  twin: {
    set: ({ node }) => {
      defaultGrub(node, word);
      node.reset("GracefulRestart", "os");
      node.settle();
    },
    clear: () => undefined,
  },
  cured: [["kernel-cmdline", { present: [], forbidden: [word] }], ["host-boot", {}], ...BINDING],
  ends: {
    code: "action.failed",
    subject: "vfio-binding.bind",
    saw: /the kernel made no IOMMU groups/,
    next: /IOMMU on in the BIOS; .*intel_iommu=off/,
  },
});

export const TRAPS: readonly Trap[] = [
  iommuOff("intel_iommu=off"),
  {
    name: "the host works with another device of the GPU's group",
    wants: BINDING,
    vm: {
      // Two functions of one card without ACS: the kernel puts them into one group.
      options: {
        extra: [...["-device", "edu,id=card,addr=0x12,multifunction=on"], ...["-device", "virtio-rng-pci,addr=0x12.1"]],
        ids: { card: H100 },
      },
      // Nothing to do: the host's driver took it at boot.
      set: (vm) => vm.sh(`readlink ${at(OTHER)}/driver | grep virtio-pci`),
      clear: (vm) => vm.sh(`echo ${OTHER} >/sys/bus/pci/drivers/virtio-pci/unbind`),
      // The whole group, none left behind.
      proof: {
        ask: `for device in $(ls ${at(OTHER)}/iommu_group/devices); do basename $(readlink ${at(OTHER)}/../$device/driver); done`,
        says: "vfio-pci\nvfio-pci",
      },
    },
    twin: {
      set: ({ node }) => {
        const what = { vendor: "1b36", device: "0005", class: "ff0000", className: "Unclassified device" };
        addGroupMember(node, what, "bnxt_en");
        node.reset("GracefulRestart", "os");
        node.settle();
      },
      clear: ({ host }) => {
        for (const [bdf, driver] of [...host.now.drivers]) if (driver === "bnxt_en") host.now.drivers.delete(bdf);
      },
    },
    ends: {
      code: "reconcile.human",
      subject: "vfio-binding",
      saw: /free the GPUs' IOMMU groups of \S+ \((virtio-pci|bnxt_en)\).*\n.*because/s,
      next: /do that, then run pulumi up again/,
    },
  },
  {
    name: "vfio-pci cannot be loaded",
    wants: BINDING,
    vm: {
      set: (vm) => vm.sh("echo 'install vfio-pci /bin/false' >/etc/modprobe.d/site.conf"),
      clear: (vm) => vm.sh("rm /etc/modprobe.d/site.conf"),
    },
    twin: {
      set: ({ host }) => host.files.write("/etc/modprobe.d/site.conf", "install vfio-pci /bin/false\n"),
      clear: ({ host }) => host.files.remove("/etc/modprobe.d/site.conf"),
    },
    ends: {
      code: "action.failed",
      subject: "vfio-binding.module",
      saw: /"modprobe vfio-pci" ended with 1: .*install command '\/bin\/false'/,
      next: /mend what it says/,
    },
  },
  {
    name: "a confidential VM uses the GPU that is to be given back",
    destroy: true,
    permit: "service",
    first: BINDING,
    wants: BINDING,
    vm: {
      set: async (vm) => {
        await vm.sh(
          `systemd-run --quiet --collect --unit=lab-guest qemu-system-x86_64 -S -nodefaults -display none -machine q35 -accel tcg -m 64 -device vfio-pci,host=${SPARE}`,
        );
        // It has the group open, so nobody else may.
        await vm.until(
          `ls -l /proc/$(systemctl show -P MainPID lab-guest)/fd | grep -c /dev/vfio/[0-9]`,
          ({ status }) => status === 0,
        );
      },
      clear: (vm) => vm.sh("systemctl stop lab-guest"),
    },
    twin: {
      set: ({ host }) => {
        const bdf = host.pci.find(({ vendor }) => vendor === "10de")?.bdf;
        host.now.processes.set(4711, { argv: ["/usr/bin/qemu-system-x86_64", "-device", `vfio-pci,host=${bdf}`] });
      },
      clear: ({ host }) => {
        host.now.processes.delete(4711);
      },
    },
    ends: {
      code: "permit.refused",
      subject: "vfio-binding",
      saw: /nothing was changed.*\n.*\[guest-stop\] give \S+ back to the host's drivers/s,
      next: /pulumi config set teeup:permit guest-stop && pulumi up/,
    },
  },
  {
    name: "/boot is read-only",
    wants: CMDLINE,
    vm: {
      set: (vm) => vm.sh("mount --bind /boot /boot && mount -o remount,ro,bind /boot"),
      clear: (vm) => vm.sh("umount /boot"),
    },
    twin: {
      set: ({ host }) => host.files.readOnly.add("/boot"),
      clear: ({ host }) => host.files.readOnly.clear(),
    },
    ends: {
      code: "action.failed",
      subject: "kernel-cmdline.stage",
      saw: /"update-grub" ended with \d+: .*\/boot\/grub\/grub\.cfg.*Read-only file system/s,
      next: /findmnt/,
    },
  },
  {
    name: "the disk is full when a file is written",
    wants: CMDLINE,
    ...full,
    ends: {
      code: "action.put-failed",
      subject: "kernel-cmdline.stage",
      saw: /cannot write \/etc\/default\/grub\.d\/50-teeup\.cfg: .*(No space left on device|is the disk full\?)/,
      next: /make room on the disk/,
    },
  },
  {
    name: "the disk is full when a package is installed",
    wants: [["packages", { names: ["lab-tool"] }]],
    ...full,
    ends: {
      code: "action.failed",
      subject: "packages.install",
      saw: /No space left on device/,
      next: /make room on the disk/,
    },
  },
  apt("lists/lock"),
  apt("dpkg/lock-frontend"),
];
