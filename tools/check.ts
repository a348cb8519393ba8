/** `npm run check`: everything that can be judged without running the tests, in one command. */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";

interface Step {
  readonly name: string;
  readonly argv: readonly [string, ...string[]];
  /** The step exists once this file does. */
  readonly needs?: string;
}

const JEST = ["--experimental-vm-modules", "--disable-warning=ExperimentalWarning", "node_modules/jest/bin/jest.js"];

const STEPS: readonly Step[] = [
  { name: "types", argv: ["tsc", "--project", "."] },
  { name: "lint and format (npm run fix)", argv: ["biome", "ci", "--colors=off", "--error-on-warnings", "."] },
  {
    name: "arrows between rooms",
    argv: ["node", ...JEST, "test/architecture.test.ts", "--reporters=default"],
    needs: "test/architecture.test.ts",
  },
  {
    name: "generated docs (npm run docs)",
    argv: ["node", "cli/main.ts", "docs", "--check"],
    needs: "cli/main.ts",
  },
];

async function runStep({ name, argv: [command, ...args] }: Step): Promise<boolean> {
  const started = Date.now();
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"] });
  const chunks: Buffer[] = [];
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk: Buffer) => chunks.push(chunk));
  const status = await new Promise<number>((resolve) => {
    child.on("error", (error) => {
      chunks.push(Buffer.from(error.message));
      resolve(1);
    });
    child.on("close", (code) => resolve(code ?? 1));
  });
  const seconds = ((Date.now() - started) / 1000).toFixed(1);
  process.stdout.write(`${status === 0 ? "ok    " : "FAILED"} ${name} (${seconds} s)\n`);
  if (status !== 0) process.stdout.write(`${Buffer.concat(chunks).toString("utf8").trimEnd()}\n\n`);
  return status === 0;
}

const results = await Promise.all(
  STEPS.filter(({ needs }) => needs === undefined || existsSync(needs)).map((step) => runStep(step)),
);
process.exitCode = results.every(Boolean) ? 0 : 1;
