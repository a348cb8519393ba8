import { afterAll, expect, test } from "@jest/globals";
import { heard, keysOf, twinSide, vmSide } from "./conformance.ts";
import { CASES } from "./conformance-cases.ts";
import { rate, rowsOf } from "./conformance-page.ts";
import { stopVms } from "./vm/vm.ts";

afterAll(stopVms);

test("twin and machine say the same to at least 95 % of all cases, and every difference has its reason", async () => {
  const [twin, vm] = await Promise.all([twinSide(), vmSide()]);
  try {
    const [a, b] = await Promise.all([heard(CASES, twin), heard(CASES, vm)]);
    const rows = rowsOf(keysOf(CASES), a, b);
    expect(rows.filter((row) => !row.agree && row.reason === undefined)).toEqual([]);
    expect(rate(rows)).toBeGreaterThanOrEqual(95);
    expect(rows.length).toBeGreaterThan(400);
  } finally {
    await twin.close();
    await vm.close();
  }
}, 3_600_000);
