import { afterEach, beforeEach, expect, test } from "@jest/globals";
import type { Twin } from "../../sim/twin.ts";
import { configOf, gone, isAlive, onChange, type Running, Site, Stack } from "./harness.ts";

let site: Site;
let twin: Twin;
let node: Record<string, unknown>;
beforeEach(async () => {
  site = new Site();
  twin = await site.twin({ name: "gpu-01" });
  node = site.node("gpu-01", twin);
});
afterEach(() => site.close());

const stackOf = (name = "dev") =>
  Stack.create(site, {
    name,
    config: configOf([node]),
    env: { TEEUP_BMC_PASSWORD: twin.bmc?.password ?? "" },
  });

/** Starts an `up`; `then` is called once, at its n-th change of the node, before that change's answer leaves the node. */
function upUntil(stack: Stack, change: number, then: (up: Running) => void): Running {
  const up = stack.start("up", "--yes", "--skip-preview");
  let changes = 0;
  const stop = onChange(twin, () => {
    if (++changes !== change) return;
    stop();
    then(up);
  });
  return up;
}

/** The next `up` ends well, with one restart in all and nothing left to do. */
async function converges(stack: Stack): Promise<void> {
  const again = await stack.up();
  expect([again.status, again.status === 0 ? "" : again.said]).toEqual([0, ""]);
  expect(twin.journal.counts()).toMatchObject({ reboots: 1, gpuResets: 1 });
  const started = twin.journal
    .mutations()
    .filter(({ argv }) => argv[0] === "systemd-run")
    .map(({ machine, argv }) => `${machine} ${argv[1]}`);
  expect(started).toEqual([...new Set(started)]);
  twin.journal.clear();
  expect((await stack.preview("--expect-no-changes")).status).toBe(0);
  expect(twin.journal.counts().mutations).toBe(0);
}

test("SIGKILL of the provider in the middle of up: one error, and the next up goes on and converges", async () => {
  const stack = await stackOf();
  let killed: number | undefined;
  const up = upUntil(stack, 12, (running) => {
    killed = running.provider();
    if (killed !== undefined) process.kill(killed, "SIGKILL");
  });
  const { status } = await up.ended;
  expect(killed).toBeDefined();
  expect(status).not.toBe(0);
  expect(twin.journal.mutations()).toHaveLength(12);
  await converges(stack);
}, 90_000);

test("SIGKILL of the CLI: the provider stops by itself before the next change; cancel and up converge", async () => {
  const stack = await stackOf();
  let provider: number | undefined;
  const up = upUntil(stack, 12, (running) => {
    provider = running.provider();
    if (provider === undefined) return;
    // Stopped before it hears that its change was made, and let go only when the CLI is gone for good.
    process.kill(provider, "SIGSTOP");
    running.child.kill("SIGKILL");
  });
  await up.ended;
  if (provider === undefined) throw new Error("no provider was seen");
  expect(isAlive(provider)).toBe(true);
  process.kill(provider, "SIGCONT");
  await gone(provider);
  // The change that was under way is done; no other was begun.
  expect(twin.journal.mutations()).toHaveLength(12);

  const blocked = await stack.up();
  expect(blocked.status).not.toBe(0);
  expect(blocked.said).toMatch(/pulumi cancel/);
  expect(twin.journal.mutations()).toHaveLength(12);
  expect((await stack.run("cancel", "--yes")).status).toBe(0);
  await converges(stack);
}, 90_000);

test("a second up meanwhile, from another stack and state, is refused by the node's lock and names the holder", async () => {
  const [first, second] = [await stackOf("first"), await stackOf("second")];
  let other: Promise<{ status: number | null; said: string }> | undefined;
  const up = upUntil(first, 12, (running) => {
    // Stopped where it stands, with the lock in its hands.
    const pid = running.provider();
    if (pid === undefined) return;
    process.kill(pid, "SIGSTOP");
    other = second.up().finally(() => process.kill(pid, "SIGCONT"));
  });
  const ended = await up.ended;
  expect([ended.status, ended.status === 0 ? "" : ended.said]).toEqual([0, ""]);
  const refused = await other;
  expect(refused?.status).not.toBe(0);
  const holder = new RegExp(`gpu-01: \\S+@\\S+ \\(pid ${up.provider()}\\) holds the node since \\S+: pulumi up`);
  expect(refused?.said).toMatch(holder);
  expect(refused?.said).toMatch(/nothing was changed \[lock\.held\]\n +next: wait until that run has ended/);
  expect(twin.journal.counts()).toMatchObject({ reboots: 1, gpuResets: 1 });
}, 90_000);
