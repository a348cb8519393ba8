import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import ssh2 from "ssh2";
import { z } from "zod";

/**
 * A provider that reaches its nodes and does nothing else: one connection, host key verified, one bare exec. What a scan
 * costs beyond this is what TeeUp adds to Pulumi and SSH.
 */
export const NodesSchema = z.array(
  z.looseObject({
    name: z.string(),
    ssh: z.looseObject({ host: z.string(), port: z.int(), user: z.string(), keyFile: z.string(), hostKey: z.string() }),
  }),
);
type Node = z.infer<typeof NodesSchema>[number];
type Props = Record<string, unknown>;

const said = new Map<string, Promise<string>>();

/** What `uname -r` says there. */
export function bareExec({ ssh: { host, port, user: username, keyFile, hostKey } }: Node): Promise<string> {
  return new Promise((resolve, reject) => {
    const client = new ssh2.Client();
    client.on("connect", () => client.setNoDelay(true));
    client.on("error", reject);
    client.on("ready", () =>
      client.exec("uname -r", (error, channel) => {
        if (error !== undefined) return reject(error);
        let text = "";
        channel.on("data", (chunk: Buffer) => {
          text += chunk.toString();
        });
        channel.on("close", () => {
          client.end();
          resolve(text);
        });
      }),
    );
    client.connect({
      host,
      port,
      username,
      privateKey: readFileSync(keyFile),
      hostVerifier: (key: Buffer) =>
        `SHA256:${createHash("sha256").update(key).digest("base64").replace(/=+$/, "")}` === hostKey,
    });
  });
}

export const provider = {
  configure({ config }: { readonly config: { get(key: string): unknown } }): void {
    for (const node of NodesSchema.parse(JSON.parse(String(config.get("teeup:nodes"))))) {
      const answer = bareExec(node);
      answer.catch(() => undefined);
      said.set(node.name, answer);
    }
  },
  async read(id: string, props: Props): Promise<{ id: string; props: Props }> {
    if ((await said.get(String(props["node"]))) === undefined) throw new Error(`${String(props["node"])} is not known`);
    return { id, props };
  },
  async diff(): Promise<{ changes: boolean }> {
    return { changes: false };
  },
};
