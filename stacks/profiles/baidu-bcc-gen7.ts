import { cloudProfile } from "./cloud-schema.ts";
import { UNKNOWN } from "./schema.ts";
import { seedPolicy } from "./seed-policy.ts";

const SEED = "Baidu AI Cloud, 创建异构机密计算实例 (seed 003)";
const DCAP = "https://download.01.org/intel-sgx/sgx-dcap/1.21/linux/distro/ubuntu22.04-server";
const DRIVER = "570.195.03";

/** Eight Hopper GPUs in Protected PCIe mode in a 7th generation instance, Ubuntu 22.04. The instance is adopted. */
export const baiduBccGen7 = cloudProfile({
  name: "baidu-bcc-gen7",
  title: "Baidu BCC 7th generation: TDX with Protected PCIe, driver 570.195.03 (Ubuntu 22.04)",
  released: "2025-11-01",
  cloud: "baidu",
  cpu: "tdx",
  system: {
    os: { value: [{ id: "ubuntu", versionId: "22.04" }], source: `${SEED}, 适用范围` },
    minimumKernel: { value: "6.6.0", source: `${SEED}, 适用范围; 使用限制, 镜像限制` },
    uefi: { value: true, source: `${SEED}, 使用限制, 镜像限制` },
    noRdma: { value: true, source: `${SEED}, 使用限制: elastic RDMA interfaces are not supported` },
    // 1 GiB is the default, and enlarging it is for instances whose I/O was seen to suffer.
    commandLine: { value: [], source: `${SEED}, 使用限制, IO性能瓶颈: only where the problem is confirmed` },
    packages: {
      value: ["build-essential", "pciutils", "curl"],
      source: `${SEED}, 步骤一: what the driver's installer and TeeUp's own commands need`,
    },
  },
  gpu: {
    count: { value: 8, source: `${SEED}, 步骤四: the sample shows 8 GPUs and 4 NVSwitches` },
    mode: { value: "ppcie", source: `${SEED}, 产品介绍` },
    minimumVbios: { value: "96.00.5E.00.00", source: "seed 001, Validating State and Versions; seed 003 names none" },
  },
  guest: {
    lkca: {
      value: {
        text: "install nvidia /sbin/modprobe ecdsa_generic; /sbin/modprobe ecdh; /sbin/modprobe --ignore-install nvidia\n",
      },
      source:
        "not in seed 003, whose images come prepared: as seed 002 for 8 GPUs; needed where the kernel's ECDH is a module (NVIDIA/open-gpu-kernel-modules#893)",
    },
    driver: {
      value: {
        kind: "runfile",
        version: DRIVER,
        url: `http://mirrors.baidubce.com/nvidia-binary-driver/driver/x86_64/NVIDIA-Linux-x86_64-${DRIVER}.run`,
        sha256: UNKNOWN,
        args: ["--kernel-module-build-directory=kernel-open", "--no-cc-version-check"],
        prerequisites: [],
      },
      source: `${SEED}, 步骤一; flags: seed 002 (open kernel modules, no check of the compiler)`,
    },
    fabricManager: {
      value: {
        version: DRIVER,
        files: [
          {
            url: `http://mirrors.baidubce.com/nvidia-binary-driver/fabricmanager/x86_64/ubuntu/nvidia-fabricmanager-570_${DRIVER}-1_amd64.deb`,
            sha256: UNKNOWN,
          },
          {
            url: `https://developer.download.nvidia.cn/compute/cuda/repos/ubuntu2204/x86_64/libnvidia-nscq-570_${DRIVER}-1_amd64.deb`,
            sha256: UNKNOWN,
          },
        ],
      },
      source: `${SEED}, 步骤一`,
    },
    persistenced: {
      value: {
        args: ["--verbose"],
        before: ["bcm-agent.service", "has-agent.service"],
        timeoutSeconds: 600,
      },
      source: `${SEED}, 注意事项: agents after nvidia-persistenced; TimeoutSec=600`,
    },
  },
  quote: {
    value: {
      repository: {
        url: `${DCAP}/sgx_debian_local_repo.tgz`,
        sha256: UNKNOWN,
        md5: "71169068a5f0f99d203ad9f3d7976a9f",
      },
      sdk: {
        url: `${DCAP}/sgx_linux_x64_sdk_2.24.100.3.bin`,
        sha256: UNKNOWN,
        md5: "bc8c3453b44c6c6ce0c9fa1804cd2565",
      },
      verifier: {
        url: "https://github.com/intel/confidential-computing.tee.dcap/archive/refs/tags/DCAP_1.21.tar.gz",
        sha256: UNKNOWN,
        md5: "c4f2bd528e153f651adc9564a5b200b5",
      },
      verifierFolder: "confidential-computing.tee.dcap-DCAP_1.21",
      pccs: "https://pccs.baidubce.com:8081",
    },
    source: `${SEED}, 步骤三; the sums in MD5 are the document's, SHA-256 is asked beside`,
  },
  attestation: {
    value: {
      tool: "nvattest",
      packages: ["nvattest"],
      repository: {
        name: "cuda-ubuntu2204",
        keyring: {
          url: "https://developer.download.nvidia.com/compute/cuda/repos/ubuntu2204/x86_64/cuda-keyring_1.1-1_all.deb",
          sha256: UNKNOWN,
        },
      },
      verifier: "remote",
      policy: { name: "teeup-ppcie", text: seedPolicy(true) },
    },
    source: `${SEED}, 步骤四 (REMOTE); its PPCIE verifier is of the Python SDK that ended (NVIDIA/nvtrust#144)`,
  },
});
