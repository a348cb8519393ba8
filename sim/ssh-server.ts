import type { AddressInfo, Socket } from "node:net";
import { connect, createServer } from "node:net";
import type { ServerChannel } from "ssh2";
import ssh2 from "ssh2";
import { encodeFrame, isCutShort, parseBatch } from "../providers/kit/protocol.ts";
import type { Become } from "../providers/kit/session.ts";
import { BATCH_ARGV, LOCK_CONFLICT, lockArgv, parseExec, SUDO_PROMPT, SUDO_READY } from "../providers/kit/session.ts";
import { runEntry } from "./batch.ts";
import { execute } from "./commands/exec.ts";
import { freshKeyPair } from "./model/keys.ts";
import type { Machine } from "./model/machine.ts";
import type { TwinNode } from "./model/node.ts";

const { Server, utils } = ssh2;

export interface SshDoor {
  readonly port: number;
  /** Breaks every connection to host and guest, as a node that goes down does. */
  dropAll(): void;
  /** From the next connection on, the host shows another key. */
  replaceHostKey(): { publicKey: string };
  close(): Promise<void>;
}

/** The ways into a machine: who may log in, and where the host keys are. */
interface Site {
  readonly machine: Machine;
  /** Public keys that let `user` in, as OpenSSH lines. */
  keysOf(user: string): readonly string[];
}

const PACKET_BYTES = 32_768;
const HOST_KEY = "/etc/ssh/ssh_host_ed25519_key";

/** A real SSH server on loopback in front of a simulated node; the guest is reached through it by forwarding. */
export async function openSshDoor(node: TwinNode, site: Site, port = 0): Promise<SshDoor> {
  const sockets = new Set<Socket>();
  const guestStreams = new Set<{ destroy(): void }>();
  let server = serve(node, site, guestStreams, () => dropSockets());
  const dropSockets = () => {
    for (const socket of sockets) socket.destroy();
    sockets.clear();
  };
  const listener = createServer((socket) => {
    socket.on("error", () => {});
    if (!node.up) {
      node.knock();
      socket.destroy();
      return;
    }
    node.journal.connections++;
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
    socket.setNoDelay(true);
    server.inject(socket);
  });
  await new Promise<void>((resolve, reject) => {
    listener.once("error", reject);
    listener.listen(port, "127.0.0.1", resolve);
  });
  // A node comes back by itself too, when nobody knocks.
  const timer = setInterval(() => node.knock(), 250);
  timer.unref();
  const previous = node.onDown;
  node.onDown = (which) => {
    previous(which);
    for (const stream of guestStreams) stream.destroy();
    guestStreams.clear();
    if (which === "host") dropSockets();
  };
  return {
    port: (listener.address() as AddressInfo).port,
    dropAll: dropSockets,
    replaceHostKey() {
      const pair = freshKeyPair("replaced");
      site.machine.files.write(HOST_KEY, pair.private, { mode: "0600" });
      site.machine.files.write(`${HOST_KEY}.pub`, `${pair.public.trim()}\n`);
      server = serve(node, site, guestStreams, () => dropSockets());
      return { publicKey: pair.public.trim() };
    },
    close: () =>
      new Promise((resolve) => {
        clearInterval(timer);
        dropSockets();
        listener.close(() => resolve());
      }),
  };
}

interface Inner {
  inject(stream: NodeJS.ReadWriteStream): void;
}

function serve(node: TwinNode, site: Site, guestStreams: Set<{ destroy(): void }>, drop: () => void): Inner {
  const { machine } = site;
  const server = new Server({ hostKeys: [machine.files.read(HOST_KEY)], keepaliveInterval: 0 }, (client) => {
    let user = "";
    client.on("error", () => {});
    client.on("authentication", (context) => {
      const refuse = () => context.reject(["publickey"]);
      if (node.faults.refuseAuth === true || context.method !== "publickey") return refuse();
      const good = site.keysOf(context.username).some((line) => {
        const parsed = utils.parseKey(line);
        if (parsed instanceof Error || !parsed.getPublicSSH().equals(context.key.data)) return false;
        return (
          context.signature === undefined ||
          context.blob === undefined ||
          parsed.verify(context.blob, context.signature, context.hashAlgo) === true
        );
      });
      if (!good) return refuse();
      user = context.username;
      context.accept();
    });
    client.on("ready", () => {
      client.on("session", (accept) => {
        const session = accept();
        session.on("exec", (acceptExec, _reject, info) =>
          onExec(node, machine, acceptExec(), info.command, user, drop),
        );
        session.on("env", (acceptEnv) => acceptEnv?.());
        session.on("shell", (_accept, reject) => reject());
      });
      if (machine.kind === "host")
        client.on("tcpip", (accept, reject, info) => onForward(node, accept, reject, info, guestStreams));
    });
    // Unset, a client that asks for agent forwarding and the like would wait for ever.
    client.on("request", (_accept: unknown, reject: unknown) => (reject as (() => void) | undefined)?.());
  });
  server.on("error", () => {});
  return {
    inject: (stream) => (server as unknown as { injectSocket(s: NodeJS.ReadWriteStream): void }).injectSocket(stream),
  };
}

function onForward(
  node: TwinNode,
  accept: () => ServerChannel,
  reject: () => void,
  info: { destIP: string; destPort: number },
  guestStreams: Set<{ destroy(): void }>,
): void {
  const loopback = ["127.0.0.1", "localhost", "::1"].includes(info.destIP);
  const guest = node.guest;
  if (loopback && guest?.port === info.destPort) {
    const stream = accept();
    stream.on("error", () => {});
    if (!guest.reachable || guest.machine.running === undefined) {
      // QEMU's forwarder takes the connection and drops it when nothing listens in the guest.
      node.clock.tick();
      stream.end();
      stream.destroy();
      return;
    }
    guestStreams.add(stream);
    stream.once("close", () => guestStreams.delete(stream));
    const { machine } = guest;
    serve(node, { machine, keysOf: (user) => authorized(machine, user) }, guestStreams, () => stream.destroy()).inject(
      stream,
    );
    return;
  }
  if (!loopback || !node.forwardsAnywhere) {
    reject();
    return;
  }
  const socket = connect(info.destPort, "127.0.0.1");
  socket.once("error", () => reject());
  socket.once("connect", () => {
    const stream = accept();
    stream.on("error", () => socket.destroy());
    socket.on("error", () => stream.destroy());
    stream.pipe(socket).pipe(stream);
  });
}

/** Keys in a user's authorized_keys; a locked account has none. */
export function authorized(machine: Machine, user: string): readonly string[] {
  const home = user === "root" ? "/root" : `/home/${user}`;
  return (machine.files.readIf(`${home}/.ssh/authorized_keys`) ?? "")
    .split("\n")
    .filter((line) => line.trim() !== "" && !line.startsWith("#"));
}

function onExec(
  node: TwinNode,
  machine: Machine,
  channel: ServerChannel,
  command: string,
  user: string,
  drop: () => void,
): void {
  const { journal, faults } = node;
  if (machine.kind === "host") journal.hostExecs++;
  else journal.guestExecs++;
  channel.on("error", () => {});
  node.clock.tick();
  if (faults.dropAtExec !== undefined && --faults.dropAtExec <= 0) {
    delete faults.dropAtExec;
    drop();
    return;
  }
  const finish = (status: number) => {
    if (!channel.writable) return;
    channel.exit(status);
    channel.end();
  };
  let parsed: { become: Become; argv: string[] };
  try {
    parsed = parseExec(command);
  } catch {
    journal.unmodelled.push(command);
    channel.stderr.write("sh: unmodelled command line\n");
    finish(127);
    return;
  }
  const { become, argv } = parsed;
  becomeRoot(node, machine, user, become, channel, finish, (asRoot, early) => {
    if (argv.join(" ") === BATCH_ARGV.join(" ")) {
      whenEnded(channel, early, (script) => void runScript(machine, channel, script, asRoot, drop, finish));
      return;
    }
    if (argv[0] === "flock") {
      hold(node, machine, channel, argv, early, finish);
      return;
    }
    whenEnded(channel, early, (stdin) => {
      const result = execute(machine, argv, { stdin });
      journal.add({ machine: machine.kind, verb: "exec", argv, mutating: false, status: result.status });
      channel.write(result.stdout);
      channel.stderr.write(result.stderr);
      finish(result.status);
      node.runLater();
    });
  });
}

function whenEnded(channel: ServerChannel, early: string, f: (text: string) => void): void {
  const chunks: Buffer[] = [Buffer.from(early)];
  channel.on("data", (chunk: Buffer) => chunks.push(chunk));
  channel.once("end", () => f(Buffer.concat(chunks).toString("utf8")));
}

/** sudo, as far as a batch client sees it: silent, asking for a password, or refusing. */
function becomeRoot(
  node: TwinNode,
  machine: Machine,
  user: string,
  become: Become,
  channel: ServerChannel,
  finish: (status: number) => void,
  then: (asRoot: boolean, early: string) => void,
): void {
  if (become === "none") {
    then(user === "root", "");
    return;
  }
  const wanted = machine.kind === "host" ? node.faults.sudoPassword : undefined;
  if (machine.kind === "host" && node.faults.refuseSudo === true) {
    channel.stderr.write(`${user} is not in the sudoers file.\n`);
    finish(1);
    return;
  }
  if (become === "sudo") {
    if (wanted !== undefined) {
      channel.stderr.write("sudo: a password is required\n");
      finish(1);
      return;
    }
    then(true, "");
    return;
  }
  if (wanted === undefined) {
    channel.write(`${SUDO_READY}\n`);
    then(true, "");
    return;
  }
  let tries = 3;
  let text = "";
  let done = false;
  channel.stderr.write(SUDO_PROMPT);
  const onData = (chunk: Buffer) => {
    text += chunk.toString("utf8");
    for (let end = text.indexOf("\n"); end >= 0 && !done; end = text.indexOf("\n")) {
      const typed = text.slice(0, end);
      text = text.slice(end + 1);
      if (typed === wanted) {
        done = true;
        channel.removeListener("data", onData);
        channel.write(`${SUDO_READY}\n`);
        then(true, text);
      } else if (--tries === 0) {
        done = true;
        channel.stderr.write("\nsudo: 3 incorrect password attempts\n");
        finish(1);
      } else channel.stderr.write(`\nSorry, try again.\n${SUDO_PROMPT}`);
    }
  };
  channel.on("data", onData);
  channel.once("end", () => {
    if (done || !channel.writable) return;
    channel.stderr.write("\nsudo: no password was provided\n");
    finish(1);
  });
}

async function runScript(
  machine: Machine,
  channel: ServerChannel,
  script: string,
  asRoot: boolean,
  drop: () => void,
  finish: (status: number) => void,
): Promise<void> {
  const { node } = machine;
  if (isCutShort(script)) {
    finish(2);
    return;
  }
  let batch: ReturnType<typeof parseBatch>;
  try {
    batch = parseBatch(script);
  } catch (error) {
    node.journal.unmodelled.push(`batch: ${String(error)}`);
    channel.stderr.write(`sh: ${String(error)}\n`);
    finish(2);
    return;
  }
  // Many frames to a packet: ciphering each by itself is a quarter of a test's time.
  let frames: Buffer[] = [];
  let bytes = 0;
  const flush = (): boolean => {
    const fine = frames.length === 0 || channel.write(Buffer.concat(frames));
    frames = [];
    bytes = 0;
    return fine;
  };
  for (const [id, entry] of batch.entries.entries()) {
    const outcome = machine.running === undefined ? { hang: true } : runEntry(machine, id, entry, asRoot);
    if ("frame" in outcome) {
      const frame = encodeFrame(outcome.frame, batch.mark);
      frames.push(frame);
      bytes += frame.length;
      if (bytes > PACKET_BYTES && !flush())
        await new Promise<void>((resolve) => channel.once("drain", resolve).once("close", resolve));
      continue;
    }
    flush();
    if (!("drop" in outcome)) return;
    drop();
    node.runLater();
    return;
  }
  flush();
  finish(0);
  // What a reboot leaves for later comes once the answer is on its way.
  setImmediate(() => node.runLater());
}

/** The lock's channel: the first comer holds it until its stdin or its connection ends. */
function hold(
  node: TwinNode,
  machine: Machine,
  channel: ServerChannel,
  argv: readonly string[],
  early: string,
  finish: (status: number) => void,
): void {
  const [, , , , file = "", tee, owner = ""] = argv;
  if (tee !== "tee" || argv.join(" ") !== lockArgv(file, owner).join(" ")) {
    const result = execute(machine, argv);
    channel.write(result.stdout);
    finish(result.status);
    return;
  }
  const key = `${machine.kind} ${file}`;
  if (node.locks.has(key)) {
    finish(LOCK_CONFLICT);
    return;
  }
  node.locks.set(key, channel);
  machine.files.write(file, machine.files.readIf(file) ?? "");
  const release = () => {
    if (node.locks.get(key) === channel) node.locks.delete(key);
  };
  const take = (text: string) => {
    if (text === "" || machine.running === undefined) return;
    machine.files.write(owner, text);
    channel.write(text);
  };
  take(early);
  channel.on("data", (chunk: Buffer) => take(chunk.toString("utf8")));
  channel.once("end", () => {
    release();
    finish(0);
  });
  channel.once("close", release);
}
