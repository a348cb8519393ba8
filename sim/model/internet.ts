import { CLOUD_DOWNLOADS, NVIDIA_CN } from "./cloud-downloads.ts";
import { DCAP_DOWNLOADS } from "./dcap.ts";
import type { FileNode } from "./files.ts";
import { file, program, sha256 } from "./files.ts";
import { archive, debText, diskText, qemuData, readArchive, sevFirmwareFile } from "./stand-ins.ts";

/** What the simulated node finds outside: downloads by url and git repositories. Nothing here is ever fetched. */
export interface Download {
  readonly url: string;
  readonly node: FileNode;
}

export interface GitRepository {
  readonly url: string;
  /** Files of a checkout of any commit. */
  readonly files: Readonly<Record<string, FileNode>>;
}

const image = (name: string): FileNode => ({
  ...file(diskText({ id: name, image: name, format: "qcow2", virtual: 3_758_096_384 })),
  size: 620_000_000,
});

const runFile = (version: string): FileNode => ({
  ...file(`nvidia-runfile version=${version}\n`),
  program: "nvidia-runfile",
  mode: "0644",
  size: 4_300_000_000,
});

/** A series of one commit that changes one file. */
const mailbox = (path: string): FileNode =>
  file(
    `From 0000000000000000000000000000000000000000 Mon Sep 17 00:00:00 2001\nFrom: Nobody <nobody@example.org>\nSubject: [PATCH] synthetic\n\n--- a/${path}\n+++ b/${path}\n`,
  );

/** The series brings this file: a QEMU with it has TDs, also with VFIO. */
export const QEMU_TDX = "target/i386/kvm/tdx.c";

/** Top folder and files of a QEMU source tree. */
export function qemuTree(version: string, snp: boolean, vfio: boolean): Record<string, FileNode> {
  return {
    VERSION: file(`${version}\n`),
    configure: program("qemu-configure", qemuData(version, snp, vfio)),
    "meson.build": file("project('qemu')\n"),
  };
}

const CUDA_LIST =
  "deb [signed-by=/usr/share/keyrings/cuda-archive-keyring.gpg] https://developer.download.nvidia.com/compute/cuda/repos/ubuntu2404/x86_64/ /\n";

export const DOWNLOADS: readonly Download[] = [
  ...CLOUD_DOWNLOADS,
  ...DCAP_DOWNLOADS,
  {
    url: "https://download.01.org/intel-sgx/sgx_repo/ubuntu/intel-sgx-deb.key",
    node: file("-----BEGIN PGP PUBLIC KEY BLOCK-----\nsynthetic\n-----END PGP PUBLIC KEY BLOCK-----\n"),
  },
  {
    url: "https://download.qemu.org/qemu-9.2.4.tar.xz",
    node: {
      ...file(
        archive(
          Object.fromEntries(
            Object.entries(qemuTree("9.2.4", true, true)).map(([path, node]) => [`qemu-9.2.4/${path}`, node]),
          ),
        ),
      ),
      size: 135_000_000,
      sha256: "f3cc1c4eabfdb288218ac3e33763dbe9e276d8bc890b867a2335d58de2ddd39a",
    },
  },
  {
    url: "https://developer.download.nvidia.com/compute/cuda/repos/ubuntu2404/x86_64/cuda-keyring_1.1-1_all.deb",
    node: file(
      debText({
        name: "cuda-keyring",
        version: "1.1-1",
        files: {
          "/usr/share/keyrings/cuda-archive-keyring.gpg": file("synthetic key\n"),
          "/etc/apt/sources.list.d/cuda-ubuntu2404-x86_64.list": file(CUDA_LIST),
        },
      }),
    ),
  },
  {
    url: "https://cloud-images.ubuntu.com/releases/noble/release/ubuntu-24.04-server-cloudimg-amd64.img",
    node: image("noble"),
  },
  {
    url: "https://cloud-images.ubuntu.com/releases/jammy/release/ubuntu-22.04-server-cloudimg-amd64.img",
    node: image("jammy"),
  },
  {
    url: "https://cloud-images.ubuntu.com/releases/resolute/release/ubuntu-26.04-server-cloudimg-amd64.img",
    node: image("resolute"),
  },
  {
    url: "https://developer.amd.com/wp-content/resources/amd_sev_fam19h_model0xh_1.33.03.zip",
    node: file(
      archive({
        "amd_sev_fam19h_model0xh_1.33.03.sbin": file(sevFirmwareFile({ major: 1, minor: 51, build: 3 })),
        "LICENSE.txt": file("synthetic\n"),
      }),
    ),
  },
  {
    url: "https://developer.download.nvidia.com/compute/cuda/12.2.0/local_installers/cuda_12.2.0_535.86.06_linux.run",
    node: runFile("535.86.05"),
  },
];

const SEED_POLICY = "guest_tools/attestation_sdk/tests/NVGPUPolicyExample.json";

export const REPOSITORIES: readonly GitRepository[] = [
  {
    url: "https://github.com/NVIDIA/gpu-admin-tools",
    files: {
      "README.md": file("# gpu-admin-tools (synthetic)\n"),
      "nvidia_gpu_tools.py": { ...file("#!/usr/bin/env python3\n# synthetic\n", "0755"), program: "gpu-admin-tools" },
      "cli/main.py": file("# synthetic\n"),
      "gpu/defines.py": file("# synthetic\n"),
    },
  },
  {
    url: "https://github.com/NVIDIA/nvtrust",
    files: {
      "infrastructure/linux/patches/iommu_pagefault.patch": file(
        "--- a/drivers/iommu/amd/iommu.c\n+++ b/drivers/iommu/amd/iommu.c\n",
      ),
      "infrastructure/linux/patches/iommu_pagesize.patch": file(
        "--- a/drivers/iommu/amd/io_pgtable.c\n+++ b/drivers/iommu/amd/io_pgtable.c\n",
      ),
      "guest_tools/gpu_verifiers/local_gpu_verifier/pyproject.toml": file(
        '[project]\nname = "nv-local-gpu-verifier"\nversion = "1.0"\n',
      ),
      "guest_tools/attestation_sdk/pyproject.toml": file('[project]\nname = "nv-attestation-sdk"\nversion = "1.0"\n'),
      "guest_tools/attestation_sdk/tests/SmallGPUTest.py": file("# synthetic\n"),
      [SEED_POLICY]: file("{}\n"),
    },
  },
  {
    url: "https://github.com/AMDESE/linux",
    files: {
      Makefile: file(
        "# SPDX-License-Identifier: GPL-2.0\nVERSION = 5\nPATCHLEVEL = 19\nSUBLEVEL = 0\nEXTRAVERSION = -rc6\nNAME = Superb Owl\n",
      ),
      "scripts/config": program("kernel-config"),
      "drivers/iommu/amd/iommu.c": file("/* synthetic */\n"),
      "drivers/iommu/amd/io_pgtable.c": file("/* synthetic */\n"),
      "sim-snp-host": file("the tree has the SNP host patches\n"),
    },
  },
  {
    url: "https://git.kernel.org/pub/scm/linux/kernel/git/vishal/kvm",
    files: {
      Makefile: file(
        "# SPDX-License-Identifier: GPL-2.0\nVERSION = 6\nPATCHLEVEL = 9\nSUBLEVEL = 0\nEXTRAVERSION = -rc7\nNAME = Hurr durr I'ma ninja sloth\n",
      ),
      "scripts/config": program("kernel-config"),
      "virt/kvm/guest_memfd.c": file("/* synthetic */\n"),
      "sim-tdx-host": file("the tree has TDX hosts\n"),
    },
  },
  {
    url: "https://github.com/intel/tdx-linux",
    files: {
      "tdx-kvm/tdx_kvm_baseline_698ca1e40357.mbox": mailbox("virt/kvm/guest_memfd.c"),
      "tdx-qemu/tdx_qemu_baseline_900536d3e9.mbox": mailbox(QEMU_TDX),
      "tdx-edk2/tag": file("edk2-stable202405\n"),
    },
  },
  { url: "https://gitlab.com/qemu-project/qemu", files: qemuTree("9.0.50", false, false) },
  { url: "https://github.com/AMDESE/qemu", files: qemuTree("6.1.50", true, true) },
  {
    url: "https://github.com/AMDESE/AMDSEV",
    files: {
      "kvm.conf": file("options kvm_amd sev_snp=1 sev=1 sev_es=1\n"),
      "build.sh": file("# synthetic\n", "0755"),
      "common.sh": file("# synthetic\n"),
    },
  },
  {
    url: "https://github.com/tianocore/edk2",
    files: {
      "edksetup.sh": file("# synthetic\n", "0755"),
      "OvmfPkg/OvmfPkgX64.dsc": file("# synthetic\n"),
      "OvmfPkg/AmdSev/AmdSevX64.dsc": file("# synthetic\n"),
      "OvmfPkg/build.sh": program("edk2-build"),
      "BaseTools/GNUmakefile": file("# synthetic\n"),
    },
  },
];

const bare = (url: string): string =>
  url
    .replace(/\.git$/, "")
    .replace(/\/$/, "")
    .toLowerCase();

export class Internet {
  /** Set to make every download and fetch fail. */
  down = false;
  readonly #downloads = new Map(DOWNLOADS.map((d) => [d.url, d.node]));
  readonly #repositories = new Map(REPOSITORIES.map((r) => [bare(r.url), r]));

  serve(url: string, node: FileNode): void {
    this.#downloads.set(url, node);
  }

  /** The link is dead from now on. */
  withdraw(url: string): void {
    this.#downloads.delete(url);
  }

  serveRepository(repository: GitRepository): void {
    this.#repositories.set(bare(repository.url), repository);
  }

  get(url: string): FileNode | undefined {
    return this.down ? undefined : this.#downloads.get(url);
  }

  /** That server wants a page that the request says it comes from: its document sends one. */
  refuses(url: string, referer: string | undefined): boolean {
    return url.startsWith(NVIDIA_CN) && referer === undefined;
  }

  repository(url: string): GitRepository | undefined {
    return this.down ? undefined : this.#repositories.get(bare(url));
  }
}

/** SHA-256 of what the twin's internet serves under a url: what a stack pins when it provisions a twin. */
export function downloadSha256(url: string): string {
  const found = DOWNLOADS.find((d) => d.url === url)?.node;
  if (found?.kind !== "file") throw new Error(`the twin's internet does not have ${url}`);
  return found.sha256 ?? sha256(found.content);
}

/** SHA-256 of one member of an archive that it serves. */
export function memberSha256(url: string, member: string): string {
  const found = DOWNLOADS.find((d) => d.url === url)?.node;
  const node = readArchive(found?.kind === "file" ? found.content : undefined)?.[member];
  if (node?.kind !== "file") throw new Error(`no ${member} in ${url}`);
  return node.sha256 ?? sha256(node.content);
}
