import { spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, expect, test } from "@jest/globals";
import type { JournalEntry } from "../../sim/journal.ts";
import { type Bench, bench, look, PLATFORMS, up } from "./drive.ts";

const CHILD = fileURLToPath(new URL("up-child.ts", import.meta.url));
/** What a new run may meet right after a kill: the host on its way up, or the dead run's connection not yet gone. */
const SOON_OVER = /^(lock\.held|ssh\.|node\.)/;

const changeOf = (entry: Omit<JournalEntry, "n">): string => [entry.machine, entry.verb, ...entry.argv].join(" ");

let b: Bench | undefined;
afterEach(async () => {
  await b?.close();
  b = undefined;
});

/** Runs `up` in a process of its own, which dies as soon as the node has carried out a change that no run died at yet. */
async function upAndDie(
  at: Bench,
  dead: Set<string>,
): Promise<{ killed: boolean; code: number | null; error: string }> {
  const order = join(at.folder, "order.json");
  writeFileSync(order, JSON.stringify({ config: at.config, env: at.env }));
  const child = spawn(process.execPath, [CHILD, order], { stdio: ["ignore", "ignore", "pipe"] });
  let error = "";
  child.stderr.on("data", (chunk: Buffer) => {
    error += chunk.toString();
  });
  const { journal } = at.twin;
  const add = journal.add.bind(journal);
  let killed = false;
  journal.add = (entry) => {
    add(entry);
    const change = changeOf(entry);
    if (!entry.mutating || entry.verb === "job" || dead.has(change) || killed) return;
    dead.add(change);
    // Before the answer leaves the twin: the run never learns that its change was made.
    killed = child.kill("SIGKILL");
  };
  const [code] = (await once(child, "exit")) as [number | null];
  journal.add = add;
  return { killed, code, error };
}

/**
 * Changes that some run died at, over all platforms: what a platform has in common with those before it is not killed
 * again. Each platform's test measures that none of its changes was left out.
 */
const diedAt = new Set<string>();

test.each(PLATFORMS.map((p) => [p.name, p] as const))(
  "%s, killed after every single change: the runs that follow converge and do nothing twice that must not be",
  async (_name, on) => {
    b = await bench({}, on);
    const { journal } = b.twin;
    const before = diedAt.size;
    for (let others = 0; ; ) {
      const { killed, code, error } = await upAndDie(b, diedAt);
      if (killed) continue;
      if (code === 0) break;
      expect(error).toMatch(SOON_OVER);
      expect(others++).toBeLessThan(50);
    }
    expect(diedAt.size - before).toBeGreaterThan(10);
    const started = journal
      .mutations()
      .filter((e) => e.argv[0] === "systemd-run")
      .map((e) => `${e.machine} ${e.argv[1]}`)
      .sort();
    expect(started).toEqual([...new Set(started)]);
    const { gpus = 1, switches = 0 } = on.twin;
    expect(journal.counts()).toMatchObject({ reboots: on.restarts, gpuResets: gpus + switches });
    expect((await look(b)).byFacet).toEqual({});

    // The measure: an up that nobody disturbs makes no change but those.
    const calm = await bench({}, on);
    try {
      expect((await up(calm)).findings).toEqual([]);
      const changes = calm.twin.journal
        .mutations()
        .filter((e) => e.verb !== "job")
        .map(changeOf);
      expect(changes.length).toBeGreaterThan(40);
      expect(changes.filter((change) => !diedAt.has(change))).toEqual([]);
    } finally {
      await calm.close();
    }
  },
  600_000,
);

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
