import { relative } from "node:path";
import TestSequencer from "@jest/test-sequencer";

/**
 * The files of more than a minute, longest first. On a clean clone Jest knows no times and goes by the files' sizes,
 * which would begin the longest ones last, with a core idle beside them.
 */
const LONGEST = [
  "test/lab/up",
  "test/lab/traps",
  "test/lab/conformance",
  "test/lab/kernel",
  "test/lab/rpm",
  "test/e2e/drift",
  "test/pulumi/node",
  "test/e2e/scenarios",
  "test/e2e/kill",
  "test/cli/demo-clouds",
  "test/cli/demo",
  "test/pulumi/alibaba",
  "test/pulumi/install",
].map((name) => `${name}.test.ts`);

export default class LongestFirst extends TestSequencer {
  sort(tests) {
    const rank = ({ path, context }) => {
      const at = LONGEST.indexOf(relative(context.config.rootDir, path));
      return at < 0 ? LONGEST.length : at;
    };
    return [...super.sort(tests)].sort((a, b) => rank(a) - rank(b));
  }
}
