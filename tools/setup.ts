/**
 * Finds or makes the Pulumi toolchain.
 *   node tools/setup.ts               says what is used
 *   node tools/setup.ts --print-path  prints the folders for PATH, one per line, for tools/bootstrap.mjs
 */
import { ensureToolchain, SetupError } from "./toolchain.ts";

const say = (text: string): void => {
  process.stderr.write(`${text}\n`);
};

try {
  const { path, version } = await ensureToolchain({ say });
  if (process.argv.includes("--print-path")) process.stdout.write(`${path.join("\n")}\n`);
  else say(`Ready: Pulumi ${version} in ${path.join(", ")}`);
} catch (error) {
  if (!(error instanceof SetupError)) throw error;
  say(error.message);
  process.exitCode = 1;
}
