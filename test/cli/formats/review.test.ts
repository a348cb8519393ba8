import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import type { Nodes } from "mdast";
import { fromMarkdown } from "mdast-util-from-markdown";
import { reviewReport } from "../../../cli/formats/review-facts.ts";
import { MARKDOWN_CHARS, reviewMarkdown } from "../../../cli/formats/review-markdown.ts";
import { reviewSarif } from "../../../cli/formats/review-sarif.ts";
import { facet, finding, previewOf, step } from "./previews.ts";

const reboot = step({ code: "host-boot.restart", title: "restart the host", disruption: "reboot", limitSeconds: 1800 });

describe("a node's status", () => {
  test.each([
    ["steps", [facet("module-options", { steps: [step()] })], {}, "changes"],
    ["nothing", [facet("cpu")], {}, "as-wanted"],
    ["a failing check without a step", [facet("cpu", { findings: [finding("fail")] })], {}, "failing"],
    ["something that could not be looked at", [facet("cpu", { findings: [finding("unknown")] })], {}, "unknown"],
    [
      "a failing and an unknown check",
      [facet("cpu", { findings: [finding("unknown"), finding("fail")] })],
      {},
      "failing",
    ],
    ["an unreachable host", [facet("cpu")], { unreachable: { saw: "refused", next: "ssh -v" } }, "unreachable"],
  ] as const)("%s", (_name, facets, over, status) => {
    const report = reviewReport(previewOf([{ name: "gpu-01", facets, over }]));
    expect(report.nodes.map((node) => [node.node, node.status])).toEqual([["gpu-01", status]]);
  });

  test("a node without any step is as wanted only when the preview got to its end", () => {
    const nodes = [{ name: "gpu-01" }];
    const [steps, diagnostics] = [[], [{ message: "error: no", severity: "error" }]];
    const statuses = (more: object) => reviewReport(previewOf(nodes, { ...more })).nodes.map(({ status }) => status);
    expect(statuses({ steps: [{ op: "same", urn: "urn:pulumi:rack7::teeup::pulumi:pulumi:Stack::x" }] })).toEqual([
      "as-wanted",
    ]);
    expect(statuses({ steps, diagnostics })).toEqual(["unknown"]);
  });

  test("a deleted part is named, and a node of which nothing is left is removed", () => {
    const gone = reviewReport(previewOf([{ name: "gpu-01", facets: [facet("lkca")], op: "delete" }]));
    expect(gone.nodes).toMatchObject([{ status: "removed", removed: ["node-plan", "lkca"] }]);
    expect(reviewMarkdown(gone)).toMatch(/Removed.*\n\n- `node-plan`\n- `lkca`/);
  });
});

test("permit, downtime and the guest that would stop", () => {
  const facets = [
    facet("bios", { steps: [step()], waiting: ["x"], boots: 3 }),
    facet("host-boot", { steps: [reboot] }),
    facet("gpu-cc-mode", { steps: [step({ disruption: "gpu-reset", limitSeconds: 60 })] }),
  ];
  const [node] = reviewReport(
    previewOf([{ name: "gpu-01", facets, over: { guest: "running", permit: "service" } }]),
  ).nodes;
  expect(node).toMatchObject({
    disruption: "reboot",
    permit: { given: "service", enough: false },
    // Each of the three restarts has its own limit.
    downtime: { restarts: 3, gpuResets: 1, guestStops: 3, atMostSeconds: 3 * 1800 + 60 },
    guest: { state: "running", stops: true },
  });
  const text = reviewMarkdown(
    reviewReport(previewOf([{ name: "gpu-01", facets, over: { guest: "running", permit: "service" } }])),
  );
  expect(text).toContain("**needs** `reboot`, has `service`");
  expect(text).toContain("**a running guest stops**");
  expect(text).toContain("Disruption reboot: 3 restarts of the host, 1 GPU reset, 3 stops of a guest.");
});

test("a guest that nobody could look for may stop; one that is known not to run does not", () => {
  const stops = (guest: "none" | "unknown") =>
    reviewReport(previewOf([{ name: "a", facets: [facet("host-boot", { steps: [reboot] })], over: { guest } }]))
      .nodes[0]?.guest;
  expect([stops("none"), stops("unknown")]).toEqual([
    { state: "none", stops: false },
    { state: "unknown", stops: true },
  ]);
});

test("commands and diffs stand in it, an unreadable file says so, and a mended check is no finding", () => {
  const files = [
    { path: "/etc/a", before: "known" as const, diff: "--- /etc/a\n+++ /etc/a\n@@ -1 +1 @@\n-x\n+y\n" },
    { path: "/etc/b", before: "unknown" as const, diff: "", why: "permission denied" },
  ];
  const mended = facet("lkca", {
    steps: [step({ files, commands: ["update-initramfs -u"] })],
    findings: [finding("fail", "lkca.file")],
  });
  const later = facet("snp-ready", { findings: [finding("fail", "snp-ready.log")] });
  const report = reviewReport(previewOf([{ name: "gpu-01", facets: [mended, later] }]));
  const text = reviewMarkdown(report);
  expect(text).toContain("```diff\n--- /etc/a\n+++ /etc/a\n@@ -1 +1 @@\n-x\n+y\n```");
  expect(text).toContain("```sh\nupdate-initramfs -u\n```");
  expect(text).toContain("`/etc/b` is written; what it is now is unknown: `permission denied`");
  expect(text).not.toContain("lkca.file");
  expect(text).toMatch(
    /\*\*snp-ready\*\* \(fails now, and is looked at again after the other steps\)\n\n- `snp-ready\.log: want/,
  );
});

test("the provider's text, stack traces and colours never show", () => {
  const trace = "\u001b[31merror\u001b[0m: it broke\n    at Object.check (/x/host-provider.ts:1:2)\n    at async x";
  const report = reviewReport(
    previewOf([{ name: "gpu-01", facets: [facet("lkca", { steps: [step()] })] }], {
      diagnostics: [{ message: trace, severity: "error" }],
    }),
  );
  for (const text of [
    reviewMarkdown(report),
    JSON.stringify(report),
    reviewSarif(report, { file: "x", version: "1" }),
  ]) {
    expect(text).not.toMatch(/__provider|createRequire|createrequire|host-provider\.ts|\[31m/);
    expect(text).toContain("it broke");
  }
});

test("approval is for every node with a plan, and for none when one of them has no hash", () => {
  const changing = (name: string) => ({ name, facets: [facet("lkca", { steps: [step()] })] });
  const both = reviewReport(previewOf([changing("gpu-01"), changing("gpu-02"), { name: "gpu-03" }]));
  expect(both.approval).toBe(`gpu-01=${"a".repeat(32)},gpu-02=${"a".repeat(32)}`);
  const lines = { name: "gpu-02", lines: { lkca: ["[none] write it"] } };
  expect(reviewReport(previewOf([changing("gpu-01"), lines])).approval).toBeUndefined();
});

test("a preview without reviews gives classes and titles, and says what is missing", () => {
  const lines = {
    "module-options": ["[none] write it", "[reboot] restart"],
    cpu: ["[check] cpu.sev: want sev_snp, saw no sev"],
    bios: ["[unknown] bios.snp: want Enabled, saw unknown (no BMC)"],
  };
  const report = reviewReport(previewOf([{ name: "gpu-01", lines }]));
  expect(report).toMatchObject({ detail: "lines", nodes: [{ status: "changes", disruption: "reboot" }] });
  expect(report.nodes[0]?.unknown).toEqual(["bios.snp: unknown (no BMC)"]);
  expect(report.nodes[0]?.facets.find((one) => one.facet === "cpu")?.findings).toEqual([
    expect.objectContaining({ code: "cpu.sev", level: "fail", want: "sev_snp", saw: "no sev" }),
  ]);
  expect(reviewMarkdown(report)).toContain("`TEEUP_REVIEW=1 pulumi preview --json`");
});

test("what is no preview is refused with what to do", () => {
  for (const text of ["", "x", "[]", "{}", '{"steps":[]}', '{"steps":[{"op":1}]}'])
    expect(() => reviewReport(text)).toThrow(/\[report\.no-preview\]\n {2}next: TEEUP_REVIEW=1 pulumi preview --json/);
});

test("SARIF: above the permit and failing is an error, unknown a warning, a step a note; each at its node", () => {
  const report = reviewReport(
    previewOf([
      {
        name: "gpu-01",
        facets: [
          facet("host-boot", { steps: [reboot] }),
          facet("cpu", { findings: [finding("fail"), finding("unknown", "cpu.flags"), finding("warn", "cpu.old")] }),
        ],
      },
    ]),
  );
  const { runs } = JSON.parse(reviewSarif(report, { file: "stacks/Pulumi.rack7.yaml", version: "1.2.3" })) as {
    runs: {
      results: { ruleId: string; level: string; locations: unknown[] }[];
      tool: { driver: { rules: { id: string }[] } };
    }[];
  };
  const [run] = runs;
  expect(run?.results.map(({ ruleId, level }) => `${level} ${ruleId}`)).toEqual([
    "error permit.refused",
    "note host-boot.restart",
    "error cpu.sev",
    "warning cpu.flags",
  ]);
  expect(run?.results[1]?.locations).toMatchObject([
    {
      physicalLocation: { artifactLocation: { uri: "stacks/Pulumi.rack7.yaml" } },
      logicalLocations: [{ fullyQualifiedName: "gpu-01/host-boot" }],
    },
  ]);
  expect(run?.tool.driver.rules.map(({ id }) => id)).toEqual(run?.results.map(({ ruleId }) => ruleId));
});

/** Everything below a tree of Markdown. */
const all = (tree: Nodes): Nodes[] => [
  tree,
  ...("children" in tree ? tree.children.flatMap((child) => all(child)) : []),
];

describe("whatever a machine says", () => {
  const nasty = fc.oneof(
    fc.string({ unit: "grapheme", maxLength: 60 }),
    fc.constantFrom(
      "`",
      "```",
      "``` \n# x",
      "</details>",
      "<script>alert(1)</script>",
      "@everyone",
      "a|b",
      "![x](http://x)",
      "http://x.y",
      "\n\n- x",
    ),
  );
  const texts = fc.array(nasty, { minLength: 1, maxLength: 4 }).map((parts) => parts.join(""));

  test("it stays code: no HTML, link, image or heading of its own", () => {
    fc.assert(
      fc.property(texts, texts, texts, (title, diff, saw) => {
        const facets = [
          facet("lkca", {
            steps: [step({ title, why: saw, commands: [diff], files: [{ path: title, before: "known", diff }] })],
          }),
          facet("cpu", { findings: [finding("unknown", "cpu.sev", saw)] }),
        ];
        const text = reviewMarkdown(reviewReport(previewOf([{ name: "gpu-01", facets }])));
        const nodes = all(fromMarkdown(text));
        const own = /^(<!-- teeup-report teeup_rack7 -->|<details><summary>commands and files<\/summary>|<\/details>)$/;
        expect(nodes.filter((n) => n.type === "html" && !own.test(n.value))).toEqual([]);
        expect(nodes.filter(({ type }) => type === "link" || type === "image")).toEqual([]);
        expect(nodes.filter(({ type }) => type === "heading")).toHaveLength(3);
      }),
      { numRuns: 200 },
    );
  });

  test("it fits, says what was left out, and keeps the table as long as there is room", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 50 }),
        fc.integer({ min: 0, max: 9000 }),
        fc.integer({ min: 0, max: 9000 }),
        (n, diff, title) => {
          const facets = [
            facet("lkca", {
              steps: [
                step({
                  title: "t".repeat(title + 1),
                  files: [{ path: "/x", before: "known", diff: "+".repeat(diff + 1) }],
                }),
              ],
            }),
          ];
          const names = Array.from({ length: n }, (_, i) => `gpu-${i}`);
          const text = reviewMarkdown(reviewReport(previewOf(names.map((name) => ({ name, facets })))));
          expect(text.length).toBeLessThanOrEqual(MARKDOWN_CHARS);
          // Left out piece by piece, never in the middle of one.
          expect(text).not.toContain("The rest was cut off");
          for (const name of names) expect(text).toMatch(new RegExp(`\\n\\| \`${name}\` +\\| changes`));
          const whole = n * (diff + title) < 50_000;
          if (n * (diff + title) > MARKDOWN_CHARS)
            expect(text).toContain("**Shortened to 65000 characters.** Left out here");
          if (whole && n * (diff + title + 600) < 60_000) expect(text).not.toContain("Shortened");
        },
      ),
      { numRuns: 60 },
    );
  });
});

describe("what a review must not leave out", () => {
  const guest = facet("confidential-vm");
  const row = (text: string) => text.split("\n").find((line) => line.startsWith("| `gpu-01`")) ?? "";

  test("a part that goes is no node as wanted: what its removal undoes is in no plan, so nothing is said to stay", () => {
    const [kept, gone] = [{ name: "gpu-01" }, { name: "gpu-01", facets: [guest], op: "delete" }].map(
      (node) => JSON.parse(previewOf([node])) as { steps: { urn: string }[] },
    );
    const steps = [...(kept?.steps ?? []), ...(gone?.steps ?? []).filter(({ urn }) => urn.endsWith("confidential-vm"))];
    const report = reviewReport(JSON.stringify({ ...kept, steps }));
    expect(report.nodes).toMatchObject([{ status: "changes", removed: ["confidential-vm"] }]);
    expect(report.approval).toBeUndefined();
    const text = reviewMarkdown(report);
    expect(text).toContain("1 would change, 0 are as wanted");
    expect(row(text)).not.toMatch(/not needed|stay|nothing/);
    const sarif = reviewSarif(report, { file: "x", version: "1" });
    expect(sarif).toContain("gpu-01/confidential-vm: removed");
  });

  test("a part that becomes one of another node is undone on the first", () => {
    const moved = JSON.parse(previewOf([{ name: "gpu-02", facets: [guest], op: "replace" }])) as {
      steps: { urn: string; oldState?: object }[];
    };
    for (const one of moved.steps)
      if (one.urn.endsWith("confidential-vm"))
        one.oldState = { inputs: { node: "gpu-01", facet: "confidential-vm", plan: [] } };
    const { nodes } = reviewReport(JSON.stringify(moved));
    expect(nodes.find(({ node }) => node === "gpu-01")).toMatchObject({ removed: ["confidential-vm"] });
  });

  test("of a node that was not looked at the table does not say that it needs, stops or misses nothing", () => {
    const unreachable = { name: "gpu-01", facets: [guest], over: { unreachable: { saw: "refused", next: "ssh" } } };
    const later = { name: "gpu-01", lines: { lkca: ["[later] lkca: decided when the instance exists"] } };
    for (const node of [unreachable, later]) {
      const text = row(reviewMarkdown(reviewReport(previewOf([node]))));
      expect(text).toContain("not known");
      expect(text).not.toMatch(/not needed|stay|nothing|none/);
    }
  });

  test("a step of the node's plan that no part shows is shown, and such a plan is not to be approved", () => {
    const preview = JSON.parse(previewOf([{ name: "gpu-01", facets: [facet("lkca", { steps: [step()] })] }])) as {
      steps: { urn: string; newState: { inputs?: { plan: string[] } } }[];
    };
    const plan = preview.steps.find(({ urn }) => urn.endsWith("node-plan"))?.newState.inputs;
    if (plan !== undefined)
      plan.plan = ["[none] write /etc/modprobe.d/teeup.conf", "[reboot] restart the host", "[check] x: want a, saw b"];
    const report = reviewReport(JSON.stringify(preview));
    expect(report.nodes).toMatchObject([{ status: "changes", disruption: "reboot", downtime: { restarts: 1 } }]);
    expect(report.approval).toBeUndefined();
    expect(reviewMarkdown(report).match(/`\[none\]` `write/g)).toHaveLength(1);
  });

  test("a preview that is not whole is not to be approved", () => {
    const nodes = [{ name: "gpu-01", facets: [facet("lkca", { steps: [step()] })] }];
    const diagnostics = [{ message: "gpu-01 · cpu: want.invalid", severity: "error" }];
    expect(reviewReport(previewOf(nodes)).approval).toBeDefined();
    expect(reviewReport(previewOf(nodes, { diagnostics })).approval).toBeUndefined();
  });

  test("a resource of ours that this version cannot read is an error, and its node not as wanted", () => {
    const inputs = { node: "gpu-01", facet: "lkca", plan: "04da6b54" };
    const urn = "urn:pulumi:rack7::teeup::teeup:node:SnpNode$pulumi-nodejs:dynamic/vm-admin:Lkca::gpu-01-lkca";
    const config = { "teeup:nodes": '[{"name":"gpu-01"}]' };
    const report = reviewReport(JSON.stringify({ config, steps: [{ op: "update", urn, newState: { inputs } }] }));
    expect(report.errors).toEqual([expect.stringContaining("gpu-01-lkca")]);
    expect(report.nodes).toMatchObject([{ status: "unknown" }]);
  });

  test("no error is so long that the steps are cut off behind it", () => {
    const nodes = [{ name: "gpu-01", facets: [facet("host-boot", { steps: [reboot] })] }];
    const diagnostics = Array.from({ length: 40 }, () => ({ message: "x".repeat(9000), severity: "error" }));
    const text = reviewMarkdown(reviewReport(previewOf(nodes, { diagnostics })));
    expect(text).toContain("`[reboot]` `restart the host`");
    expect(text).toContain("in the report's JSON");
    expect(text.length).toBeLessThanOrEqual(MARKDOWN_CHARS);
  });

  test("stacks of one name in two projects do not take one another's comment", () => {
    const of = (project: string) =>
      reviewMarkdown(reviewReport(previewOf([{ name: "gpu-01" }]).replaceAll("::teeup::", `::${project}::`))).split(
        "\n",
      )[0];
    expect(of("one")).toMatch(/^<!-- teeup-report \S+ -->$/);
    expect(of("one")).not.toBe(of("two"));
  });

  test("neither what a machine says at length nor many resources of others push the steps out", () => {
    const facets = [
      facet("cpu", {
        findings: [finding("unknown", "cpu.flags", "y".repeat(70_000)), finding("fail", "cpu.sev", "z".repeat(70_000))],
      }),
      facet("host-boot", { steps: [reboot] }),
    ];
    const preview = JSON.parse(previewOf([{ name: "gpu-01", facets }])) as { steps: object[] };
    for (let n = 0; n < 2000; n++)
      preview.steps.push({
        op: "create",
        urn: `urn:pulumi:rack7::teeup::aws:s3/bucket:Bucket::bucket-${n}-${"b".repeat(40)}`,
      });
    const text = reviewMarkdown(reviewReport(JSON.stringify(preview)));
    expect(text).toContain("`[reboot]` `restart the host`");
    expect(text).toContain("pulumi config set teeup:approved");
    expect(text).toContain("1950 more");
    expect(text.length).toBeLessThanOrEqual(MARKDOWN_CHARS);
  });

  test("what turns the direction of a line round stands there as what it is", () => {
    const title = "write \u202e/etc/x\u2066";
    const text = reviewMarkdown(
      reviewReport(
        previewOf([{ name: "a", facets: [facet("lkca", { steps: [step({ title, commands: ["echo \u202d"] })] })] }]),
      ),
    );
    expect(text).not.toMatch(/[\u202a-\u202e\u2066-\u2069]/);
    expect(text).toContain("write [U+202E]/etc/x[U+2066]");
    expect(text).toContain("echo [U+202D]");
  });
});
