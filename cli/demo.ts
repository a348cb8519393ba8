/**
 * `npm run demo`: provisions a twin with the real Pulumi and shows what a person wants to see.
 *   --json              one JSON object on stdout instead, with every number counted
 *   --platform <name>   snp (default), tdx, or tdx-8gpu: eight GPUs and four NVSwitches in Protected PCIe mode
 *   --vendor <vendor>   whose BIOS and BMC the twin has, default supermicro
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import pc from "picocolors";
import { hideSecrets, redact } from "../providers/machine/redact.ts";
import { checkNode } from "./check.ts";
import { planOf, runAll, verdictOf } from "./demo/journey.ts";
import type { PulumiRun } from "./demo/pulumi.ts";
import { PulumiStack } from "./demo/pulumi.ts";
import { groupTimes, renderTimes } from "./demo/timing.ts";
import type { DemoPlatform, DemoTwin } from "./demo/twin.ts";
import { DEMO_PLATFORMS, startDemoTwin } from "./demo/twin.ts";
import { renderTree } from "./tree.ts";

const NODE = "gpu-01";
const isPlatform = (name: string): name is DemoPlatform => name in DEMO_PLATFORMS;

const { values } = parseArgs({
  options: {
    json: { type: "boolean", default: false },
    platform: { type: "string", default: "snp" },
    vendor: { type: "string", default: "supermicro" },
  },
});
const { platform } = values;
if (!isPlatform(platform)) {
  process.stderr.write(`--platform ${platform}: this version has ${Object.keys(DEMO_PLATFORMS).join(", ")}\n`);
  process.exit(1);
}

const interrupted = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => interrupted.abort());

const started = performance.now();
const dir = await mkdtemp(join(tmpdir(), "teeup-demo-"));
let twin: DemoTwin | undefined;
try {
  twin = await startDemoTwin(join(dir, "twin"), { name: NODE, platform, vendor: values.vendor });
  const stack = await PulumiStack.create({
    dir: join(dir, "stack"),
    stack: "demo",
    config: twin.config,
    env: twin.env,
  });
  if (values.json) {
    const result = await runAll(stack, twin, interrupted.signal);
    const seconds = round((performance.now() - started) / 1000);
    process.stdout.write(`${JSON.stringify({ ...result, platform, seconds })}\n`);
    if (!result.ok) process.exitCode = 1;
  } else await show(stack, twin);
} catch (error) {
  process.stderr.write(`${redact(error instanceof Error ? error.message : String(error))}\n`);
  process.exitCode = interrupted.signal.aborted ? 130 : 1;
} finally {
  await twin?.close();
  await rm(dir, { recursive: true, force: true });
}

/** Preview and up with Pulumi's own display, then the findings, the verdict, the times and what to try next. */
async function show(stack: PulumiStack, { facts, env, counts }: DemoTwin): Promise<void> {
  const live = { live: process.stdout, signal: interrupted.signal };
  const { ssh, bmc } = facts;
  title("An untouched node");
  say(
    `A twin: SSH on ${ssh.host}:${ssh.port}, BMC on ${bmc.url}. Nothing on it is real, everything that talks to it is.`,
  );

  title("pulumi preview");
  const preview = await mustWork(stack.preview(live));
  say(`\nThe whole plan of ${NODE}, in order, each step with its disruption:\n`);
  for (const step of planOf(preview)) say(`  ${step}`);

  title("pulumi up");
  const up = await mustWork(stack.up(live));

  title("teeup check gpu-01");
  const report = await checkNode(NODE, { file: stack.configFile }, { ...process.env, ...env });
  say(renderTree(report));

  title("Attestation");
  const { verdict, claims } = verdictOf((await stack.export()).resources);
  say(`${verdict === "pass" ? pc.green("✓ pass") : pc.red(`✗ ${verdict}`)}`);
  for (const [claim, value] of Object.entries(claims)) say(`  ${claim.padEnd(14)} ${String(value)}`);

  title("How long it took");
  const { reboots } = await counts();
  const total = (performance.now() - started) / 1000;
  say(
    renderTimes([
      { what: "preview: look at the node and plan", seconds: preview.seconds },
      ...groupTimes(up.parts).map(({ what, seconds }) => ({ what: `up: ${what}`, seconds })),
      { what: "all together, Pulumi included", seconds: total },
    ]),
  );
  say(`Restarts of the host: ${reboots}. On a real node they are what takes long; the twin's take a moment.`);

  title("Next");
  say(`Your own node: ${pc.bold('README.md, "Bring a real node"')}`);
  say(`The same with drift, repair and destroy, counted: ${pc.bold("npm run demo -- --json")}`);
  if (!report.ok || verdict !== "pass") process.exitCode = 1;
}

async function mustWork(run: Promise<PulumiRun>): Promise<PulumiRun> {
  const done = await run;
  if (done.status !== 0) throw new Error(`Pulumi ended with status ${done.status}; its messages stand above.`);
  return done;
}

function title(text: string): void {
  say(`\n${pc.bold(pc.cyan(`── ${text}`))}`);
}

function say(text: string): void {
  process.stdout.write(`${hideSecrets(text)}\n`);
}

function round(n: number): number {
  return Math.round(n * 100) / 100;
}
