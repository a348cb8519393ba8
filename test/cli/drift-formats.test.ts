import { mkdtempSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "@jest/globals";
import { writeDrift } from "../../cli/drift-formats.ts";
import type { DriftReport } from "../../cli/formats/drift-facts.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "teeup-formats-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const report: DriftReport = { version: 1, at: "2026-11-20T10:00:00.000Z", seconds: 1, nodes: [], missing: [] };
const write = (to: string) => writeDrift(report, { json: to }, () => undefined, "1.0.0");

test("a device is written to, and stays a device", async () => {
  const link = join(folder, "out");
  symlinkSync("/dev/null", link);
  await write(link);
  expect(readFileSync(link, "utf8")).toBe("");
});

test("a file is written whole, and nothing stays beside it", async () => {
  const file = join(folder, "drift.json");
  await write(file);
  await write(file);
  expect(JSON.parse(readFileSync(file, "utf8"))).toEqual(report);
  expect(() => readFileSync(`${file}.new`)).toThrow(/ENOENT/);
});
