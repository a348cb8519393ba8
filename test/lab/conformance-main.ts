/** `npm run conformance`: asks twin and machine everything and writes docs/conformance.md; about four minutes when idle. */
import { compareAndRecord } from "./conformance.ts";
import { rate } from "./conformance-page.ts";

const rows = await compareAndRecord();
process.stdout.write(`${rows.length} cases, ${rate(rows).toFixed(1)} % agree: docs/conformance.md\n`);
for (const { key, reason } of rows.filter((row) => !row.agree))
  process.stdout.write(`  ${key}: ${reason ?? "NOT EXPLAINED"}\n`);
