import { z } from "zod";
import type { Asks } from "../kit/ask.ts";
import { collected } from "../kit/ask.ts";
import { Sha256Schema } from "../kit/downloads.ts";
import type { Step } from "../kit/facet.ts";
import { facet } from "../kit/facet.ts";
import type { Fact } from "../kit/facts.ts";
import { mapFact, showFact, valueIfKnown } from "../kit/facts.ts";
import { firstUnknown } from "../kit/findings.ts";
import * as host from "../kit/host.ts";
import { judgeFact } from "../kit/judge.ts";
import { parseLines, pipName } from "../kit/parse-packages.ts";
import { cudaToolkitExamples } from "./cuda-toolkit-examples.ts";

const SOURCE = "seed 002, Step 1, download and install";
const CUBLAS = "seed 002, 注意事项; seed 003, 注意事项: cuBLAS of CUDA 12.4 fails on one GPU under CC";
const PIP = "nvidia-cublas-cu12";

const Want = z.strictObject({
  version: z
    .string()
    .regex(/^\d+\.\d+$/)
    .describe("Version of the toolkit, e.g. 12.4: /usr/local/cuda-12.4."),
  url: z.url({ protocol: /^https?$/ }).describe("NVIDIA's .run file."),
  sha256: Sha256Schema,
  args: z
    .array(z.string().regex(/^--?[\w-]+$/))
    .describe("Arguments, e.g. --silent --toolkit: the driver in the file is left out."),
  cublas: z
    .string()
    .regex(/^\d[\d.]*$/)
    .optional()
    .describe(`Version of ${PIP}, where CUDA's own must not be used.`),
  python: z
    .string()
    .regex(/^python3(\.\d+)?$/)
    .optional()
    .describe(`Interpreter that gets ${PIP}, for all users; default python3.`),
});
export type CudaToolkitWant = z.output<typeof Want>;
type Want = CudaToolkitWant;
interface Facts {
  /** Folders of toolkits, and marks of those that are not whole. */
  readonly toolkit: Fact<readonly string[]>;
  /** `name-version` of what pip installed for all users. */
  readonly pip: Fact<readonly string[]>;
}

/** Stands beside the toolkit's folder while the installer fills it: one that was killed leaves both. */
const unfinished = (want: Want) => `cuda-${want.version}.unfinished`;
const hasToolkit = (want: Want, folders: readonly string[]) =>
  folders.includes(`cuda-${want.version}`) && !folders.includes(unfinished(want));
const cublasFolder = (want: Want) => `nvidia_cublas_cu12-${want.cublas ?? ""}.dist-info`;
const hasCublas = (want: Want, folders: readonly string[]) =>
  want.cublas === undefined || folders.includes(cublasFolder(want));

const ASKS = {
  toolkit: {
    kind: "argv",
    argv: ["find", "/usr/local", "-mindepth", "1", "-maxdepth", "1", "-name", "cuda-*", "-printf", "%f\\n"],
  },
  // The Red Hat family keeps what is not pure Python in lib64.
  pip: { ...host.PIP_FOLDERS, argv: ["find", "/usr/local/lib64", ...host.PIP_FOLDERS.argv.slice(1)] },
} as const satisfies Asks;

/** The toolkit alone, so that the driver stays; and the cuBLAS that works. */
export const cudaToolkit = facet<Want, Facts, typeof ASKS>({
  name: "cuda-toolkit",
  type: "CudaToolkit",
  on: "guest",
  persona: "vm-admin",
  summary: "CUDA's toolkit without its driver, and the cuBLAS that works under confidential computing.",
  sources: [SOURCE, CUBLAS],
  want: Want,
  asks: ASKS,
  parse: (a): Facts => ({
    toolkit: mapFact(collected(a.toolkit), parseLines),
    pip: mapFact(collected(a.pip), parseLines),
  }),
  judge: (want, facts) => [
    judgeFact(facts.toolkit, {
      code: "cuda-toolkit.version",
      want: `/usr/local/cuda-${want.version}`,
      hint: "pulumi up installs it",
      source: SOURCE,
      good: (folders) => hasToolkit(want, folders),
      show: (folders) => folders.join(", ") || "none",
    }),
    ...(want.cublas === undefined
      ? []
      : [
          judgeFact(facts.pip, {
            code: "cuda-toolkit.cublas",
            want: `${PIP} ${want.cublas}`,
            hint: "pulumi up installs it; an environment of your own needs it too",
            source: CUBLAS,
            good: (folders) => hasCublas(want, folders),
            show: (folders) => folders.filter((f) => pipName(f).startsWith("nvidia-cublas")).join(", ") || "none",
          }),
        ]),
  ],
  plan: (want, facts): Step[] => {
    if (firstUnknown(facts.toolkit, facts.pip)) return [];
    const steps: Step[] = [];
    if (!hasToolkit(want, valueIfKnown(facts.toolkit) ?? [])) {
      const run = host.download(want.url, want.sha256);
      const mark = `/usr/local/${unfinished(want)}`;
      const lines = [
        { argv: ["mkdir", "-p", mark] },
        ...run.lines,
        { argv: ["sh", run.file, ...want.args] },
        { argv: ["rmdir", mark] },
      ] as const;
      steps.push({
        code: "cuda-toolkit.install",
        title: `install CUDA ${want.version} without its driver`,
        why: "what the GPU's programs are built for",
        disruption: "none",
        actions: [run.checks, ...host.job("cuda-toolkit", lines, 3600)],
      });
    }
    if (!hasCublas(want, valueIfKnown(facts.pip) ?? [])) {
      steps.push({
        code: "cuda-toolkit.cublas",
        title: `install ${PIP} ${want.cublas}`,
        why: "cuBLAS of CUDA 12.4 fails on a confidential GPU",
        disruption: "none",
        actions: [
          {
            do: "run",
            argv: [want.python ?? "python3", "-m", "pip", "install", `${PIP}==${want.cublas}`],
            timeoutSeconds: 900,
          },
        ],
      });
    }
    return steps;
  },
  show: ({ toolkit }) => ({ toolkit: showFact(toolkit, (folders) => folders.join(", ")) }),
  examples: cudaToolkitExamples,
  covers: ["002-23", "002-34", "002-45", "002-94", "002-95", "003-62"],
});
