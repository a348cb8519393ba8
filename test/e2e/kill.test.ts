import { spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, expect, test } from "@jest/globals";
import { type Bench, bench, look, up } from "./drive.ts";

const CHILD = fileURLToPath(new URL("up-child.ts", import.meta.url));
/** What a new run may meet right after a kill: the host on its way up, or the dead run's connection not yet gone. */
const SOON_OVER = /^(lock\.held|ssh\.|node\.)/;

let b: Bench | undefined;
afterEach(async () => {
  await b?.close();
  b = undefined;
});

/** Runs `up` in a process of its own, which dies as soon as the node has carried out a change that no run died at yet. */
async function upAndDie(
  at: Bench,
  diedAt: Set<string>,
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
    const change = [entry.machine, entry.verb, ...entry.argv].join(" ");
    if (!entry.mutating || entry.verb === "job" || diedAt.has(change) || killed) return;
    diedAt.add(change);
    // Before the answer leaves the twin: the run never learns that its change was made.
    killed = child.kill("SIGKILL");
  };
  const [code] = (await once(child, "exit")) as [number | null];
  journal.add = add;
  return { killed, code, error };
}

test("killed after every single change, the runs that follow converge and do nothing twice that must not be", async () => {
  b = await bench();
  const { journal } = b.twin;
  const diedAt = new Set<string>();
  for (let others = 0; ; ) {
    const { killed, code, error } = await upAndDie(b, diedAt);
    if (killed) continue;
    if (code === 0) break;
    expect(error).toMatch(SOON_OVER);
    expect(others++).toBeLessThan(50);
  }
  expect(diedAt.size).toBeGreaterThan(40);
  const counts = journal.counts();
  const started = journal
    .mutations()
    .filter((e) => e.argv[0] === "systemd-run")
    .map((e) => `${e.machine} ${e.argv[1]}`)
    .sort();
  expect(started).toEqual([...new Set(started)]);
  expect(counts).toMatchObject({ reboots: 1, gpuResets: 1 });
  expect((await look(b)).byFacet).toEqual({});
}, 400_000);

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
