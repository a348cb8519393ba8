#!/usr/bin/env node
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { Command, InvalidArgumentError, Option } from "commander";
import { TeeUpError } from "../providers/kit/errors.ts";
import { hideSecrets, redact } from "../providers/machine/redact.ts";
import type { VerifyOptions } from "./attest.ts";
import type { AttestOptions } from "./attest-node.ts";
import type { AuditOptions } from "./audit.ts";
import type { DriftOptions } from "./drift.ts";
import type { DriftFormats } from "./drift-formats.ts";
import type { NodeReport } from "./report.ts";

/** Exit statuses: 0 all well, 1 the command failed, 3 it worked and found something wrong; `drift` has 2 besides. */
const FOUND_SOMETHING = 3;

// By the package's own name: the path differs between the checkout and the package.
const packageJson = createRequire(import.meta.url)("teeup/package.json") as { version: string };

const program = new Command("teeup")
  .description("Confidential GPU nodes as code.")
  // An option belongs to the command before it: `attest` and `attest verify` have some of the same name.
  .enablePositionalOptions()
  .version(packageJson.version)
  .showHelpAfterError("(teeup --help lists the commands)");

const withStack = (command: Command): Command =>
  command
    .option("-s, --stack <name>", "stack to read the node from; default: the selected one")
    .option("-f, --file <path>", "read a Pulumi.<stack>.yaml instead of asking Pulumi");

interface CheckOptions extends Partial<AuditOptions> {
  readonly stack?: string;
  readonly file?: string;
  readonly json?: boolean;
}

withStack(program.command("check <node>"))
  .description(
    "Asks a node everything and shows what is wanted, what was seen and how to fix it. Changes nothing. With --profile the machine need not be in any stack.",
  )
  .option("-p, --profile <name>", "judge any machine by this profile: <node> is then a host name for ssh")
  .option("--local", "with --profile: look at this very machine, without ssh")
  .option("--guest", "with --profile: the machine is the confidential guest itself")
  .addOption(
    new Option("--gpu-mode <mode>", "with --profile: the GPUs' mode").choices(["on", "off", "devtools", "ppcie"]),
  )
  .option("--pin <path=value...>", "with --profile: values that the profile leaves open")
  .option("--json", "print the findings as one JSON object")
  .action(async (node: string, options: CheckOptions) => {
    const { renderTree } = await import("./tree.ts");
    const report = await check(node, options);
    say(options.json === true ? JSON.stringify(report, null, 2) : renderTree(report));
    if (!report.ok) process.exitCode = FOUND_SOMETHING;
  });

interface DriftCommand extends DriftOptions, DriftFormats {
  readonly merge?: readonly string[];
  readonly maxAge?: number;
  readonly trend?: readonly string[];
}

async function check(node: string, { profile, ...options }: CheckOptions): Promise<NodeReport> {
  if (profile !== undefined) return (await import("./audit.ts")).auditMachine(node, { ...options, profile });
  const alone = (["local", "guest", "gpuMode", "pin"] as const).find((name) => options[name] !== undefined);
  if (alone === undefined) return (await import("./check.ts")).checkNode(node, options);
  throw new TeeUpError({
    code: "check.no-profile",
    subject: `--${alone === "gpuMode" ? "gpu-mode" : alone}`,
    saw: "only goes with --profile; without it, the node's stack says what is wanted",
    next: `teeup check ${node} --profile <name>`,
  });
}

withStack(program.command("trust <node>"))
  .description("Shows the host keys of a node (and of its bastion), asks, and adds them to known_hosts.")
  .option("-y, --yes", "do not ask; only with --fingerprint")
  .option("--fingerprint <SHA256:…...>", "what whoever runs the machine says its host key is; another one is refused")
  .action(async (node: string, options: { stack?: string; file?: string; yes?: boolean; fingerprint?: string[] }) => {
    const { trustNode } = await import("./trust.ts");
    await trustNode(node, options);
  });

program
  .command("report [preview]")
  .description(
    "Turns `TEEUP_REVIEW=1 pulumi preview --json` (a file, or - for stdin) into Markdown for a code review. Without a file it makes the preview itself. Changes nothing. Exit status 3: a node could not be looked at, or the preview is not whole.",
  )
  .option("-s, --stack <name>", "stack to preview; default: the selected one")
  .option(
    "--status <n>",
    "exit status of the preview in the file: after a failed one nothing is to be approved",
    Number,
  )
  .addOption(new Option("--json", "print the same facts as one JSON object").conflicts("sarif"))
  .option("--sarif", "print them as SARIF 2.1.0, for code scanning")
  .option("--stack-file <path>", "with --sarif: the file that findings are shown at", "Pulumi.yaml")
  .action(
    async (
      preview: string | undefined,
      options: { stack?: string; status?: number; json?: true; sarif?: true; stackFile: string },
    ) => {
      const { stack, status } = options;
      const { previewReport, reportStatus } = await import("./preview-report.ts");
      const report = await previewReport({ preview, stack, status });
      process.exitCode = reportStatus(report);
      if (options.json === true) return say(JSON.stringify(report, null, 2));
      if (options.sarif !== true) return say((await import("./formats/review-markdown.ts")).reviewMarkdown(report));
      const { reviewSarif } = await import("./formats/review-sarif.ts");
      say(reviewSarif(report, { file: options.stackFile, version: packageJson.version }));
    },
  );

program
  .command("drift")
  .description(
    "Looks at every node of a fleet and tells what is no longer as it was brought up. Changes nothing. Exit status 0: clean, 2: drift, 3: something could not be looked at, 1: no scan.",
  )
  .option("-s, --stack <name>", "one stack of the project in this folder, without a fleet file")
  .option("--fleet <file>", "the fleet file: stacks and their labels (docs/fleet.schema.json)", "fleet.yaml")
  .option("--select <label=value...>", "only nodes with these labels; stack and node are labels too")
  .option("--shard <i/n>", "only the i-th of n equal parts, from 1")
  .option("--parallel <n>", "stacks at a time; default: one for each processor", positive)
  .option("--timeout <seconds>", "for one stack", positive, 600)
  .option("--merge <results...>", "scan nothing: join what shards wrote with --json")
  .option("--max-age <minutes>", "with --merge: an older result is none, as of a run before this one", positive)
  .option("--json [file]", "the facts as JSON; like every format to stdout, or to a file")
  .option("--markdown [file]", "at most 65,000 characters, for a comment or a step summary")
  .option("--junit [file]", "JUnit XML")
  .option("--sarif [file]", "SARIF 2.1.0")
  .option("--prometheus [file]", "for node_exporter's textfile collector")
  .option("--html [file]", "one page that needs nothing else: nodes by facets, with a filter")
  .option("--trend <scans...>", "with --html: earlier scans, saved with --json, that the page shows beside this one")
  .action(async (options: DriftCommand) => {
    const { mergeScans, readScans, scanFleet } = await import("./drift.ts");
    const { exitStatus } = await import("./formats/drift-facts.ts");
    const { merge, maxAge, trend = [], ...scan } = options;
    // Before the scan: a file that is no scan would end it at its end.
    const earlier = await readScans(trend);
    const report =
      merge === undefined
        ? await scanFleet(scan, (line) => process.stderr.write(`${redact(line)}\n`))
        : await mergeScans(merge, maxAge);
    const { writeDrift } = await import("./drift-formats.ts");
    await writeDrift(report, options, say, packageJson.version, earlier);
    process.exitCode = exitStatus(report);
  });

interface UpCommand {
  readonly rolling?: true;
  readonly fleet: string;
  readonly stack?: string;
  readonly select?: readonly string[];
  readonly canary?: readonly string[];
  readonly maxUnavailable: number;
  readonly stopOnFailure?: boolean;
  readonly journal: string;
  readonly timeout: number;
  readonly json?: true;
}

program
  .command("up")
  .description(
    "Brings up the nodes of a fleet a few at a time, canary first. Killed, the same command goes on. Exit status 0: every node is as wanted, 3: some are not, 1: nothing was begun.",
  )
  .option("--rolling", "the only way that this command has; all nodes of a stack at once: pulumi up")
  .option("-s, --stack <name>", "one stack of the project in this folder, without a fleet file")
  .option("--fleet <file>", "the fleet file: stacks and their labels (docs/fleet.schema.json)", "fleet.yaml")
  .option("--select <label=value...>", "only nodes with these labels; stack and node are labels too")
  .option("--max-unavailable <k>", "of the chosen nodes, those included that are not well by themselves", positive, 1)
  .option("--stop-on-failure", "take no other node once one has failed; without it only the canary's failure ends all")
  .option("--canary <label=value...>", "the node that goes first; default: the first one that is not as wanted")
  .option("--journal <file>", "what a killed run goes on from", "teeup-rolling.jsonl")
  .option("--timeout <seconds>", "for a look at one stack", positive, 600)
  .option("--json", "print the outcome as one JSON object")
  .action(async ({ rolling, json, stopOnFailure = false, ...options }: UpCommand) => {
    if (rolling !== true)
      throw new TeeUpError({
        code: "up.not-rolling",
        subject: "teeup up",
        saw: "without --rolling it is pulumi up",
        next: "pulumi up, or teeup up --rolling --max-unavailable 1",
      });
    const { rollFleet, rollingStatus, rollingTable } = await import("./rolling.ts");
    const report = await rollFleet({ ...options, stopOnFailure }, (line) => process.stderr.write(`${redact(line)}\n`));
    say(json === true ? JSON.stringify(report, null, 2) : rollingTable(report));
    process.exitCode = rollingStatus(report);
  });

withStack(program.command("record <node>"))
  .description(
    "Saves what a node answers, redacted and dated, so that `pulumi preview` with teeup:facts=recorded can be made where the node cannot be reached. Changes nothing on it.",
  )
  .option("-o, --out <folder>", "where the record goes; default: the stack's teeup:records")
  .action(async (node: string, options: { stack?: string; file?: string; out?: string }) => {
    const { recordNode } = await import("./record.ts");
    const { path, at, hash } = await recordNode(node, options);
    say(`${path}: ${node} as of ${at}, sha256 ${hash}`);
  });

const attest = withStack(program.command("attest"))
  .enablePositionalOptions()
  .argument("[node]", "a node of the stack")
  .description(
    "Asks a node's guest for evidence over a fresh nonce and verifies it here, as teeup:attestation wants it. Releases nothing. Exit status 0: good, 3: refused, 1: no verdict could be had.",
  )
  .option("--out <file>", "write the evidence with its nonce and policy there, for teeup attest verify")
  .option("--ear <file>", "write the signed result (IETF EAR as JWT) there")
  .option("--json", "print the result as one JSON object")
  .action(async (node: string | undefined, { json, ...options }: AttestOptions & { json?: boolean }) => {
    if (node === undefined) return attest.help({ error: true });
    const { attestNode, renderAttested } = await import("./attest-node.ts");
    const attested = await attestNode(node, options);
    say(json === true ? JSON.stringify(attested, null, 2) : renderAttested(attested));
    const { verdict } = attested.appraisal;
    if (verdict !== "pass") process.exitCode = verdict === "fail" ? FOUND_SOMETHING : 1;
  });
attest
  .command("verify <file>")
  .description(
    "Verifies a file of evidence against the vendors' pinned roots, offline. Exit status 0: good, 3: refused, 1: not looked at.",
  )
  .option("--policy <file>", "what the guest has to be, as JSON; default the policy in the file")
  .option("--nonce <hex>", "the nonce that you sent; without it nothing is said about when the evidence was made")
  .option(
    "--host-key <line>",
    "public line of the SSH host key that you saw; without it nothing is said about a session",
  )
  .option("--at <time>", "judge as of this time (ISO 8601); default now")
  .option("--ear <file>", "write the signed result (IETF EAR as JWT) there; needs --key")
  .option("--key <file>", "private key (PKCS#8 PEM: Ed25519, P-256 or P-384) that signs the result")
  .option("--json", "print the result as one JSON object")
  .action(async (file: string, { json, ...options }: VerifyOptions & { json?: boolean }) => {
    const { renderVerified, verifyFile } = await import("./attest.ts");
    const verified = await verifyFile(file, options, packageJson.version);
    say(json === true ? JSON.stringify(verified, null, 2) : renderVerified(verified));
    if (verified.verdict === "fail") process.exitCode = FOUND_SOMETHING;
  });

// Only the checkout has the data that the pages are made of.
if (existsSync(new URL("../docs/coverage-data/ids.json", import.meta.url)))
  program
    .command("docs")
    .description("Regenerates the generated pages of docs/.")
    .option("--check", "write nothing; fail when a page is not up to date")
    .action(async (options: { check?: boolean }) => {
      const { outdated, writePages } = await import("./docs.ts");
      const root = fileURLToPath(new URL("..", import.meta.url));
      if (options.check !== true) {
        say(
          writePages(root)
            .map((path) => `wrote ${path}`)
            .join("\n") || "all pages are up to date",
        );
        return;
      }
      const stale = outdated(root);
      if (stale.length === 0) return;
      throw new TeeUpError({ code: "docs.outdated", saw: `not up to date: ${stale.join(", ")}`, next: "npm run docs" });
    });

try {
  await program.parseAsync();
} catch (error) {
  // A person reads one message; the stack of anything else than TeeUp's own errors is a bug report.
  const text =
    error instanceof TeeUpError
      ? error.message
      : error instanceof Error
        ? (error.stack ?? error.message)
        : String(error);
  process.stderr.write(`${redact(text)}\n`);
  process.exitCode = 1;
}

function positive(text: string): number {
  const n = Number(text);
  if (Number.isInteger(n) && n > 0) return n;
  throw new InvalidArgumentError("a whole number above 0 is wanted.");
}

function say(text: string): void {
  // Its own text: colours stay. What a machine said in it passed redact() before.
  process.stdout.write(`${hideSecrets(text)}\n`);
}
