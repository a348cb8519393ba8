import { POLICY_FILES } from "../providers/kit/attest.ts";
import { STOPPED_AGENTS } from "../providers/kit/gpu-agents.ts";
import { DOMAIN, DOMAIN_FILE, VIRSH } from "../providers/kit/libvirt.ts";
import type { BiosVendor } from "./model/bios.ts";
import type { Machine } from "./model/machine.ts";
import type { TwinNode } from "./model/node.ts";
import { isRedHat } from "./model/red-hat.ts";

/** Something that changes on a good node behind TeeUp's back, one at a time. */
export interface Drift {
  readonly name: string;
  /** The facet that must see it; others may see it too. */
  readonly facet: string;
  readonly about: string;
  /** What the next `up` makes of it. `cannot`: only a person or a new part mends it. */
  readonly repair: "repaired" | "cannot";
  /** Only where this profile is applied. */
  readonly profile?:
    | "nvidia-du-11462-001-v1.0"
    | "tdx-upstream"
    | "intel-tdx-kvm-coco-20240512"
    | "alibaba-gn8v-tee-1gpu";
  /** Only in instances of these clouds. */
  readonly clouds?: readonly ("alibaba" | "baidu")[];
  /** Only on hosts of this kind. */
  readonly tee?: "sev-snp";
  /** Only on a board with NVSwitches. */
  readonly switches?: true;
  readonly apply: (node: TwinNode) => void;
}

type Settings = Readonly<Partial<Record<BiosVendor, Readonly<Record<string, string>>>>>;

const VM = "teeup-vm-cvm0.service";
const guest = (node: TwinNode): Machine => {
  const machine = node.instance === undefined ? node.guest?.machine : node.host;
  if (machine?.running === undefined) throw new Error("no guest runs");
  return machine;
};
const inGuest = (node: TwinNode, ...argv: string[]): void => {
  const { status, stderr, stdout } = node.exec(guest(node), argv);
  if (status !== 0) throw new Error(`${argv.join(" ")}: exit ${status}: ${stderr || stdout}`);
};
const edit = (machine: Machine, path: string, change: (text: string) => string): void => {
  const before = machine.files.read(path);
  const after = change(before);
  if (after === before) throw new Error(`${path} did not change`);
  machine.files.write(path, after);
};
/** Removes a package with the tool that the machine has. */
const removePackage = (node: TwinNode, machine: Machine, name: string): void => {
  const argv = isRedHat(machine) ? ["dnf", "remove", "-y", name] : ["apt-get", "-y", "remove", name];
  const { status, stderr } = node.exec(machine, argv);
  if (status !== 0 || machine.packages.installed.has(name)) throw new Error(`${argv.join(" ")}: ${stderr}`);
};
const gpu = (node: TwinNode) => {
  const first = [...node.gpus.values()][0];
  if (first === undefined) throw new Error("this twin has no GPU");
  return first;
};
const firstOf = (machine: Machine, folder: string, pattern: RegExp): string => {
  const name = machine.files.listIf(folder).find((n) => pattern.test(n));
  if (name === undefined) throw new Error(`nothing like ${pattern} in ${folder}`);
  return `${folder}/${name}`;
};
/** Stops the confidential VM, whoever started it. */
const stopVm = (node: TwinNode): void =>
  node.host.files.exists(DOMAIN_FILE)
    ? void node.exec0([...VIRSH, "destroy", DOMAIN])
    : void node.exec0(["systemctl", "stop", VM]);
/** A setting of this board that SNP needs, turned off. */
const SNP_OFF: Settings = {
  supermicro: { "SEV-SNPSupport#01A7": "Disabled" },
  dell: { Snp: "Disabled" },
  asrockrack: { CbsSevSnpSupport: "CbsSevSnpSupportDisable" },
  hpe: { AmdSecureNestedPaging: "Disabled" },
  lenovo: { Processors_SEV_SNPSupport: "Disabled" },
};
const TDX_OFF: Settings = {
  supermicro: { TrustDomainExtension_TDX__3C79: "Disabled" },
  dell: { EnableTdx: "Disabled" },
  lenovo: { Processors_TrustDomainExtensionTDX: "Disabled" },
};
const SVM_OFF: Settings = {
  supermicro: { "SVMMode#0031": "Disabled" },
  dell: { ProcVirtualization: "Disabled" },
  asrockrack: { CbsCmnCpuSvm: "CbsCmnCpuSvmDisable" },
  hpe: { ProcAmdVirtualization: "Disabled" },
  lenovo: { Processors_SVMMode: "Disabled" },
};
const VTX_OFF: Settings = {
  supermicro: { IntelVirtualizationTechnology_3C6F: "Disable" },
  dell: { ProcVirtualization: "Disabled" },
  lenovo: { Processors_IntelVirtualizationTechnology: "Disabled" },
};
/** Of the two the one that this board has. */
const off = (node: TwinNode, amd: Settings, intel: Settings): void => {
  const { vendor, current } = node.bios;
  const settings = [amd, intel].map((s) => s[vendor] ?? {}).find((s) => Object.keys(s).some((key) => key in current));
  if (settings === undefined) throw new Error(`a board of ${vendor} with other settings`);
  node.bios.force(settings);
};

export const DRIFTS: readonly Drift[] = [
  {
    name: "bios",
    facet: "bios",
    about: "SEV-SNP, or TDX, is turned off in the BIOS",
    repair: "repaired",
    apply: (node) => off(node, SNP_OFF, TDX_OFF),
  },
  {
    name: "cpu",
    facet: "cpu",
    about: "virtualisation is turned off in the BIOS",
    repair: "cannot",
    apply: (node) => off(node, SVM_OFF, VTX_OFF),
  },
  {
    name: "packages",
    facet: "packages",
    about: "a package is removed",
    repair: "repaired",
    apply: (node) =>
      removePackage(
        node,
        node.host,
        node.instance === undefined ? "cloud-image-utils" : isRedHat(node.host) ? "openssl3" : "build-essential",
      ),
  },
  {
    name: "kernel-build",
    facet: "kernel-build",
    about: "the built kernel package is gone",
    repair: "repaired",
    profile: "nvidia-du-11462-001-v1.0",
    apply: (node) => node.host.files.remove(firstOf(node.host, "/var/lib/teeup/artifacts", /^linux-image-.*\.deb$/)),
  },
  {
    name: "kernel",
    facet: "kernel",
    about: "the kernel is no longer on hold",
    repair: "repaired",
    apply: (node) => void node.exec0(["apt-mark", "unhold", `linux-image-${node.host.now.kernel.release}`]),
  },
  {
    name: "kernel-cmdline",
    facet: "kernel-cmdline",
    about: "the drop-in, or grubby's entries, lost their words",
    repair: "repaired",
    apply: (node) =>
      isRedHat(node.host)
        ? void node.exec0(["grubby", "--update-kernel=ALL", "--remove-args=swiotlb"])
        : node.host.files.remove("/etc/default/grub.d/50-teeup.cfg"),
  },
  {
    name: "module-options",
    facet: "module-options",
    about: "an option is edited",
    repair: "repaired",
    apply: (node) => edit(node.host, "/etc/modprobe.d/teeup.conf", (text) => text.replace(/(sev_snp|tdx)=1/, "$1=0")),
  },
  {
    name: "sev-firmware",
    facet: "sev-firmware",
    about: "the firmware file is gone",
    repair: "repaired",
    profile: "nvidia-du-11462-001-v1.0",
    apply: (node) => node.host.files.remove("/lib/firmware/amd/amd_sev_fam19h_model0xh.sbin"),
  },
  {
    name: "vm-stack",
    facet: "vm-stack",
    about: "the recipe of the built QEMU is gone",
    repair: "repaired",
    tee: "sev-snp",
    apply: (node) => node.host.files.remove("/opt/teeup/qemu/recipe.json"),
  },
  {
    name: "host-boot",
    facet: "host-boot",
    about: "another entry boots by default",
    repair: "repaired",
    apply: (node) => void node.exec0([isRedHat(node.host) ? "grub2-set-default" : "grub-set-default", "0"]),
  },
  {
    name: "snp-ready",
    facet: "snp-ready",
    about: "somebody loaded kvm_amd again, without SNP",
    repair: "cannot",
    tee: "sev-snp",
    apply: (node) => {
      node.exec0(["systemctl", "stop", VM]);
      node.exec0(["modprobe", "-r", "kvm_amd"]);
      node.exec0(["modprobe", "kvm_amd", "sev_snp=0"]);
    },
  },
  {
    name: "vm-stack-hold",
    facet: "vm-stack",
    about: "QEMU and OVMF are no longer on hold",
    repair: "repaired",
    profile: "tdx-upstream",
    apply: (node) => void node.exec0(["apt-mark", "unhold", "qemu-system-x86", "ovmf-inteltdx"]),
  },
  {
    name: "libvirt",
    facet: "libvirt",
    about: "somebody gave QEMU another user",
    repair: "repaired",
    profile: "intel-tdx-kvm-coco-20240512",
    apply: (node) =>
      edit(node.host, "/etc/libvirt/qemu.conf", (text) => text.replace(/^user = .*$/m, 'user = "libvirt-qemu"')),
  },
  {
    name: "libvirt-unread",
    facet: "libvirt",
    about: "qemu.conf reads as it should, and libvirtd runs by an edit of it that was taken back",
    repair: "repaired",
    profile: "intel-tdx-kvm-coco-20240512",
    apply: (node) => {
      const path = "/etc/libvirt/qemu.conf";
      const good = node.host.files.read(path);
      edit(node.host, path, (text) => text.replace(/^user = .*$/m, 'user = "libvirt-qemu"'));
      node.exec0(["systemctl", "restart", "libvirtd.service"]);
      node.clock.tick();
      node.host.files.write(path, good);
    },
  },
  {
    name: "tdx-ready",
    facet: "tdx-ready",
    about: "somebody loaded kvm_intel again, without TDX",
    repair: "cannot",
    profile: "tdx-upstream",
    apply: (node) => {
      stopVm(node);
      node.exec0(["modprobe", "-r", "kvm_intel"]);
      node.exec0(["modprobe", "kvm_intel", "tdx=0"]);
    },
  },
  {
    name: "quote-service",
    facet: "quote-service",
    about: "QGS was told to listen on vsock",
    repair: "repaired",
    profile: "tdx-upstream",
    apply: (node) => node.host.files.write("/etc/qgs.conf", "port = 4050\n"),
  },
  {
    name: "gpu-inventory",
    facet: "gpu-inventory",
    about: "the GPU fell off the bus",
    repair: "cannot",
    apply: (node) => {
      gpu(node).broken = true;
    },
  },
  {
    name: "gpu-tools",
    facet: "gpu-tools",
    about: "a file of gpu-admin-tools is changed",
    repair: "repaired",
    apply: (node) => edit(node.host, "/opt/teeup/gpu-admin-tools/gpu/defines.py", (text) => `${text}# changed\n`),
  },
  {
    name: "gpu-cc-mode",
    facet: "gpu-cc-mode",
    about: "the VM is stopped and CC mode switched off",
    repair: "repaired",
    apply: (node) => {
      stopVm(node);
      gpu(node).mode = "off";
      gpu(node).ppcie = "off";
    },
  },
  {
    name: "vfio-binding",
    facet: "vfio-binding",
    about: "the saved override is gone",
    repair: "repaired",
    apply: (node) => node.host.files.remove(`/etc/driverctl.d/pci-${gpu(node).bdf}`),
  },
  {
    name: "guest-image",
    facet: "guest-image",
    about: "the seed is gone",
    repair: "repaired",
    apply: (node) => node.host.files.remove("/var/lib/teeup/vm/cvm0/seed.iso"),
  },
  {
    name: "confidential-vm",
    facet: "confidential-vm",
    about: "the VM is stopped",
    repair: "repaired",
    apply: stopVm,
  },
  {
    name: "confidential-vm-domain",
    facet: "confidential-vm",
    about: "somebody edited the libvirt domain: it would be no TD at its next start",
    repair: "repaired",
    profile: "tdx-upstream",
    apply: (node) => {
      const edited = "/tmp/edited.xml";
      const text = node.host.files.read(DOMAIN_FILE);
      node.host.files.write(edited, text.replace(/<launchSecurity[\s\S]*?<\/launchSecurity>/, ""));
      node.exec0([...VIRSH, "define", edited]);
    },
  },
  {
    name: "confidential-vm-unit",
    facet: "confidential-vm",
    about: "the unit is edited",
    repair: "repaired",
    tee: "sev-snp",
    apply: (node) =>
      edit(node.host, `/etc/systemd/system/${VM}`, (text) => text.replace("Restart=always", "Restart=no")),
  },
  {
    name: "instance-system",
    facet: "instance-system",
    about: "somebody upgraded the instance to a release that the cloud does not support here",
    repair: "cannot",
    clouds: ["alibaba", "baidu"],
    apply: (node) => edit(node.host, "/etc/os-release", (text) => text.replace(/^VERSION_ID=.*$/m, 'VERSION_ID="99"')),
  },
  {
    name: "instance-system-rdma",
    facet: "instance-system",
    about: "an elastic RDMA interface was attached",
    repair: "cannot",
    clouds: ["baidu"],
    apply: (node) => {
      node.host.rdma = ["erdma_0"];
    },
  },
  {
    name: "gpu-agents",
    facet: "gpu-agents",
    about: "a run was killed between driver and nvidia-persistenced: the cloud's agent still stands still",
    repair: "repaired",
    clouds: ["alibaba", "baidu"],
    apply: (node) => {
      const agent = ["cloudmonitor.service", "bcm-agent.service"].find(
        (unit) => node.host.units.onDisk(unit) !== undefined,
      );
      node.host.files.write(STOPPED_AGENTS, `${agent}\n`);
      node.exec0(["systemctl", "disable", "--now", agent ?? ""]);
    },
  },
  {
    name: "cuda-toolkit",
    facet: "cuda-toolkit",
    about: "somebody removed CUDA's toolkit",
    repair: "repaired",
    clouds: ["alibaba"],
    apply: (node) => node.host.files.remove(firstOf(node.host, "/usr/local", /^cuda-\d/)),
  },
  {
    name: "cuda-toolkit-cublas",
    facet: "cuda-toolkit",
    about: "pip brought the cuBLAS that fails on a confidential GPU",
    repair: "repaired",
    clouds: ["alibaba"],
    profile: "alibaba-gn8v-tee-1gpu",
    apply: (node) => void node.exec0(["python3.11", "-m", "pip", "install", "nvidia-cublas-cu12==12.4.2.65"]),
  },
  {
    name: "tdx-quote",
    facet: "tdx-quote",
    about: "an upgrade brought the package's own PCCS back: no certificate there vouches for the quote",
    repair: "repaired",
    clouds: ["baidu"],
    apply: (node) =>
      edit(node.host, "/etc/sgx_default_qcnl.conf", (text) =>
        text
          .replace(/https:\/\/[^/]+/, "https://localhost:8081")
          .replace('"use_secure_cert": true', '"use_secure_cert": false'),
      ),
  },
  {
    name: "guest-kernel",
    facet: "guest-kernel",
    about: "the guest's kernel is no longer on hold",
    repair: "repaired",
    apply: (node) => inGuest(node, "apt-mark", "unhold", `linux-image-${guest(node).now.kernel.release}`),
  },
  {
    name: "lkca",
    facet: "lkca",
    about: "the LKCA file is edited",
    repair: "repaired",
    apply: (node) => edit(guest(node), "/etc/modprobe.d/nvidia-lkca.conf", (text) => `# ${text}`),
  },
  {
    name: "nvidia-driver",
    facet: "nvidia-driver",
    about: "the driver's packages are no longer on hold",
    repair: "repaired",
    apply: (node) =>
      inGuest(
        node,
        "apt-mark",
        "unhold",
        ...[...guest(node).packages.installed].filter(([n, p]) => p.hold && n.startsWith("nvidia")).map(([n]) => n),
      ),
  },
  {
    name: "fabric-manager",
    facet: "fabric-manager",
    about: "the fabric manager is no longer started at boot",
    repair: "repaired",
    profile: "tdx-upstream",
    switches: true,
    apply: (node) => inGuest(node, "systemctl", "disable", "nvidia-fabricmanager.service"),
  },
  {
    name: "nvidia-persistenced",
    facet: "nvidia-persistenced",
    about: "nvidia-persistenced is stopped: the SPDM session is gone",
    repair: "repaired",
    apply: (node) => inGuest(node, "systemctl", "stop", "nvidia-persistenced.service"),
  },
  {
    name: "guest-evidence",
    facet: "guest-evidence",
    about: "the bounce buffers ran full",
    repair: "cannot",
    apply: (node) =>
      guest(node).logs.kernel(
        "nvidia 0000:01:00.0: swiotlb buffer is full (sz: 4096 bytes), total 524288 (slots), used 524288 (slots)",
      ),
  },
  {
    name: "attestation-tool",
    facet: "attestation-tool",
    about: "nvattest is removed",
    repair: "repaired",
    apply: (node) => removePackage(node, guest(node), "nvattest"),
  },
  {
    name: "attestation",
    facet: "attestation",
    about: "the policy is weakened",
    repair: "repaired",
    apply: (node) => {
      const path = [POLICY_FILES.local, POLICY_FILES.remote].find((each) => guest(node).files.exists(each));
      edit(guest(node), path ?? POLICY_FILES.local, () => "package policy\ndefault nv_match := true\n");
    },
  },
  {
    name: "attestation-fails",
    facet: "attestation",
    about: "the GPU attests itself no more",
    repair: "cannot",
    apply: (node) => {
      node.faults.attestation = "measurements";
    },
  },
  {
    name: "gpu-ready-state",
    facet: "gpu-ready-state",
    about: "the ready state is taken back",
    repair: "repaired",
    apply: (node) => inGuest(node, "nvidia-smi", "conf-compute", "-srs", "0"),
  },
];

/** Applies a drift by name; throws when the node is not in the state that the drift needs. */
export function applyDrift(node: TwinNode, name: string): void {
  const found = DRIFTS.find((d) => d.name === name);
  if (found === undefined)
    throw new Error(`no drift is called ${name}; there are: ${DRIFTS.map((d) => d.name).join(", ")}`);
  found.apply(node);
}
