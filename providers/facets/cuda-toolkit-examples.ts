import { ok } from "../kit/ask.ts";
import { example } from "../kit/example.ts";
import type { Example } from "../kit/facet.ts";
import type { CudaToolkitWant } from "./cuda-toolkit.ts";

const SHA = "ab".repeat(32);

export const cudaToolkitExamples: readonly Example<CudaToolkitWant>[] = [
  example(
    "toolkit and cuBLAS as wanted",
    {
      version: "12.4",
      url: "https://x.example/cuda.run",
      sha256: SHA,
      args: ["--silent", "--toolkit"],
      cublas: "12.4.5.8",
    },
    { toolkit: ok("cuda-12.4\n"), pip: ok("nvidia_cublas_cu12-12.4.5.8.dist-info\n") },
  ),
  example(
    "neither",
    {
      version: "12.4",
      url: "https://x.example/cuda.run",
      sha256: SHA,
      args: ["--silent", "--toolkit"],
      cublas: "12.4.5.8",
    },
    { toolkit: ok(""), pip: ok("nvidia_cublas_cu12-12.4.2.65.dist-info\n") },
    ["cuda-toolkit.version", "cuda-toolkit.cublas"],
    ["cuda-toolkit.install", "cuda-toolkit.cublas"],
  ),
  example(
    "the installer was killed, or found the disk full: its folder is there, and half of what belongs in it",
    { version: "12.8", url: "https://x.example/cuda.run", sha256: SHA, args: ["--silent", "--toolkit"] },
    { toolkit: ok("cuda-12.8\ncuda-12.8.unfinished\n"), pip: ok("") },
    ["cuda-toolkit.version"],
    ["cuda-toolkit.install"],
  ),
  example(
    "cannot look",
    { version: "12.8", url: "https://x.example/cuda.run", sha256: SHA, args: ["--silent", "--toolkit"] },
    { toolkit: ok("", 1, "find: '/usr/local': Permission denied"), pip: ok("") },
    ["cuda-toolkit.version"],
  ),
];
