import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "@jest/globals";
import type { Asks } from "../../providers/kit/ask.ts";
import type { Fleet } from "../../providers/kit/machine.ts";
import { openFleet } from "../../providers/machine/fleet.ts";
import { execCount, resetExecCount } from "../../providers/machine/ssh.ts";
import { cleanEnv, FAST, freePort, type Host, stackOf, startHost, stopHosts } from "./sshd.ts";

let host: Host;
let guestHost: Host;
let fleet: Fleet;
const console_ = () => join(host.dir, "lib/teeup/vm/cvm0/console.log");

beforeAll(async () => {
  [host, guestHost] = await Promise.all([startHost(), startHost()]);
  writeFileSync(join(guestHost.dir, "etc/authorized_keys"), `${host.hostKeys.ed25519}\n`, { flag: "a" });
});
afterAll(stopHosts);
beforeEach(() => resetExecCount());

const open = (ssh: Record<string, unknown> = {}, more: Record<string, unknown> = {}) =>
  openFleet(stackOf(host, ssh, more), cleanEnv(), FAST);

const ASKS = {
  os: { kind: "file", path: "/etc/os-release" },
  boot: { kind: "file", path: "/proc/sys/kernel/random/boot_id" },
  kernel: { kind: "argv", argv: ["uname", "-r"] },
  none: { kind: "file", path: "/etc/no-such-file" },
  grep: { kind: "argv", argv: ["grep", "-q", "nothing like this", "/etc/passwd"] },
  tool: { kind: "argv", argv: ["nvidia-smi-of-nobody"] },
  gated: { kind: "argv", argv: ["echo", "x"], gates: [{ argv: ["false"], exit: 0, why: "it is shut" }] },
} as const satisfies Asks;

describe("a host on a real sshd", () => {
  beforeAll(() => {
    fleet = open();
  });
  afterAll(() => fleet.close());

  test("answers everything of one tick in one exec, each answer by its own name", async () => {
    const machine = fleet.node("gpu-01").host;
    const [answers, again] = await Promise.all([machine.observe(ASKS), machine.observe({ kernel: ASKS.kernel })]);
    expect(answers.os).toMatchObject({ kind: "ran", status: 0, stdout: expect.stringContaining("NAME=") });
    expect(answers.boot).toMatchObject({ stdout: "boot-1\n" });
    expect(answers.kernel).toMatchObject({ kind: "ran", status: 0, stdout: "6.1.0-old\n", stderr: "" });
    expect(answers.none).toEqual({ kind: "missing" });
    expect(answers.grep).toMatchObject({ kind: "ran", status: 1 });
    expect(answers.tool).toEqual({ kind: "missing" });
    expect(answers.gated).toEqual({ kind: "skipped", why: "it is shut" });
    expect(again.kernel).toEqual(answers.kernel);
    expect(execCount("gpu-01")).toBe(1);
  });

  test("is not asked the same again until it is told to forget", async () => {
    const machine = fleet.node("gpu-01").host;
    machine.forget();
    await machine.observe(ASKS);
    await machine.observe({ boot: ASKS.boot, renamed: ASKS.kernel });
    expect(execCount()).toBe(1);
    writeFileSync(join(host.dir, "kernel"), "6.2.0-new\n");
    expect((await machine.observe({ kernel: ASKS.kernel })).kernel).toMatchObject({ stdout: "6.1.0-old\n" });
    machine.forget();
    expect((await machine.observe({ kernel: ASKS.kernel })).kernel).toMatchObject({ stdout: "6.2.0-new\n" });
    expect(execCount()).toBe(2);
  });

  test("gets a fresh nonce with every observation", async () => {
    const machine = fleet.node("gpu-01").host;
    const ask = { quote: { kind: "argv", argv: ["echo", "n=@nonce@"] } } as const satisfies Asks;
    const nonces = [];
    for (let n = 0; n < 2; n++) {
      const { quote } = await machine.observe(ask);
      if (quote.kind !== "ran") throw new Error(quote.kind);
      expect(quote.nonce).toMatch(/^[0-9a-f]{64}$/);
      expect(quote.stdout).toBe(`n=${quote.nonce}\n`);
      nonces.push(quote.nonce);
      machine.forget();
    }
    expect(nonces[0]).not.toBe(nonces[1]);
  });

  test("that lost its connection between two questions is connected again", async () => {
    const machine = fleet.node("gpu-01").host;
    await machine.observe(ASKS);
    host.dropConnections();
    machine.forget();
    expect((await machine.observe(ASKS)).kernel).toMatchObject({ kind: "ran" });
  });

  test("without a BMC says so when it is asked for its BIOS", async () => {
    const { bios } = await fleet.node("gpu-01").host.observe({ bios: { kind: "bios" } });
    expect(bios).toEqual({ kind: "failed", why: "no BMC is configured for this node" });
    expect(execCount()).toBe(0);
  });
});

test("the BMC's snapshot is the answer to a question about the BIOS, asked beside the shell's", async () => {
  const bmc = { url: "https://bmc.test", user: "ops", password: "bmc-secret" };
  const snapshot = { manufacturer: "Dell Inc.", model: "says bmc-secret" };
  const asked: unknown[] = [];
  const fleet = openFleet(stackOf(host, {}, { bmc }), cleanEnv(), {
    ...FAST,
    bmc: async (...args) => {
      asked.push(args);
      return { bios: async () => snapshot as never, stage: async () => {}, powerCycle: async () => {} };
    },
  });
  const answers = await fleet.node("gpu-01").host.observe({ bios: { kind: "bios" }, kernel: ASKS.kernel });
  expect(answers.kernel).toMatchObject({ kind: "ran" });
  expect(answers.bios).toEqual({
    kind: "ran",
    status: 0,
    stderr: "",
    stdout: `{"manufacturer":"Dell Inc.","model":"says [redacted]"}`,
  });
  expect(asked).toEqual([["gpu-01", expect.objectContaining({ url: bmc.url }), "bmc-secret"]]);
  await fleet.close();
});

describe("a machine that cannot be reached answers with the whole reason", () => {
  test.each([
    ["nothing listens", async () => ({ port: await freePort() }), /ssh\.refused.*next/],
    ["no such name", async () => ({ host: "no-such-host.invalid" }), /cannot be resolved.*ssh\.dns/],
  ])("%s", async (_name, ssh, why) => {
    const fleet = open(await ssh());
    const { kernel, os } = await fleet.node("gpu-01").host.observe(ASKS);
    expect(kernel).toMatchObject({ kind: "failed", why: expect.stringMatching(why) });
    expect(os).toEqual(kernel);
    expect(kernel).toMatchObject({ kind: "failed", why: expect.stringContaining("gpu-01 · ssh: ") });
    await fleet.close();
  });
});

test("an unknown node is named beside the known ones", () => {
  expect(() => open().node("gpu-02")).toThrow(/gpu-02.*no node of that name; known: gpu-01.*config\.unknown-node/);
});

describe("a guest", () => {
  const guestConfig = () => ({ guest: { user: "root", port: guestHost.port, keyFile: guestHost.key } });
  beforeAll(() => {
    mkdirSync(join(host.dir, "lib/teeup/vm/cvm0"), { recursive: true });
  });

  test("whose VM was never made is no machine, and costs its host nothing extra", async () => {
    const fleet = open({}, guestConfig());
    const { host: below, guest } = fleet.node("gpu-01");
    const [onGuest] = await Promise.all([guest.observe(ASKS), below.observe(ASKS)]);
    expect(onGuest.kernel).toEqual({ kind: "no-machine", why: "the VM was never made" });
    expect(onGuest.none).toEqual(onGuest.kernel);
    expect([execCount("gpu-01"), execCount("gpu-01/cvm0")]).toEqual([1, 0]);
    await fleet.close();
  });

  test("that has not shown its host keys yet is not asked, and not absent", async () => {
    writeFileSync(console_(), "[    0.000000] Linux version\r\n");
    const fleet = open({}, guestConfig());
    const { kernel } = await fleet.node("gpu-01").guest.observe(ASKS);
    expect(kernel).toMatchObject({ kind: "failed", why: expect.stringMatching(/shows no SSH host keys yet/) });
    await fleet.close();
  });

  const block = (key: string) =>
    `\r\n-----BEGIN SSH HOST KEY KEYS-----\r\n${key.replace(/ test.*/, "")} root@cvm0\r\n-----END SSH HOST KEY KEYS-----\r\n`;

  test("is reached through its host, by the newest keys of its console, with one exec on each", async () => {
    writeFileSync(
      console_(),
      `noise\r\n${block(host.hostKeys.ed25519)}again\r\n${block(guestHost.hostKeys.ed25519)}login:`,
    );
    const fleet = open({}, guestConfig());
    const { host: below, guest } = fleet.node("gpu-01");
    const [onHost, onGuest] = await Promise.all([below.observe(ASKS), guest.observe(ASKS)]);
    expect(onHost.kernel).toMatchObject({ stdout: "6.2.0-new\n" });
    expect(onGuest.kernel).toMatchObject({ stdout: "6.1.0-old\n" });
    expect([execCount("gpu-01"), execCount("gpu-01/cvm0")]).toEqual([1, 1]);
    below.forget();
    await Promise.all([below.observe(ASKS), guest.observe(ASKS)]);
    expect([execCount("gpu-01"), execCount("gpu-01/cvm0")]).toEqual([2, 2]);
    await fleet.close();
  });

  test("with another key than its console shows is refused before it is logged into", async () => {
    writeFileSync(console_(), block(host.hostKeys.ed25519));
    const fleet = open({}, guestConfig());
    const before = guestHost.log();
    await expect(fleet.node("gpu-01").guest.observe(ASKS)).rejects.toMatchObject({ code: "ssh.host-key-changed" });
    expect(guestHost.log().slice(before.length)).not.toMatch(/Accepted|Failed publickey/);
    await fleet.close();
  });

  test("whose sshd does not run has failed to answer, with the reason", async () => {
    writeFileSync(console_(), block(guestHost.hostKeys.ed25519));
    const fleet = open({}, { guest: { ...guestConfig().guest, port: await freePort() } });
    const { kernel } = await fleet.node("gpu-01").guest.observe(ASKS);
    expect(kernel).toMatchObject({ kind: "failed", why: expect.stringMatching(/gpu-01\/cvm0.*refuses connections/) });
    await fleet.close();
  });
});
