import type { Machine } from "../model/machine.ts";

/** What a program leaves behind when it ends. `seconds` is how long it took in the node's own time. */
export interface Result {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
  readonly seconds?: number;
}

export interface CommandContext {
  readonly cwd: string;
  readonly stdin: string;
  /** Path of the file that runs, e.g. `/opt/teeup/qemu/bin/qemu-img`. */
  readonly file: string;
  /** Content of that file: for programs that are built or installed it says which version. */
  readonly data: string;
  /** Runs another program on the same machine, e.g. for `timeout`, `env`, `find -exec`. */
  exec(argv: readonly string[], options?: { stdin?: string; cwd?: string }): Result;
}

/**
 * One program. See sim/commands/index.ts for how to add one.
 *
 * `mutates` says whether an argv changes the machine; the journal counts those. It is checked: a command that says
 * false and changes a file fails the exec loudly.
 */
export interface Command {
  /** Every name it is called by. */
  readonly names: readonly [string, ...string[]];
  /** True when every fresh machine has it; otherwise some package, clone or build must bring the file. */
  readonly base: boolean;
  /** Folder of the base file, default /usr/bin. */
  readonly folder?: string;
  mutates(argv: readonly string[]): boolean;
  run(machine: Machine, argv: readonly string[], context: CommandContext): Result;
}

export const ok = (stdout = "", seconds = 0): Result => ({ status: 0, stdout, stderr: "", seconds });
export const fail = (status: number, stderr: string, stdout = ""): Result => ({
  status,
  stdout,
  stderr: stderr === "" || stderr.endsWith("\n") ? stderr : `${stderr}\n`,
});
/** Lines of text with a final newline; nothing for no lines. */
export const lines = (list: readonly string[]): string => (list.length === 0 ? "" : `${list.join("\n")}\n`);

export const never = (): boolean => false;
export const always = (): boolean => true;

/** The argv is one that this twin does not know how to answer: recorded, so that a test sees it. */
export class Unmodelled extends Error {}
export const unmodelled = (argv: readonly string[]): never => {
  throw new Unmodelled(argv.join(" "));
};

/**
 * Splits an argv the getopt way. `flags` take no value, `valued` take one (`-n 3`, `-n3`, `--lines 3`, `--lines=3`).
 * Anything else that starts with a dash is unmodelled. Each option name lists its spellings, the first is the key.
 */
export function options(
  argv: readonly string[],
  spec: { flags?: readonly string[]; valued?: readonly string[] },
): { has(name: string): boolean; get(name: string): string | undefined; all(name: string): string[]; rest: string[] } {
  const flagOf = new Map(
    (spec.flags ?? []).flatMap((s) => s.split("|").map((n) => [n, s.split("|")[0] ?? n] as const)),
  );
  const valuedOf = new Map(
    (spec.valued ?? []).flatMap((s) => s.split("|").map((n) => [n, s.split("|")[0] ?? n] as const)),
  );
  const seen = new Map<string, string[]>();
  const rest: string[] = [];
  const put = (key: string, value: string) => seen.set(key, [...(seen.get(key) ?? []), value]);
  for (let i = 1; i < argv.length; i++) {
    const word = argv[i] ?? "";
    if (word === "--") {
      rest.push(...argv.slice(i + 1));
      break;
    }
    if (!word.startsWith("-") || word === "-") {
      rest.push(word);
      continue;
    }
    const eq = word.indexOf("=");
    const name = word.startsWith("--") && eq > 0 ? word.slice(0, eq) : word;
    const valued = valuedOf.get(name);
    if (valued !== undefined) {
      if (name !== word) put(valued, word.slice(eq + 1));
      else put(valued, argv[++i] ?? "");
      continue;
    }
    const flag = flagOf.get(word);
    if (flag !== undefined) {
      put(flag, "");
      continue;
    }
    if (!word.startsWith("--")) {
      const head = valuedOf.get(word.slice(0, 2));
      if (head !== undefined) {
        put(head, word.slice(2));
        continue;
      }
      let good = true;
      for (let c = 1; c < word.length; c++) {
        const short = `-${word[c]}`;
        const value = valuedOf.get(short);
        if (value !== undefined) {
          put(value, word.slice(c + 1) || (argv[++i] ?? ""));
          break;
        }
        const key = flagOf.get(short);
        if (key === undefined) {
          good = false;
          break;
        }
        put(key, "");
      }
      if (good) continue;
    }
    unmodelled(argv);
  }
  return {
    has: (name) => seen.has(name),
    get: (name) => seen.get(name)?.at(-1),
    all: (name) => seen.get(name) ?? [],
    rest,
  };
}
