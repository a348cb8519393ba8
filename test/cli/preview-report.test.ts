import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "@jest/globals";
import { previewReport } from "../../cli/preview-report.ts";
import { facet, previewOf, step } from "./formats/previews.ts";

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
