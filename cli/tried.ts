/** `npm run tried`: takes over which tests of the lab passed in the last runs here. `npm run docs` then writes the page. */
import { readFileSync, writeFileSync } from "node:fs";
import { STEPS } from "../docs/tried-data/steps.ts";

const ROOT = new URL("..", import.meta.url);
const passed = JSON.parse(readFileSync(new URL(".cache/lab-results.json", ROOT), "utf8")) as Record<string, string[]>;
const named: Record<string, string[]> = {};
for (const trial of Object.values(STEPS)) {
  if (trial.by !== "test" || passed[trial.file]?.includes(trial.test) !== true) continue;
  named[trial.file] = [...new Set([...(named[trial.file] ?? []), trial.test])].sort();
}
writeFileSync(new URL("docs/tried-data/results.json", ROOT), `${JSON.stringify(named, null, 2)}\n`);
