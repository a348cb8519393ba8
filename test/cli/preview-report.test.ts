import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "@jest/globals";
import { previewReport } from "../../cli/preview-report.ts";
import { facet, finding, type PreviewNode, previewOf, step } from "./formats/previews.ts";
import { run } from "./run.ts";

/** A stand-in for Pulumi prints a preview (synthetic) and ends as it is told. */
const before = { ...process.env };
let folder: string;
let preview: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "teeup-report-test-"));
  preview = join(folder, "preview.json");
  writeFileSync(preview, previewOf([{ name: "gpu-01", facets: [facet("lkca", { steps: [step()] })] }]));
  const text =
    '#!/bin/sh\ncat "$TEEUP_TEST_PREVIEW"\necho "error: preview failed: 1 policy violation" >&2\nexit "$TEEUP_TEST_STATUS"\n';
  writeFileSync(join(folder, "pulumi"), text, { mode: 0o755 });
  Object.assign(process.env, { PATH: `${folder}:${before["PATH"]}`, TEEUP_TEST_PREVIEW: preview });
});
afterEach(() => {
  process.env = { ...before };
  rmSync(folder, { recursive: true, force: true });
});

test("a preview that failed without a word in its JSON, as of a policy, is not whole and not to be approved", async () => {
  process.env["TEEUP_TEST_STATUS"] = "0";
  expect(await previewReport({})).toMatchObject({ errors: [], approval: expect.any(String) });
  process.env["TEEUP_TEST_STATUS"] = "255";
  const { errors, approval } = await previewReport({});
  expect(errors).toEqual([expect.stringMatching(/ended with status 255.*1 policy violation/s)]);
  expect(approval).toBeUndefined();
});

test("of a preview in a file its exit status is said by whoever ran it", async () => {
  expect(await previewReport({ preview, status: 0 })).toMatchObject({ errors: [], approval: expect.any(String) });
  const { errors, approval } = await previewReport({ preview, status: 255 });
  expect(errors).toEqual([expect.stringContaining("ended with status 255")]);
  expect(approval).toBeUndefined();
});

const wanted = facet("lkca", { steps: [step()] });
const dark = { unreachable: { code: "node.unreachable", saw: "no route", next: "teeup check gpu-02" } };

test.each<[string, 0 | 3, readonly PreviewNode[], string[]]>([
  ["all was looked at", 0, [{ name: "gpu-01", facets: [wanted] }], []],
  ["the preview had failed", 3, [{ name: "gpu-01", facets: [wanted] }], ["--status", "255"]],
  [
    "one of two nodes is out of reach",
    3,
    [
      { name: "gpu-01", facets: [wanted] },
      { name: "gpu-02", over: dark },
    ],
    [],
  ],
  ["a fact could not be had", 3, [{ name: "gpu-01", facets: [facet("cpu", { findings: [finding("unknown")] })] }], []],
  ["a check fails", 0, [{ name: "gpu-01", facets: [facet("cpu", { findings: [finding("fail")] })] }], []],
])("teeup report where %s ends with %i, and says it all", async (_name, expected, nodes, flags) => {
  writeFileSync(preview, previewOf(nodes));
  for (const format of [[], ["--json"], ["--sarif"]]) {
    const { status, stdout } = await run(["cli/main.ts", "report", preview, ...flags, ...format]);
    expect([status, stdout.length > 100]).toEqual([expected, true]);
  }
});
