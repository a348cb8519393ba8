import { GN8V } from "./alibaba-gn8v-tee-1gpu.ts";
import { cloudProfile } from "./cloud-schema.ts";
import { UNKNOWN } from "./schema.ts";

const SEED = "Alibaba Cloud, gn8v-tee (seed 002)";
const DRIVER = "570.86.15";
const REPOSITORY = "https://developer.download.nvidia.cn/compute/cuda/repos/rhel8/x86_64";

/** Eight GPUs and four NVSwitches in Protected PCIe mode. */
export const alibabaGn8vTee8gpu = cloudProfile({
  name: "alibaba-gn8v-tee-8gpu",
  title: "Alibaba gn8v-tee with eight GPUs: Protected PCIe, driver 570.86.15, CUDA 12.8.0 (Alibaba Cloud Linux 3)",
  released: "2025-02-19",
  cloud: "alibaba",
  cpu: "tdx",
  instance: {
    value: {
      ...GN8V.place,
      types: ["ecs.gn8v-tee-8x.16xlarge", "ecs.gn8v-tee-8x.48xlarge"],
      image: GN8V.image,
      systemDisk: { category: "cloud_essd", sizeGiB: 500 },
    },
    source: `${SEED}, 创建, tables and CLI示例; 步骤一; size of the disk: not the seed's`,
  },
  system: {
    os: GN8V.os,
    minimumKernel: GN8V.minimumKernel,
    uefi: GN8V.uefi,
    noRdma: GN8V.noRdma,
    commandLine: { value: ["swiotlb=2097152,any"], source: `${SEED}, 8 GPU卡, kernel args (4 GiB)` },
    packages: GN8V.packages,
  },
  gpu: {
    count: { value: 8, source: `${SEED}, 步骤一` },
    mode: { value: "ppcie", source: `${SEED}, 步骤三: Multi-GPU Mode: Protected PCIe` },
    minimumVbios: GN8V.minimumVbios,
  },
  guest: {
    lkca: {
      value: {
        text:
          "install nvidia /sbin/modprobe ecdsa_generic; /sbin/modprobe ecdh; /sbin/modprobe --ignore-install nvidia\n" +
          'options nvidia NVreg_RegistryDwords="RmEnableProtectedPcie=0x1"\n',
      },
      source: `${SEED}, 8 GPU卡, module config`,
    },
    driver: {
      value: {
        kind: "runfile",
        version: DRIVER,
        url: `https://cn.download.nvidia.cn/tesla/${DRIVER}/NVIDIA-Linux-x86_64-${DRIVER}.run`,
        sha256: UNKNOWN,
        referer: GN8V.referer,
        args: [...GN8V.driverArgs],
        prerequisites: [],
      },
      source: `${SEED}, 8 GPU卡, download and install`,
    },
    fabricManager: {
      value: {
        version: DRIVER,
        files: [
          {
            url: `${REPOSITORY}/nvidia-fabric-manager-${DRIVER}-1.x86_64.rpm`,
            sha256: UNKNOWN,
          },
          {
            url: `${REPOSITORY}/libnvidia-nscq-570-${DRIVER}-1.x86_64.rpm`,
            sha256: UNKNOWN,
          },
        ],
      },
      source: `${SEED}, 8 GPU卡, download; 步骤四, NVSwitch`,
    },
    persistenced: {
      value: {
        args: ["--uvm-persistence-mode", "--verbose"],
        before: ["cloudmonitor.service", "ollama.service"],
        timeoutSeconds: 900,
      },
      source: `${SEED}, 8 GPU卡, service; 注意事项`,
    },
    cuda: {
      value: {
        version: "12.8",
        url: "https://developer.download.nvidia.com/compute/cuda/12.8.0/local_installers/cuda_12.8.0_570.86.10_linux.run",
        sha256: UNKNOWN,
        args: ["--silent", "--toolkit"],
      },
      source: `${SEED}, 8 GPU卡, download and install`,
    },
  },
  attestation: GN8V.attestation(true),
});
