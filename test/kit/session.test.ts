import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import fc from "fast-check";
import { jobPlace, jobScript, jobStart, parseJobScript } from "../../providers/kit/job.ts";
import { BATCH_ARGV, execCommand, lockArgv, parseExec } from "../../providers/kit/session.ts";
import { quoteWords, splitLines } from "../../providers/kit/words.ts";

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "teeup-job-"));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const words = fc.array(
  fc
    .oneof(fc.string(), fc.string({ unit: fc.constantFrom("'", '"', "\\", "\n", " ", "$", "é") }))
    .map((s) => s.replaceAll("\0", "")),
  { minLength: 1, maxLength: 6 },
);

test("lines of quoted words are read back as they were written", () => {
  fc.assert(
    fc.property(fc.array(words, { maxLength: 5 }), (lines) => {
      expect(splitLines(lines.map((line) => `${quoteWords(line)}\n`).join(""))).toEqual(lines);
    }),
    { numRuns: 300 },
  );
});

test.each(["a $b", "`id`", "a\\ b", "'open", '"x"'])("what nobody here writes is refused: %s", (line) => {
  expect(() => splitLines(line)).toThrow(/not a quoted word/);
});

test.each(["none", "sudo", "sudo-password"] as const)("an exec line is recognised: %s", (become) => {
  for (const argv of [[...BATCH_ARGV], lockArgv(), lockArgv("/tmp/a b", "/tmp/'")])
    expect(parseExec(execCommand(become, argv))).toEqual({ become, argv });
});

test("a job's names follow from its name and lines", () => {
  const a = jobPlace("kernel", [{ argv: ["make", "-j"] }]);
  expect(a.unit).toMatch(/^teeup-kernel-[0-9a-f]{12}$/);
  expect(jobPlace("kernel", [{ argv: ["make", "-j"] }])).toEqual(a);
  expect(jobPlace("kernel", [{ argv: ["make", "-j"], cwd: "/src" }]).unit).not.toBe(a.unit);
  expect(jobPlace("kernel", [{ argv: ["make"] }, { argv: ["-j"] }]).unit).not.toBe(a.unit);
  expect(() => jobPlace("../x", [])).toThrow(/kebab-case/);
  expect(jobStart(a, 60).at(-1)).toBe(a.script);
});

test("a job's script is read back as it was written", () => {
  fc.assert(
    fc.property(fc.array(words, { maxLength: 4 }), (lists) => {
      const lines = lists.map((argv) => ({ cwd: "/a b", argv: argv as [string, ...string[]] }));
      const place = jobPlace("x", lines);
      const marker = { cwd: "/", argv: ["touch", place.marker] };
      expect(parseJobScript(jobScript(lines, place))).toEqual([...lines, marker]);
    }),
  );
});

const runJob = (lines: { argv: [string, ...string[]]; cwd?: string }[]) => {
  const place = jobPlace("x", lines, dir);
  spawnSync("mkdir", ["-p", place.dir]);
  writeFileSync(place.script, jobScript(lines, place));
  const { status, stdout } = spawnSync("dash", [place.script], { encoding: "utf8" });
  return { status, stdout, done: existsSync(place.marker) };
};

test("a job runs its lines in their folders, prints each, and leaves its marker", () => {
  expect(
    runJob([{ argv: ["pwd"], cwd: "/usr" }, { argv: ["pwd"] }, { argv: ["printf", "<%s>", "a  b", "$x", ""] }]),
  ).toEqual({
    status: 0,
    stdout: expect.stringContaining("+ pwd\n/usr\n+ pwd\n/\n+ printf <%s> a  b $x \n<a  b><$x><>"),
    done: true,
  });
});

test.each([
  ["a failing line", { argv: ["false"] as [string] }],
  ["a missing folder", { argv: ["true"] as [string], cwd: "/none" }],
  ["a shell's own word", { argv: ["exit", "0"] as [string, string] }],
  ["an assignment", { argv: ["A=b"] as [string] }],
])("a job ends at %s", (_name, line) => {
  const after = { argv: ["echo", "not reached"] as [string, string] };
  const { status, stdout, done } = runJob([line, after]);
  expect(status).not.toBe(0);
  expect(stdout).not.toContain("not reached");
  expect(done).toBe(false);
});
