import { z } from "zod";
import { GPU_TOOL, TOOLS_DIR } from "../kit/argv.ts";
import type { Answer } from "../kit/ask.ts";
import { facet } from "../kit/facet.ts";
import type { Fact } from "../kit/facts.ts";
import { absent, known, showFact, unknown } from "../kit/facts.ts";
import { findingsOf } from "../kit/findings.ts";
import { gpuToolsExamples } from "./gpu-tools-examples.ts";

const SOURCE = "seed 001, Configuring the GPU; NVIDIA/gpu-admin-tools README";
const { pass, fail, unsure } = findingsOf("gpu-tools", SOURCE);
const DIR = `${TOOLS_DIR}/gpu-admin-tools`;
const HASH = /^[0-9a-f]{40}$/;

const Want = z.strictObject({
  url: z.url({ protocol: /^https$/ }).describe("Git repository of gpu-admin-tools."),
  commit: z.string().regex(HASH).describe("Commit to check out: 40 hex digits."),
});
export type GpuToolsWant = z.output<typeof Want>;
type Facts = {
  readonly commit: Fact<string>;
  /** Files that differ from the commit. */
  readonly changed: Fact<readonly string[]>;
};

/** git exits 128 when the folder is not there or is no checkout: that is `absent`. */
function gitText(answer: Answer): Fact<string> {
  if (answer.kind === "ran") {
    if (answer.status === 0) return known(answer.stdout);
    return answer.status === 128 ? absent : unknown(`git exit ${answer.status}`);
  }
  return answer.kind === "missing" || answer.kind === "no-machine" ? absent : unknown(answer.why);
}

export const gpuTools = facet({
  name: "gpu-tools",
  type: "GpuTools",
  on: "host",
  persona: "host",
  summary: `NVIDIA/gpu-admin-tools at a pinned commit in ${DIR}.`,
  sources: [SOURCE],
  want: Want,
  asks: {
    head: { kind: "argv", argv: ["git", "-C", DIR, "rev-parse", "HEAD"] },
    status: {
      kind: "argv",
      argv: ["git", "--no-optional-locks", "-C", DIR, "status", "--porcelain", "--untracked-files=all"],
    },
  },
  parse({ head, status }): Facts {
    const commit = gitText(head);
    const changed = gitText(status);
    return {
      commit:
        commit.state !== "known" || HASH.test(commit.value.trim())
          ? commit.state === "known"
            ? known(commit.value.trim())
            : commit
          : unknown("git rev-parse printed no commit"),
      changed: changed.state === "known" ? known(changed.value.split("\n").filter(Boolean)) : changed,
    };
  },
  judge(want, { commit, changed }) {
    const wanted = `gpu-admin-tools at ${want.commit.slice(0, 12)}`;
    const next = "pulumi up installs it";
    if (commit.state === "unknown") return [unsure("unknown", wanted, commit.why, "check git on the host")];
    if (commit.state === "absent") return [fail("absent", wanted, "not installed", next)];
    if (commit.value !== want.commit) return [fail("commit", wanted, commit.value.slice(0, 12), next)];
    if (changed.state !== "known") return [unsure("unknown", "unchanged files", showFact(changed), next)];
    if (changed.value.length > 0) {
      // The tool runs as root and writes to GPU registers: a changed file is never run.
      return [fail("changed", "files as in the commit", changed.value.slice(0, 3).join("; "), next)];
    }
    return [pass("commit", wanted, commit.value.slice(0, 12))];
  },
  plan(want, { commit, changed }) {
    if (commit.state === "unknown" || (commit.state === "known" && changed.state !== "known")) return [];
    const clean = changed.state === "known" && changed.value.length === 0;
    if (commit.state === "known" && commit.value === want.commit && clean) return [];
    return [
      {
        code: "gpu-tools.install",
        title: `gpu-admin-tools: ${commit.state === "known" ? commit.value.slice(0, 12) : "absent"} → ${want.commit.slice(0, 12)}`,
        why: "the CC mode can be switched only from the host, with this tool",
        disruption: "none",
        actions: [
          { do: "run", argv: ["git", "init", "--quiet", DIR] },
          {
            do: "run",
            argv: ["git", "-C", DIR, "fetch", "--quiet", "--depth=1", want.url, want.commit],
            timeoutSeconds: 300,
          },
          { do: "run", argv: ["git", "-C", DIR, "checkout", "--quiet", "--force", "--detach", want.commit] },
          // A module that is not the commit's would be imported before Python's own.
          { do: "run", argv: ["git", "-C", DIR, "clean", "--quiet", "-ffdx"] },
          { do: "run", argv: ["test", "-f", GPU_TOOL] },
        ],
      },
    ];
  },
  undo: (_want, { commit }) =>
    commit.state !== "known"
      ? []
      : [
          {
            code: "gpu-tools.remove",
            title: `remove ${DIR}`,
            why: "TeeUp installed it",
            disruption: "none",
            actions: [{ do: "run", argv: ["rm", "-rf", DIR] }],
          },
        ],
  show: ({ commit }) => ({ commit: showFact(commit) }),
  examples: gpuToolsExamples,
  covers: ["001-GPU-03"],
});
