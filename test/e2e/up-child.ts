/** One `up` of one node in a process of its own, for tests that kill it. argv: a file with {@link Order}. */
import { readFileSync } from "node:fs";
import { flushCompileCache } from "node:module";
import type { StackConfig } from "../../providers/kit/config.ts";
import { TeeUpError } from "../../providers/kit/errors.ts";
import { goalsOf, up } from "./drive.ts";

export interface Order {
  readonly config: StackConfig;
  readonly env: NodeJS.ProcessEnv;
}

// Killed runs leave no compiled code behind otherwise, and the next one compiles all of it again.
flushCompileCache();
const order = JSON.parse(readFileSync(process.argv[2] ?? "", "utf8")) as Order;
try {
  const { findings } = await up(order, "reboot", goalsOf(order));
  if (findings.length > 0) throw new Error(findings.map((f) => `${f.code}: ${f.saw}`).join("\n"));
} catch (error) {
  process.stderr.write(`${error instanceof TeeUpError ? error.code : "error"}\n${String(error)}\n`);
  process.exitCode = 1;
}
