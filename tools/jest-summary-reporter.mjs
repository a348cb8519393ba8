import { writeFileSync } from "node:fs";

/**
 * Ends a run with one line that people and scripts can rely on: `N passed, N failed`.
 * A suite that did not even load counts as one failure, else a syntax error would read as "0 failed".
 */
export default class SummaryReporter {
  onRunComplete(_contexts, results) {
    const failed = results.numFailedTests + results.numRuntimeErrorTestSuites;
    const line = `${results.numPassedTests} passed, ${failed} failed\n`;
    if (process.env.TEEUP_TEST_SUMMARY) writeFileSync(process.env.TEEUP_TEST_SUMMARY, line);
    // Other reporters still write after this call; only at exit is the line sure to be the last one.
    process.on("exit", () => process.stdout.write(line));
  }
}
