import type { Finding } from "../kit/facet.ts";
import { facet } from "../kit/facet.ts";
import { valueIfKnown } from "../kit/facts.ts";
import { EVIDENCE_ASKS, judgeEvidence, parseEvidence } from "./bios-evidence.ts";
import { BIOS_EXAMPLES } from "./bios-examples.ts";
import { BIOS_TDX_EXAMPLES } from "./bios-examples-tdx.ts";
import { toStage } from "./bios-resolve.ts";
import type { BiosFacts } from "./bios-view.ts";
import { BiosWant, boots, judgeTarget, parseBmc, view } from "./bios-view.ts";

export const bios = facet({
  name: "bios",
  type: "Bios",
  on: "host",
  persona: "hardware",
  summary: "BIOS settings of SEV-SNP or TDX: staged through the BMC, or named one by one for a person.",
  sources: [
    "seed 001, Setting Up the Hardware",
    "seed 000, BIOS",
    "docs/sources.md, BIOS attributes",
    "canonical/tdx README, Enable Intel TDX in the Host's BIOS",
  ],
  want: BiosWant,
  asks: { bmc: { kind: "bios" }, ...EVIDENCE_ASKS },
  parse(answers): BiosFacts {
    return { bmc: parseBmc(answers.bmc), evidence: parseEvidence(answers) };
  },
  judge(want, facts) {
    const { vendor, menu, minSevAsid, bios } = view(want, facts);
    const source = vendor?.source ?? menu.source;
    if (facts.bmc.state === "unknown") {
      const hint = "the message says what to change; without a BMC, leave `bmc` out of the node";
      return [
        { code: "bios.bmc-unknown", level: "unknown", want: "BIOS settings read", saw: facts.bmc.why, hint, source },
      ];
    }
    if (bios === undefined) return judgeEvidence({ tee: want.tee, minSevAsid }, facts.evidence, menu);
    const problems = bios.problems.map(
      (p): Finding => ({ code: `bios.${p.kind}`, level: "fail", want: p.want, saw: p.saw, hint: p.hint, source }),
    );
    const findings = [...bios.targets.map((t) => judgeTarget(t, bios, source)), ...problems];
    const ready = findings.every((f) => f.level === "pass");
    return ready ? [...findings, ...judgeEvidence({ tee: want.tee, minSevAsid }, facts.evidence, menu)] : findings;
  },
  plan(want, facts, { node }) {
    if (facts.bmc.state === "unknown") return [];
    const { menu, minSevAsid, bios } = view(want, facts);
    const settings = bios === undefined ? {} : toStage(bios);
    const names = Object.keys(settings);
    if (bios !== undefined && names.length > 0) {
      const total = boots(bios);
      const what = names
        .map((n) => `${n} ${bios.targets.find((t) => t.name === n)?.saw ?? "?"} → ${settings[n]}`)
        .join(", ");
      const why =
        total > 1
          ? `some settings open only once others are in force: ${total} restarts`
          : "they apply at the next restart";
      return [
        {
          code: "bios.stage",
          title: `stage BIOS settings of ${node}: ${what}`,
          why,
          disruption: "none",
          actions: [{ do: "stage-bios", settings }],
        },
      ];
    }
    // Where the BMC shows the settings, a list of menu entries to set would send a person after what is set already.
    if (bios !== undefined) return [];
    const bad = judgeEvidence({ tee: want.tee, minSevAsid }, facts.evidence, menu).filter((f) => f.level === "fail");
    if (bad.length === 0) return [];
    const title = `in the BIOS menu of ${node} (${menu.title}): ${menu.entries.join("; ")}`;
    return [{ code: "bios.by-hand", title, why: bad.map((f) => f.saw).join("; "), disruption: "human", actions: [] }];
  },
  pending(want, facts) {
    const { bios } = view(want, facts);
    const open = bios === undefined || boots(bios) === 0 ? [] : bios.targets.filter((t) => !t.met);
    return {
      reasons: open.map((t) => `${t.name} is ${t.saw ?? "not shown yet"}, not ${t.value}`),
      boots: bios === undefined ? 0 : boots(bios),
    };
  },
  show(facts) {
    // Whose settings are shown: an Intel processor is known by its vmx.
    const tee = valueIfKnown(facts.evidence.flags)?.includes("vmx") === true ? "tdx" : "sev-snp";
    const { vendor, bios } = view(BiosWant.parse({ tee }), facts);
    const values = bios?.targets.map((t) => [t.key, t.saw ?? null]) ?? [];
    const { product, version } = valueIfKnown(facts.evidence.dmi) ?? { product: "", version: "" };
    const bmc = facts.bmc.state === "known" ? "read" : facts.bmc.state;
    return { vendor: vendor?.id ?? "other", product, version, bmc, ...Object.fromEntries(values) };
  },
  examples: [...BIOS_EXAMPLES, ...BIOS_TDX_EXAMPLES],
  covers: [
    "000-04",
    "000-05",
    ...[8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25].map(
      (n) => `001-HW-${String(n).padStart(2, "0")}`,
    ),
  ],
});
