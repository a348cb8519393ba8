import type { Machine } from "./model/machine.ts";
import type { TwinNode } from "./model/node.ts";
import { GENOA } from "./model/system.ts";
import type { Expected, Scenario } from "./scenarios.ts";

/** Values with which a Supermicro board is ready for TDX. */
export const SUPERMICRO_TDX = {
  LimitCPUPAto46Bits_F319: "Disable",
  MemoryEncryption_TME__3C77: "Enabled",
  TotalMemoryEncryptionMulti_Tenant_TME_MT__F31B: "Enabled",
  TrustDomainExtension_TDX__3C79: "Enabled",
  TDXSecureArbitrationModeLoader_SEAMLoader__3C7A: "Enabled",
  TME_MT_TDXKeySplit_F31D: 1,
  SWGuardExtensions_SGX__3C7B: "Enabled",
} as const;

export const TDX_GUIDE = "intel-tdx-kvm-coco-20240512";
const DOMAIN = "teeup-vm-cvm0";
const TDX_KERNEL = "Linux, arch/x86/virt/vmx/tdx/tdx.c";
const VERIFY = "canonical/tdx README, Verify Intel TDX is Enabled on Host OS";
const QUOTES = "canonical/tdx README, Setup Remote Attestation on Host OS and Inside TD";
const PPCIE = "NVIDIA/gpu-admin-tools README, Protected PCIe; NVIDIA/nvtrust#128";

const ready = (node: TwinNode, but: Readonly<Record<string, string | number>> = {}): void =>
  node.bios.force({ ...SUPERMICRO_TDX, ...but });

type Rest = Pick<Scenario, "about" | "source"> & Partial<Omit<Scenario, "name" | "platform">>;
/** On a TDX host with one GPU, from the start, and mended by `up`, unless said otherwise. */
const tdx = (name: string, rest: Rest): Scenario => ({
  name,
  platform: "tdx",
  when: "untouched",
  expect: "repaired",
  ...rest,
});
const hgx = (name: string, rest: Rest): Scenario => ({ ...tdx(name, rest), platform: "tdx-8gpu" });
const finding = (code: string): Expected => ({ finding: code });

const virsh = (node: TwinNode, ...words: string[]): string => node.exec0(["virsh", ...words]);
/** Somebody edits the domain, as with `virsh edit`. */
export function editDomain(node: TwinNode, change: (xml: string) => string): void {
  const before = virsh(node, "dumpxml", "--inactive", DOMAIN);
  const after = change(before);
  if (after === before) throw new Error("the domain did not change");
  node.host.files.write("/tmp/edited.xml", after);
  virsh(node, "define", "/tmp/edited.xml");
}
/** The guest powers off, and starts with what is defined now. */
export function restartDomain(node: TwinNode): void {
  virsh(node, "shutdown", DOMAIN);
  for (let n = 0; n < 20 && node.guest !== undefined; n++) node.clock.tick();
  virsh(node, "start", DOMAIN);
  node.clock.settle();
}

const inGuest = (node: TwinNode, ...argv: string[]): void => {
  const machine: Machine | undefined = node.guest?.machine;
  if (machine?.running === undefined) throw new Error("no guest runs");
  const { status, stderr, stdout } = node.exec(machine, argv);
  if (status !== 0) throw new Error(`${argv.join(" ")}: exit ${status}: ${stderr || stdout}`);
};
const fabric = (node: TwinNode) => [...node.gpus.values(), ...node.switches.values()];

const HOST: readonly Scenario[] = [
  tdx("tdx-untouched", { about: "a fresh TDX host, TDX off in the BIOS", source: "seed 004" }),
  tdx("tdx-guide-untouched", {
    about: "a fresh host of the guide's days: kernel, QEMU and OVMF are built",
    source: "seed 004",
    profile: TDX_GUIDE,
    options: { os: "ubuntu-24.04" },
  }),
  ...(["dell", "lenovo"] as const).map((vendor) =>
    tdx(`tdx-bios-${vendor}`, {
      about: `a ${vendor} board, untouched`,
      source: "docs/sources.md, BIOS attributes",
      options: { vendor },
    }),
  ),
  tdx("tdx-cpu-amd", {
    about: "an AMD processor",
    source: "canonical/tdx README, Supported Hardware",
    options: { cpu: GENOA },
    expect: finding("cpu.vendor"),
  }),
  tdx("tdx-keys-withheld", {
    about: "the BIOS says that TDX is on and grants no private keys",
    source: VERIFY,
    off: (node) => {
      node.traps.keysWithheld = true;
    },
    expect: finding("tdx-ready.keys"),
  }),
  tdx("tdx-key-split-zero", {
    about: "everything is on, and no key is TDX's",
    source: VERIFY,
    off: (node) => ready(node, { TME_MT_TDXKeySplit_F31D: 0 }),
  }),
  tdx("tdx-seam-loader-off", {
    about: "the SEAM loader is off: no TDX module",
    source: TDX_KERNEL,
    off: (node) => ready(node, { TDXSecureArbitrationModeLoader_SEAMLoader__3C7A: "Disabled" }),
  }),
  tdx("tdx-module-missing", {
    about: "the SEAM loader is on and finds no module to load",
    source: TDX_KERNEL,
    off: (node) => {
      node.traps.noTdxModule = true;
    },
    expect: finding("tdx-ready.module-missing"),
  }),
  tdx("tdx-module-old", {
    about: "module initialization failed (-5): a module from before 1.5",
    source: "canonical/tdx#331",
    options: { tdxModule: { major: 1, minor: 0, update: 3 } },
    expect: finding("tdx-ready.module-old"),
  }),
  tdx("tdx-module-clobbers-rbp", {
    about: "module initialization failed (-22): a module that clobbers the frame pointer",
    source: TDX_KERNEL,
    options: { tdxModule: { major: 1, minor: 5, update: 1 } },
    expect: finding("tdx-ready.module-rbp"),
  }),
  tdx("tdx-areas-exhausted", {
    about: "module initialization failed (-28): too many holes in the memory map",
    source: "canonical/tdx#415",
    off: (node) => {
      node.traps.memoryHoles = true;
    },
    expect: finding("tdx-ready.areas-exhausted"),
  }),
  tdx("tdx-hibernation-on", {
    about: "somebody took nohibernate off the command line",
    source: TDX_KERNEL,
    when: "provisioned",
    on: (node) => {
      const path = "/etc/default/grub.d/50-teeup.cfg";
      node.host.files.write(path, node.host.files.read(path).replace(/\bnohibernate\b/, ""));
      node.exec0(["update-grub"]);
      node.reset("GracefulRestart", "os");
      node.settle();
    },
  }),
  tdx("tdx-vt-d-off", {
    about: "VT-d is off: no IOMMU groups",
    source: "seed 000, BIOS",
    off: (node) => ready(node, { IntelVTforDirectedI_O_VT_d__1E32: "Disable" }),
  }),
  tdx("tdx-sgx-off", {
    about: "TDX is on and SGX, which signs quotes, off",
    source: QUOTES,
    off: (node) => ready(node, { SWGuardExtensions_SGX__3C7B: "Disabled" }),
  }),
  tdx("tdx-no-bmc", {
    about: "no BMC, and no key is TDX's: a person must set the BIOS",
    source: "canonical/tdx README, Enable Intel TDX in the Host's BIOS",
    options: { bmc: false },
    off: (node) => ready(node, { TME_MT_TDXKeySplit_F31D: 0 }),
    expect: finding("bios.keys"),
  }),
  tdx("tdx-no-bmc-good", {
    about: "no BMC, and a person has set the BIOS",
    source: "canonical/tdx README, Enable Intel TDX in the Host's BIOS",
    options: { bmc: false },
    off: (node) => ready(node),
  }),
  tdx("tdx-option-conflict", {
    about: "another file turns kvm_intel's tdx off",
    source: "seed 004, tdx-kvm (tdx.conf)",
    off: (node) => node.host.files.write("/etc/modprobe.d/zz-site.conf", "options kvm_intel tdx=0\n"),
    expect: finding("module-options.conflict"),
  }),
];

const SERVICES: readonly Scenario[] = [
  tdx("tdx-registration-refused", {
    about: "Intel refuses the platform's registration: its keys must be made anew",
    source: "canonical/tdx README, Register the platform",
    off: (node) => {
      node.traps.registrationRefused = true;
    },
    expect: finding("quote-service.registration-failed"),
  }),
  tdx("tdx-intel-archive-dead", {
    about: "the key of Intel's archive is not there any more",
    source: "seed 000 (dead links)",
    off: (node) => node.internet.withdraw("https://download.01.org/intel-sgx/sgx_repo/ubuntu/intel-sgx-deb.key"),
    expect: { error: "job.failed", finding: "quote-service.packages" },
  }),
  tdx("tdx-domain-edited", {
    about: "the domain was edited by hand, and its guest restarted with half the memory",
    source: "libvirt, Domain XML format",
    when: "provisioned",
    on: (node) => {
      editDomain(node, (xml) => xml.replace(/(<(?:currentM|m)emory[^>]*>)\d+/g, "$133554432"));
      restartDomain(node);
    },
  }),
  tdx("tdx-domain-without-td", {
    about: "somebody took launchSecurity out of the domain: the guest runs, and is no TD",
    source: "libvirt, Domain XML format, Launch Security",
    when: "provisioned",
    on: (node) => {
      editDomain(node, (xml) => xml.replace(/\s*<launchSecurity[\s\S]*?<\/launchSecurity>/, ""));
      restartDomain(node);
    },
  }),
  tdx("tdx-qemu-conf-edited", {
    about: "qemu.conf is edited, and libvirt starts QEMU as somebody who may not open the disk",
    source: "seed 004, Libvirt configuration for using the newly built qemu",
    when: "provisioned",
    profile: TDX_GUIDE,
    options: { os: "ubuntu-24.04" },
    on: (node) => {
      const path = "/etc/libvirt/qemu.conf";
      node.host.files.write(path, node.host.files.read(path).replace('user = "root"', 'user = "libvirt-qemu"'));
      node.exec0(["systemctl", "restart", "libvirtd.service"]);
    },
  }),
];

const FABRIC: readonly Scenario[] = [
  hgx("tdx-8gpu-untouched", { about: "a fresh HGX host: 8 GPUs and 4 NVSwitches", source: PPCIE }),
  hgx("ppcie-half-switched", {
    about: "a switch that was cut off: Protected PCIe at 3 GPUs and 1 NVSwitch",
    source: PPCIE,
    off: (node) => {
      for (const device of [...[...node.gpus.values()].slice(0, 3), ...[...node.switches.values()].slice(0, 1)])
        device.ppcie = "on";
    },
  }),
  hgx("ppcie-for-some-gpus", {
    about: "Protected PCIe is asked for two of the eight GPUs",
    source: "NVIDIA/nvtrust#128",
    settings: { gpus: ["0000:1b:00.0", "0000:43:00.0"] },
    expect: finding("gpu-inventory.board"),
  }),
  hgx("ppcie-refused-by-a-switch", {
    about: "one NVSwitch never takes the mode",
    source: "NVIDIA/nvtrust#33, #77",
    off: (node) => {
      const last = fabric(node).at(-1);
      if (last !== undefined) last.refusesSwitch = true;
    },
    expect: { error: "action.failed", finding: "gpu-cc-mode.half" },
  }),
  hgx("ppcie-without-switches", {
    about: "the NVSwitches are not on the bus",
    source: PPCIE,
    options: { switches: 0 },
    expect: finding("gpu-inventory.board"),
  }),
  hgx("nvswitch-fell-off", {
    about: "an NVSwitch reads as all ones, whatever is restarted",
    source: "docs/sources.md, PCI",
    off: (node) => {
      const last = fabric(node).at(-1);
      if (last !== undefined) Object.assign(last, { broken: true, dead: true });
    },
    expect: finding("gpu-inventory.fell-off"),
  }),
  hgx("nvswitch-unbound", {
    about: "an NVSwitch lost its driver, and the host was restarted",
    source: "seed 001, Identifying the GPUs (note)",
    when: "provisioned",
    on: (node) => {
      const bdf = [...node.switches.keys()][1];
      node.host.files.remove(`/etc/driverctl.d/pci-${bdf}`);
      node.reset("GracefulRestart", "os");
      node.settle();
    },
  }),
  hgx("fabric-manager-missing", {
    about: "the fabric manager was removed from the guest",
    source: "seed 002, 8 GPU",
    when: "provisioned",
    on: (node) => inGuest(node, "apt-get", "-y", "remove", "--allow-change-held-packages", "nvidia-fabricmanager-580"),
  }),
  hgx("fabric-manager-other-version", {
    about: "the fabric manager is older than the driver, and does not start",
    source: "NVIDIA Fabric Manager User Guide, Installation",
    when: "provisioned",
    on: (node) => {
      inGuest(
        node,
        ...["apt-get", "-y", "--allow-downgrades", "--allow-change-held-packages", "install"],
        "nvidia-fabricmanager-580=580.95.05*",
      );
      restartDomain(node);
    },
  }),
  hgx("nvswitch-rim-missing", {
    about: "nobody published reference measurements of the NVSwitches' firmware",
    source: "NVIDIA/nvtrust#151",
    off: (node) => {
      node.traps.noSwitchRim = true;
    },
    expect: finding("attestation.switch-rim"),
  }),
];

/** Traps of TDX hosts, of their libvirt, and of the NVSwitch fabric. */
export const TDX_SCENARIOS: readonly Scenario[] = [...HOST, ...SERVICES, ...FABRIC];
