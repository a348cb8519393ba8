import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import pLimit from "p-limit";
import { ROOT } from "../cli/demo/pulumi.ts";
import { type DriftReport, parseScan } from "../cli/formats/drift-facts.ts";
import { isDrifted, nameOf } from "./fleet/addresses.ts";
import { type Fleet, type Machines, MachinesSchema, PROGRAM, type Stacks } from "./fleet/stacks.ts";
import { inTurns, timed } from "./timing.ts";

export interface FleetFigure {
  readonly nodes: number;
  /** Of `teeup drift` over all of them. */
  readonly seconds: number;
  /** Of the same stacks with a provider that does one bare exec for each node and nothing else. */
  readonly floorSeconds: number;
  /** Most that the scan, its engines and their providers held at once, resident; the twins are not of them. */
  readonly rssMiB: number;
}

/** A stack holds at most 50. */
export const PER_STACK = 50;
/** Every 50th node has drifted, so that a scan that sees nothing is found out. */
export const DRIFTED = 50;

const MACHINES = fileURLToPath(new URL("fleet/machines.ts", import.meta.url));

/** Twins in a process of their own; see fleet/machines.ts. */
export async function startMachines(
  ...flags: readonly string[]
): Promise<{ machines: Machines; close(): Promise<void> }> {
  const child: ChildProcess = spawn(process.execPath, [MACHINES, ...flags], { stdio: ["pipe", "pipe", "inherit"] });
  const ended = once(child, "exit");
  const { stdin, stdout } = child;
  if (stdin === null || stdout === null) throw new Error("no pipes to the machines");
  const [line] = await Promise.race([
    once(createInterface({ input: stdout }), "line"),
    ended.then(() => Promise.reject(new Error("the machines did not start"))),
  ]);
  return {
    machines: MachinesSchema.parse(JSON.parse(String(line))),
    close: async () => {
      stdin.end();
      await ended;
    },
  };
}

/** `teeup drift` of these stacks as a person calls it. */
export async function scan(
  { fleetFile, env }: Stacks,
  onStart?: (pid: number) => void,
): Promise<{ seconds: number; report: DriftReport }> {
  const argv = [process.execPath, join(ROOT, "cli/main.ts"), "drift", "--fleet", fleetFile, "--json"];
  const options = { env, good: [0, 2, 3], ...(onStart === undefined ? {} : { onStart }) };
  const { seconds, stdout } = await timed(argv, options);
  return { seconds, report: parseScan(stdout, "teeup drift") };
}

export async function measureFleet(fleet: Fleet, nodes: number, runs: number): Promise<FleetFigure> {
  const count = Math.ceil(nodes / PER_STACK);
  const own = fleet.nodes(nodes);
  const stacks = await fleet.stacks(`fleet-${nodes}`, own, count);
  const floor = await fleet.stacks(`floor-${nodes}`, own, count, true);
  let most = 0;
  const { seconds, floorSeconds } = await inTurns(runs, {
    floorSeconds: () => scanFloor(floor),
    seconds: async () => {
      let watch: NodeJS.Timeout | undefined;
      const ran = await scan(stacks, (pid) => {
        watch = setInterval(() => {
          most = Math.max(most, residentKiB(pid));
        }, WATCH_MS);
      }).finally(() => clearInterval(watch));
      check(ran.report, nodes, fleet.facets);
      return ran.seconds;
    },
  });
  return { nodes, seconds, floorSeconds, rssMiB: Math.round(most / 1024) };
}

/** How often the memory of all processes is looked at. */
const WATCH_MS = 500;

/** Throws when a node is anything but what it was made to be. */
function check({ nodes }: DriftReport, count: number, facets: number): void {
  const wrong = nodes.filter(
    ({ node, status, facets: seen }) =>
      seen.length !== facets || status !== (isDrifted(Number(node.slice(1)), DRIFTED) ? "drifted" : "clean"),
  );
  const [first] = wrong;
  if (nodes.length !== count || new Set(nodes.map(({ node }) => node)).size !== count || nameOf(0) !== nodes[0]?.node)
    throw new Error(`${nodes.length} nodes of ${count} were looked at`);
  if (first !== undefined) throw new Error(`${wrong.length} nodes are not what they are: ${JSON.stringify(first)}`);
}

/** The same engine on the same stacks, as many at a time. */
async function scanFloor({ stacks, env }: Stacks): Promise<number> {
  const started = performance.now();
  const limit = pLimit(availableParallelism());
  await Promise.all(
    stacks.map(({ stack, configFile }) =>
      limit(() =>
        timed(
          [
            ...["pulumi", "refresh", "--preview-only", "--stack", stack, "--config-file", configFile],
            ...["--parallel", "64", "--non-interactive", "--color", "never"],
          ],
          { cwd: PROGRAM, env },
        ),
      ),
    ),
  );
  return (performance.now() - started) / 1000;
}

/** Resident memory of a process and all below it. A page that two of them share counts twice. */
function residentKiB(pid: number): number {
  try {
    const text = readFileSync(`/proc/${pid}/status`, "utf8");
    const own = Number(/^VmRSS:\s+(\d+) kB$/m.exec(text)?.[1] ?? 0);
    const children = readdirSync(`/proc/${pid}/task`).flatMap((task) =>
      readFileSync(`/proc/${pid}/task/${task}/children`, "utf8").split(" ").filter(Boolean).map(Number),
    );
    return children.reduce((sum, child) => sum + residentKiB(child), own);
  } catch (error) {
    // It ended meanwhile.
    if (["ENOENT", "ESRCH"].includes((error as NodeJS.ErrnoException).code ?? "")) return 0;
    throw error;
  }
}
