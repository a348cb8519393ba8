import { fabricFiles } from "./fabric.ts";
import type { FileNode } from "./files.ts";
import { file } from "./files.ts";
import { debText } from "./stand-ins.ts";

/** What the clouds' documents download (seeds 002 and 003), as this twin's internet has it. All of it is synthetic. */
const NVIDIA = "https://developer.download.nvidia";
export const NVIDIA_CN = "https://cn.download.nvidia.cn/";
const BAIDU = "http://mirrors.baidubce.com/nvidia-binary-driver";

const runFile = (version: string, size: number): FileNode => ({
  ...file(`nvidia-runfile version=${version}\n`),
  program: "nvidia-runfile",
  mode: "0644",
  size,
});

/** An installer of CUDA that was told to leave its driver out. */
const cudaFile = (version: string): FileNode => ({
  ...file(`cuda-runfile version=${version}\n`),
  program: "cuda-runfile",
  mode: "0644",
  size: 4_400_000_000,
});

/** Debian and the Red Hat family keep libraries in different folders. */
const nscqFiles = (version: string, folder = "/usr/lib/x86_64-linux-gnu"): Readonly<Record<string, FileNode>> => ({
  [`${folder}/libnvidia-nscq.so.${version}`]: file(`nscq ${version}\n`),
});

/** The same text for a .deb and an .rpm: the package that it holds. */
const packageFile = (name: string, version: string, files: Readonly<Record<string, FileNode>>): FileNode =>
  file(debText({ name, version: `${version}-1`, files }));

export const CLOUD_DOWNLOADS: readonly { readonly url: string; readonly node: FileNode }[] = [
  { url: `${BAIDU}/driver/x86_64/NVIDIA-Linux-x86_64-570.195.03.run`, node: runFile("570.195.03", 410_000_000) },
  {
    url: `${BAIDU}/fabricmanager/x86_64/ubuntu/nvidia-fabricmanager-570_570.195.03-1_amd64.deb`,
    node: packageFile("nvidia-fabricmanager-570", "570.195.03", fabricFiles("570.195.03")),
  },
  {
    url: `${NVIDIA}.cn/compute/cuda/repos/ubuntu2204/x86_64/libnvidia-nscq-570_570.195.03-1_amd64.deb`,
    node: packageFile("libnvidia-nscq-570", "570.195.03", nscqFiles("570.195.03")),
  },
  {
    url: `${NVIDIA}.com/compute/cuda/repos/ubuntu2204/x86_64/cuda-keyring_1.1-1_all.deb`,
    node: file(
      debText({
        name: "cuda-keyring",
        version: "1.1-1",
        files: {
          "/usr/share/keyrings/cuda-archive-keyring.gpg": file("synthetic key\n"),
          "/etc/apt/sources.list.d/cuda-ubuntu2204-x86_64.list": file(
            "deb [signed-by=/usr/share/keyrings/cuda-archive-keyring.gpg] https://developer.download.nvidia.com/compute/cuda/repos/ubuntu2204/x86_64/ /\n",
          ),
        },
      }),
    ),
  },
  ...["550.144.03", "570.86.15"].map((version) => ({
    url: `${NVIDIA_CN}tesla/${version}/NVIDIA-Linux-x86_64-${version}.run`,
    node: runFile(version, 400_000_000),
  })),
  {
    url: `${NVIDIA}.com/compute/cuda/repos/rhel8/x86_64/cuda-rhel8.repo`,
    node: file(
      "[cuda-rhel8-x86_64]\nname=cuda-rhel8-x86_64\nbaseurl=https://developer.download.nvidia.com/compute/cuda/repos/rhel8/x86_64\nenabled=1\ngpgcheck=1\n",
    ),
  },
  {
    url: `${NVIDIA}.com/compute/cuda/12.4.1/local_installers/cuda_12.4.1_550.54.15_linux.run`,
    node: cudaFile("12.4"),
  },
  {
    url: `${NVIDIA}.com/compute/cuda/12.8.0/local_installers/cuda_12.8.0_570.86.10_linux.run`,
    node: cudaFile("12.8"),
  },
  {
    url: `${NVIDIA}.cn/compute/cuda/repos/rhel8/x86_64/nvidia-fabric-manager-570.86.15-1.x86_64.rpm`,
    node: packageFile("nvidia-fabric-manager", "570.86.15", fabricFiles("570.86.15")),
  },
  {
    url: `${NVIDIA}.cn/compute/cuda/repos/rhel8/x86_64/libnvidia-nscq-570-570.86.15-1.x86_64.rpm`,
    node: packageFile("libnvidia-nscq-570", "570.86.15", nscqFiles("570.86.15", "/usr/lib64")),
  },
];
