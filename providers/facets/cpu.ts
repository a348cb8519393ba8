import { z } from "zod";
import { text } from "../kit/ask.ts";
import type { Finding } from "../kit/facet.ts";
import { facet, pass } from "../kit/facet.ts";
import type { Fact } from "../kit/facts.ts";
import { showFact } from "../kit/facts.ts";
import { cpuExamples } from "./cpu-examples.ts";
import type { Cpu } from "./cpu-lscpu.ts";
import { parseCpu } from "./cpu-lscpu.ts";

interface Generation {
  readonly name: string;
  readonly family: number;
  /** First and last CPUID model of each range. */
  readonly models: readonly (readonly [number, number])[];
}
/** Server processors with SEV-SNP, by CPUID family and model. Milan is the first (lenovopress.lenovo.com/lp1893). */
const EPYC = {
  milan: { name: "milan", family: 25, models: [[0x00, 0x0f]] },
  genoa: {
    name: "genoa",
    family: 25,
    models: [
      [0x10, 0x1f],
      [0xa0, 0xaf],
    ],
  },
  turin: { name: "turin", family: 26, models: [[0x00, 0x1f]] },
} as const satisfies Record<string, Generation>;
/** Server processors with TDX (canonical/tdx README, Supported Hardware; Linux, intel-family.h). */
const XEON = {
  "sapphire-rapids": { name: "sapphire-rapids", family: 6, models: [[143, 143]] },
  "emerald-rapids": { name: "emerald-rapids", family: 6, models: [[207, 207]] },
  "granite-rapids": { name: "granite-rapids", family: 6, models: [[173, 174]] },
  "sierra-forest": { name: "sierra-forest", family: 6, models: [[175, 175]] },
} as const satisfies Record<string, Generation>;
const OLDER = new Map([
  ["23/1", "Naples: SEV only"],
  ["23/49", "Rome: SEV and SEV-ES only"],
  ["6/106", "Ice Lake: SGX only"],
  ["6/85", "Skylake or Cascade Lake: neither"],
]);
const NAMES = [
  "milan",
  "genoa",
  "turin",
  "sapphire-rapids",
  "emerald-rapids",
  "granite-rapids",
  "sierra-forest",
] as const;

const SNP = "seed 001, Selecting Hardware (CPU with SEV-SNP)";
const KINDS = {
  "sev-snp": {
    vendor: "AuthenticAMD",
    family: "AMD EPYC",
    model: /EPYC/,
    generations: Object.values<Generation>(EPYC),
    other: "SEV-SNP needs an AMD EPYC; for Intel see TDX",
    use: "use a machine with EPYC 7003 (Milan), 9004 (Genoa) or 9005 (Turin)",
    flag: "svm",
    off: "switch SVM Mode on in the BIOS (CPU configuration)",
    source: SNP,
  },
  tdx: {
    vendor: "GenuineIntel",
    family: "Intel Xeon",
    model: /Xeon/i,
    generations: Object.values<Generation>(XEON),
    other: "TDX needs an Intel Xeon; for AMD see SEV-SNP",
    use: "use a machine with a Xeon of the 4th or 5th generation that has TDX (ark.intel.com), or Xeon 6",
    flag: "vmx",
    off: "switch Intel Virtualization Technology on in the BIOS (CPU configuration)",
    source: "canonical/tdx README, Supported Hardware",
  },
} as const;

const Want = z.strictObject({
  tee: z.enum(["sev-snp", "tdx"]).default("sev-snp").describe("What the processor must be able to do."),
  generations: z
    .array(z.enum(NAMES))
    .min(1)
    .optional()
    .describe("Generations that will do; default: all that can. Genoa includes Bergamo and Siena."),
});

interface Facts {
  readonly cpu: Fact<Cpu>;
}

const generationOf = ({ family, number }: Cpu): string | undefined =>
  [...KINDS["sev-snp"].generations, ...KINDS.tdx.generations].find(
    (g) => g.family === family && g.models.some(([low, high]) => number >= low && number <= high),
  )?.name;

export const cpu = facet({
  name: "cpu",
  type: "Cpu",
  on: "host",
  persona: "hardware",
  summary: "The processor: a generation with SEV-SNP or TDX, with virtualisation switched on.",
  sources: [SNP, KINDS.tdx.source],
  want: Want,
  asks: { lscpu: { kind: "argv", argv: ["lscpu", "-J"] } },
  parse(answers): Facts {
    const json = text(answers.lscpu);
    return { cpu: json.state === "known" ? parseCpu(json.value) : json };
  },
  judge(want, { cpu }) {
    const kind = KINDS[want.tee];
    const names = want.generations ?? kind.generations.map((g) => g.name);
    const wanted = `${kind.family} ${names.join(", ")}`;
    const bad = (what: string, level: Finding["level"], saw: string, hint: string): Finding[] => [
      { code: `cpu.${what}`, level, want: wanted, saw, hint, source: kind.source },
    ];
    if (cpu.state !== "known")
      return bad("unknown", "unknown", showFact(cpu), "lscpu (util-linux) must be installed and answer");
    const { vendor, model, family, number, flags } = cpu.value;
    if (vendor !== kind.vendor) return bad("vendor", "fail", `${vendor} ${model}`, kind.other);
    const generation = generationOf(cpu.value);
    // Families and models are shared with desktop parts, which have neither.
    if (generation === undefined || !names.some((g) => g === generation) || !kind.model.test(model)) {
      const older = OLDER.get(`${family}/${number}`);
      const saw = `${model} (family ${family}, model ${number}${older === undefined ? "" : `; ${older}`})`;
      return bad("generation", "fail", saw, kind.use);
    }
    const good = pass("cpu.generation", wanted, `${model} (${generation})`, kind.source);
    if (!flags.includes(kind.flag)) return [good, ...bad(`${kind.flag}-off`, "fail", `no ${kind.flag} flag`, kind.off)];
    return [good];
  },
  show: ({ cpu }) =>
    cpu.state === "known"
      ? {
          model: cpu.value.model,
          generation: generationOf(cpu.value) ?? "none",
          sockets: cpu.value.sockets,
        }
      : { cpu: showFact(cpu) },
  examples: cpuExamples<z.output<typeof Want>>({ tee: "sev-snp" }, { tee: "tdx" }),
  covers: ["001-HW-06"],
});
