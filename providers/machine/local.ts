import { spawn } from "node:child_process";
import { TeeUpError } from "../kit/errors.ts";
import type { Fleet } from "../kit/machine.ts";
import { SshMachine } from "./machine.ts";
import { type FleetOptions, fleetOptions } from "./options.ts";
import { type Ended, type Program, type Shell, STDERR_CHARS } from "./shell.ts";

/**
 * This very machine, without SSH. Programs run as whoever runs TeeUp, so that nothing has to be permitted for a look;
 * what only root may read is then answered `denied`.
 */
export class LocalShell implements Shell {
  readonly node: string;
  readonly connected = true;
  readonly #env: NodeJS.ProcessEnv;

  constructor(node: string, env: NodeJS.ProcessEnv) {
    this.node = node;
    // As over SSH: no password that TeeUp was given in its environment is any program's business.
    this.#env = { PATH: env["PATH"], HOME: env["HOME"] };
  }

  start(argv: readonly string[], onStdout: (chunk: Buffer) => void): Promise<Program> {
    const [file = "", ...args] = argv;
    // A group of its own, so that closing ends what the shell started, too.
    const child = spawn(file, args, { stdio: ["pipe", "pipe", "pipe"], detached: true, env: this.#env });
    let stderr = "";
    child.stdin.on("error", () => undefined);
    child.stdout.on("data", onStdout);
    child.stderr.on("data", (chunk: Buffer) => {
      if (stderr.length < STDERR_CHARS) stderr += chunk.toString("utf8");
    });
    const ended = new Promise<Ended>((resolve) => {
      child.once("close", (code, signal) =>
        resolve({ status: code ?? undefined, signal: signal ?? undefined, lost: false }),
      );
    });
    const close = () => {
      try {
        if (child.pid !== undefined) process.kill(-child.pid, "SIGKILL");
      } catch {
        // It had ended by itself.
      }
    };
    return new Promise((resolve, reject) => {
      child.once("spawn", () => resolve({ stdin: child.stdin, ended, stderr: () => stderr, close }));
      child.once("error", (error) =>
        reject(
          new TeeUpError({
            code: "local.shell",
            node: this.node,
            saw: `${file} cannot be started here: ${error.message}`,
            next: "run it on the Linux machine itself, or name a host to reach over SSH",
          }),
        ),
      );
    });
  }

  reset(): void {}

  close(): void {}
}

/** This very machine as a fleet of one node, host and guest alike. For looking only: it is given no BMC. */
export function openLocal(name: string, env: NodeJS.ProcessEnv, options: Partial<FleetOptions> = {}): Fleet {
  const machine = new SshMachine({ id: name, link: new LocalShell(name, env), options: fleetOptions(env, options) });
  return { names: [name], node: () => ({ host: machine, guest: machine }), close: async () => undefined };
}
