import { readFileSync } from "node:fs";
import { expect, test } from "@jest/globals";
import { z } from "zod";
import { heard, keysOf, PAGE, RECORDED, twinSide } from "../lab/conformance.ts";
import { CASES, NOT_ASKED } from "../lab/conformance-cases.ts";
import { conformancePage, rate, rowsOf } from "../lab/conformance-page.ts";

const recorded = z
  .strictObject({
    origin: z.string(),
    kernel: z.string(),
    pending: z.array(z.string()),
    answers: z.record(z.string(), z.unknown()),
  })
  .parse(JSON.parse(readFileSync(RECORDED, "utf8")));
const AGAIN = "npm run conformance asks the lab's machine anew";

test("the machine was asked every question that the facets ask now", () => {
  const [now, then] = [keysOf(CASES), [...Object.keys(recorded.answers), ...recorded.pending]];
  expect({
    AGAIN,
    added: now.filter((key) => !then.includes(key)),
    gone: then.filter((key) => !now.includes(key)),
  }).toEqual({
    ...{ AGAIN, added: [], gone: [] },
  });
});

test("at least 95 % of the twin's answers are the machine's, every other one has its reason, and the page says so", async () => {
  const twin = await twinSide();
  try {
    const asked = keysOf(CASES).filter((key) => !recorded.pending.includes(key));
    const rows = rowsOf(asked, await heard(CASES, twin), recorded.answers);
    expect(rows.filter((row) => !row.agree && row.reason === undefined)).toEqual([]);
    expect(rate(rows)).toBeGreaterThanOrEqual(95);
    expect(readFileSync(PAGE, "utf8")).toBe(conformancePage(rows, recorded.kernel, NOT_ASKED, recorded.pending));
  } finally {
    await twin.close();
  }
}, 120_000);

test("an answer that changes, one that is missing and one that nobody explained are seen", () => {
  const rows = rowsOf(
    ["a · same", "a · other", "a · none"],
    { "a · same": 1, "a · other": 2 },
    { "a · same": 1, "a · other": 3 },
  );
  expect(rows.map((row) => row.agree)).toEqual([true, false, false]);
  expect(rate(rows)).toBeCloseTo(100 / 3);
  expect(conformancePage(rows, "6.1", {}, [])).toContain("**not explained**");
});
