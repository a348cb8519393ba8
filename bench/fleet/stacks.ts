import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { stringify } from "yaml";
import { z } from "zod";
import { PulumiStack, ROOT } from "../../cli/demo/pulumi.ts";
import { PROVIDER_TEXT } from "../../providers/resource.ts";
import { addressOf, nameOf } from "./addresses.ts";

/** What machines.ts says in its first line. */
export const MachinesSchema = z.object({
  port: z.int(),
  user: z.string(),
  hostKey: z.string(),
  privateKey: z.string(),
  publicKey: z.string(),
  stack: z.record(z.string(), z.unknown()),
});
export type Machines = z.infer<typeof MachinesSchema>;

/** Stacks as `pulumi up` would leave them, and the environment that they are scanned in. */
export interface Stacks {
  readonly fleetFile: string;
  readonly env: Readonly<Record<string, string>>;
  readonly stacks: readonly { readonly stack: string; readonly configFile: string }[];
}

const PROJECT = "teeup-bench";
const SEED = "seed";
/** Folder of the program, in which Pulumi runs. */
export const PROGRAM = join(ROOT, "bench/fleet");
const FLOOR_TEXT = 'exports.handler=()=>require("module").createRequire(process.cwd()+"/")("./floor.ts").provider';

/** Nodes from 0 on, in stacks of `perStack`, as config of their stack. */
const nodeOf =
  ({ port, user, hostKey, publicKey }: Machines, keyFile: string) =>
  (node: number) => ({
    name: nameOf(node),
    ssh: { host: addressOf(node), port, user, keyFile, hostKey },
    guest: { publicKey },
  });

const configOf = (machines: Machines, nodes: readonly object[]) => ({
  ...Object.fromEntries(Object.entries(machines.stack).map(([key, value]) => [`teeup:${key}`, value])),
  "teeup:nodes": nodes,
});

/**
 * Brings up one node with the real engine; its state is what each other node's would be but for the name. To bring up
 * thousands would take hours and is not what is measured.
 */
export class Fleet {
  readonly #seed: PulumiStack;
  readonly #dir: string;
  readonly #machines: Machines;
  readonly #keyFile: string;

  private constructor(seed: PulumiStack, dir: string, machines: Machines, keyFile: string) {
    this.#seed = seed;
    this.#dir = dir;
    this.#machines = machines;
    this.#keyFile = keyFile;
  }

  static async create(dir: string, machines: Machines, nodeConfig = nodeOf): Promise<Fleet> {
    await mkdir(dir, { recursive: true });
    const keyFile = join(dir, "key");
    await writeFile(keyFile, machines.privateKey, { mode: 0o600 });
    const seed = await PulumiStack.create({
      dir: join(dir, SEED),
      stack: SEED,
      project: PROJECT,
      program: PROGRAM,
      config: configOf(machines, [nodeConfig(machines, keyFile)(0)]),
    });
    const up = await seed.up();
    if (up.status !== 0) throw new Error(`pulumi up failed:\n${up.stdout}${up.stderr}`);
    return new Fleet(seed, dir, machines, keyFile);
  }

  /** Stacks of `nodes` nodes in `count` stacks; with `floor` their provider is the one that only reaches its nodes. */
  async stacks(nodes: number, count: number, floor = false): Promise<Stacks> {
    const name = `${floor ? "floor" : "fleet"}-${nodes}`;
    const folder = join(this.#dir, name);
    const backend = join(this.#dir, SEED, "state");
    const seedFile = join(backend, ".pulumi/stacks", PROJECT, `${SEED}.json`);
    const state = CheckpointSchema.parse(JSON.parse(await readFile(seedFile, "utf8")));
    const salt = /^encryptionsalt: .*$/m.exec(await readFile(this.#seed.configFile, "utf8"))?.[0] ?? "";
    await mkdir(folder, { recursive: true });
    const make = nodeOf(this.#machines, this.#keyFile);
    const stacks = await Promise.all(
      Array.from({ length: count }, async (_, n) => {
        const stack = `${name}-${n}`;
        const cut = (at: number) => Math.floor((at * nodes) / count);
        const own = Array.from({ length: cut(n + 1) - cut(n) }, (__, k) => cut(n) + k);
        await writeFile(
          join(dirname(seedFile), `${stack}.json`),
          JSON.stringify(stateOf(state, stack, own.map(make), floor)),
        );
        const configFile = join(folder, `Pulumi.${stack}.yaml`);
        await writeFile(configFile, `${salt}\n${stringify({ config: configOf(this.#machines, own.map(make)) })}`);
        return { stack, configFile };
      }),
    );
    const fleetFile = join(folder, "fleet.yaml");
    const entries = stacks.map(({ stack, configFile }) => ({ stack, project: PROGRAM, file: configFile }));
    await writeFile(fleetFile, stringify({ stacks: entries }));
    return { fleetFile, stacks, env: this.#seed.env };
  }
}

const Props = z.record(z.string(), z.unknown()).optional();
const ResourceSchema = z.looseObject({ type: z.string(), inputs: Props, outputs: Props });
const CheckpointSchema = z.looseObject({
  checkpoint: z.looseObject({ latest: z.looseObject({ resources: z.array(ResourceSchema) }) }),
});
type Checkpoint = z.infer<typeof CheckpointSchema>;

/** The seed's state with these nodes in the place of its own. */
function stateOf(seed: Checkpoint, stack: string, nodes: readonly { name: string }[], floor: boolean): Checkpoint {
  const { latest } = seed.checkpoint;
  const replaced = <T>(value: T, ...pairs: readonly (readonly [string, string])[]): T =>
    JSON.parse(pairs.reduce((text, [from, to]) => text.replaceAll(from, to), JSON.stringify(value)));
  const inJson = (text: string) => JSON.stringify(text).slice(1, -1);
  const own = latest.resources.filter(({ type }) => type.startsWith("pulumi-nodejs:dynamic/"));
  const text = [inJson(PROVIDER_TEXT), inJson(floor ? FLOOR_TEXT : PROVIDER_TEXT)] as const;
  // The engine gives a provider the config that the state has.
  const config = { "teeup:nodes": JSON.stringify(nodes) };
  const others = latest.resources
    .filter((resource) => !own.includes(resource))
    .map(({ inputs, outputs, ...rest }) => ({
      ...rest,
      ...(inputs === undefined ? {} : { inputs: { ...inputs, ...config } }),
      ...(outputs === undefined ? {} : { outputs: { ...outputs, ...config } }),
    }));
  const resources = [...others, ...nodes.flatMap(({ name }) => replaced(own, [nameOf(0), name], text))];
  return replaced({ ...seed, checkpoint: { ...seed.checkpoint, latest: { ...latest, resources } } }, [
    `urn:pulumi:${SEED}::`,
    `urn:pulumi:${stack}::`,
  ]);
}
