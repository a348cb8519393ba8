import { createHash } from "node:crypto";
import type { JobLine } from "./action.ts";
import type { Asks } from "./ask.ts";
import { JOB_DIR } from "./protocol.ts";
import { quoteWords, splitLines } from "./words.ts";

/**
 * A job on a machine: a script, the transient unit that runs it, and the marker it leaves when it is done. All names
 * come from the job's name and lines, so a second run finds the first one's unit.
 */
export interface JobPlace {
  /** `teeup-<name>-<12 hex digits>`, without `.service`. */
  readonly unit: string;
  readonly dir: string;
  readonly script: string;
  /** Exists once every line has succeeded. */
  readonly marker: string;
}

export function jobPlace(name: string, lines: readonly JobLine[], jobDir: string = JOB_DIR): JobPlace {
  if (!/^[a-z0-9][a-z0-9-]{0,62}$/.test(name)) throw new Error(`job name ${JSON.stringify(name)} is not kebab-case`);
  const parts = lines.map((line) => [line.cwd ?? "", ...line.argv]);
  const hash = createHash("sha256").update(JSON.stringify(parts)).digest("hex").slice(0, 12);
  const dir = `${jobDir}/${name}-${hash}`;
  return { unit: `teeup-${name}-${hash}`, dir, script: `${dir}/script`, marker: `${dir}/done` };
}

/** systemd-run's argv. The unit is gone from systemd's memory once it ended, failed or not; the marker tells which. */
export function jobStart(place: JobPlace, timeoutSeconds: number): [string, ...string[]] {
  return [
    "systemd-run",
    `--unit=${place.unit}`,
    "--collect",
    "--quiet",
    "--property=Type=exec",
    `--property=RuntimeMaxSec=${timeoutSeconds}`,
    "--setenv=HOME=/root",
    "--setenv=DEBIAN_FRONTEND=noninteractive",
    "--setenv=LC_ALL=C",
    "/bin/sh",
    place.script,
  ];
}

/**
 * What a waiting run asks of a job, in this order: the marker is read after the state, so "not active and no marker"
 * means that it failed.
 */
export function jobAsks(place: JobPlace) {
  return {
    state: { kind: "argv", argv: ["systemctl", "show", `${place.unit}.service`, "-p", "ActiveState"] },
    last: { kind: "argv", argv: ["journalctl", "-u", place.unit, "-n", "1", "-o", "cat", "--no-pager"] },
    marker: { kind: "file", path: place.marker },
  } as const satisfies Asks;
}

/** The end of a failed job's output. */
export function jobTail(place: JobPlace) {
  return {
    tail: { kind: "argv", argv: ["journalctl", "-u", place.unit, "-n", "40", "-o", "cat", "--no-pager"] },
  } as const satisfies Asks;
}

/** Clears what systemd remembers of a failed run of the same unit. */
export const jobReset = (place: JobPlace): [string, ...string[]] => [
  "systemctl",
  "reset-failed",
  `${place.unit}.service`,
];

// `exec` runs programs only, never a shell's own words, and the subshell keeps a line's folder from the next line.
// What a line runs is printed first, so the journal shows where a job stands.
const HEAD = `#!/bin/sh
# teeup-job 1
set -e
line() { d=$1; shift; printf '+ %s\\n' "$*"; (cd "$d" && exec "$@"); }
`;

export function jobScript(lines: readonly JobLine[], place: JobPlace): string {
  const body = lines.map((line) => `line ${quoteWords([line.cwd ?? "/", ...line.argv])}\n`).join("");
  return `${HEAD}${body}line ${quoteWords(["/", "touch", place.marker])}\n`;
}

/** The lines of a script of {@link jobScript}, the last one leaving the marker; for a simulated node. */
export function parseJobScript(script: string): { cwd: string; argv: string[] }[] {
  if (!script.startsWith(HEAD)) throw new Error("not a teeup job script");
  return splitLines(script.slice(HEAD.length)).map(([verb, cwd, ...argv]) => {
    if (verb !== "line" || cwd === undefined || argv.length === 0) throw new Error("not a line of a job");
    return { cwd, argv };
  });
}
