import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { XMLParser, XMLValidator } from "fast-xml-parser";
import { writeDrift } from "../../../cli/drift-formats.ts";
import { fleetNodes, loadFleet, parseShard, select, shardOf } from "../../../cli/fleet.ts";
import type { DriftReport, NodeDrift } from "../../../cli/formats/drift-facts.ts";
import { exitStatus, merge, nodeStatus, parseScan } from "../../../cli/formats/drift-facts.ts";
import { driftHtml, trendOf } from "../../../cli/formats/drift-html.ts";
import { driftJunit } from "../../../cli/formats/drift-junit.ts";
import { driftMarkdown } from "../../../cli/formats/drift-markdown.ts";
import { driftPrometheus } from "../../../cli/formats/drift-prometheus.ts";
import { driftSarif } from "../../../cli/formats/drift-sarif.ts";
import { driftTable } from "../../../cli/formats/drift-table.ts";
import type { FacetScan, ScanStatus } from "../../../providers/kit/scan.ts";
import { ScanStatusSchema } from "../../../providers/kit/scan.ts";
import { finding } from "./previews.ts";

const error = { code: "node.unreachable", saw: "nothing listens", next: "ssh -v" };
const facet = (name: string, status: ScanStatus, saw = "seen"): FacetScan => ({
  facet: name,
  status,
  findings:
    status === "drifted"
      ? [finding("fail", `${name}.file`, saw)]
      : status === "broken"
        ? [finding("unknown", `${name}.file`, saw)]
        : [],
  steps: status === "drifted" ? [{ code: `${name}.stage`, title: "write it", disruption: "none" }] : [],
});
const node = (name: string, facets: readonly FacetScan[], over: Partial<NodeDrift> = {}): NodeDrift => ({
  stack: "rack7",
  node: name,
  labels: { stack: "rack7", node: name },
  status: nodeStatus(facets),
  facets: [...facets],
  ...over,
});
const report = (nodes: readonly NodeDrift[], over: Partial<DriftReport> = {}): DriftReport => ({
  version: 1,
  at: "2026-11-20T10:00:00.000Z",
  seconds: 3.1,
  nodes: [...nodes],
  missing: [],
  ...over,
});
const MIXED = report([
  node("gpu-01", [facet("cpu", "clean"), facet("lkca", "clean")]),
  node("gpu-02", [facet("cpu", "clean"), facet("lkca", "drifted", "a & <b> ]]> \" '")]),
  node("gpu-03", [], { status: "unreachable", error }),
  node("gpu-04", [facet("cpu", "broken")]),
]);

describe("exit status", () => {
  test.each([
    ["all clean", [node("a", [facet("cpu", "clean")])], {}, 0],
    ["one drifted", [node("a", [facet("cpu", "clean")]), node("b", [facet("cpu", "drifted")])], {}, 2],
    [
      "one drifted, one unreachable",
      [node("a", [facet("cpu", "drifted")]), node("b", [], { status: "unreachable", error })],
      {},
      3,
    ],
    [
      "a drifted node of which something could not be seen",
      [node("a", [facet("cpu", "drifted"), facet("lkca", "broken")])],
      {},
      3,
    ],
    ["one broken", [node("a", [facet("cpu", "broken")])], {}, 3],
    ["nothing at all", [], {}, 3],
    ["a part of a small fleet in which no node is", [], { shard: { index: 2, of: 3 } }, 0],
    ["a shard without a result", [node("a", [facet("cpu", "clean")])], { missing: ["shard 2/3"] }, 3],
  ] as readonly [string, NodeDrift[], Partial<DriftReport>, number][])("%s", (_name, nodes, over, status) => {
    expect(exitStatus(report(nodes, over))).toBe(status);
  });

  test("whatever is in it, 0 means that every facet of every node was seen and is clean", () => {
    const status = fc.constantFrom(...ScanStatusSchema.options);
    fc.assert(
      fc.property(fc.array(fc.array(status, { maxLength: 4 }), { maxLength: 5 }), (nodes) => {
        const made = report(
          nodes.map((statuses, n) =>
            node(
              `n${n}`,
              statuses.map((s, f) => facet(`f${f}`, s)),
            ),
          ),
        );
        const all = nodes.flat();
        const clean = nodes.length > 0 && nodes.every((of) => of.length > 0) && all.every((s) => s === "clean");
        expect(exitStatus(made) === 0).toBe(clean);
        if (exitStatus(made) === 2) expect(all.every((s) => s === "clean" || s === "drifted")).toBe(true);
      }),
    );
  });
});

test("a node without any facet is broken, never clean", () => {
  expect(nodeStatus([])).toBe("broken");
  expect(nodeStatus([{ status: "clean" }, { status: "broken" }])).toBe("broken");
  expect(nodeStatus([{ status: "broken" }, { status: "drifted" }])).toBe("drifted");
});

describe("shards", () => {
  test("every node is in exactly one shard, in order, and none has much more than another", () => {
    fc.assert(
      fc.property(fc.nat(200), fc.integer({ min: 1, max: 40 }), (count, of) => {
        const items = Array.from({ length: count }, (_, n) => n);
        const parts = Array.from({ length: of }, (_, n) => shardOf(items, { index: n + 1, of }));
        expect(parts.flat()).toEqual(items);
        const sizes = parts.map((part) => part.length);
        expect(Math.max(...sizes) - Math.min(...sizes)).toBeLessThanOrEqual(1);
      }),
    );
  });

  test.each(["0/3", "4/3", "3", "a/b", "1/0", "-1/2", "1.5/2"])("%s is no shard", (text) => {
    expect(() => parseShard(text)).toThrow(/fleet\.bad-shard.*\n {2}next: /);
  });

  test("merged they are the whole scan; a newer result of the same node counts, a missing shard is said", () => {
    const shard = (index: number, at: string, nodes: NodeDrift[]) => report(nodes, { shard: { index, of: 3 }, at });
    const old = node("gpu-01", [facet("cpu", "drifted")]);
    const [now, other] = [node("gpu-01", [facet("cpu", "clean")]), node("gpu-02", [facet("cpu", "clean")])];
    const joined = merge([
      shard(1, "2026-11-20T11:00:00.000Z", [now]),
      shard(1, "2026-11-20T10:00:00.000Z", [old]),
      shard(2, "2026-11-20T10:00:00.000Z", [other]),
    ]);
    expect(joined.nodes).toEqual([now, other]);
    expect(joined.missing).toEqual(["shard 3/3"]);
    expect(exitStatus(joined)).toBe(3);
    expect(
      exitStatus(
        merge([
          shard(1, "2026-11-20T11:00:00.000Z", [now]),
          shard(2, "2026-11-20T11:00:00.000Z", [other]),
          shard(3, "2026-11-20T11:00:00.000Z", []),
        ]),
      ),
    ).toBe(0);
  });

  test("cut from different lists of nodes they may have missed some, and that is said", () => {
    const shard = (index: number, fleet: string) =>
      report([node(`gpu-0${index}`, [facet("cpu", "clean")])], { shard: { index, of: 2, fleet } });
    expect(exitStatus(merge([shard(1, "a"), shard(2, "a")]))).toBe(0);
    const joined = merge([shard(1, "a"), shard(2, "b")]);
    expect([joined.nodes.length, exitStatus(joined)]).toEqual([2, 3]);
    expect(joined.missing).toEqual([expect.stringContaining("not cut from the same list of nodes")]);
  });

  test("a result that was left over from another day passes for nobody's", () => {
    const shard = (index: number, at: string) =>
      report([node(`gpu-0${index}`, [facet("cpu", "clean")])], { shard: { index, of: 2 }, at });
    const [one, two] = [shard(1, "2026-11-20T10:00:00.000Z"), shard(2, "2026-11-18T10:00:00.000Z")];
    const joined = merge([one, two]);
    expect([exitStatus(joined), joined.missing]).toEqual([3, [expect.stringContaining("2026-11-18T10:00:00.000Z")]]);
    // Where there is a newer one of the same nodes, the old one says nothing.
    expect(exitStatus(merge([one, two, shard(2, "2026-11-20T09:00:00.000Z")]))).toBe(0);
  });

  test("a result that is older than it may be is none, however near the others are to it", () => {
    const shard = (index: number, at: string) =>
      report([node(`gpu-0${index}`, [facet("cpu", "clean")])], { shard: { index, of: 2 }, at });
    const [yesterday, today] = [shard(1, "2026-11-19T10:00:10.000Z"), shard(2, "2026-11-20T10:00:00.000Z")];
    expect(exitStatus(merge([yesterday, today]))).toBe(0);
    const joined = merge([yesterday, today], Date.parse("2026-11-20T08:00:00.000Z"));
    expect([exitStatus(joined), joined.missing]).toEqual([3, [expect.stringContaining("2026-11-19T10:00:10.000Z")]]);
  });

  test("of different scans they are refused, and so is half a result", () => {
    const of = (n: number) => report([], { shard: { index: 1, of: n } });
    expect(() => merge([of(2), of(3)])).toThrow(/shards of 2 and of 3.*drift\.other-shards/);
    expect(() => merge([])).toThrow(/drift\.other-shards/);
    expect(() => parseScan(JSON.stringify(MIXED).slice(0, -5), "a.json")).toThrow(
      /a\.json: it is no JSON.*drift\.no-scan/,
    );
    expect(() => parseScan("{}", "a.json")).toThrow(/drift\.no-scan/);
    expect(parseScan(JSON.stringify(MIXED), "a.json")).toEqual(MIXED);
  });
});

describe("a selection", () => {
  const entry = { stack: "rack7", project: ".", labels: {} };
  const nodes = [
    { entry, node: "gpu-01", labels: { rack: "r7", row: "1" } },
    { entry, node: "gpu-02", labels: { rack: "r7", row: "2" } },
    { entry, node: "gpu-03", labels: { rack: "r8", row: "2" } },
  ];
  test.each([
    [[], ["gpu-01", "gpu-02", "gpu-03"]],
    [["rack=r7"], ["gpu-01", "gpu-02"]],
    [["rack=r7", "row=2"], ["gpu-02"]],
    [["rack=r9"], []],
    [["size=8"], []],
  ])("%j", (wanted, names) => {
    expect(select(nodes, wanted).map((one) => one.node)).toEqual(names);
  });
  test("a label without a value is refused", () => {
    expect(() => select(nodes, ["rack"])).toThrow(/fleet\.bad-select/);
  });
});

test("a fleet file that is wrong names every wrong field; a stack that cannot be read is kept as one broken entry", async () => {
  await expect(loadFleet("/nowhere/fleet.yaml")).rejects.toThrow(/ENOENT.*fleet\.unreadable/);
  const entry = { stack: "rack9", project: "/nowhere", labels: { site: "fra" } };
  const [only] = await fleetNodes({ stacks: [entry] });
  expect(only).toMatchObject({
    node: "*",
    labels: { site: "fra", stack: "rack9" },
    error: { parts: { code: "fleet.no-project" } },
  });
  // Whatever was selected: its nodes may be meant.
  expect(select(only === undefined ? [] : [only], ["rack=r7"])).toHaveLength(1);
});

interface SuiteXml {
  readonly testcase: { readonly failure?: { readonly "@_message": string } }[];
}

describe("formats", () => {
  test("the table shows what is not clean, a node's own trouble once, and counts all", () => {
    const text = driftTable(MIXED, false);
    expect(text).not.toContain("gpu-01");
    expect(text).toMatch(/gpu-02.*✗ DRIFTED.*lkca.*lkca\.file: want sev_snp, saw a & <b>/);
    expect(text.match(/gpu-03/g)).toHaveLength(1);
    expect(text).toMatch(/gpu-03.*\? UNREACHABLE.*nothing listens \[node\.unreachable\]/);
    expect(text.trimEnd().split("\n").at(-1)).toBe(
      "4 nodes in 3.1 s: 1 clean, 1 drifted, 1 unreachable, 1 broken (not everything could be looked at)",
    );
    expect(driftTable(report([node("a", [facet("cpu", "clean")])]), false)).toBe(
      "1 nodes in 3.1 s: 1 clean, 0 drifted, 0 unreachable, 0 broken",
    );
  });

  test("JUnit: drift is a failure, what could not be seen an error, and every facet a case", () => {
    const xml = driftJunit({ ...MIXED, missing: ["shard 2/2"] });
    expect(XMLValidator.validate(xml)).toBe(true);
    const parsed = new XMLParser({
      ignoreAttributes: false,
      isArray: (name) => ["testsuite", "testcase"].includes(name),
    }).parse(xml);
    const [suite, shards] = parsed.testsuites.testsuite as SuiteXml[];
    expect(suite).toMatchObject({ "@_name": "rack7", "@_tests": "6", "@_failures": "1", "@_errors": "2" });
    expect(shards).toMatchObject({ "@_name": "shards", "@_errors": "1" });
    const failed = suite?.testcase.filter((one) => one.failure !== undefined) ?? [];
    expect(failed).toMatchObject([{ "@_classname": "rack7.gpu-02", "@_name": "lkca" }]);
    expect(failed[0]?.failure?.["@_message"]).toContain("a & <b> ]]>");
  });

  test("Prometheus: one of the four statuses is 1, and labels are escaped", async () => {
    const text = await driftPrometheus(report([node('a"\\\n', [facet("cpu", "drifted")])]));
    expect(text).toContain('teeup_node_status{stack="rack7",node="a\\"\\\\\\n",status="drifted"} 1');
    expect(text).toContain('teeup_facet_status{stack="rack7",node="a\\"\\\\\\n",facet="cpu",status="clean"} 0');
    expect(text).toMatch(/^teeup_scan_timestamp_seconds 1795168800$/m);
    for (const line of text.split("\n").filter((l) => l !== ""))
      expect(line).toMatch(/^(# (HELP|TYPE) teeup_\w+ |teeup_\w+(\{.*\})? [\d.]+$)/);
  });

  test("SARIF: drift is an error at its facet, the rest a warning", () => {
    const { runs } = JSON.parse(driftSarif(MIXED, { file: "Pulumi.yaml", version: "1" })) as {
      runs: { results: { level: string; ruleId: string; partialFingerprints: Record<string, string> }[] }[];
    };
    expect(runs[0]?.results.map((r) => [r.level, r.ruleId, r.partialFingerprints["teeup/v1"]])).toEqual([
      ["error", "lkca.file", "rack7/gpu-02/lkca:lkca.file"],
      ["warning", "node.unreachable", "rack7/gpu-03:node.unreachable"],
      ["warning", "cpu.file", "rack7/gpu-04/cpu:cpu.file"],
    ]);
  });

  test("Markdown fits, and says how many nodes it leaves out", () => {
    const many = Array.from({ length: 400 }, (_, n) => node(`gpu-${n}`, [facet("lkca", "drifted", "x".repeat(500))]));
    const text = driftMarkdown(report(many));
    expect(text.length).toBeLessThanOrEqual(65_000);
    const shown = text.match(/^### /gm)?.length ?? 0;
    expect(shown).toBeGreaterThan(50);
    expect(text).toContain(`**Shortened: ${400 - shown} more nodes**`);
    expect(driftMarkdown(MIXED)).toContain("### `rack7/gpu-03`: unreachable");
    expect(driftMarkdown({ ...MIXED, missing: ["shard 2/3"] })).toContain("**Not looked at:** `shard 2/3`");
  });

  test("the page holds the facts whole, and whatever a machine says ends no element of it", () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.constantFrom("</script>", "<!--", "<script>", "]]>", "\u2028")), (saw) => {
        const made = report([node("gpu-01", [facet("lkca", "drifted", `${saw}</script><script>alert(1)`)])]);
        const html = driftHtml(made);
        expect(html.match(/<script/g)).toHaveLength(2);
        expect(html.match(/<\/script/g)).toHaveLength(2);
        const [, data = ""] = /<script type="application\/json" id="data">(.*?)<\/script>/s.exec(html) ?? [];
        expect(JSON.parse(data)).toEqual(made);
        expect(html).not.toMatch(/(src|href)=/);
      }),
    );
  });
});

describe("a trend over several scans", () => {
  const scan = (at: string, statuses: Readonly<Record<string, ScanStatus>>, over: Partial<DriftReport> = {}) =>
    report(
      Object.entries(statuses).map(([name, status]) => node(name, [facet("cpu", status)])),
      { at, ...over },
    );
  const [old, mid, now] = [
    scan("2026-11-18T10:00:00.000Z", { "gpu-01": "clean", gone: "broken" }, { missing: ["shard 2/2"] }),
    scan("2026-11-19T10:00:00+01:00", { "gpu-01": "drifted", "gpu-02": "unreachable" }),
    scan("2026-11-20T10:00:00.000Z", { "gpu-01": "clean", "gpu-02": "clean" }),
  ];
  test("oldest first, each scan once, and a node that a scan does not have is not clean in it", () => {
    const trend = trendOf(now, [mid, old, old]);
    expect(trend.scans.map(({ at, counts, missing }) => [at.slice(0, 10), counts.clean, missing])).toEqual([
      ["2026-11-18", 1, ["shard 2/2"]],
      ["2026-11-19", 0, []],
      ["2026-11-20", 2, []],
    ]);
    expect(trend.nodes).toEqual({ "rack7/gpu-01": "cdc", "rack7/gpu-02": "-uc", "rack7/gone": "b--" });
  });

  test("whatever the scans are, each says of every node what it said, and their numbers add up", () => {
    const status = fc.constantFrom(...ScanStatusSchema.options);
    const scans = fc.uniqueArray(
      fc.record({
        day: fc.integer({ min: 1, max: 28 }),
        nodes: fc.dictionary(fc.constantFrom("a", "b", "c", "d"), status),
      }),
      { selector: ({ day }) => day, minLength: 1, maxLength: 8 },
    );
    fc.assert(
      fc.property(scans, (all) => {
        const made = all.map(({ day, nodes }) => scan(`2026-11-${String(day).padStart(2, "0")}T00:00:00.000Z`, nodes));
        const [last, ...earlier] = made as [DriftReport, ...DriftReport[]];
        const trend = trendOf(last, earlier);
        expect(trend.scans).toHaveLength(made.length);
        for (const [n, { at, counts }] of trend.scans.entries()) {
          const own = made.find((one) => one.at === at)?.nodes ?? [];
          for (const [name, signs] of Object.entries(trend.nodes)) {
            const seen = own.find((one) => `${one.stack}/${one.node}` === name)?.status;
            expect(signs.charAt(n)).toBe(seen?.charAt(0) ?? "-");
          }
          expect(Object.values(counts).reduce((sum, one) => sum + one, 0)).toBe(own.length);
        }
      }),
    );
  });

  test("the page has it when there are earlier scans, and only the page does", async () => {
    const dataOf = (html: string) =>
      JSON.parse(/<script type="application\/json" id="data">(.*?)<\/script>/s.exec(html)?.[1] ?? "") as object;
    expect(dataOf(driftHtml(now, [mid]))).toEqual({ ...now, trend: trendOf(now, [mid]) });
    expect(dataOf(driftHtml(now, []))).not.toHaveProperty("trend");
    await expect(writeDrift(now, { markdown: true }, () => undefined, "1", [mid])).rejects.toThrow(
      /--trend.*drift\.formats/s,
    );
  });
});
