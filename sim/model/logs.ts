import type { Machine } from "./machine.ts";

export interface LogLine {
  readonly time: number;
  readonly boot: number;
  readonly kernel: boolean;
  readonly unit?: string;
  readonly ident: string;
  readonly pid?: number;
  readonly text: string;
}

/** The journal of one machine: kernel lines and what units print. */
export class Logs {
  readonly lines: LogLine[] = [];
  readonly #machine: Machine;

  constructor(machine: Machine) {
    this.#machine = machine;
  }

  kernel(text: string): void {
    this.#add({ kernel: true, ident: "kernel", text });
  }

  unit(unit: string, ident: string, text: string): void {
    for (const line of text.replace(/\n$/, "").split("\n")) this.#add({ kernel: false, unit, ident, text: line });
  }

  #add(line: Pick<LogLine, "kernel" | "unit" | "ident" | "text">): void {
    this.lines.push({ time: this.#machine.clock.now, boot: this.#machine.boots, ...line });
  }

  /** Kernel lines of the running boot. */
  get ring(): readonly LogLine[] {
    return this.lines.filter((line) => line.kernel && line.boot === this.#machine.boots);
  }
}
