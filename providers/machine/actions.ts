import type { Action } from "../kit/action.ts";
import type { Ask } from "../kit/ask.ts";
import { lastLine } from "../kit/ask.ts";
import { TeeUpError } from "../kit/errors.ts";
import type { ActOptions } from "../kit/machine.ts";
import { sshKeyBlob } from "../kit/report-data.ts";
import { reboot, restartGuest, waitGuest } from "./boot.ts";
import { runJob } from "./jobs.ts";
import { change, failure, nodeOf, poll, type Site, stopped } from "./site.ts";

/** Interprets one action. Every failure is a TeeUpError that names the machine, what was seen and what to do next. */
export async function interpret(site: Site, action: Action, options: ActOptions): Promise<void> {
  if (options.signal.aborted) throw stopped(site);
  switch (action.do) {
    case "write":
      return change(site, `write ${action.path}`, {
        verb: "put",
        path: absolute(site, action.path),
        mode: action.mode ?? "0644",
        owner: action.owner ?? "root:root",
        content: action.content,
      });
    case "remove":
      return change(site, `remove ${action.path}`, { verb: "remove", path: absolute(site, action.path) });
    case "run":
      return run(site, action, options);
    case "job":
      return tolerant(site, () => runJob(site, action, options));
    case "reboot":
      // A confidential guest cannot restart itself: its host must end it and start it again.
      return tolerant(site, () =>
        site.guest === undefined && !isInstance(site)
          ? restartGuest(site, action.timeoutSeconds ?? 900, options)
          : reboot(site, action, options),
      );
    case "stage-bios":
      return stageBios(site, action.settings);
    case "wait":
      return tolerant(site, () => wait(site, action, options));
    case "wait-guest":
      return tolerant(site, () => waitGuest(site.guest ?? site, action.timeoutSeconds, options));
    case "release":
      return release(site, action, options);
    case "restart-guest":
      return tolerant(site, () =>
        isInstance(site)
          ? reboot(site, { do: "reboot", timeoutSeconds: action.timeoutSeconds }, options)
          : restartGuest(site.guest ?? site, action.timeoutSeconds, options),
      );
  }
}

/** A confidential VM that TeeUp reaches without its host: it restarts itself. */
const isInstance = (site: Site): boolean => site.host === site && site.guest === undefined;

/** The secret goes out over the session that the evidence came over; once that broke off nobody gets any. */
async function release(
  site: Site,
  { secret, path, ...file }: Extract<Action, { do: "release" }>,
  { signal }: ActOptions,
): Promise<void> {
  const content = await site.secret(secret);
  // A command may have taken its time.
  if (signal.aborted) throw stopped(site);
  const entry = { verb: "put", path: absolute(site, path), mode: file.mode, owner: file.owner, content } as const;
  const only = { id: file.session, hostKey: sshKeyBlob(file.to) };
  await change(site, `release the secret ${secret}`, entry, [0], only);
}

/** How long somebody else's lock is waited for; unattended-upgrades seldom takes longer. */
const BUSY_SECONDS = 300;

async function run(site: Site, action: Extract<Action, { do: "run" }>, options: ActOptions): Promise<void> {
  const { argv, retryWhile = [], means } = action;
  let busy: TeeUpError | undefined;
  const once = async (): Promise<true | undefined> => {
    try {
      const entry = { verb: "run", argv, seconds: action.timeoutSeconds ?? 120 } as const;
      await change(site, argv.join(" "), entry, action.okStatus ?? [0]);
      return true;
    } catch (error) {
      if (!(error instanceof TeeUpError) || error.code !== "action.failed") throw error;
      const { saw } = error.parts;
      if (means !== undefined) throw failure(site, error.code, `${means.saw}: ${saw}`, means.next);
      const line = saw.split("\n").find((said) => retryWhile.some((words) => said.includes(words)));
      if (line === undefined) throw error;
      if (busy === undefined) options.onProgress(`waiting: ${line.trim()}`);
      const next = "see on the machine what that process does (ps -fp PID); when it has ended, pulumi up again";
      busy = failure(site, "action.busy", saw, next);
      return undefined;
    }
  };
  // What was cut off by a lost connection is not begun again here: another run looks first at what it did.
  const done = await poll(site, BUSY_SECONDS, options, once, never, (_error): _error is TeeUpError => false);
  if (done === undefined && busy !== undefined) throw busy;
}

const never = () => undefined;

/** Waiting may outlive the connection: the lock is then taken again instead of being lost. */
const tolerant = (site: Site, work: () => Promise<void>): Promise<void> =>
  site.lockHeld === undefined ? work() : site.lockHeld.tolerate(work);

async function stageBios(site: Site, settings: Readonly<Record<string, string | number | boolean>>): Promise<void> {
  if (site.host.bmc === undefined)
    throw failure(
      site,
      "bmc.none",
      "BIOS settings are to be staged and no BMC is configured for this node",
      "add bmc to the node in the stack config, or set them in the BIOS menu",
    );
  const bmc = await site.host.bmc();
  await bmc.stage(settings);
}

async function wait(site: Site, action: Extract<Action, { do: "wait" }>, options: ActOptions): Promise<void> {
  const ask: Ask = { kind: "argv", argv: action.argv };
  let last = "";
  const done = await poll(
    site,
    action.timeoutSeconds,
    options,
    async () => {
      const { answer } = await site.fresh({ answer: ask });
      if (answer.kind === "ran" && answer.status === 0) return true;
      last =
        answer.kind === "ran"
          ? `exit ${answer.status} ${lastLine(answer.stderr || answer.stdout)}`.trim()
          : "why" in answer
            ? answer.why
            : answer.kind;
      return undefined;
    },
    (error) => {
      last = error.parts.saw;
    },
  );
  if (done === undefined)
    throw failure(
      site,
      "action.wait-timeout",
      `${action.what} did not come within ${action.timeoutSeconds} s; "${action.argv.join(" ")}" says: ${last}`,
      `teeup check ${nodeOf(site)}`,
    );
}

function absolute(site: Site, path: string): string {
  if (path.startsWith("/") && !path.endsWith("/")) return path;
  throw failure(
    site,
    "action.path",
    `${JSON.stringify(path)} is no absolute path of a file`,
    "this is a fault of the facet that planned it",
  );
}
