import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "@jest/globals";
import { coverageGaps, coverageIds } from "../../cli/pages/coverage.ts";
import { ROWS } from "../../docs/coverage-data/data.ts";
import type { Proof } from "../../docs/coverage-data/rows.ts";
import { context, example, later } from "../../docs/coverage-data/rows.ts";
import { FACETS } from "../../providers/facets/index.ts";
import { testTitles } from "./test-titles.ts";

const ROOT = join(dirname(fileURLToPath(import.meta.url)), "../..");
const CHECKLIST = join(ROOT, "../shared/seed-steps.md");
const kinds = coverageIds(ROOT);
const ids = Object.keys(kinds);

/** What is wrong with a proof, or nothing. */
function fault({ file, test: title }: Proof): string | undefined {
  const path = join(ROOT, file);
  if (!existsSync(path)) return `${file} does not exist`;
  const source = readFileSync(path, "utf8");
  if (testTitles(source).has(title)) return undefined;
  const facet = FACETS.find((f) => file === EXAMPLES && title.startsWith(`${f.name}: examples `));
  const name = title.slice(`${facet?.name}: examples `.length);
  return facet?.examples.some((e) => e.name === name) ? undefined : `${file} has no test "${title}"`;
}

/** Runs the examples of every facet, each as a test of its name in the suite "<facet>: examples". */
const EXAMPLES = "test/facets/examples.test.ts";

test("every id has a row that agrees with what the facets say they cover", () => {
  expect(coverageGaps(ids, ROWS, FACETS)).toEqual([]);
});

test("every test that a row names exists", () => {
  const faults = ids.flatMap((id) => {
    const row = ROWS[id];
    if (row === undefined || !("proof" in row)) return [];
    const wrong = fault(row.proof);
    return wrong === undefined ? [] : [`${id}: ${wrong}`];
  });
  expect(faults).toEqual([]);
});

test("only steps of the container user may say later", () => {
  expect(ids.filter((id) => ROWS[id]?.by === "later" && !id.startsWith("001-K8S-"))).toEqual([]);
});

test("a step that somebody must do or check is never answered by a mere reason that nothing is to do", () => {
  const hidden = ids.filter((id) => /^(do|check)$/.test(kinds[id] ?? "") && ROWS[id]?.by === "context");
  expect(hidden).toEqual([]);
});

// The checklist lies beside the checkout, not in it: without it ids.json is all there is.
(existsSync(CHECKLIST) ? test : test.skip)(
  "ids.json is the checklist's ids that begin with 000 to 004, in its order",
  () => {
    const rows = readFileSync(CHECKLIST, "utf8").matchAll(/^\| (00[0-4]-[A-Z0-9-]+) \|[^|]*\| (\w+) \|/gm);
    expect(Object.entries(kinds)).toEqual([...rows].map(([, id, kind]) => [id, kind]));
  },
);

describe("the rules themselves", () => {
  const facet = { ...FACETS[0], name: "x", covers: ["a"] } as (typeof FACETS)[number];

  test("an id without a row, a row without an id and a row against the facet are gaps", () => {
    expect(coverageGaps(["a", "b"], { a: context("no"), c: later("no") }, [facet])).toEqual([
      "b has no row in docs/coverage-data/data.ts",
      "c of docs/coverage-data/data.ts is no id of the checklist",
      "x covers a, but its row says context",
    ]);
  });

  test("a row of a facet that no facet covers is a gap", () => {
    expect(coverageGaps(["a", "b"], { a: example("x", "e"), b: example("x", "e") }, [facet])).toEqual([
      "b says that a facet does it, but no facet covers it",
    ]);
  });

  test("titles are found in plain tests, tables and nested suites, and skipped tests prove nothing", () => {
    const source = `
      test("one", () => {});
      describe("d", () => { it(\`two\`, () => {}); });
      test.each([["three", 1], ["four", 2]])("%s", () => {});
      test.skip("five", () => {});
      describe("six", () => {});
    `;
    expect([...testTitles(source)]).toEqual(["one", "two", "%s", "three", "four"]);
  });
});
