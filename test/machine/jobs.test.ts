import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import type { Action } from "../../providers/kit/action.ts";
import { jobPlace } from "../../providers/kit/job.ts";
import type { Fleet } from "../../providers/kit/machine.ts";
import { openFleet } from "../../providers/machine/fleet.ts";
import { cleanEnv, FAST, type Host, stackOf, startHost, stopHosts } from "./sshd.ts";

let host: Host;
let fleet: Fleet;
type Job = Extract<Action, { do: "job" }>;
type Line = Job["lines"][number];

beforeAll(async () => {
  host = await startHost();
  fleet = openFleet(stackOf(host), cleanEnv(), FAST);
});
afterAll(async () => {
  await fleet.close();
  await stopHosts();
});

const at = (name: string) => join(host.dir, name);
const sh = (script: string): Line => ({ argv: ["sh", "-c", script] });
const job = (name: string, ...lines: Line[]): Job => ({ do: "job", name, lines, timeoutSeconds: 60 });
const run = async (
  action: Action,
  signal: AbortSignal = new AbortController().signal,
  onProgress: (line: string) => void = () => {},
) => fleet.node("gpu-01").host.act(action, { signal, onProgress });
const starts = (name: string) =>
  (existsSync(at("units/starts")) ? readFileSync(at("units/starts"), "utf8") : "")
    .split("\n")
    .filter((line) => line.includes(`--unit=teeup-${name}-`)).length;
const log = (action: Job) => readFileSync(at(`units/${jobPlace(action.name, action.lines).unit}.log`), "utf8");
/** A line that goes on once a file is there. */
const until = (file: string) => sh(`while [ ! -e '${at(file)}' ]; do sleep 0.02; done`);
const isRunning = (pid: string) => {
  try {
    return readFileSync(`/proc/${pid}/cmdline`).length > 0;
  } catch {
    return false;
  }
};
const there = async (file: string) => {
  while (!existsSync(at(file))) await new Promise((resolve) => setTimeout(resolve, 10));
};

test("a job runs to its end, its last line is the progress", async () => {
  const progress: string[] = [];
  const build = job(
    "build",
    sh("echo compiling"),
    { argv: ["pwd"], cwd: "/usr" },
    until("go"),
    sh(`touch '${at("built")}'`),
  );
  const running = run(build, undefined, (line) => {
    progress.push(line);
    writeFileSync(at("go"), "");
  });
  await running;
  expect(existsSync(at("built"))).toBe(true);
  expect(log(build)).toContain("+ pwd\n/usr\n");
  expect(progress.length).toBeGreaterThan(0);
  expect(starts("build")).toBe(1);
});

test("what a job prints cannot steer the terminal, as progress or in its error", async () => {
  const progress: string[] = [];
  const osc = "\\033]52;c;ZXZpbA==\\007\\r";
  const evil = job(
    "evil",
    sh(`printf 'evil ${osc} line\\n'`),
    until("evil-go"),
    sh(`printf 'last ${osc} line\\n'; exit 1`),
  );
  const error: unknown = await run(evil, undefined, (line) => {
    progress.push(line);
    writeFileSync(at("evil-go"), "");
  }).catch((e: unknown) => e);
  expect(String(error)).toContain("last ]52;c;ZXZpbA== line");
  expect(`${progress.join("\n")}${String(error)}`).not.toMatch(/[^\P{Cc}\n\t]/u);
});

test("a job that runs already is waited for, not started again", async () => {
  const long = job("long", sh(`touch '${at("long-runs")}'`), until("long-go"));
  const stop = new AbortController();
  const first = run(long, stop.signal);
  await there("long-runs");
  stop.abort();
  await expect(first).rejects.toMatchObject({ code: "run.stopped" });
  const progress: string[] = [];
  const second = run(long, undefined, (line) => {
    progress.push(line);
    writeFileSync(at("long-go"), "");
  });
  await second;
  expect(progress[0]).toBe("long runs already: waiting for it");
  expect(starts("long")).toBe(1);
});

test("a job that ended while nobody watched is taken as done once, and runs again when it is wanted after that", async () => {
  const once = job("once", sh(`touch '${at("once-runs")}'`), until("once-go"));
  const stop = new AbortController();
  const first = run(once, stop.signal);
  await there("once-runs");
  stop.abort();
  await expect(first).rejects.toMatchObject({ code: "run.stopped" });
  writeFileSync(at("once-go"), "");
  const { marker, unit } = jobPlace("once", once.lines);
  await there(marker.replace("/var/lib", "lib"));
  const pid = readFileSync(at(`units/${unit}.pid`), "utf8").trim();
  while (isRunning(pid)) await new Promise((resolve) => setTimeout(resolve, 10));
  const said: string[] = [];
  await run(once, undefined, (line) => said.push(line));
  expect(said).toEqual(["once: an earlier run has done it"]);
  expect(starts("once")).toBe(1);
  await run(once);
  expect(starts("once")).toBe(2);
});

test("a job outlives the connection, and the wait for it too", async () => {
  const cut = job("cut", sh(`touch '${at("cut-runs")}'`), until("cut-go"));
  const said: string[] = [];
  const running = run(cut, undefined, (line) => said.push(line));
  await there("cut-runs");
  await host.halt();
  while (!said.some((line) => line.includes("the connection does not")))
    await new Promise((resolve) => setTimeout(resolve, 10));
  await host.start();
  writeFileSync(at("cut-go"), "");
  await running;
  expect(starts("cut")).toBe(1);
});

test("a failed job shows its last 40 lines and the command that shows all, and is started anew the next time", async () => {
  const bad = job(
    "bad",
    sh("seq 1 100"),
    sh(`[ -e '${at("mended")}' ] || { echo 'error: no such patch' >&2; exit 2; }`),
  );
  const error = await run(bad).catch((e: Error) => e);
  expect(error).toMatchObject({
    code: "job.failed",
    message: expect.stringMatching(
      /gpu-01: job bad \(unit teeup-bad-[0-9a-f]{12}\) failed:[\s\S]*error: no such patch[\s\S]*next: ssh gpu-01 sudo journalctl -u teeup-bad-/,
    ),
  });
  expect((error as Error).message).not.toMatch(/^ +60$/m);
  expect((error as Error).message).toMatch(/^ +99$/m);
  writeFileSync(at(`units/${jobPlace(bad.name, bad.lines).unit}.failed`), "");
  writeFileSync(at("mended"), "");
  await run(bad);
  expect(starts("bad")).toBe(2);
});

test("a job that cannot be started says why", async () => {
  writeFileSync(at("units/refuse"), "");
  await expect(run(job("refused", sh("true")))).rejects.toMatchObject({
    code: "action.failed",
    message: expect.stringMatching(/refused/),
  });
  rmSync(at("units/refuse"));
});
