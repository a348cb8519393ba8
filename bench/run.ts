/**
 * `npm run bench`: what scans and previews cost beside what Pulumi, SSH and others cost, all in one run; and how well a
 * scan tells what changed. Writes docs/benchmark.md when it has all.
 *   --json           prints every figure as one JSON object
 *   --runs <n>       runs of each side, default 3
 *   --nodes <n,…>    sizes of fleets, default 100,1000,10000
 *   --tries <n>      facts to change, default 500
 *   --seed <n>       which ones; default 1
 *   --only <part,…>  of accuracy, drift20, fleet, preview, attest
 *   --with <file,…>  JSON of earlier runs, for the parts that this one leaves out; the page says so
 * Exit status 1 when a promise is not kept.
 */
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { cpus, loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs, promisify } from "node:util";
import Table from "cli-table3";
import { type PulumiStack, ROOT } from "../cli/demo/pulumi.ts";
import { prepare } from "../test/lab/foreground.ts";
import { pulumiEnv } from "../tools/toolchain.ts";
import { accuracy } from "./accuracy/accuracy.ts";
import { MOST_MS, timeOfVerification } from "./attest.ts";
import { drift20 } from "./drift20.ts";
import type { Figures } from "./figures.ts";
import { FiguresSchema, promises } from "./figures.ts";
import { Fleet } from "./fleet/stacks.ts";
import { DRIFTED, type FleetFigure, measureFleet, startMachines } from "./fleet.ts";
import { benchmarkPage, type Conditions } from "./page.ts";
import { emptyStack, measurePreview } from "./preview.ts";
import { round } from "./timing.ts";

const PARTS = ["accuracy", "drift20", "fleet", "preview", "attest"] as const;
/** Above this many nodes one run has to do. */
const OFTEN = 1000;

const { values } = parseArgs({
  options: {
    json: { type: "boolean", default: false },
    runs: { type: "string", default: "3" },
    nodes: { type: "string", default: "100,1000,10000" },
    tries: { type: "string", default: "500" },
    seed: { type: "string", default: "1" },
    only: { type: "string", default: PARTS.join(",") },
    with: { type: "string", default: "" },
  },
});
const runs = Math.max(1, Number.parseInt(values.runs, 10));
const sizes = values.nodes.split(",").map(Number);
const parts = new Set(values.only.split(","));
const say = (text: string) => process.stderr.write(`${text}\n`);
for (const part of parts)
  if (!PARTS.some((one) => one === part)) throw new Error(`--only ${part}: there are ${PARTS.join(", ")}`);
if (parts.has("drift20")) prepare();

const dir = await mkdtemp(join(tmpdir(), "teeup-bench-"));
const load = [round(loadavg()[0] ?? 0), round(loadavg()[2] ?? 0)] as const;
try {
  const earlier = await Promise.all(values.with.split(",").filter(Boolean).map(figuresOf));
  const figures: Figures = Object.assign({}, ...earlier, await measure());
  const kept = promises(figures, MOST_MS);
  const at: Conditions = {
    day: new Date().toISOString().slice(0, 10),
    cpus: cpus().length,
    node: process.version,
    pulumi: await pulumiVersion(),
    runs,
    load,
    together: earlier.length === 0,
  };
  const result = { ...figures, promises: kept, machine: at, ok: kept.every(({ holds }) => holds) };
  if (values.json) process.stdout.write(`${JSON.stringify(result, null, 2)}\n`);
  else {
    const out = new Table({ head: ["", "measured", "promised", ""], style: { head: [], border: [], compact: true } });
    for (const { what, measured, promised, holds } of kept)
      out.push([what, measured, promised, holds ? "kept" : "NOT KEPT"]);
    process.stdout.write(`${out.toString()}\n`);
  }
  if (
    [figures.accuracy, figures.attest, figures.drift20, figures.fleet, figures.preview].every(
      (part) => part !== undefined,
    )
  )
    await writeFile(join(ROOT, "docs/benchmark.md"), benchmarkPage(figures, kept, at));
  if (!result.ok) process.exitCode = 1;
} finally {
  await rm(dir, { recursive: true, force: true });
}

async function measure(): Promise<Figures> {
  const empty = parts.has("drift20") || parts.has("preview") ? await emptyStack(dir) : undefined;
  const preview = parts.has("preview") && empty !== undefined ? await measurePreview(dir, empty, runs, say) : undefined;
  const scans = parts.has("drift20") || parts.has("fleet") ? await measureScans() : {};
  const told = parts.has("accuracy") ? await changes() : undefined;
  const attest = parts.has("attest") ? await timeOfVerification() : undefined;
  return {
    ...scans,
    ...(preview === undefined
      ? {}
      : {
          preview: { oneNode: preview.oneNode, emptyProgram: preview.emptyProgram },
          details: { execs: preview.execs, state: preview.state },
        }),
    ...(told === undefined ? {} : { accuracy: told }),
    ...(attest === undefined ? {} : { attest }),
  };

  async function measureScans(): Promise<Pick<Figures, "drift20" | "fleet">> {
    say("Starting the fleet's machines…");
    const nodes = parts.has("fleet") ? Math.max(...sizes) : 1;
    const { machines, close } = await startMachines("--nodes", String(nodes), "--drifted", String(DRIFTED));
    try {
      const fleet = await Fleet.create(join(dir, "fleet"), machines);
      const figures: FleetFigure[] = [];
      for (const size of parts.has("fleet") ? sizes : []) {
        say(`${size} nodes…`);
        const figure = await measureFleet(fleet, size, size > OFTEN ? 1 : runs);
        say(JSON.stringify(figure));
        figures.push(figure);
      }
      const small = empty !== undefined && parts.has("drift20") ? await hosts(fleet, empty) : undefined;
      if (small !== undefined) say(JSON.stringify(small));
      return {
        ...(small === undefined ? {} : { drift20: small }),
        ...(figures.length === 0 ? {} : { fleet: figures }),
      };
    } finally {
      await close();
    }
  }

  function hosts(fleet: Fleet, nothing: PulumiStack) {
    say("20 hosts, with TeeUp, Ansible, pyinfra, bare ssh2 and an empty refresh…");
    return drift20(dir, fleet, nothing, runs, say);
  }

  function changes() {
    say(`${values.tries} facts change…`);
    return accuracy(Number(values.tries), Number(values.seed), say);
  }
}

/** What an earlier run printed with --json. */
async function figuresOf(file: string): Promise<object> {
  return FiguresSchema.parse(JSON.parse(await readFile(file, "utf8")));
}

async function pulumiVersion(): Promise<string> {
  const env = pulumiEnv({ home: join(dir, "home"), backendDir: join(dir, "state"), passphrase: "bench" });
  return (await promisify(execFile)("pulumi", ["version"], { env })).stdout.trim();
}
