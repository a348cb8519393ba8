import { type ParseArgsConfig, parseArgs } from "node:util";

/**
 * Node's parseArgs for a command of package.json: `--help` prints the usage, and a wrong option ends in one line and the
 * usage, with exit status 2, instead of a stack trace.
 */
export function argsOf<const C extends ParseArgsConfig>(usage: string, config: C): ReturnType<typeof parseArgs<C>> {
  const { args = process.argv.slice(2) } = config;
  if (args.includes("--help") || args.includes("-h")) {
    process.stdout.write(`${usage}\n`);
    process.exit(0);
  }
  try {
    return parseArgs(config);
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n${usage}\n`);
    process.exit(2);
  }
}
