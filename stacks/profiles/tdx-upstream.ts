import { profile, UNKNOWN } from "./schema.ts";
import { snpUpstream } from "./snp-upstream.ts";

const UBUNTU = "Ubuntu Server documentation, Confidential Computing with Intel TDX";

/** Everything from the distribution: no patched kernel. Ubuntu 26.04 host; guest and attestation as in snp-upstream. */
export const tdxUpstream = profile({
  name: "tdx-upstream",
  title: "Intel TDX with the distribution's parts: kernel 7.0, QEMU 10.2, libvirt (Ubuntu 26.04)",
  released: "2026-10-01",
  cpu: "tdx",
  host: {
    os: {
      value: [{ id: "ubuntu", versionId: "26.04" }],
      source: "first Ubuntu LTS with TDX hosts (canonical/tdx README, Project Status); kernel ≥ 6.16",
    },
    packages: {
      value: ["driverctl", "pciutils", "python3", "git", "curl", "qemu-utils", "cloud-image-utils"],
      source: "the commands TeeUp runs",
    },
    kernel: {
      value: {
        kind: "package",
        release: "7.0.0-31-generic",
        packages: ["linux-image-7.0.0-31-generic", "linux-modules-7.0.0-31-generic", "linux-headers-7.0.0-31-generic"],
      },
      source: "Ubuntu 26.04 GA kernel; TDX hosts are upstream since 6.16",
    },
    kernelConfig: {
      value: ["CONFIG_INTEL_TDX_HOST", "CONFIG_KVM_INTEL_TDX", "CONFIG_VFIO_PCI"],
      source: "Linux 6.16 arch/x86/Kconfig, arch/x86/kvm/Kconfig and drivers/vfio/pci/Kconfig",
    },
    commandLine: {
      value: {
        present: ["nohibernate", "kvm_intel.tdx=1", "vfio-pci.disable_idle_d3=1"],
        // iommu=pt, which SEV-SNP refuses, does no harm here.
        forbidden: ["iommu=off", "intel_iommu=off"],
      },
      source: `${UBUNTU}, Configure host; canonical/tdx#411; seed 001, Known Issue, option 2`,
    },
    moduleOptions: {
      value: [{ module: "kvm_intel", option: "tdx", value: "1" }],
      source: "seed 004, tdx-kvm (tdx.conf); the same name upstream",
    },
    modulesLoad: { value: ["vfio-pci"], source: "seed 004, CC mode on GPU" },
    tdx: {
      value: { minimumModule: "1.5" },
      source: `${UBUNTU}, Supported hardware: 1.5 up to Sierra Forest, 2.0 on Granite Rapids`,
    },
    quoteService: {
      value: {
        packages: ["sgx-dcap-pccs", "tdx-qgs", "libsgx-dcap-default-qpl", "sgx-ra-service"],
        repository: {
          name: "intel-sgx",
          url: "https://download.01.org/intel-sgx/sgx_repo/ubuntu",
          suite: "resolute",
          key: { url: "https://download.01.org/intel-sgx/sgx_repo/ubuntu/intel-sgx-deb.key", sha256: UNKNOWN },
        },
      },
      source: "canonical/tdx README, Setup Remote Attestation; archive: Intel TDX Enabling Guide, Infrastructure Setup",
    },
    vmStack: {
      value: {
        kind: "packages",
        packages: ["qemu-system-x86", "ovmf-inteltdx"],
        qemu: "/usr/bin/qemu-system-x86_64",
        ovmf: "/usr/share/ovmf/OVMF.inteltdx.ms.fd",
        minQemu: "10.1",
      },
      source: `${UBUNTU}, Install virtualization stack; TDX since QEMU 10.1 (docs/system/i386/tdx.rst)`,
    },
    launcher: { value: "libvirt", source: `${UBUNTU}, Launch a TDX VM with libvirt (TDX since libvirt 11.6)` },
    libvirt: {
      value: { packages: ["libvirt-daemon-system", "libvirt-clients"], settings: {} },
      source: `${UBUNTU}, Install virtualization stack`,
    },
  },
  gpu: snpUpstream.gpu,
  guest: snpUpstream.guest,
  attestation: snpUpstream.attestation,
});
