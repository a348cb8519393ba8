import { expect, test } from "@jest/globals";
import { nodeReport } from "../../cli/report.ts";
import { renderTree } from "../../cli/tree.ts";
import type { Finding, Level } from "../../providers/kit/facet.ts";

const finding = (code: string, level: Level, more: Partial<Finding> = {}): Finding => ({
  code,
  level,
  want: "wanted thing",
  saw: "seen thing",
  hint: level === "pass" ? "" : "do this",
  source: "seed 001 · somewhere",
  ...more,
});

const report = nodeReport(
  "gpu-01",
  [
    { facet: "bios", summary: "", on: "host", persona: "hardware", findings: [finding("bios.snp", "fail")], steps: [] },
    {
      facet: "kernel",
      summary: "",
      on: "host",
      persona: "host",
      findings: [finding("kernel.release", "pass"), finding("kernel.hold", "warn")],
      steps: [{ code: "kernel.install", title: "install linux 6.11", disruption: "none" }],
    },
    {
      facet: "lkca",
      summary: "",
      on: "guest",
      persona: "vm-admin",
      findings: [finding("lkca.file", "unknown")],
      steps: [],
    },
  ],
  1.234,
);

test("groups findings by persona, in the order of the work, with marks that need no colour", () => {
  expect(renderTree(report, false)).toBe(
    [
      "gpu-01",
      "├─ Hardware IT administrator",
      "│  └─ ✗ FAIL    bios",
      "│     ✗ FAIL    bios.snp",
      "│          wanted  wanted thing",
      "│          saw     seen thing",
      "│          fix     do this",
      "│          source  seed 001 · somewhere",
      "├─ Host OS administrator",
      "│  └─ ! warn    kernel",
      "│     ✓ pass    kernel.release seen thing",
      "│     ! warn    kernel.hold",
      "│          wanted  wanted thing",
      "│          saw     seen thing",
      "│          fix     do this",
      "│          source  seed 001 · somewhere",
      "│     → [none] install linux 6.11",
      "└─ Virtual machine administrator",
      "   └─ ? UNKNOWN lkca (in the guest)",
      "      ? UNKNOWN lkca.file",
      "           wanted  wanted thing",
      "           saw     seen thing",
      "           fix     do this",
      "           source  seed 001 · somewhere",
      "",
      "4 findings in 1.23 s: 1 pass, 1 warn, 1 fail, 1 unknown",
    ].join("\n"),
  );
});

test("colour changes nothing but escape codes", () => {
  const coloured = renderTree(report, true);
  expect(coloured).toContain("\u001b[");
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the escape codes are what is removed
  expect(coloured.replaceAll(/\u001b\[\d+m/g, "")).toBe(renderTree(report, false));
});

test("what a machine says cannot steer the terminal, in titles neither", () => {
  const osc = "\u001b]52;c;ZXZpbA==\u0007\r\n";
  const evil = nodeReport(
    "gpu-01",
    [
      {
        facet: "kernel",
        summary: "",
        on: "host",
        persona: "host",
        findings: [finding("kernel.hold", "fail", { saw: `seen${osc}`, want: osc, hint: `do${osc}`, source: osc })],
        steps: [{ code: "kernel.install", title: `end process 7 (${osc})`, disruption: "none" }],
      },
    ],
    1,
  );
  expect(renderTree(evil, false)).not.toMatch(/[^\P{Cc}\n]/u);
  expect(renderTree(evil, false).split("\n")).toHaveLength(11);
});

test("a node is not ok when something failed or could not be looked at", () => {
  const of = (level: Level) =>
    nodeReport(
      "n",
      [{ facet: "f", summary: "", on: "host", persona: "host", findings: [finding("f.x", level)], steps: [] }],
      0,
    ).ok;
  expect({ pass: of("pass"), warn: of("warn"), fail: of("fail"), unknown: of("unknown") }).toEqual({
    pass: true,
    warn: true,
    fail: false,
    unknown: false,
  });
});

test("what a machine says cannot break the tree or send control codes to the terminal", () => {
  const nasty = nodeReport(
    "n",
    [
      {
        facet: "f",
        summary: "",
        on: "host",
        persona: "host",
        findings: [finding("f.x", "fail", { saw: "a\nb\u001b[2Jc" })],
        steps: [],
      },
    ],
    0,
  );
  expect(renderTree(nasty, false)).toContain("saw     a b [2Jc");
});
