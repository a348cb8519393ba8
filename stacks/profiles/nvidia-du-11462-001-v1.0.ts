import { profile, UNKNOWN } from "./schema.ts";

const GUIDE = "NVIDIA DU-11462-001 v1.0 (seed 001)";

/**
 * NVIDIA's deployment guide for Hopper confidential computing as of 2023-07-25: Ubuntu 22.04, AMD's 5.19-rc6 SNP
 * kernel with NVIDIA's two patches, driver 535. Kept to reproduce that state; new nodes use `snp-upstream`.
 */
export const nvidiaDu11462 = profile({
  name: "nvidia-du-11462-001-v1.0",
  title: "NVIDIA DU-11462-001 v1.0: H100 on AMD SEV-SNP with kernel 5.19 (2023)",
  released: "2023-07-25",
  cpu: "sev-snp",
  host: {
    os: { value: [{ id: "ubuntu", versionId: "22.04" }], source: `${GUIDE}, Host OS Administrator` },
    packages: {
      value: [
        "ninja-build",
        "iasl",
        "nasm",
        "flex",
        "bison",
        "openssl",
        "dkms",
        "autoconf",
        "zlib1g-dev",
        "python3-pip",
        "libncurses-dev",
        "libssl-dev",
        "libelf-dev",
        "libudev-dev",
        "libpci-dev",
        "libiberty-dev",
        "libtool",
        "libsdl-console",
        "libsdl-console-dev",
        "libpango1.0-dev",
        "libjpeg8-dev",
        "libpixman-1-dev",
        "libcairo2-dev",
        "libgif-dev",
        "libglib2.0-dev",
        "git-lfs",
        "jq",
        // The guide takes these for granted: its own commands need them.
        "build-essential",
        "bc",
        "rsync",
        "git",
        "curl",
        "unzip",
        "patch",
        "driverctl",
        "pciutils",
        "qemu-utils",
        "cloud-image-utils",
      ],
      source: `${GUIDE}, Preparing the Host; from build-essential on: what the guide's and TeeUp's own commands need`,
    },
    pip: { value: ["numpy", "flex", "bison"], source: `${GUIDE}, Preparing the Host` },
    kernel: {
      value: {
        kind: "build",
        release: "5.19.0-rc6-snp-host-d9bd54fea4d2",
        base: "5.19.0-rc6",
        source: {
          url: "https://github.com/AMDESE/linux.git",
          // The guide's sample shows only the first 12 digits, d9bd54fea4d2.
          commit: UNKNOWN,
          branch: "sev-snp-iommu-avic_5.19-rc6_v4",
        },
        patches: [
          {
            from: { url: "https://github.com/NVIDIA/nvtrust.git", commit: "33c8484c8d5fc2047fac40b34ac6900136c77b3e" },
            file: "infrastructure/linux/patches/iommu_pagefault.patch",
          },
          {
            from: { url: "https://github.com/NVIDIA/nvtrust.git", commit: "33c8484c8d5fc2047fac40b34ac6900136c77b3e" },
            file: "infrastructure/linux/patches/iommu_pagesize.patch",
          },
        ],
        enable: [
          "CONFIG_CRYPTO_ECC",
          "CONFIG_CRYPTO_ECDH",
          "CONFIG_CRYPTO_ECDSA",
          "CONFIG_CGROUP_MISC",
          "CONFIG_DEBUG_INFO",
          "CONFIG_DEBUG_INFO_REDUCED",
          "CONFIG_AMD_MEM_ENCRYPT",
          "CONFIG_KVM_AMD_SEV",
        ],
        module: ["CONFIG_CRYPTO_DEV_CCP_DD", "CONFIG_SEV_GUEST", "CONFIG_VFIO_PCI"],
        disable: [
          "CONFIG_LOCALVERSION_AUTO",
          "CONFIG_AMD_MEM_ENCRYPT_ACTIVE_BY_DEFAULT",
          "CONFIG_SYSTEM_TRUSTED_KEYS",
          "CONFIG_SYSTEM_REVOCATION_KEYS",
          "CONFIG_IOMMU_DEFAULT_PASSTHROUGH",
          "CONFIG_PREEMPT_COUNT",
          "CONFIG_PREEMPTION",
          "CONFIG_PREEMPT_DYNAMIC",
          "CONFIG_DEBUG_PREEMPT",
        ],
        version: "1-teeup1",
      },
      source:
        `${GUIDE}, Preparing to Build the Kernel and Modifying the Kernel; branch and options: AMDESE/AMDSEV branch ` +
        "sev-snp-devel, commit 9cefc42855f051977e53eeb165b08b3e80f821f6, stable-commits and common.sh; patches: " +
        "NVIDIA/nvtrust as of the guide's day; VFIO_PCI: seed 000, Host Side",
    },
    kernelConfig: {
      value: ["CONFIG_CRYPTO_ECC", "CONFIG_CRYPTO_ECDH", "CONFIG_CRYPTO_ECDSA", "CONFIG_CGROUP_MISC"],
      source: `${GUIDE}, Validating the Host Detects SNP, step 2`,
    },
    commandLine: {
      value: { present: ["vfio-pci.disable_idle_d3=1"], forbidden: ["iommu=pt", "iommu=off", "amd_iommu=off"] },
      source: `${GUIDE}, Known Issue, option 2; seed 000, Host Side (iommu=pt)`,
    },
    moduleOptions: {
      value: [
        { module: "kvm_amd", option: "sev_snp", value: "1" },
        { module: "kvm_amd", option: "sev", value: "1" },
        { module: "kvm_amd", option: "sev_es", value: "1" },
      ],
      source: `${GUIDE}, Installing the Host OS: kvm.conf of AMDESE/AMDSEV branch sev-snp-devel`,
    },
    modulesLoad: { value: ["vfio-pci"], source: "seed 000, Host Side: the built kernel does not load vfio-pci" },
    sevFirmware: {
      value: {
        minimumApi: "1.51",
        file: {
          url: "https://developer.amd.com/wp-content/resources/amd_sev_fam19h_model0xh_1.33.03.zip",
          sha256: UNKNOWN,
          member: "amd_sev_fam19h_model0xh_1.33.03.sbin",
          memberSha256: UNKNOWN,
          path: "/lib/firmware/amd/amd_sev_fam19h_model0xh.sbin",
        },
      },
      source: `${GUIDE}, Upgrade out-of-date SEV Firmware (1.33.03 is hexadecimal for 1.51 build 3)`,
    },
    vmStack: {
      value: {
        kind: "build",
        qemu: { kind: "git", url: "https://github.com/AMDESE/qemu.git", commit: UNKNOWN, branch: "snp-v3" },
        ovmf: {
          kind: "git",
          url: "https://github.com/tianocore/edk2.git",
          commit: "f80f052277c88a67c55e107b550f504eeea947d3",
          branch: "edk2-stable202302",
        },
        minQemu: "6.1",
      },
      source: `${GUIDE}, Downloading the GitHub Packages: AMDESE/AMDSEV branch sev-snp-devel, stable-commits`,
    },
  },
  gpu: {
    tools: {
      value: {
        url: "https://github.com/NVIDIA/gpu-admin-tools.git",
        commit: "82422cc1811cf7d04b69733cef3fa46e4144e203",
        branch: "v2025.10.20",
      },
      source: `${GUIDE}, Configuring the GPU: gpu_cc_tool.py of NVIDIA/nvtrust, whose successor this is`,
    },
    minimumVbios: { value: "96.00.5E.00.00", source: `${GUIDE}, Validating State and Versions` },
  },
  guest: {
    image: {
      value: {
        url: "https://cloud-images.ubuntu.com/releases/jammy/release/ubuntu-22.04-server-cloudimg-amd64.img",
        sha256: UNKNOWN,
        os: { id: "ubuntu", versionId: "22.04" },
        format: "qcow2",
      },
      source:
        `${GUIDE}, Create the VM Base Image (22.04.2 ISO, by hand; its link is dead: seed 000, Guest Side). A cloud image ` +
        "with the pinned kernel replaces it; its sum stands in SHA256SUMS beside it",
    },
    kernel: {
      value: {
        release: "5.19.0-43-generic",
        packages: [
          "linux-image-5.19.0-43-generic",
          "linux-modules-5.19.0-43-generic",
          "linux-modules-extra-5.19.0-43-generic",
          "linux-headers-5.19.0-43-generic",
        ],
        hold: [
          "linux-generic",
          "linux-image-generic",
          "linux-virtual",
          "linux-image-virtual",
          "linux-generic-hwe-22.04",
          "linux-image-generic-hwe-22.04",
        ],
      },
      source: `${GUIDE}, Log into your CVM (banner); seed 000, Guest Side: kernel 6.2 made the GPU invisible`,
    },
    lkca: {
      value: {
        path: "/etc/modprobe.d/nvidia-lkca.conf",
        text: "install nvidia /sbin/modprobe ecdsa_generic; /sbin/modprobe ecdh; /sbin/modprobe --ignore-install nvidia\n",
      },
      source:
        `${GUIDE}, Enabling LKCA, step 1; two modprobe calls as in seed 002, since the guide's one call takes ecdh as a ` +
        "parameter of ecdsa_generic",
    },
    driver: {
      value: {
        kind: "runfile",
        url: "https://developer.download.nvidia.com/compute/cuda/12.2.0/local_installers/cuda_12.2.0_535.86.06_linux.run",
        sha256: UNKNOWN,
        version: "535.86",
        cuda: "12.2",
        args: ["-m=kernel-open"],
        prerequisites: ["gcc", "g++", "make"],
      },
      source: `${GUIDE}, Installing the NVIDIA Driver (535.86.10 in prose, 535.86.06 in the file name, 535.86.05 in logs)`,
    },
    persistenced: {
      value: { args: [], before: [], timeoutSeconds: 120 },
      source: `${GUIDE}, Persistence Mode`,
    },
  },
  attestation: {
    value: {
      tool: "python-sdk",
      source: { url: "https://github.com/NVIDIA/nvtrust.git", commit: "33c8484c8d5fc2047fac40b34ac6900136c77b3e" },
      verifierPath: "guest_tools/gpu_verifiers/local_gpu_verifier",
      sdkPath: "guest_tools/attestation_sdk",
      packages: ["python3-pip", "python3.10-venv", "git"],
      policy: {
        name: "NVGPUPolicyExample",
        version: "1.0",
        claims: [
          "x-nv-gpu-available",
          "x-nv-gpu-attestation-report-available",
          "x-nv-gpu-info-fetched",
          "x-nv-gpu-arch-check",
          "x-nv-gpu-root-cert-available",
          "x-nv-gpu-cert-chain-verified",
          "x-nv-gpu-ocsp-cert-chain-verified",
          "x-nv-gpu-ocsp-signature-verified",
          "x-nv-gpu-cert-ocsp-nonce-match",
          "x-nv-gpu-cert-check-complete",
          "x-nv-gpu-measurement-available",
          "x-nv-gpu-attestation-report-parsed",
          "x-nv-gpu-nonce-match",
          "x-nv-gpu-attestation-report-driver-version-match",
          "x-nv-gpu-attestation-report-vbios-version-match",
          "x-nv-gpu-attestation-report-verified",
          "x-nv-gpu-driver-rim-schema-fetched",
          "x-nv-gpu-driver-rim-schema-validated",
          "x-nv-gpu-driver-rim-cert-extracted",
          "x-nv-gpu-driver-rim-signature-verified",
          "x-nv-gpu-driver-rim-driver-measurements-available",
          "x-nv-gpu-driver-vbios-rim-fetched",
          "x-nv-gpu-vbios-rim-schema-validated",
          "x-nv-gpu-vbios-rim-cert-extracted",
          "x-nv-gpu-vbios-rim-signature-verified",
          "x-nv-gpu-vbios-rim-driver-measurements-available",
          "x-nv-gpu-vbios-index-conflict",
          "x-nv-gpu-measurements-match",
        ],
      },
    },
    source: `${GUIDE}, Executing an Attestation: the full policy with 28 claims, not the two-claim sample`,
  },
});
