import { cloudProfile } from "./cloud-schema.ts";
import { UNKNOWN } from "./schema.ts";
import { seedPolicy } from "./seed-policy.ts";

const SEED = "Alibaba Cloud, gn8v-tee (seed 002)";

/** What both gn8v-tee recipes want of the instance and of its system. */
export const GN8V = {
  place: { region: "cn-beijing", zone: "cn-beijing-l" },
  image: "aliyun_3_x64_20G_alibase_20250117.vhd",
  os: { value: [{ id: "alinux", versionId: "3" }], source: `${SEED}, 创建, table` },
  minimumKernel: { value: "5.10.134-18.al8.x86_64", source: `${SEED}, OpenAPI table, ImageId` },
  uefi: { value: true, source: `${SEED}, 已知功能限制: the limits of TDX instances apply, whose images are UEFI` },
  noRdma: { value: false, source: `${SEED} says nothing of RDMA interfaces` },
  packages: {
    value: ["openssl3", "gcc", "make", "pciutils", "curl"],
    source: `${SEED}, dependencies; from gcc on: what the driver's installer and TeeUp's own commands need`,
  },
  referer: "https://www.nvidia.cn/",
  driverArgs: [
    "--ui=none",
    "--no-questions",
    "--accept-license",
    "--disable-nouveau",
    "--no-cc-version-check",
    "--install-libglvnd",
    "--kernel-module-build-directory=kernel-open",
    "--rebuild-initramfs",
  ],
  minimumVbios: { value: "96.00.5E.00.00", source: "seed 001, Validating State and Versions; seed 002 names none" },
  attestation: (switches: boolean) => ({
    value: {
      tool: "nvattest" as const,
      packages: ["nvattest"],
      repository: {
        name: "cuda-rhel8",
        keyring: {
          url: "https://developer.download.nvidia.com/compute/cuda/repos/rhel8/x86_64/cuda-rhel8.repo",
          sha256: UNKNOWN,
        },
      },
      verifier: "local" as const,
      policy: { name: switches ? "teeup-ppcie" : "teeup-gpu", text: seedPolicy(switches) },
    },
    source: `${SEED}, 步骤四: LOCAL, policy 3.0; its Python SDK ended (NVIDIA/nvtrust#144), the claims are the same. NVIDIA names Ubuntu 22.04 and 24.04 alone for nvattest in a confidential VM: untried on Alibaba Cloud Linux`,
  }),
};

/** One GPU in CC mode. */
export const alibabaGn8vTee1gpu = cloudProfile({
  name: "alibaba-gn8v-tee-1gpu",
  title: "Alibaba gn8v-tee with one GPU: driver 550.144.03, CUDA 12.4.1 (Alibaba Cloud Linux 3)",
  released: "2025-02-19",
  cloud: "alibaba",
  cpu: "tdx",
  instance: {
    value: {
      ...GN8V.place,
      types: ["ecs.gn8v-tee.4xlarge", "ecs.gn8v-tee.6xlarge"],
      image: GN8V.image,
      systemDisk: { category: "cloud_essd", sizeGiB: 200 },
    },
    source: `${SEED}, 创建, tables and CLI示例; 步骤一; size of the disk: room for driver, CUDA and a model, not the seed's`,
  },
  system: {
    os: GN8V.os,
    minimumKernel: GN8V.minimumKernel,
    uefi: GN8V.uefi,
    noRdma: GN8V.noRdma,
    commandLine: { value: ["swiotlb=4194304,any"], source: `${SEED}, 单GPU卡, kernel args (8 GiB)` },
    packages: {
      value: [...GN8V.packages.value, "python3.11", "python3.11-pip"],
      source: `${GN8V.packages.source}; 步骤四 (python3.11, whose pip installs cuBLAS)`,
    },
  },
  gpu: {
    count: { value: 1, source: `${SEED}, 步骤一` },
    mode: { value: "on", source: `${SEED}, 步骤三: CC status: ON` },
    minimumVbios: GN8V.minimumVbios,
  },
  guest: {
    lkca: {
      value: {
        text: "install nvidia /sbin/modprobe ecdsa_generic; /sbin/modprobe ecdh; /sbin/modprobe --ignore-install nvidia\n",
      },
      source:
        "not in seed 002 for one GPU: as for 8 GPUs, without Protected PCIe; needed where the kernel's ECDH is a module (NVIDIA/open-gpu-kernel-modules#893)",
    },
    driver: {
      value: {
        kind: "runfile",
        version: "550.144.03",
        url: "https://cn.download.nvidia.cn/tesla/550.144.03/NVIDIA-Linux-x86_64-550.144.03.run",
        sha256: UNKNOWN,
        referer: GN8V.referer,
        args: [...GN8V.driverArgs],
        prerequisites: [],
      },
      source: `${SEED}, 单GPU卡, download and install`,
    },
    persistenced: {
      value: { args: [], before: ["cloudmonitor.service", "ollama.service"], timeoutSeconds: 900 },
      source: `${SEED}, 单GPU卡, service; 注意事项: cloudmonitor and ollama after it; time-out of the 8-GPU unit`,
    },
    cuda: {
      value: {
        version: "12.4",
        url: "https://developer.download.nvidia.com/compute/cuda/12.4.1/local_installers/cuda_12.4.1_550.54.15_linux.run",
        sha256: UNKNOWN,
        args: ["--silent", "--toolkit"],
      },
      source: `${SEED}, 单GPU卡, download and install`,
    },
    cublas: {
      value: { version: "12.4.5.8", python: "python3.11" },
      source: `${SEED}, 注意事项: cuBLAS of CUDA 12.4 fails under CC; 步骤四: the system's Python is made 3.11 there`,
    },
  },
  attestation: GN8V.attestation(false),
});
