import { setTimeout as sleep } from "node:timers/promises";
import type { Answers, Asks } from "../kit/ask.ts";
import { TeeUpError } from "../kit/errors.ts";
import type { ActOptions } from "../kit/machine.ts";
import type { Entry, Frame } from "../kit/protocol.ts";
import type { HostLock } from "./lock.ts";
import type { BmcClient, FleetOptions } from "./options.ts";
import { redact } from "./redact.ts";
import type { SessionId } from "./shell.ts";
import { isUnreachable } from "./ssh-errors.ts";

/** One machine as the actions see it. */
export interface Site {
  /** `gpu-01`, or `gpu-01/cvm0` for a guest. */
  readonly id: string;
  readonly options: FleetOptions;
  /** The machine below this one; a host's is itself. */
  readonly host: Site;
  readonly guest: Site | undefined;
  readonly bmc: (() => Promise<BmcClient>) | undefined;
  /** The lock of the host, while this run holds it. */
  readonly lockHeld: HostLock | undefined;
  /** Runs entries that change things; never repeated. Rejects when the machine cannot be reached. */
  change(
    entries: readonly Entry[],
    only?: SessionId,
  ): Promise<{ frames: readonly (Frame | undefined)[]; why: string; lost: boolean }>;
  /** The value of a secret of the stack, for release. Throws TeeUpError `secret.*`. */
  secret(name: string): Promise<string>;
  /** Asks now. Rejects when the machine cannot be reached. */
  fresh<A extends Asks>(asks: A): Promise<Answers<A>>;
  /** Ends the connection; the next use makes a new one, with host keys read again. */
  disconnect(): void;
}

/** One entry that must end well. */
export async function change(
  site: Site,
  what: string,
  entry: Entry,
  okStatus: readonly number[] = [0],
  only?: SessionId,
): Promise<void> {
  const { frames, why, lost } = await site.change([entry], only);
  const frame = frames[0];
  if (frame === undefined)
    throw failure(
      site,
      lost ? "ssh.lost" : "action.unanswered",
      `while it did "${what}": ${why}`,
      "pulumi up again: it looks at what was done and goes on from there",
    );
  if (frame.kind === "ran" && okStatus.includes(frame.status)) return;
  const said = tail(frame.stderr) || tail(frame.stdout) || "it says nothing";
  switch (frame.kind) {
    case "missing":
      throw failure(
        site,
        "action.missing",
        `"${what}": the machine has no such program`,
        `teeup check ${nodeOf(site)} says what is not installed`,
      );
    case "timeout":
      throw failure(
        site,
        "action.timeout",
        `"${what}" did not end within ${entry.verb === "run" ? entry.seconds : "?"} s: ${said}`,
        "see on the machine what it waits for, then pulumi up again",
      );
    default:
      throw failure(
        site,
        entry.verb === "run" ? "action.failed" : `action.${entry.verb}-failed`,
        entry.verb === "run" ? `"${what}" ended with ${frame.status}: ${said}` : `cannot ${what}: ${said}`,
        nextOf(said),
      );
  }
}

/** What a person does about what a machine said. */
function nextOf(said: string): string {
  if (/no space left|disk full/i.test(said)) return "make room on the disk (df -h), then pulumi up again";
  if (/read-only file system/i.test(said))
    return "see why it is read-only (findmnt -O ro, journalctl -k -p err), mount it writable, then pulumi up again";
  return "mend what it says, then pulumi up again";
}

/** The last lines of an output, as many as a person reads. */
function tail(text: string): string {
  return text.trim().split("\n").slice(-12).join("\n    ");
}

/**
 * Tries `work` until it gives something other than undefined, at growing intervals; undefined when the time is up.
 * A machine that cannot be reached for a while is no failure. Rejects with `run.stopped` when the run is to stop.
 */
export async function poll<T>(
  site: Site,
  seconds: number,
  { signal }: Pick<ActOptions, "signal">,
  work: () => Promise<T | undefined>,
  unreachable: (error: TeeUpError) => void,
  passing: (error: unknown) => error is TeeUpError = isUnreachable,
): Promise<T | undefined> {
  const { pollFirstMs, pollMaxMs, timeoutScale } = site.options;
  const until = Date.now() + seconds * 1000 * timeoutScale;
  for (let interval = pollFirstMs; ; interval = Math.min(pollMaxMs, interval * 1.5)) {
    if (signal.aborted) throw stopped(site);
    try {
      const done = await work();
      if (done !== undefined) return done;
    } catch (error) {
      if (!passing(error)) throw error;
      site.disconnect();
      unreachable(error);
    }
    const left = until - Date.now();
    if (left <= 0) return undefined;
    await sleep(Math.min(interval, left), undefined, { signal }).catch(() => undefined);
  }
}

export function stopped(site: Site): TeeUpError {
  return failure(
    site,
    "run.stopped",
    "the run was stopped; a job that was started on the machine goes on",
    "pulumi up again: it goes on where the node stands",
  );
}

export function failure(site: Site, code: string, saw: string, next: string): TeeUpError {
  return new TeeUpError({ code, node: site.id, saw: redact(saw), next: redact(next) });
}

export const nodeOf = (site: Site): string => site.host.id;
