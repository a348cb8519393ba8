import type { PlainFile } from "./model/files.ts";
import { file, nodeSha256, program } from "./model/files.ts";
import { updateGrub } from "./model/grub.ts";
import { makeKernel } from "./model/kernel.ts";
import type { TwinNode } from "./model/node.ts";
import { diskText } from "./model/stand-ins.ts";
import { MILAN, NAPLES, XEON } from "./model/system.ts";
import { TDX_SCENARIOS } from "./scenarios-tdx.ts";
import type { TwinOptions } from "./twin.ts";

/** What is left after an `up` with everything permitted. */
export type Expected =
  /** The node is as wanted and attested. */
  | "repaired"
  /** A finding with this code, that is not a pass, is seen by every later look. */
  | { readonly finding: string }
  /** `up` ends with this error; `finding` is what a later look then shows, where there is one. */
  | { readonly error: string; readonly finding?: string };

export type TwinPlatform = "snp" | "tdx" | "tdx-8gpu";

/** How a twin of each platform is made. */
export const PLATFORM_OPTIONS: Readonly<Record<TwinPlatform, Partial<TwinOptions>>> = {
  snp: {},
  tdx: { tee: "tdx" },
  "tdx-8gpu": { tee: "tdx", gpus: 8, switches: 4 },
};

export interface Scenario {
  readonly name: string;
  readonly about: string;
  readonly source: string;
  /** `untouched`: the trap is there from the start. `provisioned`: it comes after a good `up`. */
  readonly when: "untouched" | "provisioned";
  /** Kind of machine the trap is one of. Default `snp`. */
  readonly platform?: TwinPlatform;
  /** Profile the trap belongs to; default any, tests use the upstream one of its platform. */
  readonly profile?: "nvidia-du-11462-001-v1.0" | "intel-tdx-kvm-coco-20240512";
  /** What the stack asks for otherwise than usual. */
  readonly settings?: { readonly gpus: readonly string[] };
  /** How the machine is made. */
  readonly options?: Partial<TwinOptions>;
  /** Before its first boot. */
  readonly off?: (node: TwinNode) => void;
  /** While it runs: after the first boot, or after the good `up`. */
  readonly on?: (node: TwinNode) => void;
  readonly expect: Expected;
}

const NOBLE = "https://cloud-images.ubuntu.com/releases/noble/release/ubuntu-24.04-server-cloudimg-amd64.img";
const JAMMY = "https://cloud-images.ubuntu.com/releases/jammy/release/ubuntu-22.04-server-cloudimg-amd64.img";
/** The host of the guide's days: Ubuntu 22.04 on Milan, with old firmware. */
export const SEED_HOST: Partial<TwinOptions> = { os: "ubuntu-22.04", cpu: MILAN, sevFirmwareFile: null };

/** Values with which a Supermicro board is ready for SNP. */
export const SUPERMICRO_SNP = {
  "SMEE#003E": "Enabled",
  "SEVASIDCount#003D": "509 ASIDs",
  "SEV-ESASIDSpaceLimitControl#003F": "Manual",
  "SEV-ESASIDSpaceLimit#700C": 100,
  "SNPMemory(RMPTable)Coverage#003C": "Enabled",
  "IOMMU#0196": "Enabled",
  "SEV-SNPSupport#01A7": "Enabled",
} as const;

const ready = (node: TwinNode, but: Readonly<Record<string, string | number>> = {}): void =>
  node.bios.force({ ...SUPERMICRO_SNP, ...but });
const gpus = (node: TwinNode) => [...node.gpus.values()];
const firstGpu = (node: TwinNode) => {
  const gpu = gpus(node)[0];
  if (gpu === undefined) throw new Error("this twin has no GPU");
  return gpu;
};

/** The image behind a url is another system, and still has the sum that was pinned. */
function serveImage(node: TwinNode, url: string, image: string): void {
  const old = node.internet.get(url) as PlainFile;
  const text = diskText({ id: image, image, format: "qcow2", virtual: 3_758_096_384 });
  node.internet.serve(url, { ...old, content: text, sha256: nodeSha256(old) });
}

export const defaultGrub = (node: TwinNode, words: string): void => {
  const path = "/etc/default/grub";
  node.host.files.write(
    path,
    node.host.files.read(path).replace('GRUB_CMDLINE_LINUX_DEFAULT=""', `GRUB_CMDLINE_LINUX_DEFAULT="${words}"`),
  );
  updateGrub(node.host);
};

const inGuest = (node: TwinNode) => {
  if (node.guest?.machine.running === undefined) throw new Error("no guest runs");
  return node.guest.machine;
};

const restartGuest = (node: TwinNode): void => {
  node.exec0(["systemctl", "restart", "teeup-vm-cvm0.service"]);
  node.clock.settle();
};

const attestation = (
  name: string,
  fault: NonNullable<TwinNode["faults"]["attestation"]>,
  about: string,
  finding: string,
): Scenario => ({
  name,
  about,
  source: "seed 001, Virtual Machine User; docs/sources.md, Confidential VM and guests",
  when: "untouched",
  on: (node) => {
    node.faults.attestation = fault;
  },
  expect: { finding },
});

/** A second function beside the GPU, in its IOMMU group, that a driver of the host has. */
export function addGroupMember(
  node: TwinNode,
  what: { readonly vendor: string; readonly device: string; readonly class: string; readonly className: string },
  driver: string,
): void {
  const gpu = node.host.pci.find((f) => f.vendor === "10de");
  const like = node.host.pci.find((f) => f.vendor === "144d");
  if (gpu === undefined || like === undefined) throw new Error("no GPU");
  const bdf = gpu.bdf.replace(/\.0$/, ".1");
  node.host.pci = [...node.host.pci, { ...like, ...what, bdf, group: gpu.group, drivers: [driver], modules: [driver] }];
}

export const SCENARIOS: readonly Scenario[] = [
  {
    name: "untouched",
    about: "a fresh host, SNP off in the BIOS",
    source: "seed 001",
    when: "untouched",
    expect: "repaired",
  },
  {
    name: "guide-untouched",
    about: "a fresh Milan host of the guide's days",
    source: "seed 001",
    when: "untouched",
    profile: "nvidia-du-11462-001-v1.0",
    options: SEED_HOST,
    expect: "repaired",
  },

  // Hardware and BIOS.
  {
    name: "cpu-too-old",
    about: "Naples has SEV, not SNP",
    source: "seed 001, Selecting Hardware",
    when: "untouched",
    options: { cpu: NAPLES },
    expect: { finding: "cpu.generation" },
  },
  {
    name: "cpu-intel",
    about: "an Intel host",
    source: "seed 001, Selecting Hardware",
    when: "untouched",
    options: { cpu: XEON },
    expect: { finding: "cpu.vendor" },
  },
  {
    name: "bios-svm-off",
    about: "virtualisation is off in the BIOS",
    source: "seed 001, Selecting Hardware",
    when: "untouched",
    off: (node) => node.bios.force({ "SVMMode#0031": "Disabled" }),
    expect: { finding: "cpu.svm-off" },
  },
  {
    name: "bios-iommu-off",
    about: "SNP is on, the IOMMU off: no groups, VFIO binds nothing",
    source: "seed 000, BIOS",
    when: "untouched",
    off: (node) => ready(node, { "IOMMU#0196": "Disabled" }),
    expect: "repaired",
  },
  {
    name: "bios-iommu-off-no-bmc",
    about: "the same without a BMC: a person must do it",
    source: "seed 000, BIOS",
    when: "untouched",
    options: { bmc: false },
    off: (node) => ready(node, { "IOMMU#0196": "Disabled" }),
    expect: { finding: "bios.iommu-off" },
  },
  {
    name: "bios-no-bmc-good",
    about: "no BMC, and a person has set the BIOS",
    source: "seed 001, BIOS menus",
    when: "untouched",
    options: { bmc: false },
    off: (node) => ready(node),
    expect: "repaired",
  },
  {
    name: "rmp-custom",
    about: "the RMP covers a part of memory by setting: 6.11 refuses",
    source: "AMDESE/AMDSEV#226",
    when: "untouched",
    off: (node) => ready(node, { "SNPMemory(RMPTable)Coverage#003C": "Custom" }),
    expect: "repaired",
  },
  {
    name: "rmp-short",
    about: "the BIOS says full coverage and reserves too little",
    source: "AMDESE/AMDSEV#226",
    when: "untouched",
    off: (node) => {
      node.traps.rmpShort = true;
    },
    expect: { finding: "snp-ready.rmp-partial" },
  },
  {
    name: "no-es-asids",
    about: "every ASID is for plain SEV: none is left for SNP",
    source: "seed 001, BIOS menus (SEV-ES ASID Space Limit)",
    when: "untouched",
    off: (node) => ready(node, { "SEV-ESASIDSpaceLimit#700C": 1 }),
    expect: "repaired",
  },
  {
    name: "sev-firmware-old",
    about: "firmware 1.49, and linux-firmware has nothing newer",
    source: "seed 001, Upgrade out-of-date SEV Firmware",
    when: "untouched",
    options: { sevFirmwareFile: null },
    expect: { finding: "snp-ready.firmware-too-old" },
  },
  {
    name: "tcb-differs",
    about: "reported TCB is not the platform's",
    source: "virtee/snphost#127",
    when: "untouched",
    off: (node) => {
      node.traps.tcb = true;
      node.host.files.place("/usr/bin/snphost", program("snphost"));
    },
    expect: { finding: "snp-ready.tcb" },
  },
  ...(["dell", "asrockrack", "hpe", "lenovo"] as const).map(
    (vendor): Scenario => ({
      name: `bios-${vendor}`,
      about: `a ${vendor} board, untouched`,
      source: "docs/sources.md, BIOS attributes",
      when: "untouched",
      options: { vendor },
      expect: "repaired",
    }),
  ),

  // Host system.
  {
    name: "iommu-pt",
    about: "amd_iommu=on iommu=pt from a web recipe",
    source: "seed 000, Host Side",
    when: "untouched",
    off: (node) => defaultGrub(node, "amd_iommu=on iommu=pt"),
    expect: "repaired",
  },
  {
    name: "amd-iommu-off",
    about: "amd_iommu=off on the command line",
    source: "seed 000, BIOS",
    when: "untouched",
    off: (node) => defaultGrub(node, "quiet amd_iommu=off"),
    expect: "repaired",
  },
  {
    name: "kernel-not-pinned",
    about: "a newer kernel than the pinned one runs",
    source: "seed 000; canonical/tdx#46",
    when: "untouched",
    options: { kernel: "6.11.0-29-generic" },
    expect: "repaired",
  },
  {
    name: "kernel-upgraded",
    about: "somebody let the kernel go and apt replaced it",
    source: "seed 000; canonical/tdx#46",
    when: "provisioned",
    on: (node) => {
      node.exec0(["apt-mark", "unhold", "linux-generic", "linux-image-generic", "linux-headers-generic"]);
      node.exec0(["apt-get", "-y", "install", "linux-image-6.11.0-29-generic"]);
      node.exec0(["grub-set-default", entryOf(node, "6.11.0-29-generic")]);
      node.reset("GracefulRestart", "os");
      node.settle();
    },
    expect: "repaired",
  },
  {
    name: "kernel-without-vfio",
    about: "the kernel was built without vfio-pci",
    source: "seed 000, Host Side (vfio-pci)",
    when: "untouched",
    off: (node) => {
      const good = makeKernel("6.14.0-37-generic");
      node.host.kernels.set(good.release, {
        ...good,
        config: good.config.replace("CONFIG_VFIO_PCI=m", "# CONFIG_VFIO_PCI is not set"),
      });
    },
    expect: { finding: "kernel.config" },
  },
  {
    name: "trial-kernel-hangs",
    about: "the new kernel never comes back",
    source: "GNU GRUB manual, Invoking grub-reboot: an entry for the next boot only",
    when: "untouched",
    off: (node) => {
      node.faults.brokenKernels = ["6.14.0-37-generic"];
    },
    expect: { error: "boot.trial-failed", finding: "host-boot.ineffective" },
  },
  {
    name: "trial-kernel-panics",
    about: "the new kernel panics, and panic= of TeeUp's drop-in restarts the node",
    source: "Linux, Documentation/admin-guide/kernel-parameters.txt, panic=",
    when: "untouched",
    off: (node) => {
      node.faults.brokenKernels = ["6.14.0-37-generic"];
      node.faults.brokenHow = "panic";
    },
    expect: { error: "boot.trial-failed", finding: "host-boot.ineffective" },
  },
  {
    name: "module-option-conflict",
    about: "another file turns sev_snp off",
    source: "seed 001, Installing the Host OS (kvm.conf)",
    when: "untouched",
    off: (node) => node.host.files.write("/etc/modprobe.d/zz-site.conf", "options kvm_amd sev_snp=0\n"),
    expect: { finding: "module-options.conflict" },
  },
  {
    name: "qemu-replaced",
    about: "the distribution's QEMU 8.2 took the place of the built one",
    source: "canonical/tdx#46; seed 000",
    when: "provisioned",
    on: (node) => {
      node.exec0(["systemctl", "stop", "teeup-vm-cvm0.service"]);
      node.host.files.place(
        "/opt/teeup/qemu/bin/qemu-system-x86_64",
        program("qemu-system-x86_64", "qemu version=8.2.2 snp=0 snp-vfio=0"),
      );
    },
    expect: { finding: "vm-stack.qemu" },
  },
  {
    name: "disk-full",
    about: "no room on the host",
    source: "dpkg: cannot copy extracted data, failed to write (No space left on device)",
    when: "untouched",
    on: (node) => {
      node.host.files.capacity = node.host.files.used + 40_000_000;
    },
    expect: { error: "action.failed", finding: "kernel.installed" },
  },
  {
    name: "archive-down",
    about: "the node reaches no archive",
    source: "seed 000 (dead links)",
    when: "untouched",
    on: (node) => {
      node.internet.down = true;
    },
    expect: { error: "action.failed", finding: "packages.missing" },
  },

  // GPU.
  {
    name: "gpu-absent",
    about: "no GPU on the bus",
    source: "seed 001, Identifying the GPUs",
    when: "untouched",
    options: { gpus: 0 },
    expect: { finding: "gpu-inventory.absent" },
  },
  {
    name: "gpu-fell-off",
    about: "the GPU reads as all ones, whatever is restarted",
    source: "docs/sources.md, PCI",
    when: "untouched",
    off: (node) => Object.assign(firstGpu(node), { broken: true, dead: true }),
    expect: { finding: "gpu-inventory.fell-off" },
  },
  {
    name: "gpu-id-2336",
    about: "the board of the guide: id 2336",
    source: "seed 000, Host Side (device id); seed 001",
    when: "untouched",
    off: (node) => {
      node.host.pci = node.host.pci.map((f) => (f.vendor === "10de" ? { ...f, device: "2336" } : f));
    },
    expect: "repaired",
  },
  {
    name: "group-companion",
    about: "another device shares the GPU's IOMMU group",
    source: "NVIDIA/gpu-admin-tools#23",
    when: "untouched",
    off: (node) =>
      addGroupMember(
        node,
        { vendor: "1000", device: "02b0", class: "088000", className: "System peripheral" },
        "bnxt_en",
      ),
    expect: { error: "reconcile.human", finding: "vfio-binding.group-shared" },
  },
  {
    name: "group-companion-own",
    about: "the card has a second function of its own in its IOMMU group, bound to a driver of the host",
    source: "NVIDIA/gpu-admin-tools#23",
    when: "untouched",
    off: (node) =>
      addGroupMember(
        node,
        { vendor: "10de", device: "10f0", class: "040300", className: "Audio device" },
        "snd_hda_intel",
      ),
    expect: "repaired",
  },
  {
    name: "nvidia-on-host",
    about: "the nvidia driver has the GPU on the host",
    source: "docs/sources.md, GPU confidential mode",
    when: "untouched",
    on: (node) => {
      node.exec0(["apt-get", "-y", "install", "linux-headers-6.14.0-37-generic", "nvidia-headless-580-server-open"]);
      node.exec0(["modprobe", "nvidia"]);
    },
    expect: "repaired",
  },
  {
    name: "nouveau-on-host",
    about: "nouveau has the GPU on the host",
    source: "docs/sources.md, PCI",
    when: "untouched",
    off: (node) => node.host.files.remove("/etc/modprobe.d/blacklist-nouveau.conf"),
    expect: "repaired",
  },
  {
    name: "bound-by-new-id",
    about: "the GPU was bound by new_id, which no restart outlives",
    source: "seed 001, Identifying the GPUs (note)",
    when: "untouched",
    off: (node) => ready(node),
    on: (node) => {
      node.exec0(["modprobe", "vfio-pci"]);
      node.host.files.write("/sys/bus/pci/drivers/vfio-pci/new_id", "10de 2331");
    },
    expect: "repaired",
  },
  {
    name: "gpu-refuses-cc",
    about: "the mode switch never takes",
    source: "NVIDIA/nvtrust#33, #77",
    when: "untouched",
    off: (node) => {
      firstGpu(node).refusesSwitch = true;
    },
    expect: { error: "action.failed", finding: "gpu-cc-mode.mode" },
  },
  {
    name: "ppcie-partial",
    about: "PPCIe is on for one of two GPUs: the tool turns it off where it turns CC on",
    source: "NVIDIA/nvtrust#128; NVIDIA/gpu-admin-tools nvidia_gpu_tools.py, set_cc_mode",
    when: "untouched",
    options: { gpus: 2 },
    off: (node) => {
      firstGpu(node).ppcie = "on";
    },
    expect: "repaired",
  },
  {
    name: "cc-mode-after-guest",
    about: "the known issue: the GPU slept after its guest, and its mode must change",
    source: "seed 001, (Known Issue) Cannot Change the CC State after a Guest OS Shutdown",
    when: "provisioned",
    on: (node) => {
      node.host.now.modules.get("vfio_pci")?.parameters.set("disable_idle_d3", "N");
      node.exec0(["systemctl", "stop", "teeup-vm-cvm0.service"]);
      firstGpu(node).mode = "off";
    },
    expect: "repaired",
  },
  {
    name: "attestation-after-switch",
    about: "after off → on attestation fails until the host restarts",
    source: "NVIDIA/attestation-sdk#31",
    when: "untouched",
    off: (node) => {
      node.traps.staleAttestationAfterSwitch = true;
    },
    expect: { finding: "attestation.overall-false" },
  },

  // Guest.
  {
    name: "mmio-window",
    about: "the GPU's BAR is larger than the guest's MMIO window",
    source: "NVIDIA/nvtrust#56",
    when: "untouched",
    off: (node) => {
      firstGpu(node).barMiB = 262_144;
    },
    expect: { finding: "guest-evidence.mmio-window" },
  },
  {
    name: "swiotlb-full",
    about: "the bounce buffers do not suffice",
    source: "NVIDIA/nvtrust#19",
    when: "untouched",
    off: (node) => {
      node.traps.swiotlb = true;
    },
    expect: { finding: "guest-evidence.swiotlb-full" },
  },
  {
    name: "swiotlb-too-large",
    about: "the image asks for 2 GiB of bounce buffers below 4 GiB",
    source: "AMDESE/AMDSEV#281",
    when: "untouched",
    off: (node) => serveImage(node, NOBLE, "noble+cmdline=swiotlb=1048576"),
    expect: { finding: "guest-evidence.swiotlb" },
  },
  {
    name: "vbios-old",
    about: "the GPU was bought early",
    source: "seed 000, NVIDIA Firmware",
    when: "untouched",
    off: (node) => {
      firstGpu(node).vbios = "96.00.30.00.01";
    },
    expect: { finding: "guest-evidence.vbios" },
  },
  {
    name: "image-link-dead",
    about: "the image's link is dead",
    source: "seed 000, Guest Side (link)",
    when: "untouched",
    off: (node) => node.internet.withdraw(NOBLE),
    expect: { error: "job.failed", finding: "guest-image.disk" },
  },
  {
    name: "image-changed",
    about: "the image is not the one that was pinned",
    source: "seed 000, Guest Side (22.04.3 instead of 22.04.2)",
    when: "untouched",
    off: (node) =>
      node.internet.serve(
        NOBLE,
        file(diskText({ id: "other", image: "noble", format: "qcow2", virtual: 3_758_096_384 })),
      ),
    expect: { error: "job.failed", finding: "guest-image.disk" },
  },
  {
    name: "guest-kernel-newer",
    about: "the image brings a newer kernel than the pinned one",
    source: "seed 000, Guest Side",
    when: "untouched",
    off: (node) => serveImage(node, NOBLE, "noble+kernel=6.11.0-29-generic"),
    expect: "repaired",
  },
  {
    name: "guide-guest-kernel-6.2",
    about: "kernel 6.2 in the guest: the driver installs and never sees the GPU",
    source: "seed 000, Guest Side",
    when: "untouched",
    profile: "nvidia-du-11462-001-v1.0",
    options: SEED_HOST,
    off: (node) => serveImage(node, JAMMY, "jammy+kernel=6.2.0-26-generic"),
    expect: "repaired",
  },
  {
    name: "guest-kernel-upgraded",
    about: "apt replaced the guest's kernel",
    source: "seed 000, Guest Side",
    when: "provisioned",
    on: (node) => {
      const guest = inGuest(node);
      node.exec(guest, [
        "apt-get",
        "-y",
        "install",
        "linux-image-6.11.0-29-generic",
        "linux-headers-6.11.0-29-generic",
      ]);
      node.exec(guest, ["grub-set-default", "0"]);
      restartGuest(node);
    },
    expect: "repaired",
  },
  {
    name: "guest-rebooted-inside",
    about: "somebody rebooted inside the guest: the VM ended",
    source: "seed 001, note on reboot; seed 003",
    when: "provisioned",
    on: (node) => {
      node.exec(inGuest(node), ["systemctl", "reboot"]);
      node.runLater();
      // Some looks later the unit has started it again.
      for (let n = 0; n < 4; n++) node.clock.tick();
      node.clock.settle();
    },
    expect: "repaired",
  },
  {
    name: "driver-proprietary",
    about: "somebody installed the proprietary kernel modules",
    source: "seed 001, Installing the NVIDIA Driver",
    when: "provisioned",
    on: (node) => {
      const guest = inGuest(node);
      node.exec(guest, [
        "apt-get",
        "-y",
        "remove",
        "--allow-change-held-packages",
        "nvidia-headless-580-server-open",
        "nvidia-dkms-580-server-open",
      ]);
      node.exec(guest, ["apt-get", "-y", "install", "nvidia-headless-580-server"]);
      restartGuest(node);
    },
    expect: "repaired",
  },
  {
    name: "agent-before-persistenced",
    about: "a monitoring agent used the GPU first: the SPDM session is gone",
    source: "seeds 002 and 003; seed 001, Persistence Mode",
    when: "provisioned",
    on: (node) => {
      const guest = inGuest(node);
      guest.files.write(
        "/etc/systemd/system/gpu-agent.service",
        "[Unit]\nDescription=GPU agent\n\n[Service]\nType=oneshot\nExecStart=/usr/bin/nvidia-smi -q\n\n[Install]\nWantedBy=multi-user.target\n",
      );
      node.exec(guest, ["systemctl", "enable", "gpu-agent.service"]);
      restartGuest(node);
    },
    expect: { finding: "guest-evidence.spdm-session" },
  },
  {
    name: "persistenced-slow",
    about: "nvidia-persistenced takes minutes",
    source: "NVIDIA/nvtrust#128",
    when: "untouched",
    on: (node) => {
      node.faults.persistencedPolls = 4;
    },
    expect: "repaired",
  },
  {
    name: "driver-cannot-init",
    about: "the driver cannot initialise the GPU",
    source: "docs/sources.md, Confidential VM and guests",
    when: "untouched",
    on: (node) => {
      node.faults.gpuInit = "NVRM: GPU 0000:01:00.0: unexpected state";
    },
    expect: { finding: "guest-evidence.gpu-init" },
  },

  // Attestation.
  {
    name: "rim-missing",
    about: "no reference for this driver and VBIOS",
    source: "NVIDIA/nvtrust#151",
    when: "untouched",
    off: (node) => {
      node.traps.noRim = true;
    },
    expect: { finding: "attestation.rim" },
  },
  attestation("ocsp-bad", "ocsp", "a certificate's status is not good", "attestation.ocsp"),
  attestation("attestation-time-out", "time-out", "the verifier never answers", "attestation.no-answer"),
  attestation("attestation-malformed", "malformed", "the tool crashes", "attestation.malformed"),
  attestation("attestation-truncated", "truncated", "half a result", "attestation.malformed"),
  attestation("attestation-empty", "empty", "no result", "attestation.malformed"),
  attestation("attestation-replayed", "nonce", "an old report answers", "attestation.nonce"),
  attestation("measurements-differ", "measurements", "the GPU measures differently", "attestation.overall-false"),
  attestation("policy-refuses", "policy", "the policy says no", "attestation.policy"),
  attestation("exit-status-zero", "exit-512", "result 512: an exit status of zero", "attestation.evidence"),

  ...TDX_SCENARIOS,
];

function entryOf(node: TwinNode, release: string): string {
  const text = node.host.files.read("/boot/grub/grub.cfg");
  const id = new RegExp(`'(gnulinux-${release.replaceAll(".", "\\.")}-advanced-[^']+)'`).exec(text)?.[1];
  const menu = /submenu '[^']*' \$menuentry_id_option '([^']+)'/.exec(text)?.[1];
  return `${menu}>${id}`;
}

export function scenarioNamed(name: string): Scenario {
  const found = SCENARIOS.find((s) => s.name === name);
  if (found === undefined)
    throw new Error(`no scenario is called ${name}; there are: ${SCENARIOS.map((s) => s.name).join(", ")}`);
  return found;
}

/** The machine that a scenario needs. */
export function scenarioOptions(name: string): Partial<TwinOptions> {
  const { platform, options } = scenarioNamed(name);
  return { ...PLATFORM_OPTIONS[platform ?? "snp"], ...options };
}

/** Applies the part of a scenario that belongs to this moment of a fresh twin. */
export function applyScenario(node: TwinNode, name: string, moment: "off" | "on"): void {
  const scenario = scenarioNamed(name);
  if (moment === "off") scenario.off?.(node);
  else if (scenario.when === "untouched") scenario.on?.(node);
}
