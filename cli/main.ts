#!/usr/bin/env node
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { Command } from "commander";
import { TeeUpError } from "../providers/kit/errors.ts";
import { hideSecrets, redact } from "../providers/machine/redact.ts";

/** Exit statuses: 0 all well, 1 the command failed, 3 it worked and found something wrong. */
const FOUND_SOMETHING = 3;

// By the package's own name: the path differs between the checkout and the package.
const packageJson = createRequire(import.meta.url)("teeup/package.json") as { version: string };

const program = new Command("teeup")
  .description("Confidential GPU nodes as code.")
  .version(packageJson.version)
  .showHelpAfterError("(teeup --help lists the commands)");

const withStack = (command: Command): Command =>
  command
    .option("-s, --stack <name>", "stack to read the node from; default: the selected one")
    .option("-f, --file <path>", "read a Pulumi.<stack>.yaml instead of asking Pulumi");

withStack(program.command("check <node>"))
  .description("Asks a node everything and shows what is wanted, what was seen and how to fix it. Changes nothing.")
  .option("--json", "print the findings as one JSON object")
  .action(async (node: string, options: { stack?: string; file?: string; json?: boolean }) => {
    const { checkNode } = await import("./check.ts");
    const { renderTree } = await import("./tree.ts");
    const report = await checkNode(node, options);
    say(options.json === true ? JSON.stringify(report, null, 2) : renderTree(report));
    if (!report.ok) process.exitCode = FOUND_SOMETHING;
  });

withStack(program.command("trust <node>"))
  .description("Shows the host keys of a node (and of its bastion), asks, and adds them to known_hosts.")
  .option("-y, --yes", "do not ask; only with --fingerprint")
  .option("--fingerprint <SHA256:…...>", "what whoever runs the machine says its host key is; another one is refused")
  .action(async (node: string, options: { stack?: string; file?: string; yes?: boolean; fingerprint?: string[] }) => {
    const { trustNode } = await import("./trust.ts");
    await trustNode(node, options);
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

function say(text: string): void {
  // Its own text: colours stay. What a machine said in it passed redact() before.
  process.stdout.write(`${hideSecrets(text)}\n`);
}
