import { failed, missing, ok } from "../kit/ask.ts";
import type { Example } from "../kit/facet.ts";
import type { GpuToolsWant } from "./gpu-tools.ts";

export const gpuToolsExamples: readonly Example<GpuToolsWant>[] = [
  {
    name: "installed",
    want: { url: "https://example.org/t.git", commit: "a".repeat(40) },
    answers: { head: ok(`${"a".repeat(40)}\n`), status: ok("") },
    findings: [],
    steps: [],
  },
  {
    name: "not there yet",
    want: { url: "https://example.org/t.git", commit: "a".repeat(40) },
    answers: { head: ok("", 128, "fatal: cannot change to …"), status: ok("", 128) },
    findings: ["gpu-tools.absent"],
    steps: ["gpu-tools.install"],
  },
  {
    name: "git itself not there yet",
    want: { url: "https://example.org/t.git", commit: "a".repeat(40) },
    answers: { head: missing, status: missing },
    findings: ["gpu-tools.absent"],
    steps: ["gpu-tools.install"],
  },
  {
    name: "another commit",
    want: { url: "https://example.org/t.git", commit: "a".repeat(40) },
    answers: { head: ok(`${"b".repeat(40)}\n`), status: ok("") },
    findings: ["gpu-tools.commit"],
    steps: ["gpu-tools.install"],
  },
  {
    name: "a changed file",
    want: { url: "https://example.org/t.git", commit: "a".repeat(40) },
    answers: { head: ok(`${"a".repeat(40)}\n`), status: ok(" M nvidia_gpu_tools.py\n") },
    findings: ["gpu-tools.changed"],
    steps: ["gpu-tools.install"],
  },
  {
    name: "a module that is not the commit's",
    want: { url: "https://example.org/t.git", commit: "a".repeat(40) },
    answers: { head: ok(`${"a".repeat(40)}\n`), status: ok("?? json.py\n") },
    findings: ["gpu-tools.changed"],
    steps: ["gpu-tools.install"],
  },
  {
    name: "no answer",
    want: { url: "https://example.org/t.git", commit: "a".repeat(40) },
    answers: { head: failed("connection lost"), status: failed("connection lost") },
    findings: ["gpu-tools.unknown"],
    steps: [],
  },
];
