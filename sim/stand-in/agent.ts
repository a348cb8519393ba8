import { createServer, type Server } from "node:net";
import ssh2 from "ssh2";

const { AgentProtocol, utils } = ssh2;

/** An SSH agent with one key at a socket, for those who have none. `key` is an OpenSSH private key. */
export async function serveAgent(socket: string, key: string): Promise<{ close(): void }> {
  const parsed = utils.parseKey(key);
  if (parsed instanceof Error) throw parsed;
  const server: Server = createServer((client) => {
    const protocol = new AgentProtocol(false);
    protocol.on("identities", (request) => protocol.getIdentitiesReply(request, [parsed]));
    protocol.on("sign", (request, _key, data) => protocol.signReply(request, parsed.sign(data)));
    client.on("error", () => client.destroy());
    client.pipe(protocol).pipe(client);
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(socket, resolve);
  });
  return { close: () => void server.close() };
}
