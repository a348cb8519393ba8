import { z } from "zod";
import { failed, text } from "../kit/ask.ts";
import type { Finding } from "../kit/facet.ts";
import { facet, pass } from "../kit/facet.ts";
import type { Fact } from "../kit/facts.ts";
import { showFact } from "../kit/facts.ts";
import type { Cpu } from "./cpu-lscpu.ts";
import { lscpu, parseCpu } from "./cpu-lscpu.ts";

/** Server processors with SEV-SNP, by CPUID family and model. Milan is the first (lenovopress.lenovo.com/lp1893). */
const GENERATIONS = [
  { name: "milan", family: 25, models: [[0x00, 0x0f]] },
  {
    name: "genoa",
    family: 25,
    models: [
      [0x10, 0x1f],
      [0xa0, 0xaf],
    ],
  },
  { name: "turin", family: 26, models: [[0x00, 0x1f]] },
] as const;
const OLDER = new Map([
  ["23/1", "Naples: SEV only"],
  ["23/49", "Rome: SEV and SEV-ES only"],
]);
const NAMES = ["milan", "genoa", "turin"] as const;

const Want = z.strictObject({
  tee: z.literal("sev-snp").default("sev-snp").describe("What the processor must be able to do."),
  generations: z
    .array(z.enum(NAMES))
    .min(1)
    .default([...NAMES])
    .describe("EPYC generations that will do; Genoa includes Bergamo and Siena."),
});

interface Facts {
  readonly cpu: Fact<Cpu>;
}

const generationOf = (family: number, model: number): string | undefined =>
  GENERATIONS.find((g) => g.family === family && g.models.some(([low, high]) => model >= low && model <= high))?.name;

const SOURCE = "seed 001, Selecting Hardware (CPU with SEV-SNP)";

const want = { tee: "sev-snp" as const, generations: [...NAMES] };

export const cpu = facet({
  name: "cpu",
  type: "Cpu",
  on: "host",
  persona: "hardware",
  summary: "The processor: an EPYC generation with SEV-SNP, with virtualisation switched on.",
  sources: [SOURCE],
  want: Want,
  asks: { lscpu: { kind: "argv", argv: ["lscpu", "-J"] } },
  parse(answers): Facts {
    const json = text(answers.lscpu);
    return { cpu: json.state === "known" ? parseCpu(json.value) : json };
  },
  judge(want, { cpu }) {
    const wanted = `AMD EPYC ${want.generations.join(", ")}`;
    const bad = (what: string, level: Finding["level"], saw: string, hint: string): Finding[] => [
      { code: `cpu.${what}`, level, want: wanted, saw, hint, source: SOURCE },
    ];
    if (cpu.state !== "known")
      return bad("unknown", "unknown", showFact(cpu), "lscpu (util-linux) must be installed and answer");
    const { vendor, model, family, number, flags } = cpu.value;
    if (vendor !== "AuthenticAMD")
      return bad("vendor", "fail", `${vendor} ${model}`, "SEV-SNP needs an AMD EPYC; for Intel see TDX");
    const generation = generationOf(family, number);
    // Families are shared with desktop parts, which have no SNP.
    if (generation === undefined || !want.generations.some((g) => g === generation) || !/EPYC/.test(model)) {
      const older = OLDER.get(`${family}/${number}`);
      const saw = `${model} (family ${family}, model ${number}${older === undefined ? "" : `; ${older}`})`;
      return bad("generation", "fail", saw, "use a machine with EPYC 7003 (Milan), 9004 (Genoa) or 9005 (Turin)");
    }
    const good = pass("cpu.generation", wanted, `${model} (${generation})`, SOURCE);
    if (!flags.includes("svm"))
      return [good, ...bad("svm-off", "fail", "no svm flag", "switch SVM Mode on in the BIOS (CPU configuration)")];
    return [good];
  },
  show: ({ cpu }) =>
    cpu.state === "known"
      ? {
          model: cpu.value.model,
          generation: generationOf(cpu.value.family, cpu.value.number) ?? "none",
          sockets: cpu.value.sockets,
        }
      : { cpu: showFact(cpu) },
  examples: [
    {
      name: "Genoa",
      want,
      answers: { lscpu: lscpu("AuthenticAMD", 25, 17, "AMD EPYC 9354 32-Core Processor") },
      findings: [],
      steps: [],
    },
    {
      name: "Turin Dense",
      want,
      answers: { lscpu: lscpu("AuthenticAMD", 26, 17, "AMD EPYC 9965 192-Core Processor") },
      findings: [],
      steps: [],
    },
    {
      name: "Rome has SEV-ES but no SNP",
      want,
      answers: { lscpu: lscpu("AuthenticAMD", 23, 49, "AMD EPYC 7742 64-Core Processor") },
      findings: ["cpu.generation"],
      steps: [],
    },
    {
      name: "Ryzen of a family that EPYC shares",
      want,
      answers: { lscpu: lscpu("AuthenticAMD", 25, 33, "AMD Ryzen 9 5950X") },
      findings: ["cpu.generation"],
      steps: [],
    },
    {
      name: "Intel",
      want,
      answers: { lscpu: lscpu("GenuineIntel", 6, 143, "Intel(R) Xeon(R) Platinum 8480+") },
      findings: ["cpu.vendor"],
      steps: [],
    },
    {
      name: "SVM off in the BIOS",
      want,
      answers: { lscpu: lscpu("AuthenticAMD", 25, 1, "AMD EPYC 7763 64-Core Processor", "fpu sme") },
      findings: ["cpu.svm-off"],
      steps: [],
    },
    {
      name: "lscpu does not answer",
      want,
      answers: { lscpu: failed("no answer within 20 s") },
      findings: ["cpu.unknown"],
      steps: [],
    },
  ],
  covers: ["001-HW-06"],
});
