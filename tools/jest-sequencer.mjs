import { existsSync } from "node:fs";
import { join, relative } from "node:path";
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
  "test/lab/amd",
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
    const root = tests[0]?.context.config.rootDir;
    const gone = root === undefined ? [] : LONGEST.filter((name) => !existsSync(join(root, name)));
    if (gone.length > 0) throw new Error(`tools/jest-sequencer.mjs names ${gone.join(", ")}: there is no such file`);
    const rank = ({ path, context }) => {
      const at = LONGEST.indexOf(relative(context.config.rootDir, path));
      return at < 0 ? LONGEST.length : at;
    };
    return [...super.sort(tests)].sort((a, b) => rank(a) - rank(b));
  }
}
