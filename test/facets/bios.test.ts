import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { bios } from "../../providers/facets/bios.ts";
import { resolveBios, toStage } from "../../providers/facets/bios-resolve.ts";
import { BiosWant } from "../../providers/facets/bios-view.ts";
import type { Answer, Answers } from "../../providers/kit/ask.ts";
import { failed, missing, ok } from "../../providers/kit/ask.ts";
import type { BiosSnapshot, BiosValue } from "../../providers/kit/bios.ts";
import { NO_BMC } from "../../providers/kit/bios.ts";
import type { PlanContext } from "../../providers/kit/facet.ts";
import { snapshotOf } from "../../providers/machine/redfish.ts";
import { withCaptures } from "../kit/captures.ts";

const context: PlanContext = { node: "gpu-01", pending: [], guestRunning: false };
const want = BiosWant.parse({});

function facts(answers: Readonly<Record<string, Answer>>) {
  const all = Object.fromEntries(Object.keys(bios.asks).map((name) => [name, answers[name] ?? missing]));
  return bios.parse(all as Answers<typeof bios.asks>);
}
const withBmc = (snapshot: BiosSnapshot) => facts({ bmc: ok(JSON.stringify(snapshot)) });
const bad = (findings: ReturnType<typeof bios.judge>) => findings.filter((f) => f.level !== "pass");

describe("examples", () => {
  test.each(bios.examples.map((e) => [e.name, e] as const))("%s", (_name, example) => {
    const seen = facts(example.answers);
    expect(bad(bios.judge(example.want, seen)).map((f) => f.code)).toEqual(example.findings);
    expect(bios.plan?.(example.want, seen, context).map((s) => s.code)).toEqual(example.steps);
  });

  test("every finding that is not a pass says where that is written, and fails say how to fix it", () => {
    for (const example of bios.examples)
      for (const finding of bad(bios.judge(example.want, facts(example.answers)))) {
        expect(finding.source).not.toBe("");
        expect(finding.hint).not.toBe("");
      }
  });
});

withCaptures(describe)("the real BIOS resources of ../shared/captures/redfish", () => {
  const folder = join(import.meta.dirname, "../../../shared/captures/redfish");
  const capture = (
    file: string,
    system: { Manufacturer: string; Model: string; BiosVersion: string },
  ): BiosSnapshot => {
    if (!existsSync(folder)) throw new Error(`these tests need the captures in ${folder}: put the folder there`);
    return snapshotOf({ system, bios: JSON.parse(readFileSync(join(folder, file), "utf8")), staged: {} });
  };
  const hpe = () =>
    capture("redfish-02-hpe-dl385-amd-bios.json", {
      Manufacturer: "HPE",
      Model: "ProLiant DL385 Gen10 Plus v2",
      BiosVersion: "A42 v2.60",
    });
  const dell = () =>
    capture("redfish-01-dell-r750-intel-bios.json", {
      Manufacturer: "Dell Inc.",
      Model: "PowerEdge R750",
      BiosVersion: "1.8.2",
    });
  const supermicro = () =>
    capture("redfish-03-supermicro-821ge-h100-bios.json", {
      Manufacturer: "Supermicro",
      Model: "SYS-821GE-TNHR",
      BiosVersion: "1.4",
    });

  test("HPE DL385 Milan: not ready, AmdSecureNestedPaging is missing: BIOS update needed; nothing is staged", () => {
    const seen = withBmc(hpe());
    const findings = bad(bios.judge(want, seen));
    expect(findings.map((f) => f.code)).toEqual(["bios.smee", "bios.asid-limit", "bios.attribute-missing"]);
    expect(findings.map((f) => f.level)).toEqual(["fail", "fail", "fail"]);
    expect(findings[0]?.saw).toBe("AmdSecureMemoryEncryption is Disabled");
    expect(findings[1]?.saw).toBe("MinimumSevAsid is 1");
    expect(findings[2]?.want).toBe("AmdSecureNestedPaging");
    expect(findings[2]?.hint).toMatch(/^BIOS update needed/);
    expect(bios.plan?.(want, seen, context)).toEqual([]);
    expect(bios.pending?.(want, seen)).toEqual({ reasons: [], boots: 0 });
  });

  test("Dell R750 Intel: none of the SNP attributes exists; IOMMU has no attribute of its own there", () => {
    const findings = bad(bios.judge(want, withBmc(dell())));
    expect(findings.map((f) => [f.code, f.want])).toEqual([
      ["bios.attribute-missing", "Sme"],
      ["bios.attribute-missing", "CpuMinSevAsid"],
      ["bios.attribute-missing", "Snp"],
    ]);
  });

  test("Supermicro 821GE Intel: none of the SNP attributes exists", () => {
    const findings = bad(bios.judge(want, withBmc(supermicro())));
    expect(new Set(findings.map((f) => f.code))).toEqual(new Set(["bios.attribute-missing"]));
    expect(findings.map((f) => f.want)).toContain("SEV-SNPSupport");
  });

  test("a wanted TDX setting by exact name: judged and staged on the Supermicro capture", () => {
    const extra = { MemoryEncryption_TME__3C77: "Enabled" };
    const findings = bad(bios.judge(BiosWant.parse({ extra }), withBmc(supermicro())));
    expect(findings.find((f) => f.code === "bios.extra")?.saw).toBe("MemoryEncryption_TME__3C77 is Disabled");
  });

  test("password hashes of the Dell resource never enter a snapshot", () => {
    expect(JSON.stringify(dell())).not.toMatch(/SHA256|Password|19D28380D586/);
    expect(JSON.stringify(dell()).length).toBeLessThan(1500);
  });
});

describe("stages", () => {
  const dell = bios.examples.find((e) => e.name.startsWith("Dell"))?.answers["bmc"];
  const snapshot = (dell?.kind === "ran" ? JSON.parse(dell.stdout) : {}) as BiosSnapshot;

  test("Dell: Sme now; the pending restarts are counted; each boot stages the next", () => {
    let now = snapshot;
    const staged: string[][] = [];
    for (let boot = 3; boot > 0; boot--) {
      expect(bios.pending?.(want, withBmc(now)).boots).toBe(boot);
      const [step] = bios.plan?.(want, withBmc(now), context) ?? [];
      const [action] = step?.actions ?? [];
      if (action?.do !== "stage-bios") throw new Error("no step");
      expect(step?.disruption).toBe("none");
      staged.push(Object.keys(action.settings));
      const current = { ...now.current, ...action.settings };
      const registry = Object.fromEntries(Object.entries(now.registry).map(([n, e]) => [n, { ...e, readOnly: false }]));
      now = {
        ...now,
        current,
        registry: boot === 3 ? { ...registry, Snp: { ...snapshot.registry["Snp"]!, readOnly: true } } : registry,
      };
    }
    expect(staged).toEqual([["Sme"], ["CpuMinSevAsid"], ["Snp"]]);
    expect(bios.pending?.(want, withBmc(now))).toEqual({ reasons: [], boots: 0 });
  });

  test("pending is the same before and after staging", () => {
    const before = withBmc(snapshot);
    const after = withBmc({ ...snapshot, staged: { Sme: "Enabled" } });
    expect(bios.pending?.(want, after)).toEqual(bios.pending?.(want, before));
    expect(bios.plan?.(want, after, context)).toEqual([]);
  });

  test("a closed attribute that nothing opens is a finding, and nothing is staged", () => {
    const closed = {
      ...snapshot,
      registry: { ...snapshot.registry, Sme: { ...snapshot.registry["Sme"]!, readOnly: true } },
    };
    expect(bad(bios.judge(want, withBmc(closed))).map((f) => f.code)).toContain("bios.locked");
    expect(bios.plan?.(want, withBmc(closed), context)).toEqual([]);
  });

  test("a number out of the BIOS's bounds names the bound", () => {
    const findings = bad(bios.judge(BiosWant.parse({ minSevAsid: 600 }), withBmc(snapshot)));
    expect(findings.find((f) => f.code === "bios.value-unknown")).toMatchObject({
      saw: "CpuMinSevAsid takes 1 to 510",
      hint: "set minSevAsid to at most 510",
    });
  });

  test("an ambiguity names both attributes and is settled by `names`", () => {
    const example = bios.examples.find((e) => e.findings.includes("bios.attribute-ambiguous"));
    const seen = facts(example?.answers ?? {});
    const [finding] = bad(bios.judge(want, seen));
    expect(finding?.saw).toContain("IOMMU#0196 and IOMMU#00C3");
    expect(bad(bios.judge(BiosWant.parse({ names: { iommu: "IOMMU#0196" } }), seen)).map((f) => f.code)).not.toContain(
      "bios.attribute-ambiguous",
    );
  });

  test("suffixes and punctuation of another firmware: the display name finds the attribute", () => {
    const example = bios.examples.find((e) => e.name.startsWith("untouched Supermicro"));
    const answer = example?.answers["bmc"];
    const text = answer?.kind === "ran" ? answer.stdout : "";
    const other = text.replaceAll("SEV-SNPSupport#01A7", "SEV_SNPSupport_02B9").replaceAll("SMEE#003E", "Q00042");
    const [step] = bios.plan?.(want, facts({ bmc: ok(other) }), context) ?? [];
    const [action] = step?.actions ?? [];
    expect(action).toMatchObject({ do: "stage-bios", settings: { SEV_SNPSupport_02B9: "Enabled", Q00042: "Enabled" } });
  });

  test("any chain of dependencies ends in force after as many boots as were announced", () => {
    const names = ["A", "B", "C", "D", "E"];
    const links = fc.uniqueArray(
      fc.tuple(fc.nat(4), fc.nat(4)).filter(([a, b]) => a < b),
      { maxLength: 10, selector: ([a, b]) => a * 5 + b },
    );
    fc.assert(
      fc.property(links, (edges) => {
        const dependencies = edges.map(([parent, child]) => ({
          attribute: names[child] ?? "",
          locks: true,
          when: [
            { attribute: names[parent] ?? "", condition: "NEQ" as const, value: "Enabled", terms: "AND" as const },
          ],
        }));
        const isClosed = (name: string, current: Record<string, BiosValue>) =>
          dependencies.some((d) => d.attribute === name && d.when.every((w) => current[w.attribute] !== w.value));
        let current: Record<string, BiosValue> = Object.fromEntries(names.map((n) => [n, "Disabled"]));
        const look = () =>
          resolveBios(
            {
              manufacturer: "x",
              model: "y",
              biosVersion: "1",
              current,
              staged: {},
              hasRegistry: true,
              dependencies,
              registry: Object.fromEntries(
                names.map((n) => [
                  n,
                  {
                    displayName: n,
                    type: "Enumeration",
                    readOnly: isClosed(n, current),
                    values: ["Disabled", "Enabled"],
                    menuPath: "",
                  },
                ]),
              ),
            },
            { settings: [], minSevAsid: 100, names: {}, extra: Object.fromEntries(names.map((n) => [n, "Enabled"])) },
          );
        const announced = Math.max(...look().targets.map((t) => t.boot));
        for (let boot = 0; boot < announced; boot++) {
          const staged = toStage(look());
          expect(Object.keys(staged).length).toBeGreaterThan(0);
          for (const name of Object.keys(staged)) expect(isClosed(name, current)).toBe(false);
          current = { ...current, ...staged };
        }
        expect(Object.values(current)).toEqual(names.map(() => "Enabled"));
        expect(look().problems).toEqual([]);
      }),
    );
  });
});

describe("without a BMC", () => {
  const logged = (lines: string) => ok(`Linux version 6.14.0-37-generic (x@y)\n${lines}`);
  const seen = (over: Readonly<Record<string, Answer>>) =>
    facts({
      bmc: failed(NO_BMC),
      vendor: ok("Supermicro\n"),
      flags: ok("flags : sme sev sev_es"),
      iommu: ok("0\n"),
      log: logged("SEV-SNP: RMP table physical range [0x1 - 0x2]\n"),
      uefi: ok("64\n"),
      ...over,
    });

  test("the by-hand step has every menu entry of the vendor, as the guide words them", () => {
    const [step] = bios.plan?.(want, seen({ iommu: ok("") }), context) ?? [];
    expect(step?.disruption).toBe("human");
    expect(step?.actions).toEqual([]);
    for (const entry of [
      "SMEE = Enabled",
      "SEV ASID Count = 509 ASIDs",
      "SEV-ES ASID Space Limit = 100",
      "NB Configuration > IOMMU = Enabled",
      "NB Configuration > SEV-SNP support = Enabled",
    ])
      expect(step?.title).toContain(entry);
  });

  test("an unknown maker gets AMD's own menu", () => {
    const [step] = bios.plan?.(want, seen({ vendor: ok("Acme\n"), iommu: ok("") }), context) ?? [];
    expect(step?.title).toContain("Advanced > AMD CBS > CPU Common > SEV ASID Count = 509 ASIDs");
  });

  test.each([
    ["bios.rmp", "unknown", { log: failed("no answer within 20 s") }],
    ["bios.rmp", "unknown", { log: ok("", 2, "journalctl: unrecognized option '--grep'") }],
    [
      "bios.rmp-partial",
      "fail",
      {
        log: logged(
          "SEV-SNP: RMP table physical range [0x1 - 0x2]\nMemory reserved for the RMP table does not cover full system RAM",
        ),
      },
    ],
    ["bios.smee-off", "fail", { log: logged(""), flags: ok("flags : fpu sev_es") }],
    [
      "bios.asid-limit-low",
      "warn",
      { log: logged("SEV-SNP: RMP table physical range [0x1 - 0x2]\nkvm_amd: SEV-SNP enabled (ASIDs 1 - 9)\n") },
    ],
    ["bios.no-uefi", "warn", { uefi: missing }],
    ["bios.iommu", "unknown", { iommu: failed("no answer within 20 s") }],
  ] as const)("%s is %s", (code, level, over) => {
    expect(bad(bios.judge(want, seen(over))).map((f) => [f.code, f.level])).toEqual([[code, level]]);
  });

  test("the guide's sample of 99 SEV-ES/SNP ASIDs fits its limit of 100 (001-HW-25)", () => {
    const log = logged(
      "SEV-SNP: RMP table physical range [0x1 - 0x2]\nSEV supported: 410 ASIDs\nSEV-ES and SEV-SNP supported: 99 ASIDs\n",
    );
    expect(bad(bios.judge(want, seen({ log })))).toEqual([]);
  });
});

test("a wanted extra attribute outside of what is read is refused by name", () => {
  const parsed = BiosWant.safeParse({ extra: { AcPwrRcvry: "On" } });
  expect(parsed.success).toBe(false);
});

test("a snapshot that does not fit the schema is unknown, not a crash", () => {
  for (const text of ["", "{}", "nonsense", '{"current":1}']) {
    const [finding] = bios.judge(want, facts({ bmc: ok(text) }));
    expect(finding).toMatchObject({ code: "bios.bmc-unknown", level: "unknown" });
  }
});

test("what outputs show stays small", () => {
  for (const example of bios.examples)
    expect(JSON.stringify(bios.show(facts(example.answers))).length).toBeLessThan(500);
});

type BiosFactsKernel = ReturnType<typeof facts>["evidence"]["kernel"];

describe("TDX", () => {
  const tdx = BiosWant.parse({ tee: "tdx" });
  const example = (name: string) => {
    const found = bios.examples.find((e) => e.name === name);
    if (found === undefined) throw new Error(name);
    return facts(found.answers);
  };

  test("a kernel whose release is not known is no old kernel", () => {
    const old = example("TDX without a BMC, a kernel that does not look");
    const levels = (kernel: BiosFactsKernel) =>
      bios.judge(tdx, { ...old, evidence: { ...old.evidence, kernel } }).map((f) => [f.code, f.level]);
    expect(levels(old.evidence.kernel)).toContainEqual(["bios.keys-not-visible", "warn"]);
    expect(levels({ state: "unknown", why: "timeout" })).toContainEqual(["bios.keys", "unknown"]);
  });

  test("without a registry, what is no switch is written by its own words", () => {
    const current = { MemoryEncryption: "Disabled", EnableTdx: "Disabled", KeySplit: 1, EnableTdxSeamldr: "Disabled" };
    const snapshot: BiosSnapshot = {
      ...{ manufacturer: "Dell Inc.", model: "R760", biosVersion: "2.1", staged: {}, registry: {}, hasRegistry: false },
      current: { ...current, IntelSgx: "Off" },
    };
    const [step] = bios.plan?.(tdx, withBmc(snapshot), context) ?? [];
    expect(step?.actions).toEqual([{ do: "stage-bios", settings: { MemoryEncryption: "MultipleKeys" } }]);
  });
});
