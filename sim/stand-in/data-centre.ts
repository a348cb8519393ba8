import { createServer } from "node:net";
import { startTwin, type Twin } from "../twin.ts";
import { AliCloud, type Spec } from "./alicloud.ts";
import { commandPlugin } from "./command.ts";
import { servePlugin } from "./plugin.ts";

/** The stand-in of Alibaba Cloud with twins for its instances, and its plugin behind the real protocol. */
export interface DataCentre {
  readonly cloud: AliCloud;
  /** Value of PULUMI_DEBUG_PROVIDERS. */
  readonly attach: string;
  /** Where every instance takes SSH: loopback has one address, so there is one instance at a time. */
  readonly port: number;
  /** The instance that runs now. */
  twin(): Twin | undefined;
  close(): Promise<void>;
}

export interface DataCentreOptions {
  /** Host name of the instances. */
  readonly name: string;
  /** Looks until Cloud Assistant's agent answers; default 0. */
  readonly agentIn?: number;
  /** Socket of the SSH agent that commands log in with; without it there is no stand-in of @pulumi/command. */
  readonly sshAgent?: string;
}

/** `ecs.gn8v-tee-8x.…`: eight GPUs and four NVSwitches; the other types have one GPU (seed 002, step 1). */
const shapeOf = ({ instanceType }: Spec) =>
  /^ecs\.gn8v-tee-8x\./.test(instanceType) ? { gpus: 8, switches: 4 } : { gpus: 1 };

/** Opens the data centre on loopback. Close it with `close()`. */
export async function openDataCentre({ name, agentIn = 0, sshAgent }: DataCentreOptions): Promise<DataCentre> {
  const port = await freePort();
  let twin: Twin | undefined;
  const cloud = new AliCloud(
    async (spec) => {
      // A new machine, with host keys of its own, at the address of the one before.
      const made = await startTwin({
        name,
        cloud: "alibaba",
        authorizedKeys: [spec.publicKey],
        sshPort: port,
        ...shapeOf(spec),
      });
      twin = made;
      return {
        address: "127.0.0.1",
        hostKeys: () => [made.ssh.knownHosts.replace(/^\S+ /, "")],
        stop: async () => {
          if (twin === made) twin = undefined;
          await made.stop();
        },
      };
    },
    { agentIn },
  );
  const clouds = [cloud.cloud(), ...(sshAgent === undefined ? [] : [commandPlugin(sshAgent)])];
  const plugins = await Promise.all(clouds.map(servePlugin));
  return {
    cloud,
    attach: plugins.map(({ attach }) => attach).join(","),
    port,
    twin: () => twin,
    close: async () => {
      for (const plugin of plugins) plugin.close();
      await cloud.close();
    },
  };
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address !== "object") throw new Error("loopback gave no port");
  return address.port;
}
