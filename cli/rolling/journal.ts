import { open, readFile } from "node:fs/promises";
import { hostname } from "node:os";
import { z } from "zod";
import { TeeUpError } from "../../providers/kit/errors.ts";

/**
 * What a walk did, a line each, on the disk before it is done: whoever goes on after a kill learns from it which nodes
 * were being worked on. Names of nodes and nothing else of them.
 */
const Key = z.string().regex(/^[^\n]+\/[^/\n]+$/);
const LineSchema = z.discriminatedUnion("what", [
  /** `walk`: digest of the nodes and of all that their stacks want; the canary of another one is none. */
  z.strictObject({
    what: z.literal("begin"),
    version: z.literal(1),
    walk: z.string(),
    host: z.string(),
    pid: z.int(),
    at: z.iso.datetime(),
  }),
  z.strictObject({ what: z.literal("take"), nodes: z.array(Key).min(1), at: z.iso.datetime() }),
  z.strictObject({ what: z.literal("done"), node: Key, at: z.iso.datetime() }),
  z.strictObject({ what: z.literal("failed"), node: Key, at: z.iso.datetime() }),
  /** The run ended by itself. */
  z.strictObject({ what: z.literal("end"), at: z.iso.datetime() }),
]);
export type JournalLine = z.infer<typeof LineSchema>;

export interface Before {
  /** Taken and never ended, in the order in which they were taken, with the time of it (ISO 8601). */
  readonly interrupted: ReadonlyMap<string, string>;
  /** A node of this very walk is done: it needs no other canary. */
  readonly canaryPassed: boolean;
}

/** What the lines say to a run of `walk`. */
export function standing(lines: readonly JournalLine[], walk: string): Before {
  const interrupted = new Map<string, string>();
  let same = false;
  let canaryPassed = false;
  for (const line of lines) {
    if (line.what === "begin") {
      same = line.walk === walk;
      canaryPassed = canaryPassed && same;
    } else if (line.what === "take") for (const node of line.nodes) interrupted.set(node, line.at);
    else if (line.what !== "end") {
      interrupted.delete(line.node);
      canaryPassed ||= same && line.what === "done";
    }
  }
  return { interrupted, canaryPassed };
}

/** Throws `rolling.journal` for a file that is no journal. A last line that was not written to its end says nothing. */
export function parseJournal(text: string, path: string): JournalLine[] {
  return text
    .slice(0, text.lastIndexOf("\n") + 1)
    .split("\n")
    .filter(Boolean)
    .map((line, n) => {
      try {
        return LineSchema.parse(JSON.parse(line));
      } catch {
        throw new TeeUpError({
          code: "rolling.journal",
          subject: path,
          saw: `line ${n + 1} is none of a walk's journal`,
          next: "name another file: --journal <file>; which nodes a walk was at, pulumi stack ls and teeup drift show",
        });
      }
    });
}

export interface Journal {
  readonly before: Before;
  /** On the disk once it resolves. */
  add(line: DistributedOmit<JournalLine, "at">): Promise<void>;
  close(): Promise<void>;
}
type DistributedOmit<T, K extends PropertyKey> = T extends unknown ? Omit<T, K> : never;

/**
 * Opens or makes the journal, and says in it that `walk` begins or goes on. Throws `rolling.journal`, and
 * `rolling.under-way` while another process of this machine is at it.
 */
export async function openJournal(path: string, walk: string): Promise<Journal> {
  const text = await readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return "";
    throw unwritable(path, error);
  });
  const lines = parseJournal(text, path);
  const last = lines.findLast(({ what }) => what === "begin" || what === "end");
  // Two at once would each take as many as are allowed.
  if (last?.what === "begin" && last.host === hostname() && last.pid !== process.pid && isAlive(last.pid))
    throw new TeeUpError({
      code: "rolling.under-way",
      subject: path,
      saw: `process ${last.pid} on this machine is at this walk since ${last.at}`,
      next: `wait until it has ended (ps -p ${last.pid}); the same command again then goes on`,
    });
  const before = standing(lines, walk);
  const file = await open(path, "a", 0o600).catch((error: Error) => {
    throw unwritable(path, error);
  });
  const add: Journal["add"] = async (line) => {
    await file.appendFile(`${JSON.stringify({ ...line, at: new Date().toISOString() })}\n`);
    await file.datasync();
  };
  // The end of a torn line stays one line of its own.
  if (text !== "" && !text.endsWith("\n"))
    await file.truncate(Buffer.byteLength(text.slice(0, text.lastIndexOf("\n") + 1)));
  await add({ what: "begin", version: 1, walk, host: hostname(), pid: process.pid });
  return {
    before,
    add,
    close: async () => {
      await add({ what: "end" });
      await file.close();
    },
  };
}

/** True too for a process of somebody else. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== "ESRCH";
  }
}

const unwritable = (path: string, error: Error): TeeUpError =>
  new TeeUpError({
    code: "rolling.journal",
    subject: path,
    saw: error.message,
    next: "name a file that can be written: --journal <file>",
  });
