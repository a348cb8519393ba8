import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { afterEach, describe, expect, test } from "@jest/globals";
import ssh2 from "ssh2";
import type { Entry } from "../../providers/kit/protocol.ts";
import { compileBatch, decodeFrames, LOCK_OWNER_FILE } from "../../providers/kit/protocol.ts";
import type { Become } from "../../providers/kit/session.ts";
import {
  BATCH_ARGV,
  execCommand,
  LOCK_CONFLICT,
  lockArgv,
  SUDO_PROMPT,
  SUDO_READY,
} from "../../providers/kit/session.ts";
import { DRIFTS } from "../../sim/drift.ts";
import { SCENARIOS } from "../../sim/scenarios.ts";
import type { Twin, TwinOptions } from "../../sim/twin.ts";
import { startTwin } from "../../sim/twin.ts";

const twins: Twin[] = [];
const clients: ssh2.Client[] = [];

afterEach(async () => {
  for (const client of clients.splice(0)) client.end();
  for (const twin of twins.splice(0)) await twin.stop();
});

async function twinOf(options: TwinOptions = {}): Promise<Twin> {
  const twin = await startTwin({ bmc: false, ...options });
  twins.push(twin);
  return twin;
}

/** A plain SSH client; the host key it saw stands in `seen`. */
async function connect(twin: Twin, more: Partial<ssh2.ConnectConfig> = {}): Promise<ssh2.Client & { seen?: string }> {
  const client: ssh2.Client & { seen?: string } = new ssh2.Client();
  clients.push(client);
  client.on("error", () => {});
  await new Promise<void>((resolve, reject) => {
    client.once("ready", () => {
      client.setNoDelay(true);
      resolve();
    });
    client.once("error", reject);
    client.once("close", () => reject(new Error("closed")));
    client.connect({
      host: twin.ssh.host,
      port: twin.ssh.port,
      username: "root",
      privateKey: twin.ssh.privateKey ?? "",
      hostHash: "sha256",
      hostVerifier: (hash: string) => {
        client.seen = `SHA256:${Buffer.from(hash, "hex").toString("base64").replace(/=+$/, "")}`;
        return true;
      },
      ...more,
    });
  });
  return client;
}

/** The node takes connections again only after some attempts, as one that boots. */
async function reconnect(twin: Twin): Promise<ssh2.Client> {
  for (let n = 0; n < 50; n++) {
    const client = await connect(twin).catch(() => undefined);
    if (client !== undefined) return client;
  }
  throw new Error("the node never came back");
}

interface Ended {
  readonly status: number | undefined;
  readonly stdout: Buffer;
  readonly stderr: string;
}

async function exec(client: ssh2.Client, argv: readonly string[], stdin = "", become: Become = "none"): Promise<Ended> {
  return new Promise((resolve, reject) => {
    client.exec(execCommand(become, argv), (error, channel) => {
      if (error) return reject(error);
      const chunks: Buffer[] = [];
      let [stderr, status]: [string, number | undefined] = ["", undefined];
      channel.on("data", (chunk: Buffer) => chunks.push(chunk));
      channel.stderr.on("data", (chunk: Buffer) => {
        stderr += chunk.toString();
      });
      channel.on("exit", (code: number) => {
        status = code;
      });
      channel.on("close", () => resolve({ status, stdout: Buffer.concat(chunks), stderr }));
      channel.end(stdin);
    });
  });
}

async function batch(client: ssh2.Client, entries: readonly Entry[]) {
  const mark = "0".repeat(32);
  const { stdout } = await exec(client, BATCH_ARGV, compileBatch(entries, mark));
  return decodeFrames(stdout, mark);
}

const ask = (...argv: string[]): Entry => ({ verb: "ask", argv, seconds: 20, maxBytes: 65_536, gates: [] });
const runs = (...argv: string[]): Entry => ({ verb: "run", argv, seconds: 20 });
const put = (path: string, content: string): Entry => ({
  verb: "put",
  path,
  content,
  mode: "0640",
  owner: "root:root",
});

describe("a batch over real SSH", () => {
  test("every verb and every way of not answering", async () => {
    const twin = await twinOf();
    const client = await connect(twin);
    const text = "über 'quotes'\n$HOME `id`\n";
    const frames = await batch(client, [
      ask("uname", "-r"),
      { verb: "read", path: "/proc/cmdline", maxBytes: 1000 },
      { verb: "read", path: "/nowhere", maxBytes: 10 },
      { verb: "read", path: "/etc/passwd", maxBytes: 4 },
      ask("nvidia-smi"),
      {
        ...ask("cat", "/etc/os-release"),
        gates: [
          { argv: ["true"], exit: 0 },
          { argv: ["test", "-e", "/x"], exit: 0 },
        ],
      } as Entry,
      put("/root/a b", text),
      { verb: "read", path: "/root/a b", maxBytes: 1000 },
      runs("chmod", "600", "/root/a b"),
      { verb: "remove", path: "/root/a b" },
      ask("test", "-e", "/root/a b"),
      { ...ask("sleep", "100"), seconds: 5 } as Entry,
    ]);
    const short = [...frames.values()].map((f) => [f.kind, f.status]);
    expect(short).toEqual([
      ["ran", 0],
      ["ran", 0],
      ["missing", 1],
      ["ran", 0],
      ["missing", 127],
      ["skipped", 0],
      ["ran", 0],
      ["ran", 0],
      ["ran", 0],
      ["ran", 0],
      ["ran", 1],
      ["timeout", 124],
    ]);
    expect(frames.get(0)?.stdout).toBe("6.8.0-45-generic\n");
    expect(frames.get(3)?.stdout).toHaveLength(5);
    expect(frames.get(5)?.stdout).toBe("2");
    expect(frames.get(7)?.stdout).toBe(text);
    expect(twin.journal.mutations().map((e) => [e.verb, ...e.argv])).toEqual([
      ["put", "/root/a b"],
      ["run", "chmod", "600", "/root/a b"],
      ["remove", "/root/a b"],
    ]);
    expect(twin.journal.counts()).toMatchObject({ execs: 1, connections: 1, mutations: 3 });
    expect(twin.journal.unmodelled).toEqual([]);
  });

  test("without sudo a plain user changes nothing", async () => {
    const twin = await twinOf();
    const client = await connect(twin, { username: "ops" });
    const frames = await batch(client, [ask("uname", "-r"), put("/root/x", "x")]);
    expect([...frames.values()].map(({ kind, status, stderr }) => [kind, status, stderr])).toEqual([
      ["ran", 0, ""],
      ["ran", 1, "mktemp: failed to create file via template '/root/x.teeup.XXXXXX': Permission denied\n"],
    ]);
    expect(twin.host.files.exists("/root/x")).toBe(false);
  });

  test("a full disk fails the write and leaves the old file", async () => {
    const twin = await twinOf();
    const client = await connect(twin);
    await batch(client, [put("/root/x", "old")]);
    twin.host.files.capacity = twin.host.files.used;
    const frames = await batch(client, [put("/root/x", "new and longer")]);
    expect(frames.get(0)).toMatchObject({
      kind: "ran",
      status: 1,
      stderr: expect.stringContaining("No space left on device"),
    });
    expect(twin.host.files.read("/root/x")).toBe("old");
  });

  test("a batch whose connection was lost on the way does nothing, as in a real shell", async () => {
    const twin = await twinOf();
    const client = await connect(twin);
    const script = compileBatch([put("/root/x", "made"), runs("reboot")], "0".repeat(32));
    for (const length of [0, 10, script.indexOf("# entries") + 3, script.indexOf("reboot"), script.length - 1])
      expect(await exec(client, BATCH_ARGV, script.slice(0, length))).toMatchObject({ stdout: Buffer.alloc(0) });
    const { entries, unmodelled } = twin.journal;
    expect({ entries, unmodelled, made: twin.node.host.files.readIf("/root/x") }).toEqual({
      entries: [],
      unmodelled: [],
      made: undefined,
    });
  });

  test("anything but the client's own command lines is recorded as unmodelled", async () => {
    const twin = await twinOf();
    const client = await connect(twin);
    const ended = await new Promise<number>((resolve) =>
      client.exec("echo $(id)", (_e, channel) => channel.on("exit", resolve).resume()),
    );
    expect(ended).toBe(127);
    expect(twin.journal.unmodelled).toEqual(["echo $(id)"]);
  });
});

describe("logins and host keys", () => {
  test("the key it shows is the one it says, until it is replaced", async () => {
    const twin = await twinOf();
    const said = twin.ssh.hostKey;
    expect((await connect(twin)).seen).toBe(said);
    twin.replaceHostKey();
    expect(twin.ssh.hostKey).not.toBe(said);
    expect((await connect(twin)).seen).toBe(twin.ssh.hostKey);
  });

  test("another key, a password or a refusal lets nobody in", async () => {
    const twin = await twinOf();
    const other = (await twinOf()).ssh.privateKey ?? "";
    await expect(connect(twin, { privateKey: other })).rejects.toThrow(/authentication methods failed/);
    await expect(connect(twin, { username: "nobody" })).rejects.toThrow(/authentication methods failed/);
    twin.faults.refuseAuth = true;
    await expect(connect(twin)).rejects.toThrow(/authentication methods failed/);
    expect(twin.journal.counts().execs).toBe(0);
  });

  test("sudo asks for its password, once right and three times wrong", async () => {
    const twin = await twinOf();
    const client = await connect(twin, { username: "ops" });
    const silent = await exec(client, ["id", "-u"], "", "sudo");
    expect([silent.status, silent.stdout.toString()]).toEqual([0, "0\n"]);
    twin.faults.sudoPassword = "open sesame";
    expect(await exec(client, ["id", "-u"], "", "sudo")).toMatchObject({
      status: 1,
      stderr: "sudo: a password is required\n",
    });
    const right = await exec(client, ["cat"], "open sesame\nthe rest\n", "sudo-password");
    expect(right.stderr).toContain(SUDO_PROMPT);
    expect(right.stdout.toString()).toBe(`${SUDO_READY}\nthe rest\n`);
    const wrong = await exec(client, ["cat"], "a\nb\nc\n", "sudo-password");
    expect([wrong.status, wrong.stdout.length]).toEqual([1, 0]);
    expect(JSON.stringify(twin.journal.entries)).not.toContain("sesame");
  });
});

describe("what goes wrong on demand", () => {
  test("the connection drops at the n-th exec, before anything of it ran", async () => {
    const twin = await twinOf();
    const client = await connect(twin);
    twin.faults.dropAtExec = 2;
    expect((await batch(client, [put("/root/1", "")])).size).toBe(1);
    expect((await batch(client, [put("/root/2", "")])).size).toBe(0);
    expect([twin.host.files.exists("/root/1"), twin.host.files.exists("/root/2")]).toEqual([true, false]);
    expect((await batch(await connect(twin), [put("/root/3", "")])).size).toBe(1);
  });

  test("the connection drops after the n-th change, before its answer", async () => {
    const twin = await twinOf();
    const client = await connect(twin);
    twin.faults.dropAfterMutation = 2;
    const frames = await batch(client, [put("/root/1", ""), put("/root/2", ""), put("/root/3", "")]);
    expect(frames.size).toBeLessThanOrEqual(1);
    expect(["1", "2", "3"].map((n) => twin.host.files.exists(`/root/${n}`))).toEqual([true, true, false]);
  });

  test("a command hangs until its time is up", async () => {
    const twin = await twinOf();
    twin.faults.hang = ["uname -r"];
    const frames = await batch(await connect(twin), [ask("uname", "-r"), ask("true")]);
    expect([...frames.values()].map((f) => f.kind)).toEqual(["timeout", "ran"]);
  });

  test("a job fails half-way and says so in its journal", async () => {
    const twin = await twinOf();
    const client = await connect(twin);
    twin.faults.failJobLine = { text: "sleep 7", times: 1 };
    await batch(client, [runs("systemd-run", "--unit=teeup-x-1", "--collect", "sleep", "7")]);
    for (let n = 0; n < 6; n++)
      await batch(client, [ask("systemctl", "show", "teeup-x-1.service", "-p", "ActiveState")]);
    const frames = await batch(client, [ask("journalctl", "-u", "teeup-x-1", "-o", "cat", "-n", "2")]);
    expect(frames.get(0)?.stdout).toMatch(/status=1\/FAILURE\n.*Failed with result 'exit-code'/);
  });
});

describe("the lock", () => {
  test("holds as long as its channel, and dies with the connection", async () => {
    const twin = await twinOf();
    const [one, two] = [await connect(twin), await connect(twin)];
    const command = execCommand("none", lockArgv());
    const echoed = await new Promise<string>((resolve, reject) =>
      one.exec(command, (error, channel) => {
        if (error) return reject(error);
        channel.once("data", (chunk: Buffer) => resolve(chunk.toString()));
        channel.write('{"id":"1"}\n');
      }),
    );
    expect(echoed).toBe('{"id":"1"}\n');
    expect(twin.host.files.read(LOCK_OWNER_FILE)).toBe('{"id":"1"}\n');
    expect((await exec(two, lockArgv(), '{"id":"2"}\n')).status).toBe(LOCK_CONFLICT);
    one.end();
    await once(one, "close");
    let status: number | undefined;
    // The server hears of the end a moment later.
    for (let n = 0; n < 50 && status !== 0; n++) status = (await exec(two, lockArgv(), '{"id":"2"}\n')).status;
    expect(status).toBe(0);
  });
});

describe("reboots", () => {
  test("break every connection, and the node is back later with another boot_id", async () => {
    const twin = await twinOf();
    const client = await connect(twin);
    const id = async (c: ssh2.Client) =>
      (await batch(c, [ask("cat", "/proc/sys/kernel/random/boot_id")])).get(0)?.stdout;
    const before = await id(client);
    const closed = new Promise<void>((resolve) => client.once("close", () => resolve()));
    await batch(client, [runs("systemctl", "reboot")]);
    await closed;
    expect(twin.node.up).toBe(false);
    await expect(connect(twin)).rejects.toThrow();
    const back = await reconnect(twin);
    expect(await id(back)).not.toBe(before);
    expect(twin.journal.counts().reboots).toBe(1);
  });

  test("a node that hangs takes no connection until its BMC cuts the power", async () => {
    const twin = await twinOf({ bmc: true });
    twin.faults.brokenKernels = ["6.8.0-45-generic"];
    const client = await connect(twin);
    await batch(client, [runs("systemctl", "reboot")]);
    for (let n = 0; n < 5; n++) await expect(connect(twin)).rejects.toThrow();
    twin.faults.brokenKernels = [];
    twin.node.power.reset("PowerCycle");
    await reconnect(twin);
    expect(twin.node.power.resets).toEqual([
      { by: "os", type: "GracefulRestart" },
      { by: "bmc", type: "PowerCycle" },
    ]);
  });
});

test("the program says how to reach it, obeys requests, and ends with its parent", async () => {
  const child = spawn(
    "node_modules/.bin/node",
    ["sim/main.ts", "--platform", "snp", "--scenario", "iommu-pt", "--until-eof"],
    {
      stdio: ["pipe", "pipe", "inherit"],
    },
  );
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const next = async () => JSON.parse((await lines.next()).value as string) as Record<string, never>;
  const hello = (await next()) as unknown as { ssh: Record<string, unknown>; bmc: Record<string, unknown> };
  expect(hello.ssh).toMatchObject({
    host: "127.0.0.1",
    port: expect.any(Number),
    hostKey: expect.stringMatching(/^SHA256:/),
  });
  expect(hello.bmc).toMatchObject({
    url: expect.stringMatching(/^https:\/\/127\.0\.0\.1:/),
    certificate: expect.any(String),
  });
  child.stdin.write('{"do": "journal"}\n{"do": "state"}\n{"do": "drift", "name": "nonsense"}\nnonsense\n');
  expect(await next()).toMatchObject({ ok: true, execs: 0, unmodelled: [] });
  expect(await next()).toMatchObject({ ok: true, up: true, kernel: "6.8.0-45-generic" });
  expect(await next()).toMatchObject({ ok: false, error: expect.stringContaining("no drift is called nonsense") });
  expect(await next()).toMatchObject({ ok: false });
  child.stdin.end();
  expect((await once(child, "exit"))[0]).toBe(0);
});

test("names of scenarios and drifts are unique, and an unknown one is refused with the list", async () => {
  for (const list of [SCENARIOS.map((s) => s.name), DRIFTS.map((d) => d.name)])
    expect(new Set(list).size).toBe(list.length);
  await expect(startTwin({ scenario: "nonsense" })).rejects.toThrow(/there are: untouched/);
});
