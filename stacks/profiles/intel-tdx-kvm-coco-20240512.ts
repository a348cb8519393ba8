import { profile, UNKNOWN } from "./schema.ts";
import { snpUpstream } from "./snp-upstream.ts";

const SEED = "intel/tdx-linux, device-passthrough (seed 004)";
/** The last commit with the series for the seed's snapshot of KVM: their baselines stand in the files' names. */
const TDX_LINUX = {
  url: "https://github.com/intel/tdx-linux.git",
  commit: "a702f131457e986fcc678481548a574c13e7f580",
  branch: "device-passthrough",
} as const;

/**
 * Intel's device passthrough preview of 2024: KVM's kvm-coco-queue of 2024-05-12 and QEMU 9.1 with series of patches on
 * top. Its authors call it preview and test only; kept to reproduce that state. New nodes use `tdx-upstream`.
 */
export const intelTdxKvmCoco = profile({
  name: "intel-tdx-kvm-coco-20240512",
  title: "Intel TDX device passthrough preview: KVM coco queue of 2024-05-12, QEMU 9.1, edk2-stable202405 (2024)",
  // The newest day that the document names: its link to the queue of 20240807.
  released: "2024-08-07",
  cpu: "tdx",
  host: {
    os: { value: [{ id: "ubuntu", versionId: "24.04" }], source: `${SEED}, guest image: canonical/tdx noble-24.04` },
    packages: {
      value: [
        "build-essential",
        "libncurses-dev",
        "bison",
        "flex",
        "libssl-dev",
        "libelf-dev",
        // The seed's debhelper-compat=12 is a name that debhelper provides.
        "debhelper",
        "meson",
        "ninja-build",
        "libglib2.0-dev",
        "python3-pip",
        "nasm",
        "iasl",
        // The seed takes these for granted: its own commands need them.
        "bc",
        "cpio",
        "rsync",
        "kmod",
        "git",
        "curl",
        "pkg-config",
        "python3-venv",
        "libpixman-1-dev",
        "libslirp-dev",
        "zlib1g-dev",
        "uuid-dev",
        "driverctl",
        "pciutils",
        "qemu-utils",
        "cloud-image-utils",
      ],
      source: `${SEED}, Installing the packages; from bc on: what the seed's and TeeUp's own commands need`,
    },
    kernel: {
      value: {
        kind: "build",
        release: "6.9.0-rc7-tdx-698ca1e40357",
        base: "6.9.0-rc7",
        source: {
          url: "https://git.kernel.org/pub/scm/linux/kernel/git/vishal/kvm.git",
          // The baseline that the series names; the queue itself is rebased.
          commit: "698ca1e403579ca00e16a5b28ae4d576d9f1b20e",
          branch: "kvm-coco-queue-20240512",
        },
        series: [{ from: TDX_LINUX, file: "tdx-kvm/tdx_kvm_baseline_698ca1e40357.mbox" }],
        patches: [],
        enable: ["CONFIG_INTEL_TDX_HOST", "CONFIG_HYPERV"],
        // Modules, as the seed's own tdx.conf takes for granted.
        module: ["CONFIG_KVM", "CONFIG_KVM_INTEL", "CONFIG_TDX_GUEST_DRIVER", "CONFIG_VFIO_PCI"],
        disable: [
          "CONFIG_KEXEC",
          "CONFIG_CRASH_DUMP",
          // Without these two a distribution's configuration does not build, nor KEXEC go.
          "CONFIG_KEXEC_FILE",
          "CONFIG_LOCALVERSION_AUTO",
          "CONFIG_SYSTEM_TRUSTED_KEYS",
          "CONFIG_SYSTEM_REVOCATION_KEYS",
        ],
        version: "1-teeup1",
      },
      source: `${SEED}, Repo Layout and Building the components; full commit: base-commit lines of the series' posting`,
    },
    kernelConfig: {
      value: [
        "CONFIG_INTEL_TDX_HOST",
        "CONFIG_KVM",
        "CONFIG_KVM_INTEL",
        "CONFIG_TDX_GUEST_DRIVER",
        "CONFIG_HYPERV",
        "CONFIG_VFIO_PCI",
      ],
      source: `${SEED}, tdx-kvm, Enables; VFIO_PCI: CC mode on GPU`,
    },
    kernelConfigOff: { value: ["CONFIG_KEXEC", "CONFIG_CRASH_DUMP"], source: `${SEED}, tdx-kvm, Disables` },
    commandLine: {
      value: {
        present: ["console=ttyS0,115200", "kvm_intel.tdx=on", "nohibernate", "vfio-pci.disable_idle_d3=1"],
        forbidden: ["iommu=off", "intel_iommu=off"],
      },
      source: `${SEED}, tdx-kvm (grubby); seed 001, Known Issue, option 2 (disable_idle_d3)`,
    },
    moduleOptions: {
      value: [{ module: "kvm_intel", option: "tdx", value: "on" }],
      source: `${SEED}, tdx-kvm (/etc/modprobe.d/tdx.conf)`,
    },
    modulesLoad: { value: ["vfio-pci"], source: `${SEED}, CC mode on GPU` },
    tdx: {
      value: { minimumModule: "1.5" },
      source: "canonical/tdx README (noble-24.04), Supported Hardware, which the seed refers to",
    },
    quoteService: {
      value: {
        packages: ["sgx-dcap-pccs", "tdx-qgs", "libsgx-dcap-default-qpl", "sgx-ra-service"],
        repository: {
          name: "intel-sgx",
          url: "https://download.01.org/intel-sgx/sgx_repo/ubuntu",
          suite: "noble",
          key: { url: "https://download.01.org/intel-sgx/sgx_repo/ubuntu/intel-sgx-deb.key", sha256: UNKNOWN },
        },
      },
      source: "canonical/tdx README, Setup Remote Attestation; archive: Intel TDX Enabling Guide, Infrastructure Setup",
    },
    vmStack: {
      value: {
        kind: "build",
        qemu: {
          kind: "git",
          url: "https://gitlab.com/qemu-project/qemu.git",
          // The baseline that the series names, of 2024-06-17; the seed checks out the tag five weeks younger.
          commit: "900536d3e97aed7fdd9cb4dadd3bf7023360e819",
          branch: "v9.1.0-rc0",
          series: [{ from: TDX_LINUX, file: "tdx-qemu/tdx_qemu_baseline_900536d3e9.mbox" }],
        },
        ovmf: {
          kind: "git",
          url: "https://github.com/tianocore/edk2.git",
          commit: "3e722403cd16388a0e4044e705a2b34c841d76ca",
          branch: "edk2-stable202405",
          target: "DEBUG",
        },
        minQemu: "9.0",
      },
      source: `${SEED}, tdx-qemu and tdx-edk2`,
    },
    launcher: { value: "qemu", source: `${SEED}, Boot TD with GPU passthrough (run_td.sh starts QEMU itself)` },
    libvirt: {
      value: {
        packages: ["libvirt-daemon-system", "libvirt-clients"],
        // The seed's <your_user_name> and <your_group>: TeeUp's commands run as root.
        settings: { user: "root", group: "root", dynamic_ownership: 0, security_driver: "none" },
      },
      source: `${SEED}, Libvirt configuration for using the newly built qemu`,
    },
  },
  gpu: snpUpstream.gpu,
  guest: {
    ...snpUpstream.guest,
    kernelConfig: {
      value: ["CONFIG_CRYPTO_ECC", "CONFIG_CRYPTO_ECDH", "CONFIG_CRYPTO_ECDSA", "CONFIG_CRYPTO_ECRDSA"],
      source: `${SEED}, Specific notes for device passthrough to TD`,
    },
    commandLine: { value: ["clearcpuid=mtrr"], source: `${SEED}, guest image, Additional notes` },
  },
  attestation: snpUpstream.attestation,
});
