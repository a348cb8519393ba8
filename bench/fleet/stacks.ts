import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
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

/** A node as a stack's config has it. */
export type NodeEntry = Readonly<Record<string, unknown>> & { readonly name: string };

/**
 * Brings up one node with the real engine; its state is what each other node's would be but for the name. To bring up
 * thousands would take hours and is not what is measured.
 */
export class Fleet {
  /** Facets of each node. */
  readonly facets: number;
  readonly #seed: PulumiStack;
  readonly #dir: string;
  readonly #machines: Machines;
  readonly #checkpoint: Checkpoint;

  private constructor(seed: PulumiStack, dir: string, machines: Machines, checkpoint: Checkpoint) {
    this.#seed = seed;
    this.#dir = dir;
    this.#machines = machines;
    this.#checkpoint = checkpoint;
    // One of its parts is the plan.
    this.facets = checkpoint.checkpoint.latest.resources.filter(isOwn).length - 1;
  }

  static async create(dir: string, machines: Machines): Promise<Fleet> {
    await mkdir(dir, { recursive: true });
    await writeFile(join(dir, "key"), machines.privateKey, { mode: 0o600 });
    const seed = await PulumiStack.create({
      dir: join(dir, SEED),
      stack: SEED,
      project: PROJECT,
      program: PROGRAM,
      config: configOf(machines, [nodeOf(machines, dir, 0)]),
    });
    const up = await seed.up();
    if (up.status !== 0) throw new Error(`pulumi up failed:\n${up.stdout}${up.stderr}`);
    const state = await readFile(join(stateFolder(dir), `${SEED}.json`), "utf8");
    return new Fleet(seed, dir, machines, CheckpointSchema.parse(JSON.parse(state)));
  }

  /** The first `count` of the machines. */
  nodes(count: number): NodeEntry[] {
    return Array.from({ length: count }, (_, node) => nodeOf(this.#machines, this.#dir, node));
  }

  /** `nodes` in `count` stacks; with `floor` their provider is the one that reaches its nodes and does nothing else. */
  async stacks(name: string, nodes: readonly NodeEntry[], count: number, floor = false): Promise<Stacks> {
    const folder = join(this.#dir, name);
    await mkdir(folder, { recursive: true });
    const salt = /^encryptionsalt: .*$/m.exec(await readFile(this.#seed.configFile, "utf8"))?.[0] ?? "";
    const cut = (at: number) => Math.floor((at * nodes.length) / count);
    const stacks = Array.from({ length: count }, (_, n) => ({
      stack: `${name}-${n}`,
      configFile: join(folder, `Pulumi.${name}-${n}.yaml`),
      own: nodes.slice(cut(n), cut(n + 1)),
    }));
    for (const { stack, configFile, own } of stacks) {
      const state = JSON.stringify(stateOf(this.#checkpoint, stack, own, floor));
      await writeFile(join(stateFolder(this.#dir), `${stack}.json`), state);
      await writeFile(configFile, `${salt}\n${stringify({ config: configOf(this.#machines, own) })}`);
    }
    const fleetFile = join(folder, "fleet.yaml");
    const entries = stacks.map(({ stack, configFile }) => ({ stack, project: PROGRAM, file: configFile }));
    await writeFile(fleetFile, stringify({ stacks: entries }));
    return { fleetFile, stacks, env: this.#seed.env };
  }
}

const stateFolder = (dir: string): string => join(dir, SEED, "state/.pulumi/stacks", PROJECT);

const nodeOf = ({ port, user, hostKey, publicKey }: Machines, dir: string, node: number): NodeEntry => ({
  name: nameOf(node),
  ssh: { host: addressOf(node), port, user, keyFile: join(dir, "key"), hostKey },
  guest: { publicKey },
});

const configOf = (machines: Machines, nodes: readonly NodeEntry[]) => ({
  ...Object.fromEntries(Object.entries(machines.stack).map(([key, value]) => [`teeup:${key}`, value])),
  "teeup:nodes": nodes,
});

const Props = z.record(z.string(), z.unknown()).optional();
const ResourceSchema = z.looseObject({ type: z.string(), inputs: Props, outputs: Props });
const CheckpointSchema = z.looseObject({
  checkpoint: z.looseObject({ latest: z.looseObject({ resources: z.array(ResourceSchema) }) }),
});
type Checkpoint = z.infer<typeof CheckpointSchema>;

const isOwn = ({ type }: { readonly type: string }): boolean => type.startsWith("pulumi-nodejs:dynamic/");

/** The seed's state with these nodes in the place of its own. */
function stateOf(seed: Checkpoint, stack: string, nodes: readonly NodeEntry[], floor: boolean): Checkpoint {
  const { latest } = seed.checkpoint;
  const replaced = <T>(value: T, ...pairs: readonly (readonly [string, string])[]): T =>
    JSON.parse(pairs.reduce((text, [from, to]) => text.replaceAll(from, to), JSON.stringify(value)));
  const inJson = (text: string) => JSON.stringify(text).slice(1, -1);
  const own = latest.resources.filter(isOwn);
  const text = [inJson(PROVIDER_TEXT), inJson(floor ? FLOOR_TEXT : PROVIDER_TEXT)] as const;
  // The engine gives a provider the config that the state has.
  const config = { "teeup:nodes": JSON.stringify(nodes) };
  const others = latest.resources
    .filter((resource) => !isOwn(resource))
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
