import * as shlex from "shlex";
import type { Answer } from "./ask.ts";

/**
 * The wire format between TeeUp and a machine: one POSIX sh script on the stdin of `sh -s` carries any number of
 * entries, and length-prefixed frames come back. Every line after the constant prelude is one verb and quoted words,
 * so nothing from outside is ever parsed as shell. The script needs only sh, timeout, head, wc, mktemp, base64.
 *
 * The twin reads the same lines with {@link parseBatch}, without running a shell.
 */
export type Entry =
  | {
      readonly verb: "ask";
      readonly argv: readonly string[];
      readonly seconds: number;
      readonly maxBytes: number;
      readonly gates: readonly { readonly argv: readonly string[]; readonly exit: number }[];
    }
  | { readonly verb: "read"; readonly path: string; readonly maxBytes: number }
  | { readonly verb: "run"; readonly argv: readonly string[]; readonly seconds: number }
  | {
      readonly verb: "put";
      readonly path: string;
      readonly mode: string;
      readonly owner: string;
      readonly content: string;
    }
  | { readonly verb: "remove"; readonly path: string };

/** Bytes of output kept of an action (`run`): its end, where the error stands. */
export const RUN_OUTPUT_BYTES = 16_384;
const STDERR_BYTES = 4096;

const PRELUDE = `# teeup-batch 1
LC_ALL=C; LANG=C; DEBIAN_FRONTEND=noninteractive; PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export LC_ALL LANG DEBIAN_FRONTEND PATH
umask 022
d=$(mktemp -d /dev/shm/teeup.XXXXXXXX 2>/dev/null) || d=$(mktemp -d) || exit 99
trap 'rm -rf "$d"' EXIT
trap 'exit 98' HUP INT TERM PIPE
g=
frame() {
  printf '\\n#teeup %s %s %s %s %s\\n' "$1" "$2" "$3" "$(wc -c <"$d/o" | tr -d ' ')" "$(wc -c <"$d/e" | tr -d ' ')"
  cat "$d/o" "$d/e"
}
clear() { : >"$d/o"; : >"$d/e"; }
kind() { case $1 in 124|137) k=timeout;; 126) k=denied;; 127) k=missing;; *) k=ran;; esac; }
gate() {
  [ -z "$g" ] || return 0
  want=$2; name=$1; shift 2
  timeout -k 2 15 "$@" </dev/null >/dev/null 2>&1
  [ $? -eq "$want" ] || g=$name
}
ask() {
  i=$1; t=$2; b=$3; shift 3; clear
  if [ -n "$g" ]; then printf %s "$g" >"$d/o"; frame "$i" skipped 0; g=; return 0; fi
  if ! command -v "$1" >/dev/null 2>&1; then frame "$i" missing 127; return 0; fi
  { { timeout -k 2 "$t" "$@" </dev/null 2>"$d/e2"; printf %s "$?" >"$d/s"; } | head -c "$((b + 1))" >"$d/o"; } 2>/dev/null
  head -c ${STDERR_BYTES} "$d/e2" >"$d/e"
  s=$(cat "$d/s"); kind "$s"; frame "$i" "$k" "$s"
}
read_() {
  i=$1; b=$2; clear
  if [ ! -e "$3" ]; then
    # A folder that may not be searched looks just like a missing file.
    p=$3; while [ "$p" != / ] && [ ! -e "$p" ]; do p=$(dirname "$p"); done
    if [ -d "$p" ] && [ ! -x "$p" ]; then frame "$i" denied 1; else frame "$i" missing 1; fi
    return 0
  fi
  if [ ! -r "$3" ]; then frame "$i" denied 1; return 0; fi
  head -c "$((b + 1))" <"$3" >"$d/o" 2>"$d/e"
  s=$?; if [ "$s" -eq 0 ]; then k=ran; else k=error; fi; frame "$i" "$k" "$s"
}
run() {
  i=$1; t=$2; shift 2; clear
  if ! command -v "$1" >/dev/null 2>&1; then frame "$i" missing 127; return 0; fi
  timeout -k 10 "$t" "$@" </dev/null >"$d/o2" 2>"$d/e2"; s=$?
  tail -c ${RUN_OUTPUT_BYTES} "$d/o2" >"$d/o"; tail -c ${STDERR_BYTES} "$d/e2" >"$d/e"
  kind "$s"; frame "$i" "$k" "$s"
}
put() {
  i=$1; clear
  t=
  if mkdir -p "$(dirname "$2")" 2>"$d/e" && t=$(mktemp "$2.teeup.XXXXXX" 2>"$d/e") &&
    printf %s "$5" | base64 -d >"$t" 2>"$d/e" && [ "$(wc -c <"$t")" -eq "$6" ] &&
    chown "$4" "$t" 2>"$d/e" && chmod "$3" "$t" 2>"$d/e" && sync "$t" 2>"$d/e" && mv -f "$t" "$2" 2>"$d/e"
  then frame "$i" ran 0
  else [ -s "$d/e" ] || printf 'write of %s came out short: is the disk full?' "$2" >"$d/e"; [ -z "$t" ] || rm -f "$t"; frame "$i" ran 1; fi
}
remove() { i=$1; clear; rm -f "$2" 2>"$d/e"; frame "$i" ran $?; }
`;

const END_OF_PRELUDE = "# entries";

const q = shlex.quote;

/** Compiles entries into one script for the stdin of `sh -s`. Entry n answers as frame n. */
export function compileBatch(entries: readonly Entry[]): string {
  const lines = entries.flatMap((entry, id) => {
    switch (entry.verb) {
      case "ask":
        return [
          ...entry.gates.map((gate, n) => `gate ${n + 1} ${gate.exit} ${words(gate.argv)}`),
          `ask ${id} ${entry.seconds} ${entry.maxBytes} ${words(entry.argv)}`,
        ];
      case "read":
        return [`read_ ${id} ${entry.maxBytes} ${q(entry.path)}`];
      case "run":
        return [`run ${id} ${entry.seconds} ${words(entry.argv)}`];
      case "put": {
        const content = Buffer.from(entry.content, "utf8");
        return [
          `put ${id} ${[entry.path, entry.mode, entry.owner].map(q).join(" ")} ${q(content.toString("base64"))} ${content.length}`,
        ];
      }
      case "remove":
        return [`remove ${id} ${q(entry.path)}`];
    }
  });
  return `${PRELUDE}${END_OF_PRELUDE}\n${lines.join("\n")}\n# end\n`;
}

function words(argv: readonly string[]): string {
  for (const word of argv) if (word.includes("\0")) throw new Error("an argv word holds a NUL byte");
  return argv.map(q).join(" ");
}

/** The twin's side of {@link compileBatch}. Throws on anything that compileBatch would not write. */
export function parseBatch(script: string): Entry[] {
  const start = script.indexOf(`${END_OF_PRELUDE}\n`);
  if (!script.startsWith(PRELUDE) || start < 0 || !script.endsWith("# end\n")) throw new Error("not a teeup batch");
  const body = script.slice(start + END_OF_PRELUDE.length + 1, -"# end\n".length);
  // Quoted words may hold newlines, so split the whole body once: every verb starts right after an unquoted newline.
  const entries: Entry[] = [];
  let gates: { argv: string[]; exit: number }[] = [];
  for (const line of logicalLines(body)) {
    const [verb, ...rest] = shlex.split(line);
    switch (verb) {
      case "gate":
        gates.push({ exit: Number(rest[1]), argv: rest.slice(2) });
        break;
      case "ask":
        entries.push({ verb, seconds: Number(rest[1]), maxBytes: Number(rest[2]), argv: rest.slice(3), gates });
        gates = [];
        break;
      case "read_":
        entries.push({ verb: "read", maxBytes: Number(rest[1]), path: rest[2] ?? "" });
        break;
      case "run":
        entries.push({ verb, seconds: Number(rest[1]), argv: rest.slice(2) });
        break;
      case "put":
        entries.push({
          verb,
          path: rest[1] ?? "",
          mode: rest[2] ?? "",
          owner: rest[3] ?? "",
          content: Buffer.from(rest[4] ?? "", "base64").toString("utf8"),
        });
        break;
      case "remove":
        entries.push({ verb, path: rest[1] ?? "" });
        break;
      default:
        throw new Error(`unknown verb ${verb}`);
    }
  }
  return entries;
}

/** Lines of the body, where a newline inside single quotes does not end a line. */
function logicalLines(body: string): string[] {
  const out: string[] = [];
  let line = "";
  for (const part of body.split("\n")) {
    line = line === "" ? part : `${line}\n${part}`;
    let balanced = true;
    try {
      shlex.split(line);
    } catch {
      balanced = false;
    }
    if (balanced) {
      if (line !== "") out.push(line);
      line = "";
    }
  }
  if (line !== "") throw new Error("unterminated quote");
  return out;
}

export type FrameKind = "ran" | "missing" | "denied" | "skipped" | "timeout" | "error";

export interface Frame {
  readonly id: number;
  readonly kind: FrameKind;
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** What the machine's side prints; used by the twin. */
export function encodeFrame(frame: Frame): Buffer {
  const out = Buffer.from(frame.stdout, "utf8");
  const err = Buffer.from(frame.stderr, "utf8");
  const head = `\n#teeup ${frame.id} ${frame.kind} ${frame.status} ${out.length} ${err.length}\n`;
  return Buffer.concat([Buffer.from(head), out, err]);
}

/** Complete frames of what came back; a frame cut off by a lost connection is left out. */
export function decodeFrames(output: Buffer): Map<number, Frame> {
  const frames = new Map<number, Frame>();
  let at = 0;
  while (at < output.length) {
    const end = output.indexOf(0x0a, at + 1);
    if (end < 0) break;
    const head = output.toString("utf8", at, end);
    const match = /^\n?#teeup (\d+) ([a-z]+) (\d+) (\d+) (\d+)$/.exec(head);
    if (match === null) throw new Error(`unexpected output from the machine: ${JSON.stringify(head.slice(0, 200))}`);
    const [id, status, outBytes, errBytes] = [match[1], match[3], match[4], match[5]].map(Number) as [
      number,
      number,
      number,
      number,
    ];
    const from = end + 1;
    if (from + outBytes + errBytes > output.length) break;
    frames.set(id, {
      id,
      kind: match[2] as FrameKind,
      status,
      stdout: output.toString("utf8", from, from + outBytes),
      stderr: output.toString("utf8", from + outBytes, from + outBytes + errBytes),
    });
    at = from + outBytes + errBytes;
  }
  return frames;
}

/** Turns one frame into an answer; `undefined` means that the connection was lost before it came. */
export function answerOf(entry: Entry, frame: Frame | undefined, gateWhys: readonly string[] = []): Answer {
  if (frame === undefined) return { kind: "failed", why: "the connection was lost before the answer came" };
  switch (frame.kind) {
    case "missing":
      return { kind: "missing" };
    case "denied":
      return { kind: "denied", why: frame.stderr.trim() || "permission denied" };
    case "skipped":
      return { kind: "skipped", why: gateWhys[Number(frame.stdout) - 1] ?? "a gate was shut" };
    case "timeout":
      return {
        kind: "failed",
        why: `no answer within ${entry.verb === "ask" || entry.verb === "run" ? entry.seconds : "?"} s`,
      };
    case "error":
      return { kind: "failed", why: frame.stderr.trim() || `read failed (${frame.status})` };
    case "ran": {
      const limit = entry.verb === "ask" || entry.verb === "read" ? entry.maxBytes : Number.POSITIVE_INFINITY;
      if (Buffer.byteLength(frame.stdout) > limit) return { kind: "failed", why: `the answer is longer than ${limit} bytes` };
      return { kind: "ran", status: frame.status, stdout: frame.stdout, stderr: frame.stderr };
    }
  }
}

/** The transient unit of a job and where its files are; the same for every run with the same lines. */
export const JOB_DIR = "/var/lib/teeup/jobs";
/** Held by util-linux flock for as long as a run may change the machine. */
export const LOCK_FILE = "/run/lock/teeup.lock";
/** Says who holds the lock; written by the holder, read when refused. */
export const LOCK_OWNER_FILE = "/run/lock/teeup.owner";
