import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "@jest/globals";
import { readResults, stepCodes, triedGaps, triedPage } from "../../cli/pages/tried.ts";
import { STEPS } from "../../docs/tried-data/steps.ts";
import { FACETS } from "../../providers/facets/index.ts";
import { testTitles } from "./test-titles.ts";

const ROOT = join(dirname(fileURLToPath(import.meta.url)), "../..");
const titles = (file: string): ReadonlySet<string> =>
  existsSync(join(ROOT, file)) ? testTitles(readFileSync(join(ROOT, file), "utf8")) : new Set();

test("every step that a facet can plan is listed as tried, untried with its reason, or as needing hardware", () => {
  expect(triedGaps(stepCodes(FACETS), STEPS)).toEqual([]);
});

test("every test that a step or a recorded result names is there", () => {
  const named = Object.values(STEPS).flatMap((t) => (t.by === "test" ? [[t.file, t.test] as const] : []));
  const recorded = Object.entries(readResults(ROOT)).flatMap(([file, list]) =>
    list.map((title) => [file, title] as const),
  );
  expect([...named, ...recorded].filter(([file, title]) => !titles(file).has(title))).toEqual([]);
});

test("the page says first that no hardware was there, and calls nothing tried that has not passed", () => {
  const page = triedPage(ROOT, FACETS);
  expect(page).toMatch(/\*\*Nothing here has been run on SEV-SNP hardware or on an NVIDIA GPU/);
  expect(page).not.toContain("not listed");
  const passed = Object.values(readResults(ROOT)).flat();
  for (const [, title = ""] of page.matchAll(/\| tried \| [^:]+: (.*) \|$/gm)) expect(passed).toContain(title);
});

describe("the rules themselves", () => {
  test("a step without a row and a row without a step are gaps", () => {
    expect(triedGaps(["a.x"], { "b.y": { by: "untried", why: "no" } })).toEqual([
      "a.x has no row in docs/tried-data/steps.ts",
      "b.y of docs/tried-data/steps.ts is no step of a facet",
    ]);
  });
});
