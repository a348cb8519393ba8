import type { Entry, Frame } from "../providers/kit/protocol.ts";
import { RUN_OUTPUT_BYTES } from "../providers/kit/protocol.ts";
import type { Result } from "./commands/command.ts";
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
    : !asRoot && mutating
      ? denied(id)
      : answer(machine, id, entry);
  journal.add({ machine: machine.kind, verb: entry.verb, argv, mutating, status: frame.status });
  if (mutating && faults.dropAfterMutation !== undefined && --faults.dropAfterMutation <= 0) {
    delete faults.dropAfterMutation;
    return { drop: true };
  }
  return { frame };
}

const denied = (id: number): Frame => ({ id, kind: "denied", status: 126, stdout: "", stderr: "Permission denied" });

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
        if (machine.files.isDir(entry.path)) throw new FsError("EISDIR", entry.path);
        // The temporary file beside the target comes first: a folder that takes no new files refuses it.
        if (/^\/(proc|sys)\//.test(parentOf(entry.path))) throw new FsError("EROFS", entry.path);
        machine.files.write(entry.path, entry.content, { mode: entry.mode, owner: entry.owner });
      });
    case "remove":
      return files(id, () => {
        if (machine.files.isDir(entry.path)) throw new FsError("EISDIR", entry.path);
        machine.files.remove(entry.path);
      });
  }
}

function files(id: number, f: () => void): Frame {
  try {
    f();
    return { id, kind: "ran", status: 0, stdout: "", stderr: "" };
  } catch (error) {
    if (!(error instanceof FsError)) throw error;
    return { id, kind: "ran", status: 1, stdout: "", stderr: `${error.path}: ${error.message}\n` };
  }
}

function notThere(machine: Machine, id: number, argv: readonly string[]): Frame {
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
