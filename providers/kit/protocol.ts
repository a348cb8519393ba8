import type { Answer } from "./ask.ts";
import { quoteWords, splitLines } from "./words.ts";

/**
 * The wire format between TeeUp and a machine: one POSIX sh script on the stdin of `sh -s` carries any number of
 * entries, and a frame comes back for each: its lines are told from a program's output by the batch's own random mark.
 * Every line after the constant prelude is one verb and quoted words, so nothing from outside is ever parsed as shell.
 * The script needs only sh and coreutils, and starts no more programs than it must: on a fleet's scan they are the cost.
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
/** A file is read within this many seconds, or the answer is `failed`. */
export const READ_SECONDS = 20;

const PRELUDE = `# teeup-batch 2
LC_ALL=C; LANG=C; DEBIAN_FRONTEND=noninteractive
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export LC_ALL LANG DEBIAN_FRONTEND PATH
umask 022
n=
d=$(mktemp -d /dev/shm/teeup.XXXXXXXX 2>/dev/null) || d=$(mktemp -d) || exit 99
trap 'rm -rf "$d"; [ -z "$n" ] || rm -f "$n"' EXIT
trap 'exit 98' HUP INT TERM PIPE
g=
mark() { m=$1; }
out() { printf '\\n#teeup %s %s\\n' "$m" "$1"; }
frame() {
  printf '\\n#teeup %s %s %s\\n' "$m" "$1" "$2"
  [ ! -s "$d/e" ] || head -c ${STDERR_BYTES} "$d/e" || exit 98
  printf '\\n#teeup %s .\\n' "$m"
}
now() { c=0; [ ! -r /proc/uptime ] || read -r c _ </proc/uptime; c=\${c%%.*}; }
# 124 and 137 mean that the time was up only if it was: a program may end so by itself, or be killed for its memory.
kind() {
  k=ran
  case $1 in
    124|137) now; { [ "$c" -ne 0 ] && [ "$((c - b0))" -lt "$2" ]; } || k=timeout;;
    126) k=denied;;
    127) k=missing;;
  esac
}
gate() {
  [ -z "$g" ] || return 0
  want=$2; name=$1; shift 2
  timeout -k 2 15 "$@" </dev/null >/dev/null 2>&1
  [ $? -eq "$want" ] || g=$name
}
ask() {
  out "$1"; t=$2; b=$3; shift 3; : >"$d/e"
  if [ -n "$g" ]; then printf %s "$g"; frame skipped 0; g=; return 0; fi
  if ! command -v "$1" >/dev/null 2>&1; then frame missing 127; return 0; fi
  now; b0=$c
  { { timeout -k 2 "$t" "$@" </dev/null 2>"$d/e"; echo "$?" >"$d/s"; } | head -c "$((b + 1))"; } 2>/dev/null
  read -r s <"$d/s" || exit 97
  kind "$s" "$t"; frame "$k" "$s"
}
read_() {
  out "$1"; b=$2; : >"$d/e"
  if [ ! -e "$3" ]; then
    # A folder that may not be searched looks just like a missing file.
    p=$3; while [ -n "$p" ] && [ ! -e "$p" ]; do p=\${p%/*}; done
    if [ -d "$p" ] && [ ! -x "$p" ]; then frame denied 1; else frame missing 1; fi
    return 0
  fi
  if [ ! -r "$3" ]; then frame denied 1; return 0; fi
  now; b0=$c
  timeout -k 2 ${READ_SECONDS} head -c "$((b + 1))" -- "$3" 2>"$d/e" </dev/null
  s=$?; kind "$s" ${READ_SECONDS}; { [ "$s" -eq 0 ] || [ "$k" = timeout ]; } || k=error; frame "$k" "$s"
}
run() {
  out "$1"; t=$2; shift 2; : >"$d/e"
  if ! command -v "$1" >/dev/null 2>&1; then frame missing 127; return 0; fi
  now; b0=$c
  timeout -k 10 "$t" "$@" </dev/null >"$d/o" 2>"$d/e2"; s=$?
  [ ! -s "$d/o" ] || tail -c ${RUN_OUTPUT_BYTES} "$d/o" || exit 98
  [ ! -s "$d/e2" ] || tail -c ${STDERR_BYTES} "$d/e2" >"$d/e"
  kind "$s" "$t"; frame "$k" "$s"
}
put() {
  out "$1"; : >"$d/e"; p=\${2%/*}
  if mkdir -p "\${p:-/}" 2>"$d/e" && n=$(mktemp "$2.teeup.XXXXXX" 2>"$d/e") &&
    printf %s "$5" | base64 -d >"$n" 2>"$d/e" && [ "$(wc -c <"$n")" -eq "$6" ] &&
    chown "$4" "$n" 2>"$d/e" && chmod "$3" "$n" 2>"$d/e" && sync "$n" 2>"$d/e" && mv -fT "$n" "$2" 2>"$d/e"
  then n=; sync "\${p:-/}" 2>/dev/null; frame ran 0
  else
    [ -s "$d/e" ] || printf 'write of %s came out short: is the disk full?' "$2" >"$d/e"
    [ -z "$n" ] || rm -f "$n"
    n=; frame ran 1
  fi
}
remove() { out "$1"; : >"$d/e"; rm -f "$2" 2>"$d/e"; frame ran $?; }
`;

// The entries stand in one compound command: a shell runs nothing of it before it has read its end, so a script that
// a lost connection cut short does nothing at all, whatever the cut made of its last word.
const BEGIN = "# entries\n{\n:\n";
const END = "}\n# end\n";

/**
 * Compiles entries into one script for the stdin of `sh -s`. Entry n answers as frame n. `mark` is 32 hex digits that
 * nobody can guess and no other batch has.
 */
export function compileBatch(entries: readonly Entry[], mark: string): string {
  return `${PRELUDE}${BEGIN}${["mark ", mark, "\n", ...entries.flatMap(compileEntry)].join("")}${END}`;
}

function compileEntry(entry: Entry, id: number): string[] {
  switch (entry.verb) {
    case "ask":
      return [
        ...entry.gates.map((gate, n) => `gate ${n + 1} ${gate.exit} ${quoteWords(gate.argv)}\n`),
        `ask ${id} ${entry.seconds} ${entry.maxBytes} ${quoteWords(entry.argv)}\n`,
      ];
    case "read":
      return [`read_ ${id} ${entry.maxBytes} ${quoteWords([entry.path])}\n`];
    case "run":
      return [`run ${id} ${entry.seconds} ${quoteWords(entry.argv)}\n`];
    case "put": {
      const content = Buffer.from(wellFormed(entry.content), "utf8");
      const words = [entry.path, entry.mode, entry.owner, content.toString("base64")];
      return [`put ${id} ${quoteWords(words)} ${content.length}\n`];
    }
    case "remove":
      return [`remove ${id} ${quoteWords([entry.path])}\n`];
  }
}

/** A lone surrogate has no UTF-8 form: it would arrive as another character. */
function wellFormed(text: string): string {
  if (!text.isWellFormed()) throw new Error("text for a machine holds half of a surrogate pair");
  return text;
}

/** A batch whose connection was lost on the way: the shell does nothing of it, since its entries lack their end. */
export function isCutShort(script: string): boolean {
  const opening = PRELUDE + BEGIN;
  return opening.startsWith(script) || (script.startsWith(opening) && !script.endsWith(END));
}

/** The twin's side of {@link compileBatch}. Throws on anything that compileBatch would not write. */
export function parseBatch(script: string): { readonly mark: string; readonly entries: readonly Entry[] } {
  if (!script.startsWith(PRELUDE + BEGIN) || !script.endsWith(END)) throw new Error("not a teeup batch");
  const body = script.slice(PRELUDE.length + BEGIN.length, -END.length);
  const entries: Entry[] = [];
  let mark: string | undefined;
  let gates: { argv: string[]; exit: number }[] = [];
  for (const [verb, ...rest] of splitLines(body)) {
    switch (verb) {
      case "mark":
        mark = rest[0];
        break;
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
  if (mark === undefined) throw new Error("a batch without a mark");
  return { mark, entries };
}

export type FrameKind = "ran" | "missing" | "denied" | "skipped" | "timeout" | "error";

export interface Frame {
  readonly id: number;
  readonly kind: FrameKind;
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
  /** Bytes of stdout before decoding, where they are known: text that is not UTF-8 grows in a string. */
  readonly stdoutBytes?: number;
}

const lineOf = (mark: string, rest: string) => `\n#teeup ${mark} ${rest}\n`;

/** What the machine's side prints; used by the twin. */
export function encodeFrame({ id, kind, status, stdout, stderr }: Frame, mark: string): Buffer {
  return Buffer.from(
    [lineOf(mark, `${id}`), stdout, lineOf(mark, `${kind} ${status}`), stderr, lineOf(mark, ".")].join(""),
    "utf8",
  );
}

const FRAME_KINDS: readonly string[] = [
  "ran",
  "missing",
  "denied",
  "skipped",
  "timeout",
  "error",
] satisfies FrameKind[];

/**
 * Complete frames of what came back; a frame cut off by a lost connection is left out. What a login shell printed
 * before the first frame is passed over; anything else between frames throws.
 */
export function decodeFrames(output: Buffer, mark: string): Map<number, Frame> {
  const frames = new Map<number, Frame>();
  const lead = Buffer.from(`\n#teeup ${mark} `);
  const found = output.indexOf(lead);
  let at = found < 0 ? output.length : found;
  /** Text up to the next line of the mark, and what that line says; undefined when the output ends before. */
  const next = () => {
    const from = at;
    const to = output.indexOf(lead, from);
    const end = to < 0 ? -1 : output.indexOf(0x0a, to + lead.length);
    if (end < 0) return undefined;
    at = end + 1;
    return { text: output.subarray(from, to), line: output.toString("utf8", to + lead.length, end) };
  };
  const unexpected = (text: string) =>
    new Error(`unexpected output from the machine: ${JSON.stringify(text.slice(0, 200))}`);
  for (;;) {
    const head = next();
    if (head === undefined) return frames;
    if (head.text.length > 0) throw unexpected(head.text.toString("utf8"));
    const [stdout, stderr] = [next(), next()];
    if (stdout === undefined || stderr === undefined) return frames;
    const ended = /^([a-z]+) (\d+)$/.exec(stdout.line);
    if (!/^\d+$/.test(head.line) || ended === null || !FRAME_KINDS.includes(ended[1] ?? "") || stderr.line !== ".")
      throw unexpected(`${head.line} ${stdout.line} ${stderr.line}`);
    const id = Number(head.line);
    frames.set(id, {
      id,
      kind: ended[1] as FrameKind,
      status: Number(ended[2]),
      stdout: stdout.text.toString("utf8"),
      stderr: stderr.text.toString("utf8"),
      stdoutBytes: stdout.text.length,
    });
  }
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
        why: `no answer within ${entry.verb === "ask" || entry.verb === "run" ? entry.seconds : READ_SECONDS} s`,
      };
    case "error":
      if (/Permission denied|Operation not permitted/.test(frame.stderr))
        return { kind: "denied", why: frame.stderr.trim() };
      return { kind: "failed", why: frame.stderr.trim() || `read failed (${frame.status})` };
    case "ran": {
      const limit = entry.verb === "ask" || entry.verb === "read" ? entry.maxBytes : Number.POSITIVE_INFINITY;
      if ((frame.stdoutBytes ?? Buffer.byteLength(frame.stdout)) > limit)
        return { kind: "failed", why: `the answer is longer than ${limit} bytes` };
      return { kind: "ran", status: frame.status, stdout: frame.stdout, stderr: frame.stderr };
    }
  }
}

/** The transient unit of a job and where its files are; the same for every run with the same lines. */
export const JOB_DIR = "/var/lib/teeup/jobs";
/** Held by util-linux flock for as long as a run may change the machine. In /run, since anybody may write /run/lock. */
export const LOCK_FILE = "/run/teeup.lock";
/** Says who holds the lock; written by the holder, read when refused. */
export const LOCK_OWNER_FILE = "/run/teeup.owner";
