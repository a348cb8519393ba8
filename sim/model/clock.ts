/**
 * Time of one simulated node. It only moves when somebody looks: every exec is a tick, and work in progress (a job, a
 * booting guest) takes one step per tick, so it is seen running for a few polls and still costs no real time.
 */
export interface Work {
  readonly name: string;
  /** One step; returns true when the work is finished. */
  step(): boolean;
  /** Goes on for ever (a service that keeps failing to start): nobody waits for its end. */
  readonly endless?: boolean;
}

export class Clock {
  /** Seconds since 1970. */
  now: number;
  readonly #works = new Set<Work>();

  constructor(start = Date.UTC(2026, 9, 5, 8, 0, 0) / 1000) {
    this.now = start;
  }

  advance(seconds: number): void {
    this.now += seconds;
  }

  start(work: Work): void {
    this.#works.add(work);
  }

  cancel(work: Work): void {
    this.#works.delete(work);
  }

  cancelAll(): void {
    this.#works.clear();
  }

  get busy(): boolean {
    return [...this.#works].some((work) => work.endless !== true);
  }

  tick(): void {
    this.now += 0.2;
    for (const work of [...this.#works]) {
      if (this.#works.has(work) && work.step()) this.#works.delete(work);
    }
  }

  /** Finishes all work, for commands that wait. Throws when it does not end. */
  settle(): void {
    for (let n = 0; this.busy; n++) {
      if (n > 10_000) throw new Error(`work never ends: ${[...this.#works].map((w) => w.name).join(", ")}`);
      this.tick();
    }
  }
}

/** `Mon 2026-10-05 08:00:00 UTC`, as systemctl prints it. */
export function systemdTime(seconds: number): string {
  const d = new Date(seconds * 1000);
  return `${["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"][d.getUTCDay()]} ${d.toISOString().slice(0, 19).replace("T", " ")} UTC`;
}

/** `Oct 05 08:00:00`, as journalctl's short format prints it. */
export function syslogTime(seconds: number): string {
  const d = new Date(seconds * 1000);
  const month = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"][d.getUTCMonth()];
  return `${month} ${String(d.getUTCDate()).padStart(2, "0")} ${d.toISOString().slice(11, 19)}`;
}
