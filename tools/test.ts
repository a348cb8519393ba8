/**
 * `npm test`: makes sure that the Debian packages that the tests use are there, then runs jest with the same arguments.
 * `--lab` in front (`npm run test:lab`) runs the lab's tests, which need more of them, prints the time of each, and
 * writes docs/what-was-tried.md by what has passed.
 */
import { spawnSync } from "node:child_process";
import {
  BROWSER_PACKAGES,
  ensurePackages,
  KERNEL_PACKAGES,
  KUBERNETES_PACKAGES,
  LAB_PACKAGES,
  POSTGRES_PACKAGES,
  TEST_PACKAGES,
} from "./debian.ts";

const [first, ...others] = process.argv.slice(2);
const lab = first === "--lab";
const given = lab ? others : process.argv.slice(2);
const slow = lab || process.env["TEEUP_SLOW"] === "1";

const fault = ensurePackages({
  ...TEST_PACKAGES,
  ...(slow
    ? { ...LAB_PACKAGES, ...KERNEL_PACKAGES, ...BROWSER_PACKAGES, ...POSTGRES_PACKAGES, ...KUBERNETES_PACKAGES }
    : {}),
});
if (fault !== undefined) {
  process.stderr.write(`${fault}\n`);
  process.exitCode = 1;
} else {
  const jest = ["--experimental-vm-modules", "--disable-warning=ExperimentalWarning", "node_modules/jest/bin/jest.js"];
  // Assertions compare plain text; a CI variable alone would turn colours on.
  const env = { ...process.env, NO_COLOR: "1", ...(slow ? { TEEUP_SLOW: "1" } : {}) };
  const argv = [...jest, ...(lab ? ["--verbose", ...(given.length === 0 ? ["test/lab"] : given)] : given)];
  const run = (...args: string[]) => spawnSync(process.execPath, args, { stdio: "inherit", env }).status ?? 1;
  const ran = [run(...argv)];
  // What was tried on a real kernel is what passed in a whole run, and the page says so also after a failure.
  if (lab && given.length === 0) ran.push(run("cli/tried.ts"), run("cli/main.ts", "docs"));
  process.exitCode = Math.max(...ran);
}
