/**
 * Twins for pods: `node twins.ts <count>`, in the network namespace of the cluster's machine. A twin listens on loopback; a
 * relay brings it to the address that pods reach. Prints one line of JSON with how to reach them, then a line for each
 * connection; `hold <node>` and `release <node>` on stdin stop and go on with what comes from pods, `drift <node> <name>`
 * changes something behind everybody's back. Ends when stdin ends.
 */
import { connect, createServer, type Socket } from "node:net";
import { createInterface } from "node:readline";
import { startTwin } from "../../../sim/twin.ts";

const ADDRESS = "10.99.0.1";
const count = Number(process.argv[2]);
const say = (value: unknown): void => void process.stdout.write(`${JSON.stringify(value)}\n`);

const twins = await Promise.all(
  Array.from({ length: count }, async (_, n) => {
    const name = `gpu-${String(n + 1).padStart(2, "0")}`;
    const twin = await startTwin({ name, bmc: false });
    const held: Socket[] = [];
    let holds = false;
    const relay = createServer({ pauseOnConnect: true }, (socket) => {
      say({ connection: name, from: socket.remoteAddress });
      const on = connect(twin.ssh.port, "127.0.0.1");
      for (const one of [socket, on]) one.on("error", () => undefined);
      socket.on("close", () => on.destroy());
      on.on("close", () => socket.destroy());
      on.pipe(socket);
      if (holds) held.push(socket);
      else socket.resume();
      socket.pipe(on);
      if (holds) socket.pause();
    });
    await new Promise<void>((resolve) => relay.listen(0, "0.0.0.0", resolve));
    const address = relay.address();
    if (address === null || typeof address === "string") throw new Error("no port");
    return {
      name,
      twin,
      port: address.port,
      hold: () => {
        holds = true;
      },
      release: () => {
        holds = false;
        for (const socket of held.splice(0)) socket.resume();
      },
    };
  }),
);
say({
  nodes: twins.map(({ name, twin, port }) => ({
    name,
    host: ADDRESS,
    port,
    user: twin.ssh.user,
    privateKey: twin.ssh.privateKey,
    knownHosts: `[${ADDRESS}]:${port} ${twin.ssh.knownHosts.split(" ").slice(1).join(" ")}`,
  })),
});
const lines = createInterface({ input: process.stdin });
lines.on("line", (line) => {
  const [what, name, drift = ""] = line.split(" ");
  const found = twins.find((one) => one.name === name);
  if (found === undefined) throw new Error(`no twin ${name}`);
  if (what === "hold") found.hold();
  else if (what === "release") found.release();
  else found.twin.drift(drift);
  say({ done: line });
});
lines.on("close", () => process.exit(0));
