/**
 * `npm run demo`: provisions a twin with the real Pulumi and shows what a person wants to see.
 *   --json              one JSON object on stdout instead, with every number counted
 *   --platform <name>   snp (default), tdx, or tdx-8gpu: eight GPUs and four NVSwitches in Protected PCIe mode;
 *                       baidu, an instance that exists; alibaba and alibaba-8gpu, one that the stack makes in a stand-in
 *                       of the cloud
 *   --vendor <vendor>   whose BIOS and BMC the twin has, default supermicro
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pc from "picocolors";
import { hideSecrets, redact } from "../providers/machine/redact.ts";
import { argsOf } from "./args.ts";
import { checkNode } from "./check.ts";
import { CHANGES, planLines, runAll, switchesOf, verdictOf } from "./demo/journey.ts";
import type { PulumiRun } from "./demo/pulumi.ts";
import { PulumiStack } from "./demo/pulumi.ts";
import { groupTimes, renderTimes } from "./demo/timing.ts";
import type { DemoPlatform, DemoTwin } from "./demo/twin.ts";
import { DEMO_PLATFORMS, startDemoTwin } from "./demo/twin.ts";
import { renderTree } from "./tree.ts";

const NODE = "gpu-01";
const isPlatform = (name: string): name is DemoPlatform => name in DEMO_PLATFORMS;

const { values } = argsOf(
  `usage: npm run demo -- [--json] [--platform ${Object.keys(DEMO_PLATFORMS).join("|")}] [--vendor <BIOS vendor>]`,
  {
    options: {
      json: { type: "boolean", default: false },
      platform: { type: "string", default: "snp" },
      vendor: { type: "string", default: "supermicro" },
    },
  },
);
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
async function show(stack: PulumiStack, { facts, env, counts, loss }: DemoTwin): Promise<void> {
  const live = { live: process.stdout, signal: interrupted.signal };
  const { ssh, bmc, providers } = facts;
  if (providers !== undefined) {
    title("No instance yet, in a cloud that is a stand-in");
    say(
      [
        "Alibaba Cloud and the plugins of @pulumi/alicloud and @pulumi/command are stand-ins on this machine (sim/stand-in),",
        "its instances are twins: nothing is ordered, nothing costs anything. Pulumi and the two packages are the real ones.",
        "On your machine Pulumi fetches the real plugins, which talk to the real cloud: what of that was tried, and what was",
        "not, docs/what-was-tried.md says.",
      ].join("\n"),
    );
  } else {
    title(bmc === undefined ? "An instance that exists" : "An untouched node");
    const doors = `SSH on ${ssh.host}:${ssh.port}${bmc === undefined ? "" : `, BMC on ${bmc.url}`}`;
    say(`A twin: ${doors}. Nothing on it is real, everything that talks to it is.`);
    if (loss !== undefined)
      say("Its cloud is no more than a console that a person could use: no Pulumi provider makes it.");
  }

  title("pulumi preview");
  const preview = await mustWork(stack.preview(live));
  say(`\nThe whole plan of ${NODE}, in order, each step with its disruption:\n`);
  for (const line of planLines(preview)) if (!/^\[(check|unknown)\]/.test(line)) say(`  ${line}`);

  title("pulumi up");
  const up = await mustWork(stack.up(live));

  title("teeup check gpu-01");
  const report = await checkNode(NODE, { file: stack.configFile, env: stack.env }, { ...process.env, ...env });
  say(renderTree(report));

  title("Attestation");
  const { resources } = await stack.export();
  const { verdict, claims } = verdictOf(resources);
  const switches = switchesOf(resources);
  say(`${verdict === "pass" ? pc.green("✓ pass") : pc.red(`✗ ${verdict}`)}`);
  for (const [claim, value] of Object.entries(claims)) say(`  ${claim.padEnd(14)} ${String(value)}`);
  if (switches !== undefined) say(`  ${"switches".padEnd(14)} ${switches}`);

  const sample = resources.find(({ urn }) => urn.endsWith(`::${NODE}-sample-workload`));
  if (sample !== undefined) {
    title("Sample workload, run once after the attestation");
    say(String(sample.outputs["stdout"]));
  }

  const { reboots } = await counts();
  if (loss !== undefined) {
    title(`Behind Pulumi's back: ${loss.what}`);
    await loss.lose();
    say("pulumi refresh --preview-only --expect-no-changes\n");
    const { status } = await stack.refresh(live, "--preview-only", "--expect-no-changes");
    say(`Exit status ${status}: 7 means that something is not what it was. Nothing was written.`);
    if (status !== CHANGES) process.exitCode = 1;
    say("What a preview says of it:\n");
    for (const line of planLines(await mustWork(stack.preview({ signal: interrupted.signal })))) say(`  ${line}`);
  }

  title("How long it took");
  const total = (performance.now() - started) / 1000;
  say(
    renderTimes([
      { what: "preview: look at the node and plan", seconds: preview.seconds },
      ...groupTimes(up.parts).map(({ what, seconds }) => ({ what: `up: ${what}`, seconds })),
      { what: "all together, Pulumi included", seconds: total },
    ]),
  );
  const what = loss === undefined ? "host" : "instance";
  say(`Restarts of the ${what}: ${reboots}. On a real node they are what takes long; the twin's take a moment.`);

  title("Next");
  const page = {
    "onprem-snp": undefined,
    "onprem-tdx": undefined,
    "baidu-bcc": "baidu-bcc",
    "alibaba-gn8v-tee": "alibaba-gn8v-tee",
  };
  const guide = page[DEMO_PLATFORMS[platform as DemoPlatform].platform];
  say(`Your own node: ${pc.bold(guide === undefined ? 'README.md, "Bring a real node"' : `docs/${guide}.md`)}`);
  const again = `npm run demo -- --json${platform === "snp" ? "" : ` --platform ${platform}`}`;
  say(`The same with drift, repair and destroy, counted: ${pc.bold(again)}`);
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
