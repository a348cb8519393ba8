import { createHash } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";
import { Client, type ConnectConfig } from "ssh2";

/** How a machine of the lab is reached; the key is always pinned. */
export interface Reach {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly privateKey: string;
  /** `SHA256:…` as ssh-keygen prints it. */
  readonly hostKey: string;
}

export interface Said {
  /** Exit status; null after a signal. */
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * The test's own hand on a machine, beside the production code's connections: one kept connection, since a login costs
 * an emulated CPU half a second. It reconnects when the machine has cut it.
 */
export class Shell {
  readonly #reach: Reach;
  #client: Promise<Client> | undefined;

  constructor(reach: Reach) {
    this.#reach = reach;
  }

  #connect(): Promise<Client> {
    const { host, port, user, privateKey, hostKey } = this.#reach;
    const client = new Client();
    const forget = () => {
      this.#client = undefined;
    };
    const config: ConnectConfig = {
      ...{ host, port, username: user, privateKey },
      readyTimeout: 30_000,
      keepaliveInterval: 10_000,
      hostVerifier: (key: Buffer) =>
        `SHA256:${createHash("sha256").update(key).digest("base64").replace(/=+$/, "")}` === hostKey,
    };
    return new Promise((resolve, reject) => {
      client
        .on("ready", () => resolve(client))
        .on("error", (error) => {
          forget();
          reject(error);
        })
        .on("close", () => {
          forget();
          reject(new Error("the machine closed the connection"));
        })
        .connect(config);
    });
  }

  /** Runs a line of shell. A non-zero status is an answer, a lost connection an error. */
  async run(line: string, input = ""): Promise<Said> {
    this.#client ??= this.#connect();
    const client = await this.#client;
    return await new Promise((resolve, reject) => {
      client.exec(line, (error, channel) => {
        if (error) return reject(error);
        let [stdout, stderr] = ["", ""];
        let status: number | null | undefined;
        channel.setEncoding("utf8").on("data", (text: string) => {
          stdout += text;
        });
        channel.stderr.setEncoding("utf8").on("data", (text: string) => {
          stderr += text;
        });
        channel.on("exit", (code: number | null) => {
          status = code;
        });
        channel.on("close", () => {
          if (status === undefined) reject(new Error(`the connection was lost during \`${line}\``));
          else resolve({ status, stdout, stderr });
        });
        channel.end(input);
      });
    });
  }

  /** Standard output of a line that must succeed, without the last line end. */
  async sh(line: string, input = ""): Promise<string> {
    const said = await this.run(line, input);
    if (said.status !== 0) throw new Error(`\`${line}\` ended with ${said.status}: ${said.stderr}${said.stdout}`);
    return said.stdout.replace(/\n$/, "");
  }

  /** Waits until `check` holds for the output of `line`, through refused and lost connections. */
  async until(line: string, check: (said: Said) => boolean, timeoutMs: number): Promise<Said> {
    const end = Date.now() + timeoutMs;
    let last = "nothing was heard";
    while (Date.now() < end) {
      try {
        const said = await this.run(line);
        if (check(said)) return said;
        last = JSON.stringify(said).slice(0, 500);
      } catch (error) {
        last = String(error);
      }
      await pause(250);
    }
    throw new Error(`after ${timeoutMs / 1000} s \`${line}\` still was not as waited for; last: ${last}`);
  }

  close(): void {
    this.#client?.then((client) => client.destroy()).catch(() => undefined);
    this.#client = undefined;
  }
}
