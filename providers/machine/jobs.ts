import type { Action } from "../kit/action.ts";
import { lastLine } from "../kit/ask.ts";
import type { JobPlace } from "../kit/job.ts";
import { jobAsks, jobPlace, jobReset, jobScript, jobStart, jobTail } from "../kit/job.ts";
import type { ActOptions } from "../kit/machine.ts";
import { redact } from "./redact.ts";
import { change, failure, nodeOf, poll, type Site, stopped } from "./site.ts";

/** Past its own time limit, which systemd enforces, a job gets this long to be seen as ended. */
const GRACE_SECONDS = 60;

type State = "done" | "active" | "failed" | "none";

/**
 * Long work that outlives this run: attaches to the job when it runs, takes it as done when an earlier run left it
 * done, and starts it otherwise.
 */
export async function runJob(site: Site, action: Extract<Action, { do: "job" }>, options: ActOptions): Promise<void> {
  const place = jobPlace(action.name, action.lines, site.options.jobDir);
  const seconds = action.timeoutSeconds ?? 3600;
  const { state } = await look(site, place);
  if (state === "done") {
    options.onProgress(`${action.name}: an earlier run has done it`);
    return take(site, place);
  }
  if (state === "active") options.onProgress(`${action.name} runs already: waiting for it`);
  else await start(site, action, place, seconds, state, options);

  let shown = "";
  let gone = Number.POSITIVE_INFINITY;
  const end = await poll(
    site,
    seconds + GRACE_SECONDS,
    options,
    async () => {
      gone = Number.POSITIVE_INFINITY;
      await site.lockHeld?.ensure();
      const seen = await look(site, place);
      if (seen.last !== "" && seen.last !== shown) {
        shown = seen.last;
        options.onProgress(redact(shown));
      }
      return seen.state === "active" ? undefined : seen.state;
    },
    (error) => {
      const now = Date.now();
      if (gone === Number.POSITIVE_INFINITY)
        options.onProgress(`${action.name} goes on; the connection does not: ${error.parts.saw}`);
      gone = Math.min(gone, now);
      if (now - gone > site.options.reconnectMs * site.options.timeoutScale) throw error;
    },
  );
  if (end === "done") return take(site, place);
  const all = `ssh ${nodeOf(site)} sudo journalctl -u ${place.unit} --no-pager`;
  if (end === undefined)
    throw failure(
      site,
      "job.timeout",
      `job ${action.name} (unit ${place.unit}) did not end within ${seconds} s; last line: ${shown}`,
      `${all} shows all of it`,
    );
  const { tail } = await site.fresh(jobTail(place));
  const lines = tail.kind === "ran" ? tail.stdout.trimEnd().split("\n").join("\n    ") : "its output cannot be read";
  throw failure(
    site,
    "job.failed",
    `job ${action.name} (unit ${place.unit}) failed:\n    ${lines}`,
    `${all} shows all of it; pulumi up starts it anew`,
  );
}

/** Taken as done once: a job that is planned again after that is wanted again, since what it made is gone. */
function take(site: Site, place: JobPlace): Promise<void> {
  return change(site, `remove ${place.marker}`, { verb: "remove", path: place.marker });
}

async function start(
  site: Site,
  action: Extract<Action, { do: "job" }>,
  place: JobPlace,
  seconds: number,
  state: State,
  options: ActOptions,
): Promise<void> {
  if (options.signal.aborted) throw stopped(site);
  await change(site, `write ${place.script}`, {
    verb: "put",
    path: place.script,
    mode: "0700",
    owner: "root:root",
    content: jobScript(action.lines, place),
  });
  if (state === "failed")
    await change(site, "systemctl reset-failed", { verb: "run", argv: jobReset(place), seconds: 30 }, [0, 1]);
  const argv = jobStart(place, seconds);
  try {
    await change(site, `start job ${action.name}`, { verb: "run", argv, seconds: 60 });
  } catch (error) {
    // The connection may have gone down after the unit was started, or somebody else started it.
    const after = await look(site, place).catch(() => undefined);
    if (after?.state !== "active" && after?.state !== "done") throw error;
  }
}

async function look(site: Site, place: JobPlace): Promise<{ state: State; last: string }> {
  const { state, last, marker } = await site.fresh(jobAsks(place));
  if (state.kind !== "ran")
    throw failure(
      site,
      "job.unknown",
      `systemctl does not say how ${place.unit} is: ${"why" in state ? state.why : state.kind}`,
      `teeup check ${nodeOf(site)}`,
    );
  const active = /^ActiveState=(.*)$/m.exec(state.stdout)?.[1] ?? "";
  const line = last.kind === "ran" && last.status === 0 ? lastLine(last.stdout) : "";
  if (marker.kind === "ran" && !ALIVE.includes(active)) return { state: "done", last: line };
  if (ALIVE.includes(active)) return { state: "active", last: line };
  return { state: active === "failed" ? "failed" : "none", last: line };
}

const ALIVE = ["active", "activating", "reloading", "deactivating"];
