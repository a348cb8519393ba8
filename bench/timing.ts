import { spawn } from "node:child_process";

export const median = (numbers: readonly number[]): number => {
  const sorted = [...numbers].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
};

export const round = (n: number): number => Math.round(n * 100) / 100;

export interface Timed {
  readonly seconds: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CommandOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Exit statuses that are no failure; default 0. */
  readonly good?: readonly number[];
  /** Told of the process. */
  readonly onStart?: (pid: number) => void;
}

/** Wall time of a command from its start to its end. Throws with what it said when it fails. */
export async function timed(argv: readonly string[], options: CommandOptions = {}): Promise<Timed> {
  const [program = "", ...args] = argv;
  const started = performance.now();
  const child = spawn(program, args, {
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    env: { ...process.env, ...options.env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  if (child.pid !== undefined) options.onStart?.(child.pid);
  const texts = { stdout: "", stderr: "" };
  for (const stream of ["stdout", "stderr"] as const)
    child[stream].setEncoding("utf8").on("data", (text: string) => {
      texts[stream] += text;
    });
  const status = await new Promise<number | null>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", resolve);
  });
  const seconds = (performance.now() - started) / 1000;
  if (status !== null && (options.good ?? [0]).includes(status)) return { seconds, ...texts };
  throw new Error(`${argv.join(" ")}: exit ${status}\n${texts.stdout.slice(-2000)}\n${texts.stderr.slice(-2000)}`);
}

/** Each of the sides in turn, `runs` times, so that whatever else the machine does falls on all; medians in seconds. */
export async function inTurns<K extends string>(
  runs: number,
  sides: Readonly<Record<K, () => Promise<number>>>,
): Promise<Record<K, number>> {
  const names = Object.keys(sides) as K[];
  const seconds = Object.fromEntries(names.map((name) => [name, [] as number[]])) as Record<K, number[]>;
  for (let run = 0; run < runs; run++) for (const name of names) seconds[name].push(await sides[name]());
  return Object.fromEntries(names.map((name) => [name, round(median(seconds[name]))])) as Record<K, number>;
}
