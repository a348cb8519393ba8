/**
 * Ends a run with one line that people and scripts can rely on: `N passed, N failed`.
 * A suite that did not even load counts as one failure, else a syntax error would read as "0 failed".
 */
export default class SummaryReporter {
  onRunComplete(_contexts, results) {
    this.line = `${results.numPassedTests} passed, ${results.numFailedTests + results.numRuntimeErrorTestSuites} failed`;
    // The default reporter writes to stderr; a line on another stream could overtake it.
    process.stderr.write(`\n${this.line}\n`);
  }
}
