import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, relative } from "node:path";

/** Keeps which tests under test/lab passed, for `npm run tried`; a file that is run again replaces what it said before. */
export const LAB_RESULTS = new URL("../.cache/lab-results.json", import.meta.url);

export default class LabReporter {
  onRunComplete(_contexts, { testResults }) {
    const root = new URL("..", import.meta.url).pathname;
    const files = testResults
      .map(({ testFilePath, testResults: tests }) => [relative(root, testFilePath), tests])
      .filter(([file]) => file.startsWith("test/lab/"));
    if (files.length === 0) return;
    let had = {};
    try {
      had = JSON.parse(readFileSync(LAB_RESULTS, "utf8"));
    } catch {
      // The first run.
    }
    for (const [file, tests] of files) {
      const of = (status) => tests.filter((test) => test.status === status).map((test) => test.title);
      // A test left out by a filter says nothing about what it said before.
      const gone = new Set([...of("passed"), ...of("failed")]);
      had[file] = [...(had[file] ?? []).filter((title) => !gone.has(title)), ...of("passed")].sort();
    }
    mkdirSync(dirname(LAB_RESULTS.pathname), { recursive: true });
    writeFileSync(LAB_RESULTS, `${JSON.stringify(had, null, 1)}\n`);
  }
}
