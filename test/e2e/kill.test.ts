import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, describe, expect, test } from "@jest/globals";
import type { JournalEntry } from "../../sim/journal.ts";
import { type Bench, bench, look, PLATFORMS, type Platform, up } from "./drive.ts";

const CHILD = fileURLToPath(new URL("up-child.ts", import.meta.url));
/** What a new run may meet right after a kill: the host on its way up, or the dead run's connection not yet gone. */
const SOON_OVER = /^(lock\.held|ssh\.|node\.)/;
const FEW = 50;

const isChange = ({ mutating, verb }: Pick<JournalEntry, "mutating" | "verb">): boolean => mutating && verb !== "job";
const changeOf = (entry: Omit<JournalEntry, "n">): string => [entry.machine, entry.verb, ...entry.argv].join(" ");

/** Hundreds of runs begin with the same code. */
const compiled = mkdtempSync(join(tmpdir(), "teeup-compiled-"));
afterAll(() => rmSync(compiled, { recursive: true, force: true }));

let b: Bench | undefined;
afterEach(async () => {
  await b?.close();
  b = undefined;
});

/** Runs `up` in a process of its own, which dies as soon as the node has carried out a change that it is to die at. */
async function upAndDie(
  at: Bench,
  diesAt: (change: string) => boolean,
): Promise<{ killedAt: string | undefined; code: number | null; error: string }> {
  const order = join(at.folder, "order.json");
  writeFileSync(order, JSON.stringify({ config: at.config, env: at.env }));
  const child = spawn(process.execPath, [CHILD, order], {
    stdio: ["ignore", "ignore", "pipe"],
    env: { ...process.env, NODE_COMPILE_CACHE: compiled },
  });
  let error = "";
  child.stderr.on("data", (chunk: Buffer) => {
    error += chunk.toString();
  });
  const { journal } = at.twin;
  const add = journal.add.bind(journal);
  let killedAt: string | undefined;
  journal.add = (entry) => {
    add(entry);
    const change = changeOf(entry);
    if (killedAt !== undefined || !isChange(entry) || !diesAt(change)) return;
    // Before the answer leaves the twin: the run never learns that its change was made.
    if (child.kill("SIGKILL")) killedAt = change;
  };
  const [code] = (await once(child, "exit")) as [number | null];
  journal.add = add;
  return { killedAt, code, error };
}

/** Runs that die at every change which `diesAt` names, each at one, until a run comes to its end; then all is well. */
async function killedUntilItConverges(on: Platform, diesAt: (change: string) => boolean): Promise<Set<string>> {
  b = await bench({}, on);
  const { journal } = b.twin;
  const died = new Set<string>();
  for (let others = 0; ; ) {
    const { killedAt, code, error } = await upAndDie(b, (change) => !died.has(change) && diesAt(change));
    if (killedAt !== undefined) {
      died.add(killedAt);
      continue;
    }
    if (code === 0) break;
    expect(error).toMatch(SOON_OVER);
    expect(others++).toBeLessThan(FEW);
  }
  const started = journal
    .mutations()
    .filter((e) => e.argv[0] === "systemd-run")
    .map((e) => `${e.machine} ${e.argv[1]}`)
    .sort();
  expect(started).toEqual([...new Set(started)]);
  const { gpus = 1, switches = 0 } = on.twin;
  expect(journal.counts()).toMatchObject({ reboots: on.restarts, gpuResets: gpus + switches });
  expect((await look(b)).byFacet).toEqual({});
  await b.close();
  b = undefined;
  return died;
}

describe("killed after every single change, the runs that follow converge and do nothing twice that must not be", () => {
  /** Changes that some run died at, over all platforms: what one has in common with those before it is killed once. */
  const diedAt = new Set<string>();
  const all = (died: Set<string>) => {
    for (const change of died) diedAt.add(change);
  };

  test.each(PLATFORMS.map((p) => [p.name, p] as const))(
    "%s",
    async (_name, on) => {
      b = await bench({}, on);
      expect((await up(b)).findings).toEqual([]);
      // What an up that nobody disturbs changes, and no run has died at yet.
      const changes = new Set(b.twin.journal.entries.filter(isChange).map(changeOf));
      expect(changes.size).toBeGreaterThan(40);
      await b.close();
      const missed = () => [...changes].filter((change) => !diedAt.has(change));
      expect(missed().length).toBeGreaterThan(10);

      all(await killedUntilItConverges(on, (change) => !diedAt.has(change)));
      // A run that follows a kill may find a job's work done and skip what comes after it: those on a fresh node.
      for (let left = missed(); left.length > 0; left = missed()) {
        const died = await killedUntilItConverges(on, (change) => left.includes(change));
        expect([left, died.size]).not.toEqual([left, 0]);
        all(died);
      }
    },
    600_000,
  );
});

test("a second run meanwhile is refused by the lock, and changes nothing", async () => {
  b = await bench();
  const at = b;
  const { journal } = b.twin;
  const add = journal.add.bind(journal);
  let second: Promise<string> | undefined;
  journal.add = (entry) => {
    add(entry);
    // The first run has made its first change, so it holds the lock.
    if (entry.mutating && entry.machine === "host" && second === undefined) {
      second = up(at).then(
        () => "not refused",
        (e: Error) => e.message,
      );
    }
  };
  const first = await up(b);
  journal.add = add;
  expect(first.findings).toEqual([]);
  await expect(second).resolves.toMatch(/lock\.held/);
});
