import { profile, UNKNOWN } from "./schema.ts";

/** Passes only when every device is a GPU in production mode whose report, RIMs and chains are good. */
const POLICY = `package policy

import future.keywords.every

default nv_match := false

nv_match {
  count(input) > 0
  every claims in input { good(claims) }
}

good(claims) {
  claims["x-nvidia-device-type"] == "gpu"
  claims.measres == "success"
  claims.secboot == true
  claims.dbgstat == "disabled"
  claims["x-nvidia-gpu-attestation-report-nonce-match"] == true
  chain(claims["x-nvidia-gpu-attestation-report-cert-chain"])
  chain(claims["x-nvidia-gpu-driver-rim-cert-chain"])
  chain(claims["x-nvidia-gpu-vbios-rim-cert-chain"])
}

chain(c) {
  c["x-nvidia-cert-status"] == "valid"
  c["x-nvidia-cert-ocsp-status"] == "good"
}
`;

const CUDA_KEYRING = {
  url: "https://developer.download.nvidia.com/compute/cuda/repos/ubuntu2404/x86_64/cuda-keyring_1.1-1_all.deb",
  sha256: UNKNOWN,
} as const;

/** Everything from the distribution and upstream: no patched kernel. Ubuntu 24.04 host and guest. */
export const snpUpstream = profile({
  name: "snp-upstream",
  title: "SEV-SNP with upstream parts: HWE kernel, QEMU 9.2, driver 580 (Ubuntu 24.04)",
  released: "2026-01-15",
  cpu: "sev-snp",
  host: {
    os: {
      value: [{ id: "ubuntu", versionId: "24.04" }],
      source: "first Ubuntu LTS whose HWE kernel has SNP hosts (≥ 6.11)",
    },
    packages: {
      value: [
        "driverctl",
        "pciutils",
        "python3",
        "git",
        "curl",
        "unzip",
        "jq",
        "qemu-utils",
        "cloud-image-utils",
        "build-essential",
        "ninja-build",
        "pkg-config",
        "python3-venv",
        "libglib2.0-dev",
        "libpixman-1-dev",
        "libslirp-dev",
        "zlib1g-dev",
      ],
      source: "QEMU 9.2 build requirements (docs/about/build-platforms) and the commands TeeUp runs",
    },
    kernel: {
      value: {
        kind: "package",
        release: "6.14.0-37-generic",
        packages: [
          "linux-image-6.14.0-37-generic",
          "linux-modules-6.14.0-37-generic",
          "linux-modules-extra-6.14.0-37-generic",
          "linux-headers-6.14.0-37-generic",
        ],
      },
      source: "Ubuntu 24.04 HWE; SNP hosts are upstream since 6.11 (AMDESE/AMDSEV README, Upstream Support)",
    },
    kernelConfig: {
      value: ["CONFIG_KVM_AMD_SEV", "CONFIG_AMD_MEM_ENCRYPT", "CONFIG_VFIO_PCI"],
      source: "Linux 6.11 arch/x86/kvm/Kconfig and drivers/vfio/pci/Kconfig",
    },
    commandLine: {
      value: { present: ["vfio-pci.disable_idle_d3=1"], forbidden: ["iommu=pt", "iommu=off", "amd_iommu=off"] },
      source: "seed 001, Known Issue, option 2; seed 000, Host Side (iommu=pt), AMDESE/AMDSEV#88",
    },
    moduleOptions: {
      value: [
        { module: "kvm_amd", option: "sev", value: "1" },
        { module: "kvm_amd", option: "sev_es", value: "1" },
        { module: "kvm_amd", option: "sev_snp", value: "1" },
      ],
      source: "seed 001, Installing the Host OS (kvm.conf); the same names upstream",
    },
    modulesLoad: { value: ["vfio-pci"], source: "seed 000, Host Side" },
    sevFirmware: {
      value: { minimumApi: "1.55" },
      source: "Confidential Containers asks for 1.55; seed 001 for 1.51. The file comes with linux-firmware",
    },
    vmStack: {
      value: {
        kind: "build",
        qemu: {
          kind: "tarball",
          url: "https://download.qemu.org/qemu-9.2.4.tar.xz",
          sha256: "f3cc1c4eabfdb288218ac3e33763dbe9e276d8bc890b867a2335d58de2ddd39a",
        },
        qemuVersion: "9.2.4",
        ovmf: { kind: "package", package: "ovmf", path: "/usr/share/ovmf/OVMF.fd" },
        minQemu: "9.2",
      },
      source: "SNP since QEMU 9.1, with VFIO since 9.2 (kubevirt/kubevirt#16407); Ubuntu 24.04 has 8.2",
    },
  },
  gpu: {
    tools: {
      value: {
        url: "https://github.com/NVIDIA/gpu-admin-tools.git",
        commit: "82422cc1811cf7d04b69733cef3fa46e4144e203",
        branch: "v2025.10.20",
      },
      source: "NVIDIA/gpu-admin-tools, release v2025.10.20",
    },
    minimumVbios: { value: "96.00.5E.00.00", source: "seed 001, Validating State and Versions" },
  },
  guest: {
    image: {
      value: {
        url: "https://cloud-images.ubuntu.com/releases/noble/release/ubuntu-24.04-server-cloudimg-amd64.img",
        // Dated images leave the site after some months, so no sum written here would stay true.
        sha256: UNKNOWN,
        os: { id: "ubuntu", versionId: "24.04" },
        format: "qcow2",
      },
      source: "cloud-images.ubuntu.com; the sum stands in SHA256SUMS (signed: SHA256SUMS.gpg) beside the image",
    },
    kernel: {
      value: {
        release: "6.8.0-90-generic",
        packages: [
          "linux-image-6.8.0-90-generic",
          "linux-modules-6.8.0-90-generic",
          "linux-modules-extra-6.8.0-90-generic",
          "linux-headers-6.8.0-90-generic",
        ],
        hold: [
          "linux-generic",
          "linux-image-generic",
          "linux-headers-generic",
          "linux-virtual",
          "linux-image-virtual",
          "linux-headers-virtual",
        ],
      },
      source: "Ubuntu 24.04 GA kernel; SNP guests are upstream since 5.19. Held: seed 000, Guest Side",
    },
    lkca: {
      value: {
        path: "/etc/modprobe.d/nvidia-lkca.conf",
        text: "install nvidia /sbin/modprobe ecdsa_generic; /sbin/modprobe ecdh; /sbin/modprobe --ignore-install nvidia\n",
      },
      source: "seed 001, Enabling LKCA; form of seed 002",
    },
    driver: {
      value: {
        kind: "packages",
        version: "580.",
        packages: ["nvidia-headless-580-server-open", "nvidia-utils-580-server"],
      },
      source: "Ubuntu 24.04 archive; open kernel modules as seed 001, Installing the NVIDIA Driver, asks",
    },
    persistenced: {
      value: { args: ["--uvm-persistence-mode", "--verbose"], before: [], timeoutSeconds: 900 },
      source: "seeds 002 and 003: unit of nvidia-persistenced; NVIDIA/nvtrust#128 (slower than 120 s)",
    },
    fabricManager: {
      value: { packages: ["nvidia-fabricmanager-580"] },
      source: "Ubuntu 24.04 archive, beside the driver; seeds 002 and 003 (eight GPUs)",
    },
  },
  attestation: {
    value: {
      tool: "nvattest",
      packages: ["nvattest"],
      repository: { name: "cuda-ubuntu2404", keyring: CUDA_KEYRING },
      verifier: "local",
      policy: { name: "teeup-gpu-production", text: POLICY },
    },
    source: "NVIDIA/attestation-sdk; the Python SDK ended (NVIDIA/nvtrust#144)",
  },
});
