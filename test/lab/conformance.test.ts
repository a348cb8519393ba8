import { afterAll, expect, test } from "@jest/globals";
import { compareAndRecord } from "./conformance.ts";
import { rate } from "./conformance-page.ts";
import { stopVms } from "./vm/vm.ts";

afterAll(stopVms);

// Writes docs/conformance.md, also where it then fails: the page shows what differs.
test("twin and machine say the same to at least 95 % of all cases, and every difference has its reason", async () => {
  const rows = await compareAndRecord();
  expect(rows.filter((row) => !row.agree && row.reason === undefined)).toEqual([]);
  expect(rate(rows)).toBeGreaterThanOrEqual(95);
  expect(rows.length).toBeGreaterThan(400);
}, 3_600_000);
