// Real machines, whole kernels and long soaks are rungs of their own: `TEEUP_SLOW=1 npm test` climbs them too.
const slow = process.env.TEEUP_SLOW === "1" ? [] : ["/test/lab/", "\\.slow\\.test\\.ts$"];

export default {
  testMatch: ["<rootDir>/test/**/*.test.ts"],
  testPathIgnorePatterns: ["/node_modules/", "/dist/", ...slow],
  // A packed copy of this package inside a test's folder would otherwise clash by name with this one.
  modulePathIgnorePatterns: ["<rootDir>/dist/", "<rootDir>/.cache/"],
  extensionsToTreatAsEsm: [".ts"],
  transform: {
    "^.+\\.ts$": [
      "@swc/jest",
      {
        jsc: { parser: { syntax: "typescript" }, target: "es2024" },
        module: { type: "es6" },
        sourceMaps: "inline",
      },
    ],
  },
  // Many tests wait for a process of their own; Jest's default leaves a core idle.
  maxWorkers: "100%",
  // Of a machine that is busy with something else; a test that hangs is seen all the same.
  testTimeout: 120_000,
  testEnvironment: "<rootDir>/tools/jest-environment.mjs",
  testSequencer: "<rootDir>/tools/jest-sequencer.mjs",
  reporters: ["default", "<rootDir>/tools/jest-summary-reporter.mjs", "<rootDir>/tools/jest-lab-reporter.mjs"],
};
