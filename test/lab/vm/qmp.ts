import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { createInterface } from "node:readline";
import { setTimeout as pause } from "node:timers/promises";
import { z } from "zod";

const Message = z.union([
  z.object({ return: z.unknown() }),
  z.object({ error: z.object({ class: z.string(), desc: z.string() }) }),
  z.object({ event: z.string() }),
  z.object({ QMP: z.unknown() }),
]);

/** QEMU's monitor. One command at a time; a refused command throws with QEMU's own words. */
export class Qmp {
  readonly #socket: Socket;
  readonly #waiting: { resolve: (value: unknown) => void; reject: (error: Error) => void }[] = [];
  #last: Promise<unknown> = Promise.resolve();

  private constructor(socket: Socket) {
    this.#socket = socket;
    const lines = createInterface({ input: socket });
    // QEMU that quits cuts the connection; whoever waits hears of it by "close".
    lines.on("error", () => undefined);
    lines.on("line", (line) => {
      const message = Message.parse(JSON.parse(line));
      if ("return" in message) this.#waiting.shift()?.resolve(message.return);
      else if ("error" in message) this.#waiting.shift()?.reject(new Error(`QEMU: ${message.error.desc}`));
    });
    socket.on("error", () => undefined);
    socket.on("close", () => {
      for (const { reject } of this.#waiting.splice(0)) reject(new Error("QEMU's monitor has gone"));
    });
  }

  /** Connects as soon as QEMU listens; `alive` says whether it still may. */
  static async open(path: string, alive: () => boolean): Promise<Qmp> {
    for (;;) {
      const socket = connect(path);
      try {
        await once(socket, "connect");
        const qmp = new Qmp(socket);
        await qmp.call("qmp_capabilities");
        return qmp;
      } catch (error) {
        socket.destroy();
        if (!alive()) throw error;
        await pause(20);
      }
    }
  }

  call(execute: string, args: Readonly<Record<string, unknown>> = {}): Promise<unknown> {
    const ask = () =>
      new Promise<unknown>((resolve, reject) => {
        if (this.#socket.destroyed) return reject(new Error("QEMU's monitor has gone"));
        this.#waiting.push({ resolve, reject });
        this.#socket.write(`${JSON.stringify({ execute, arguments: args })}\n`);
      });
    const asked = this.#last.then(ask, ask);
    this.#last = asked.catch(() => undefined);
    return asked;
  }

  /** A command of the human monitor, e.g. `savevm`; its words are an error when it says any and `quiet` is set. */
  async human(line: string, quiet = true): Promise<string> {
    const said = String(await this.call("human-monitor-command", { "command-line": line })).trim();
    if (quiet && said !== "") throw new Error(`QEMU refused \`${line}\`: ${said}`);
    return said;
  }

  close(): void {
    this.#socket.destroy();
  }
}
