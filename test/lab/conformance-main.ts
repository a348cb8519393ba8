/** `npm run conformance`: asks twin and machine everything and writes docs/conformance.md; about four minutes when idle. */
import { writeFileSync } from "node:fs";
import { heard, keysOf, PAGE, RECORDED, twinSide, vmSide } from "./conformance.ts";
import { CASES, NOT_ASKED } from "./conformance-cases.ts";
import { conformancePage, rate, rowsOf } from "./conformance-page.ts";

const [twin, vm] = await Promise.all([twinSide(), vmSide()]);
try {
  const [a, b] = await Promise.all([heard(CASES, twin), heard(CASES, vm)]);
  const kernel = vm.place.release;
  writeFileSync(
    RECORDED,
    `${JSON.stringify({ origin: `the lab's virtual machine, kernel ${kernel}`, kernel, pending: [], answers: b }, null, 1)}\n`,
  );
  const rows = rowsOf(keysOf(CASES), a, b);
  writeFileSync(PAGE, conformancePage(rows, kernel, NOT_ASKED, []));
  process.stdout.write(`${rows.length} cases, ${rate(rows).toFixed(1)} % agree: docs/conformance.md\n`);
  for (const { key, reason } of rows.filter((row) => !row.agree))
    process.stdout.write(`  ${key}: ${reason ?? "NOT EXPLAINED"}\n`);
} finally {
  await twin.close();
  await vm.close();
}
