import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "@jest/globals";
import type { Fleet } from "../../providers/kit/machine.ts";
import { openFleet } from "../../providers/machine/fleet.ts";
import { execCount, resetExecCount } from "../../providers/machine/ssh.ts";
import { cleanEnv, FAST, type Host, stackOf, startHost, stopHosts } from "./sshd.ts";

let host: Host;
let one: Fleet;
let two: Fleet;

beforeAll(async () => {
  host = await startHost();
});
afterAll(stopHosts);
beforeEach(() => {
  [one, two] = [openFleet(stackOf(host), cleanEnv(), FAST), openFleet(stackOf(host), cleanEnv(), FAST)];
});
afterEach(async () => {
  await one.close();
  await two.close();
});

const lock = (fleet: Fleet, purpose = "pulumi up") => fleet.node("gpu-01").host.lock(purpose);
/** The server needs a moment to see that a client is gone. */
async function lockSoon(fleet: Fleet) {
  for (;;) {
    const taken = await lock(fleet).catch((error: { code: string }) => {
      if (error.code !== "lock.held") throw error;
    });
    if (taken !== undefined) return taken;
  }
}

test("the lock is one exec, and says who holds it", async () => {
  resetExecCount();
  const held = await lock(one, "pulumi up of stack lab");
  expect(execCount()).toBe(1);
  // tee echoes before it writes the file.
  const file = () => readFileSync(join(host.dir, "run/teeup.owner"), "utf8");
  while (!file().endsWith("\n")) await new Promise(setImmediate);
  const owner = JSON.parse(file());
  expect(owner).toMatchObject({
    pid: process.pid,
    purpose: "pulumi up of stack lab",
    who: expect.stringMatching(/.@./),
  });
  await expect(lock(two)).rejects.toMatchObject({
    code: "lock.held",
    message: expect.stringMatching(
      new RegExp(
        `gpu-01: ${owner.who} \\(pid ${process.pid}\\) holds the node since ${owner.since}: pulumi up of stack lab; nothing was changed`,
      ),
    ),
    parts: expect.objectContaining({ next: expect.stringContaining("ssh gpu-01 sudo fuser -k /run/teeup.lock") }),
  });
  await held.release();
  expect(held.lost.aborted).toBe(false);
  await (await lock(two)).release();
});

test("a guest's lock is its host's", async () => {
  const held = await one.node("gpu-01").guest.lock("test");
  await expect(lock(two)).rejects.toMatchObject({ code: "lock.held" });
  await held.release();
});

test("of many that want it at once, one gets it", async () => {
  const fleets = Array.from({ length: 6 }, () => openFleet(stackOf(host), cleanEnv(), FAST));
  const outcomes = await Promise.allSettled(fleets.map((fleet) => lock(fleet)));
  expect(outcomes.filter((o) => o.status === "fulfilled")).toHaveLength(1);
  for (const o of outcomes) if (o.status === "rejected") expect(o.reason).toMatchObject({ code: "lock.held" });
  await Promise.all(fleets.map((fleet) => fleet.close()));
});

test("it dies with the connection, and its holder is told", async () => {
  const held = await lock(one);
  host.dropConnections();
  if (!held.lost.aborted) await once(held.lost, "abort");
  await (await lockSoon(two)).release();
});

test("it dies with the process that held it", async () => {
  await lock(one);
  await one.close();
  await (await lockSoon(two)).release();
});

test("while a job is waited for it survives a lost connection", async () => {
  const held = await lock(one);
  const go = join(host.dir, "go");
  const runs = join(host.dir, "runs");
  const machine = one.node("gpu-01").host;
  const lines = [
    { argv: ["sh", "-c", `touch '${runs}'; while [ ! -e '${go}' ]; do sleep 0.02; done`] as [string, ...string[]] },
  ];
  const said: string[] = [];
  const job = machine.act(
    { do: "job", name: "long", lines },
    { signal: held.lost, onProgress: (line) => said.push(line) },
  );
  while (said.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  await host.halt();
  while (!said.some((line) => line.includes("the connection does not")))
    await new Promise((resolve) => setTimeout(resolve, 5));
  await host.start();
  writeFileSync(go, "");
  await job;
  expect(held.lost.aborted).toBe(false);
  await expect(lock(two)).rejects.toMatchObject({ code: "lock.held" });
  await held.release();
});

test("it is lost when somebody else took it meanwhile", async () => {
  const held = await lock(one);
  const machine = one.node("gpu-01").host;
  const waiting = machine.act(
    { do: "wait", argv: ["test", "-e", join(host.dir, "stolen")], timeoutSeconds: 20, what: "x" },
    { signal: new AbortController().signal, onProgress: () => {} },
  );
  host.dropConnections();
  const stolen = await lockSoon(two);
  writeFileSync(join(host.dir, "stolen"), "");
  await expect(waiting).rejects.toMatchObject({ code: "lock.held" });
  expect(held.lost.aborted).toBe(true);
  await stolen.release();
});

test("a host without flock says so", async () => {
  writeFileSync(join(host.dir, "sbin/flock"), "#!/bin/sh\necho 'flock: broken' >&2\nexit 1\n", { mode: 0o755 });
  // sshd's own PATH decides here: the lock is no batch.
  const other = openFleet(stackOf(host), cleanEnv(), { ...FAST, lockFile: "/none/lock" });
  await expect(lock(other)).rejects.toMatchObject({ code: "lock.failed", message: expect.stringMatching(/flock/) });
  await other.close();
});
