import { spawn } from "node:child_process";
import { TeeUpError } from "../providers/kit/errors.ts";

export interface PulumiRun {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
  /** It was ended because it took longer than it may. */
  readonly timedOut: boolean;
}

export interface PulumiOptions {
  /** Folder of the project; default: the current one. */
  readonly cwd?: string | undefined;
  /** Added to this process's environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** Default: as long as it takes. */
  readonly timeoutSeconds?: number | undefined;
  /** Aborted, it is interrupted, and the next one does not begin. */
  readonly signal?: AbortSignal | undefined;
}

/** Runs the Pulumi in PATH without a terminal. Throws `pulumi.missing` when there is none; `scan.stopped` when aborted. */
export function runPulumi(argv: readonly string[], options: PulumiOptions = {}): Promise<PulumiRun> {
  const { cwd, env, timeoutSeconds, signal } = options;
  if (signal?.aborted === true) return Promise.reject(stopped());
  const child = spawn("pulumi", [...argv, "--non-interactive", "--color", "never"], {
    ...(cwd === undefined ? {} : { cwd }),
    env: { ...process.env, PULUMI_SKIP_UPDATE_CHECK: "true", ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const out: Buffer[] = [];
  const err: Buffer[] = [];
  child.stdout.on("data", (chunk: Buffer) => out.push(chunk));
  child.stderr.on("data", (chunk: Buffer) => err.push(chunk));
  let timedOut = false;
  // Interrupted, the engine ends its plugins; one that does not even do that is killed.
  const timers =
    timeoutSeconds === undefined
      ? []
      : [
          setTimeout(() => {
            timedOut = true;
            child.kill("SIGINT");
          }, timeoutSeconds * 1000),
          setTimeout(() => child.kill("SIGKILL"), (timeoutSeconds + 10) * 1000),
        ];
  const interrupt = () => child.kill("SIGINT");
  signal?.addEventListener("abort", interrupt);
  return new Promise((resolve, reject) => {
    const done = () => {
      signal?.removeEventListener("abort", interrupt);
      for (const timer of timers) clearTimeout(timer);
    };
    child.on("error", (error: NodeJS.ErrnoException) => {
      done();
      reject(
        new TeeUpError({
          code: "pulumi.missing",
          subject: "pulumi",
          saw: error.code === "ENOENT" ? "no pulumi in PATH" : error.message,
          next: "npm run setup finds or makes the Pulumi toolchain; npm run teeup -- … has it in PATH",
        }),
      );
    });
    child.on("close", (code) => {
      done();
      if (signal?.aborted === true) return reject(stopped());
      const text = (chunks: readonly Buffer[]) => Buffer.concat(chunks).toString("utf8");
      resolve({ status: code ?? 1, stdout: text(out), stderr: text(err), timedOut });
    });
  });
}

const stopped = (): TeeUpError =>
  new TeeUpError({
    code: "scan.stopped",
    subject: "pulumi",
    saw: "this run was told to end before it was done",
    next: "the same command again",
  });
