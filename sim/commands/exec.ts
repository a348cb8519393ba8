import { FsError, SysfsError } from "../model/files.ts";
import type { Machine } from "../model/machine.ts";
import type { CommandContext, Result } from "./command.ts";
import { fail, Unmodelled } from "./command.ts";
import { COMMANDS } from "./index.ts";

const PATH = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/** The file that a word of a command line runs, as a shell finds it. */
export function findProgram(machine: Machine, word: string, cwd = "/"): string | undefined {
  const candidates = word.includes("/")
    ? [word.startsWith("/") ? word : `${cwd}/${word}`]
    : PATH.map((folder) => `${folder}/${word}`);
  return candidates.find((path) => {
    const node = machine.files.stat(path);
    return node?.kind === "file" && (Number.parseInt(node.mode, 8) & 0o111) !== 0;
  });
}

/** Runs one argv. A program that is not there ends with 127; one that the twin cannot answer too, and is recorded. */
export function execute(
  machine: Machine,
  argv: readonly string[],
  options: { cwd?: string; stdin?: string } = {},
): Result {
  const { journal, faults } = machine.node;
  const word = argv[0] ?? "";
  const cwd = options.cwd ?? "/";
  const notFound = fail(127, `sh: 1: ${word}: not found`);
  if (machine.running === undefined) return fail(255, "machine is down");
  const fault = faults.failCommand;
  if (fault !== undefined && fault.times > 0 && argv.join(" ").includes(fault.text)) {
    fault.times--;
    return fail(1, `${word}: injected failure`);
  }
  const path = findProgram(machine, word, cwd);
  const node = path === undefined ? undefined : machine.files.stat(path);
  if (path === undefined || node?.kind !== "file") {
    const there = word.includes("/") ? machine.files.stat(word) : undefined;
    if (there !== undefined) return fail(126, `sh: 1: ${word}: Permission denied`);
    if (!COMMANDS.has(word.split("/").at(-1) ?? "")) journal.unmodelled.push(argv.join(" "));
    return notFound;
  }
  const command = COMMANDS.get(node.program ?? "");
  if (command === undefined) {
    journal.unmodelled.push(argv.join(" "));
    return notFound;
  }
  const context: CommandContext = {
    cwd,
    stdin: options.stdin ?? "",
    file: path,
    data: node.content,
    exec: (inner, more) => execute(machine, inner, { cwd: more?.cwd ?? cwd, stdin: more?.stdin ?? "" }),
  };
  const changes = machine.files.changes;
  try {
    const result = command.run(machine, argv, context);
    machine.clock.advance(result.seconds ?? 0);
    if (machine.files.changes !== changes && !command.mutates(argv))
      throw new Error(`${argv.join(" ")} changed a file although it says it does not`);
    return result;
  } catch (error) {
    if (error instanceof Unmodelled) {
      journal.unmodelled.push(argv.join(" "));
      return notFound;
    }
    if (error instanceof FsError) return fail(1, `${word}: ${error.path}: ${error.message}`);
    if (error instanceof SysfsError) return fail(1, `${word}: write error: ${error.message}`);
    throw error;
  }
}

/** Whether an argv changes the machine, as the journal counts it. */
export function isMutating(machine: Machine, argv: readonly string[]): boolean {
  const path = findProgram(machine, argv[0] ?? "");
  // What is not there changes nothing.
  if (path === undefined) return false;
  const node = machine.files.stat(path);
  const command = COMMANDS.get((node?.kind === "file" ? node.program : undefined) ?? argv[0]?.split("/").at(-1) ?? "");
  return command?.mutates(argv) ?? false;
}
