import type { Entry, Frame } from "../providers/kit/protocol.ts";
import { RUN_OUTPUT_BYTES } from "../providers/kit/protocol.ts";
import type { Result } from "./commands/command.ts";
import { userExists } from "./commands/coreutils.ts";
import { execute, findProgram, isMutating } from "./commands/exec.ts";
import { FsError, parentOf } from "./model/files.ts";
import type { Machine } from "./model/machine.ts";

const STDERR_BYTES = 4096;

/** What one entry of a batch comes to. `drop`: the connection breaks now; `hang`: nothing ever comes. */
export type Outcome = { readonly frame: Frame } | { readonly drop: true } | { readonly hang: true };

/** Runs one entry on a machine as the batch script would, and writes it into the journal. */
export function runEntry(machine: Machine, id: number, entry: Entry, asRoot: boolean): Outcome {
  const { journal, faults } = machine.node;
  const argv = "argv" in entry ? entry.argv : [entry.path];
  const mutating = entry.verb === "ask" ? isMutating(machine, entry.argv) : entry.verb !== "read";
  const hangs = "argv" in entry && (faults.hang?.some((text) => entry.argv.join(" ").includes(text)) ?? false);
  if (hangs && faults.hangForEver === true) {
    journal.add({ machine: machine.kind, verb: entry.verb, argv, mutating, status: 124 });
    return { hang: true };
  }
  const frame = hangs
    ? { id, kind: "timeout" as const, status: 124, stdout: "", stderr: "" }
    : asRoot
      ? answer(machine, id, entry)
      : plainly(machine, id, entry, mutating);
  // A question that its gate held back was not asked.
  const changed = mutating && frame.kind !== "skipped";
  const held = frame.kind === "skipped" ? { skipped: true as const } : {};
  journal.add({ machine: machine.kind, verb: entry.verb, argv, mutating: changed, status: frame.status, ...held });
  if (changed && faults.dropAfterMutation !== undefined && --faults.dropAfterMutation <= 0) {
    delete faults.dropAfterMutation;
    return { drop: true };
  }
  return { frame };
}

/** Programs whose own words stand for what the file system refuses them. */
const BY_FILES = /^(touch|mkdir|rm|rmdir|cp|mv|ln|chmod|chown|install|tee|truncate)$/;
/** What others say to a user who is not root. */
const REFUSALS: Readonly<Record<string, readonly [number, string]>> = {
  modprobe: [1, "modprobe: ERROR: could not insert module: Operation not permitted\n"],
  systemctl: [1, "Reload daemon failed: Access denied\n"],
};

/** The same as a login user who did not become root. */
function plainly(machine: Machine, id: number, entry: Entry, mutating: boolean): Frame {
  const { files } = machine;
  const word = "argv" in entry ? (entry.argv[0] ?? "") : "";
  const refused = (status: number, stderr: string): Frame => ({ id, kind: "ran", status, stdout: "", stderr });
  files.plain = true;
  try {
    if (entry.verb === "read" && !files.mayRead(entry.path)) return { ...refused(1, ""), kind: "denied" };
    if (entry.verb === "put")
      return refused(1, `mktemp: failed to create file via template '${entry.path}.teeup.XXXXXX': Permission denied\n`);
    if (entry.verb === "remove") return refused(1, `rm: cannot remove '${entry.path}': Permission denied\n`);
    if (!mutating || BY_FILES.test(word)) return answer(machine, id, entry);
    const [status, text] = REFUSALS[word] ?? [];
    if (status === undefined || text === undefined) return { ...refused(126, "Permission denied"), kind: "denied" };
    return refused(
      status,
      text.replace("insert module", `insert '${"argv" in entry ? entry.argv.at(-1)?.replaceAll("-", "_") : ""}'`),
    );
  } finally {
    files.plain = false;
  }
}

function answer(machine: Machine, id: number, entry: Entry): Frame {
  const plain = (kind: Frame["kind"], status: number, stdout = "", stderr = ""): Frame => ({
    id,
    kind,
    status,
    stdout,
    stderr,
  });
  switch (entry.verb) {
    case "ask": {
      const shut = entry.gates.findIndex((gate) => execute(machine, gate.argv).status !== gate.exit);
      if (shut >= 0) return plain("skipped", 0, String(shut + 1));
      if (findProgram(machine, entry.argv[0] ?? "") === undefined) return notThere(machine, id, entry.argv);
      return ended(id, execute(machine, entry.argv), entry.seconds, (s) => cutBytes(s, entry.maxBytes + 1));
    }
    case "run":
      if (findProgram(machine, entry.argv[0] ?? "") === undefined) return notThere(machine, id, entry.argv);
      return ended(id, execute(machine, entry.argv), entry.seconds, (s) => s.slice(-RUN_OUTPUT_BYTES));
    case "read":
      try {
        return plain("ran", 0, cutBytes(machine.files.read(entry.path), entry.maxBytes + 1));
      } catch (error) {
        if (!(error instanceof FsError)) throw error;
        return error.code === "ENOENT"
          ? plain("missing", 1)
          : plain("error", 1, "", `head: error reading '${entry.path}': ${error.message}\n`);
      }
    case "put":
      return files(id, () => {
        const said = putRefusal(machine, entry.path, entry.owner);
        if (said !== undefined) throw new Refusal(said);
        machine.files.write(entry.path, entry.content, { mode: entry.mode, owner: entry.owner });
      });
    case "remove":
      return files(id, () => {
        const no = (why: string) => new Refusal(`rm: cannot remove '${entry.path}': ${why}`);
        if (machine.files.isDir(entry.path)) throw no("Is a directory");
        if (/^\/(proc|sys)\//.test(entry.path) && machine.files.exists(entry.path)) throw no("Operation not permitted");
        machine.files.remove(entry.path);
      });
  }
}

/** A line that a program of the real batch script would print. */
class Refusal extends Error {}

/** What mkdir, mktemp, chown or mv say to a file that cannot be put; undefined when it can. */
function putRefusal(machine: Machine, path: string, owner: string): string | undefined {
  const parent = parentOf(path);
  for (let at = parent; at !== "/"; at = parentOf(at)) {
    if (machine.files.stat(at)?.kind !== "file") continue;
    return `mkdir: cannot create directory '${at}': ${at === parent ? "File exists" : "Not a directory"}`;
  }
  const kernel = /^\/(proc|sys)(?:\/|$)/.exec(parent)?.[1];
  if (kernel !== undefined) {
    const why = kernel === "proc" ? "No such file or directory" : "Permission denied";
    return `mktemp: failed to create file via template '${path}.teeup.XXXXXX': ${why}`;
  }
  if (!userExists(machine, owner)) return `chown: invalid user: '${owner}'`;
  return machine.files.isDir(path) ? `mv: cannot overwrite directory '${path}' with non-directory` : undefined;
}

function files(id: number, f: () => void): Frame {
  try {
    f();
    return { id, kind: "ran", status: 0, stdout: "", stderr: "" };
  } catch (error) {
    if (error instanceof Refusal) return { id, kind: "ran", status: 1, stdout: "", stderr: `${error.message}\n` };
    if (!(error instanceof FsError)) throw error;
    return { id, kind: "ran", status: 1, stdout: "", stderr: `${error.path}: ${error.message}\n` };
  }
}

function notThere(machine: Machine, id: number, argv: readonly string[]): Frame {
  const [word = ""] = argv;
  // A path that is there and cannot be run: `timeout` says so.
  if (word.includes("/") && machine.files.exists(word)) {
    const stderr = `timeout: failed to run command '${word}': Permission denied\n`;
    return { id, kind: "denied", status: 126, stdout: "", stderr };
  }
  // Running it records programs that the twin does not know at all.
  execute(machine, argv);
  return { id, kind: "missing", status: 127, stdout: "", stderr: "" };
}

function ended(id: number, result: Result, seconds: number, cut: (text: string) => string): Frame {
  const timeout = result.status === 124 || (result.seconds ?? 0) > seconds;
  const kind = timeout ? "timeout" : result.status === 126 ? "denied" : result.status === 127 ? "missing" : "ran";
  return {
    id,
    kind,
    status: timeout ? 124 : result.status,
    stdout: timeout ? "" : cut(result.stdout),
    stderr: result.stderr.slice(0, STDERR_BYTES),
  };
}

function cutBytes(text: string, bytes: number): string {
  const buffer = Buffer.from(text, "utf8");
  return buffer.length <= bytes ? text : buffer.subarray(0, bytes).toString("utf8");
}
