import type { Action, JobLine } from "./action.ts";
import { jobPlace } from "./job.ts";

/**
 * A job for something that can drift away after it was done once: the mark of an earlier success goes first, since the
 * plan exists only because the machine shows that the result is not there. A job that still runs is attached to.
 */
export function freshJob(name: string, lines: readonly JobLine[], timeoutSeconds: number): readonly Action[] {
  return [
    { do: "remove", path: jobPlace(name, lines).marker },
    { do: "job", name, lines, timeoutSeconds },
  ];
}
