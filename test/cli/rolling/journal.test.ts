import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "@jest/globals";
import { openJournal } from "../../../cli/rolling/journal.ts";

let folder: string;
let path: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "teeup-journal-"));
  path = join(folder, "walk.jsonl");
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

test("what was taken and not ended is interrupted, whatever walk took it; a canary is one of its own walk", async () => {
  const first = await openJournal(path, "one");
  expect(first.before).toEqual({ interrupted: new Map(), canaryPassed: false });
  await first.add({ what: "take", nodes: ["a/1"] });
  await first.add({ what: "done", node: "a/1" });
  await first.add({ what: "take", nodes: ["a/2", "a/3"] });
  await first.add({ what: "failed", node: "a/3" });
  await first.close();

  const again = await openJournal(path, "one");
  expect([[...again.before.interrupted.keys()], again.before.canaryPassed]).toEqual([["a/2"], true]);
  await again.close();
  const other = await openJournal(path, "two");
  expect([[...other.before.interrupted.keys()], other.before.canaryPassed]).toEqual([["a/2"], false]);
  await other.close();
  // Back at the first one: what was done between is not known to it.
  const back = await openJournal(path, "one");
  expect(back.before.canaryPassed).toBe(false);
  await back.close();
});

test("wherever it was cut off, what stands before holds, and what comes after is read", async () => {
  const first = await openJournal(path, "one");
  await first.add({ what: "take", nodes: ["a/ü"] });
  await first.close();
  const whole = readFileSync(path);
  const taken = whole.indexOf("\n", whole.indexOf('"take"')) + 1;
  for (let end = 0; end <= whole.length; end++) {
    writeFileSync(path, whole.subarray(0, end));
    const journal = await openJournal(path, "one");
    expect([end, journal.before.interrupted.size]).toEqual([end, end >= taken ? 1 : 0]);
    await journal.add({ what: "take", nodes: ["b/1"] });
    await journal.close();
    const next = await openJournal(path, "one");
    expect([end, next.before.interrupted.has("b/1")]).toEqual([end, true]);
    await next.close();
  }
});

test("while another process is at it nobody else begins; once that is dead, or said its end, it goes on", async () => {
  const child = spawn("cat", { stdio: ["pipe", "ignore", "ignore"] });
  const begin = {
    what: "begin",
    version: 1,
    walk: "one",
    host: hostname(),
    pid: child.pid,
    at: new Date().toISOString(),
  };
  const lines = (...all: object[]) => writeFileSync(path, all.map((one) => `${JSON.stringify(one)}\n`).join(""));
  try {
    lines(begin);
    await expect(openJournal(path, "one")).rejects.toThrow(/process \d+ on this machine.*rolling\.under-way/s);
    lines({ ...begin, host: "elsewhere" });
    await (await openJournal(path, "one")).close();
    lines(begin, { what: "end", at: begin.at });
    await (await openJournal(path, "one")).close();
    lines(begin);
  } finally {
    child.stdin.end();
    await once(child, "exit");
  }
  await (await openJournal(path, "one")).close();
});

test.each([
  ["another file", "hello\n"],
  [
    "a line of another version",
    `${JSON.stringify({ what: "begin", version: 2, walk: "x", host: "h", pid: 1, at: "2026-11-21T00:00:00.000Z" })}\n`,
  ],
])("%s is refused, and not written to", async (_name, text) => {
  writeFileSync(path, text);
  await expect(openJournal(path, "one")).rejects.toThrow(/line 1 .*rolling\.journal/s);
  expect(readFileSync(path, "utf8")).toBe(text);
});
