/**
 * Many well twins in one process: `node machines.ts --nodes <n> [--drifted <n>] [--silent <node>]`. One twin is brought
 * up whole; what it answers to a batch it is asked once, and as many addresses of loopback then answer so behind a real
 * SSH server. `--drifted 50`: every 50th answers as the twin does with one option of a kernel module changed.
 * `--silent 7`: whoever connects to node 7 hears nothing, ever.
 *
 * Prints one line of JSON that says how to reach them and what a stack is told of them; ends when stdin does.
 */
import { createHash } from "node:crypto";
import type { AddressInfo, Server } from "node:net";
import { createServer } from "node:net";
import { parseArgs } from "node:util";
import ssh2 from "ssh2";
import { encodeFrame, parseBatch } from "../../providers/kit/protocol.ts";
import { BATCH_ARGV, parseExec } from "../../providers/kit/session.ts";
import { bench, goalsOf, SNP, up } from "../../test/e2e/drive.ts";
import { Place } from "../accuracy/place.ts";
import { addressOf, isDrifted } from "./addresses.ts";

// After the twin, which they belong to: first of all they would meet themselves half made.
const { runEntry } = await import("../../sim/batch.ts");
const { execute } = await import("../../sim/commands/exec.ts");

const { values } = parseArgs({
  options: { nodes: { type: "string" }, drifted: { type: "string" }, silent: { type: "string" } },
});
const nodes = Number(values.nodes ?? 1);
const drifted = values.drifted === undefined ? undefined : Number(values.drifted);
const b = await bench({}, SNP);
const { findings } = await up(b);
if (findings.length > 0) throw new Error(findings.map(({ code, saw }) => `${code}: ${saw}`).join("\n"));
const { ssh, host } = b.twin;
const allowed = ssh2.utils.parseKey(ssh.publicKey ?? "");
if (allowed instanceof Error) throw allowed;

const OPTIONS = "/etc/modprobe.d/teeup.conf";
const answers = new Map<string, readonly string[]>();

/** What the twin says to a batch, well or drifted; it is asked once. */
function answerOf(script: string, ofDrifted: boolean): string {
  const { mark } = MARK.exec(script)?.groups ?? {};
  if (mark === undefined) throw new Error("a batch without a mark");
  const key = `${ofDrifted} ${createHash("sha256").update(script.replaceAll(mark, "")).digest("hex")}`;
  const pieces = answers.get(key) ?? asked(script, ofDrifted).split(mark);
  answers.set(key, pieces);
  return pieces.join(mark);
}
const MARK = /^mark (?<mark>[0-9a-f]+)$/m;

function asked(script: string, ofDrifted: boolean): string {
  const undo = new Place(b.twin.node, goalsOf(b), []).keep(host, OPTIONS);
  if (ofDrifted) host.files.write(OPTIONS, host.files.read(OPTIONS).replace("sev_snp=1", "sev_snp=0"));
  const { mark, entries } = parseBatch(script);
  const frames = entries.map((entry, id) => {
    const outcome = runEntry(host, id, entry, true);
    if ("frame" in outcome) return encodeFrame(outcome.frame, mark).toString("utf8");
    throw new Error("the twin broke off");
  });
  undo();
  return frames.join("");
}

/** By the number of the node whose connection it is. */
const server = (ofDrifted: boolean) =>
  new ssh2.Server({ hostKeys: [host.files.read("/etc/ssh/ssh_host_ed25519_key")] }, (client) => {
    client.on("error", () => {});
    client.on("authentication", (context) => {
      const good =
        context.method === "publickey" &&
        allowed.getPublicSSH().equals(context.key.data) &&
        (context.signature === undefined ||
          context.blob === undefined ||
          allowed.verify(context.blob, context.signature, context.hashAlgo) === true);
      if (good) context.accept();
      else context.reject(["publickey"]);
    });
    client.on("session", (accept) => {
      accept().on("exec", (acceptExec, _reject, { command }) => {
        const channel = acceptExec();
        channel.on("error", () => {});
        const { argv } = parseExec(command);
        const end = (output: string, status: number) => {
          channel.write(output);
          channel.exit(status);
          channel.end();
        };
        if (argv.join(" ") !== BATCH_ARGV.join(" ")) {
          const { stdout, status } = execute(host, argv);
          return end(stdout, status);
        }
        const chunks: Buffer[] = [];
        channel.on("data", (chunk: Buffer) => chunks.push(chunk));
        channel.once("end", () => end(answerOf(Buffer.concat(chunks).toString("utf8"), ofDrifted), 0));
      });
    });
  });
const [well, ill] = [server(false), server(true)] as unknown as {
  injectSocket(socket: NodeJS.ReadWriteStream): void;
}[];

const listen = (node: number, port: number): Promise<Server> =>
  new Promise((resolve, reject) => {
    const side = isDrifted(node, drifted) ? ill : well;
    const listener = createServer((socket) => {
      socket.on("error", () => {});
      socket.setNoDelay(true);
      if (node !== silent) side?.injectSocket(socket);
    });
    listener.once("error", reject);
    listener.listen(port, addressOf(node), () => resolve(listener));
  });
const silent = values.silent === undefined ? undefined : Number(values.silent);
const first = await listen(0, 0);
const { port } = first.address() as AddressInfo;
for (let node = 1; node < nodes; node++) await listen(node, port);
const { profile, gpuMode, pins } = b.config;
process.stdout.write(
  `${JSON.stringify({
    port,
    user: ssh.user,
    hostKey: ssh.hostKey,
    privateKey: ssh.privateKey,
    publicKey: ssh.publicKey,
    stack: { platform: "onprem-snp", profile, gpuMode, pins },
  })}\n`,
);
process.stdin.resume();
process.stdin.once("end", async () => {
  await b.close();
  process.exit(0);
});
