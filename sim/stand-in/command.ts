import { randomBytes } from "node:crypto";
import ssh2 from "ssh2";
import { z } from "zod";
import type { Cloud, Props } from "./plugin.ts";
import { checkTypes } from "./types.ts";

const { Client } = ssh2;

/**
 * @pulumi/command as far as a TeeUp stack uses it: `remote.Command` with a `create`, over real SSH, with the agent. As
 * in the plugin's source (pulumi-command 1.2.1, provider/pkg/provider/remote): with a host key no other is taken, and
 * without one every key is; a failing command fails the resource, with what it printed.
 *
 * It does not cover: `local.*`, `CopyToRemote`, bastions, private keys and passwords as inputs, `environment`, `update`,
 * `delete`, the live log of what a command prints, dialling again, and that `connection` is a secret in the state.
 */
const TOKEN = "command:remote:Command";

const InputsSchema = z.object({
  connection: z.object({
    host: z.string(),
    port: z.number().default(22),
    user: z.string().default("root"),
    hostKey: z.string().optional(),
  }),
  create: z.string(),
});
type Inputs = z.infer<typeof InputsSchema>;

/** `agent`: the socket that SSH_AUTH_SOCK names for the plugin. */
export function commandPlugin(agent: string): Cloud {
  const run = async (inputs: Props): Promise<Props> => ({
    ...inputs,
    ...(await overSsh(InputsSchema.parse(inputs), agent)),
  });
  return {
    package: "command",
    version: "1.2.1",
    kinds: {
      [TOKEN]: {
        check: (inputs) => checkTypes(TOKEN, inputs),
        replaceOn: ["triggers"],
        computed: ["stdout", "stderr"],
        create: async (inputs) => ({ id: `command${randomBytes(4).toString("hex")}`, outputs: await run(inputs) }),
        read: async (_id, outputs) => outputs,
        // Without an `update` of its own, `create` runs again.
        update: (_id, inputs) => run(inputs),
        delete: async () => undefined,
      },
    },
    functions: {},
  };
}

function overSsh({ connection, create }: Inputs, agent: string): Promise<{ stdout: string; stderr: string }> {
  const { host, port, user, hostKey } = connection;
  const wanted = hostKey?.split(" ")[1];
  const client = new Client();
  return new Promise((resolve, reject) => {
    let mismatch = false;
    const fail = (error: Error) => {
      client.end();
      reject(mismatch ? new Error("ssh: handshake failed: ssh: host key mismatch") : error);
    };
    client.on("error", fail);
    client.on("ready", () => {
      client.exec(create, (error, channel) => {
        if (error !== undefined) return fail(error);
        const texts = { stdout: "", stderr: "" };
        let both = "";
        const keep = (to: keyof typeof texts) => (chunk: Buffer) => {
          texts[to] += chunk.toString("utf8");
          both += chunk.toString("utf8");
        };
        channel.on("data", keep("stdout"));
        channel.stderr.on("data", keep("stderr"));
        channel.end();
        channel.once("close", (status: number | null) => {
          if (status !== 0)
            return fail(new Error(`Process exited with status ${status}: running "${create}":\n${both}`));
          client.end();
          resolve({ stdout: texts.stdout.replace(/\n$/, ""), stderr: texts.stderr.replace(/\n$/, "") });
        });
      });
    });
    client.connect({
      host,
      port,
      username: user,
      agent,
      hostVerifier: (key: Buffer) => {
        mismatch = wanted !== undefined && key.toString("base64") !== wanted;
        return !mismatch;
      },
    });
  });
}
