/**
 * `npm run bench`: what a no-op preview of one node costs beside what Pulumi itself costs, in one run.
 *   --json         every figure of every side as one JSON object
 *   --runs <n>     previews of each side, default 3
 */
import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs, promisify } from "node:util";
import Table from "cli-table3";
import { bytesOf } from "../cli/demo/journey.ts";
import { isFacetResource, PulumiStack, ROOT } from "../cli/demo/pulumi.ts";
import { startDemoTwin } from "../cli/demo/twin.ts";
import { MOST_MS, timeOfVerification } from "./attest.ts";

/** What the project promises (README): a no-op preview within this many times an empty program's. */
const MOST_TIMES = 2;
/** Bytes of state per facet resource, on average. */
const MOST_BYTES = 2048;

const { values } = parseArgs({
  options: { json: { type: "boolean", default: false }, runs: { type: "string", default: "3" } },
});
const runs = Math.max(1, Number.parseInt(values.runs, 10));
const say = (text: string) => process.stderr.write(`${text}\n`);

const dir = await mkdtemp(join(tmpdir(), "teeup-bench-"));
const twin = await startDemoTwin(join(dir, "twin"));
try {
  const node = await PulumiStack.create({ dir: join(dir, "node"), stack: "node", config: twin.config, env: twin.env });
  const empty = await PulumiStack.create({
    dir: join(dir, "empty"),
    stack: "empty",
    config: {},
    project: "empty",
    program: join(ROOT, "bench/empty"),
  });
  say("Bringing up the twin and the empty program…");
  for (const stack of [node, empty]) {
    const up = await stack.up();
    if (up.status !== 0) throw new Error(`pulumi up failed:\n${up.stdout}${up.stderr}`);
  }

  const seconds = { node: [] as number[], empty: [] as number[] };
  const execs: { host: number; guest: number }[] = [];
  for (let run = 0; run < runs; run++) {
    say(`Preview ${run + 1} of ${runs} of each…`);
    // In turns, so that whatever else the machine does falls on both.
    seconds.empty.push((await quietPreview(empty)).seconds);
    await twin.clear();
    seconds.node.push((await quietPreview(node)).seconds);
    const { hostExecs, guestExecs, mutations } = await twin.counts();
    if (mutations > 0) throw new Error(`a no-op preview made ${mutations} changes`);
    execs.push({ host: hostExecs, guest: guestExecs });
  }

  const attest = await timeOfVerification();

  // After the first up, when each part's plan of that up is still in it: it is never larger.
  const { resources } = await node.export();
  const facets = resources.filter(isFacetResource).map((resource) => ({
    facet: String(resource.outputs["facet"]),
    // Pulumi writes where the checkout lies into every resource several times; how long that path is, is not our doing.
    bytes: bytesOf(JSON.parse(JSON.stringify(resource).replaceAll(ROOT, ""))),
  }));
  const bytes = facets.reduce((sum, { bytes: b }) => sum + b, 0);
  const ratio = median(seconds.node) / median(seconds.empty);
  const result = {
    preview: {
      node: { seconds: seconds.node.map(round), median: round(median(seconds.node)) },
      empty: { seconds: seconds.empty.map(round), median: round(median(seconds.empty)) },
      ratio: round(ratio),
      most: MOST_TIMES,
    },
    execsPerPreview: { host: execs.map((e) => e.host), guest: execs.map((e) => e.guest), most: 1 },
    state: {
      resources: facets.length,
      bytes,
      bytesPerResource: Math.round(bytes / facets.length),
      most: MOST_BYTES,
      facets: Object.fromEntries(facets.map(({ facet, bytes: b }) => [facet, b])),
    },
    attest: { ...attest, most: MOST_MS },
    machine: { cpus: cpus().length, node: process.version, pulumi: await pulumiVersion(node.env) },
    ok:
      ratio <= MOST_TIMES &&
      bytes / facets.length <= MOST_BYTES &&
      attest.snpMs <= MOST_MS.snp &&
      attest.tdxMs <= MOST_MS.tdx &&
      execs.every(({ host, guest }) => host <= 1 && guest <= 1),
  };
  process.stdout.write(values.json ? `${JSON.stringify(result, null, 2)}\n` : `${table(result)}\n`);
  if (!result.ok) process.exitCode = 1;

  function table(r: typeof result): string {
    const out = new Table({ head: ["", "measured", "promised"], style: { head: [], border: [], compact: true } });
    out.push(
      ["no-op preview of one node, median", `${r.preview.node.median} s`, ""],
      ["empty program with one dynamic resource, median", `${r.preview.empty.median} s`, ""],
      ["ratio", `${r.preview.ratio}`, `≤ ${MOST_TIMES}`],
      ["SSH execs per no-op preview: host", [...new Set(r.execsPerPreview.host)].join(", "), "1"],
      ["SSH execs per no-op preview: guest", [...new Set(r.execsPerPreview.guest)].join(", "), "1"],
      [
        `state per resource, ${r.state.resources} resources, after the first up, without the checkout's path`,
        `${r.state.bytesPerResource} bytes`,
        `≤ ${MOST_BYTES}`,
      ],
    );
    out.push(
      ["one SEV-SNP report verified", `${r.attest.snpMs} ms`, `≤ ${MOST_MS.snp} ms`],
      ["one TDX quote verified, without network", `${r.attest.tdxMs} ms`, `≤ ${MOST_MS.tdx} ms`],
    );
    for (const [facet, b] of Object.entries(r.state.facets)) out.push([`  ${facet}`, `${b} bytes`, ""]);
    return out.toString();
  }
} finally {
  await twin.close();
  await rm(dir, { recursive: true, force: true });
}

/** A preview that must find nothing to do. */
async function quietPreview(stack: PulumiStack): ReturnType<PulumiStack["preview"]> {
  const preview = await stack.preview({}, "--expect-no-changes");
  if (preview.status !== 0) throw new Error(`the preview is not a no-op:\n${preview.stdout}${preview.stderr}`);
  return preview;
}

function median(numbers: readonly number[]): number {
  const sorted = [...numbers].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}

function round(n: number): number {
  return Math.round(n * 100) / 100;
}

async function pulumiVersion(env: Readonly<Record<string, string>>): Promise<string> {
  return (await promisify(execFile)("pulumi", ["version"], { env })).stdout.trim();
}
