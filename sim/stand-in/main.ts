import { writeFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { Command } from "commander";
import { Journal } from "../journal.ts";
import { DOWNLOADS, downloadSha256 } from "../model/internet.ts";
import { freshKeyPair } from "../model/keys.ts";
import { serveAgent } from "./agent.ts";
import { openDataCentre } from "./data-centre.ts";

/**
 * The stand-in of Alibaba Cloud as a program. Prints one line of JSON: what PULUMI_DEBUG_PROVIDERS and SSH_AUTH_SOCK must
 * be, and where the instances take SSH. Then it obeys one JSON request per line of stdin and answers each with one line:
 * `{"do": "journal"}` and `{"do": "clear"}` (what was done to the instance and to the cloud), `{"do": "drift", "name": …}`
 * in the instance, and `{"do": "release"}`: somebody releases every instance in the console. Ends when stdin ends.
 */
const program = new Command("stand-in")
  .description("A stand-in of Alibaba Cloud and of its Pulumi plugin, with twins for its instances, on loopback.")
  .option("--name <host>", "host name of the instances", "twin")
  .requiredOption("--key <file>", "write the private key there that is to log in; its public half is printed");

program.parse();
const { name, key } = program.opts<{ name: string; key: string }>();
const say = (value: unknown): void => void process.stdout.write(`${JSON.stringify(value)}\n`);

const pair = freshKeyPair("demo");
writeFileSync(key, pair.private, { mode: 0o600 });
const sshAgent = `${key}.agent`;
const agent = await serveAgent(sshAgent, pair.private);
const site = await openDataCentre({ name, sshAgent });
say({
  providers: site.attach,
  agent: sshAgent,
  ssh: { host: "127.0.0.1", port: site.port, user: "root", keyFile: key, publicKey: pair.public.trim() },
  downloads: Object.fromEntries(DOWNLOADS.map(({ url }) => [url, downloadSha256(url)])),
});
const lines = createInterface({ input: process.stdin });
// One after the other: an answer belongs to its question.
let before = Promise.resolve();
lines.on("line", (line) => {
  before = before.then(async () => say(await answer(line)));
});
lines.once("close", async () => {
  agent.close();
  await site.close();
  process.exit(0);
});

async function answer(line: string): Promise<unknown> {
  const twin = site.twin();
  try {
    const request = JSON.parse(line) as { do?: string; name?: string };
    switch (request.do) {
      case "journal": {
        const counts = (twin?.journal ?? new Journal()).counts();
        const { changes } = site.cloud;
        return {
          ok: true,
          ...counts,
          mutations: counts.mutations + changes,
          unmodelled: twin?.journal.unmodelled ?? [],
        };
      }
      case "clear":
        twin?.journal.clear();
        site.cloud.changes = 0;
        return { ok: true };
      case "drift":
        if (twin === undefined) throw new Error("no instance runs");
        twin.drift(request.name ?? "");
        return { ok: true };
      case "release":
        for (const id of site.cloud.instances()) await site.cloud.release(id);
        return { ok: true };
      default:
        return { ok: false, error: `unknown request ${JSON.stringify(request.do)}` };
    }
  } catch (error) {
    return { ok: false, error: error instanceof Error ? error.message : String(error) };
  }
}
