import { fabricFiles } from "./fabric.ts";
import { file } from "./files.ts";
import type { Package } from "./packages.ts";

/** The archives that a machine of the Red Hat family can reach. All of it synthetic: names as there, versions made up. */
const CUDA = "developer.download.nvidia.com";

/** Packages that only have to be there: name → version. */
const PLAIN: Readonly<Record<string, string>> = {
  openssl: "1.1.1k-12.al8",
  openssl3: "3.0.12-10.al8",
  kmod: "25-20.al8",
  "ca-certificates": "2023.2.60-80.al8",
  "kernel-headers": "5.10.134-18.al8",
  "python3.11-devel": "3.11.9-1.al8",
  "python3-dnf-plugin-versionlock": "4.0.21-25.al8",
};

/** Packages that bring programs: name → [version, programs]. */
const TOOLS: Readonly<Record<string, readonly [string, Readonly<Record<string, string>>]>> = {
  curl: ["7.61.1-34.al8", { curl: "7.61.1" }],
  wget: ["1.19.5-12.al8", { wget: "1.19.5" }],
  git: ["2.43.5-1.al8", { git: "2.43.5" }],
  gcc: ["10.2.1-3.8.al8", { gcc: "10.2.1" }],
  make: ["4.3-8.al8", { make: "4.3" }],
  pciutils: ["3.7.0-3.al8", { lspci: "3.7.0", setpci: "3.7.0" }],
  python3: ["3.6.8-62.al8", {}],
  "python3.11": ["3.11.9-1.al8", { "python3.11": "3.11" }],
  "python3.11-pip": ["22.3.1-5.al8", {}],
};

/** NVIDIA's archive, once its .repo file is there. */
const NVIDIA: readonly Package[] = [
  { name: "nvattest", version: "1.1.0-1", from: CUDA, programs: { nvattest: "1.1.0" }, depends: ["libnvat1"] },
  { name: "libnvat1", version: "1.1.0-1", from: CUDA },
  ...["570.86.15", "570.195.03"].flatMap((version): Package[] => [
    { name: "nvidia-fabric-manager", version: `${version}-1`, from: CUDA, files: fabricFiles(version) },
    {
      name: "libnvidia-nscq-570",
      version: `${version}-1`,
      from: CUDA,
      files: { [`/usr/lib64/libnvidia-nscq.so.${version}`]: file("synthetic\n") },
    },
  ]),
];

export const rpmPackages = (): readonly Package[] => [
  ...Object.entries(PLAIN).map(([name, version]): Package => ({ name, version })),
  ...Object.entries(TOOLS).map(([name, [version, programs]]): Package => ({ name, version, programs })),
  ...NVIDIA,
];
