/**
 * `npm run tried`: takes over which tests of the lab passed in the last runs here. `npm run docs` then writes the page.
 *   --list   prints what was and was not tried of plugins that are not ours, and changes nothing
 */
import { readFileSync, writeFileSync } from "node:fs";
import Table from "cli-table3";
import { PLUGIN_USES } from "../docs/tried-data/plugins.ts";
import { STEPS } from "../docs/tried-data/steps.ts";
import { argsOf } from "./args.ts";
import { pluginRows } from "./pages/tried.ts";

const { values } = argsOf("usage: npm run tried -- [--list]", {
  options: { list: { type: "boolean", default: false } },
});
if (values.list) list();
else takeOver();

function list(): void {
  const table = new Table({
    head: ["of", "what", "tried on", "may be otherwise for real"],
    style: { head: [], border: [] },
    colWidths: [44, 28, 44, 44],
    wordWrap: true,
  });
  for (const row of pluginRows(PLUGIN_USES)) table.push([...row]);
  process.stdout.write(
    `${table.toString()}\nNo row was tried on a real plugin or on a real account. All else: docs/what-was-tried.md\n`,
  );
}

function takeOver(): void {
  const root = new URL("..", import.meta.url);
  const results = readFileSync(new URL(".cache/lab-results.json", root), "utf8");
  const passed = JSON.parse(results) as Record<string, string[]>;
  const named: Record<string, string[]> = {};
  for (const trial of Object.values(STEPS)) {
    if (trial.by !== "test" || passed[trial.file]?.includes(trial.test) !== true) continue;
    named[trial.file] = [...new Set([...(named[trial.file] ?? []), trial.test])].sort();
  }
  writeFileSync(new URL("docs/tried-data/results.json", root), `${JSON.stringify(named, null, 2)}\n`);
}
