import type { Action } from "../kit/action.ts";
import { VM_NAME, VM_UNIT_PREFIX } from "../kit/argv.ts";
import type { Answer, Asks } from "../kit/ask.ts";
import { BOOT_MENU_ASKS, GRUB_ENVIRONMENT_ASKS, parseBootMenu } from "../kit/boot-menu.ts";
import { TeeUpError } from "../kit/errors.ts";
import { showFact } from "../kit/facts.ts";
import { DOMAIN, DOMAIN_FILE, DOMAIN_PID, VIRSH } from "../kit/libvirt.ts";
import type { ActOptions } from "../kit/machine.ts";
import { parseSavedEntry } from "../kit/parse-grub.ts";
import { NO_MACHINE } from "./batch.ts";
import { redact } from "./redact.ts";
import { change, failure, nodeOf, poll, type Site, stopped } from "./site.ts";
import { isUnreachable } from "./ssh-errors.ts";

const BOOT_SECONDS = 900;

const BOOT = {
  id: { kind: "file", path: "/proc/sys/kernel/random/boot_id" },
  kernel: { kind: "argv", argv: ["uname", "-r"], timeoutSeconds: 5 },
} as const satisfies Asks;

interface Boot {
  readonly id: string;
  readonly kernel: string;
}

/** While a machine starts, sshd may refuse logins (pam_nologin) and a guest may not have printed its host keys. */
const passing = (error: unknown): error is TeeUpError =>
  isUnreachable(error) ||
  (error instanceof TeeUpError && ["ssh.auth-failed", NO_MACHINE, "sudo.failed"].includes(error.code));

/** Restarts a host, once, with a trial kernel where one is given, and sees to it that it comes back. */
export async function reboot(
  site: Site,
  action: Extract<Action, { do: "reboot" }>,
  options: ActOptions,
): Promise<void> {
  const { trial } = action;
  const seconds = action.timeoutSeconds ?? BOOT_SECONDS;
  const before = await bootOf(site);
  if (before === undefined)
    throw failure(site, "boot.unknown", "the machine does not say which boot this is", `teeup check ${nodeOf(site)}`);
  const fallsBack = trial !== undefined && (await setTrial(site, trial.entry, before.kernel));

  options.onProgress(trial === undefined ? "restarting" : `restarting with ${trial.kernel}, this once`);
  const { frames, why, lost } = await site.change([{ verb: "run", argv: ["systemctl", "reboot"], seconds: 30 }]);
  const frame = frames[0];
  // The connection, the shell or systemctl itself may go down before there is an answer: that is what a restart does.
  const goesDown = frame === undefined ? lost : frame.kind === "ran" && (frame.status === 0 || frame.status > 128);
  if (!goesDown) {
    const disarmed = trial === undefined ? "" : await unsetTrial(site, trial);
    throw failure(
      site,
      "boot.refused",
      `systemctl reboot: ${frame === undefined ? why : frame.stderr.trim() || frame.kind}${disarmed}`,
      "see on the machine what keeps it from restarting (systemd-inhibit --list), then pulumi up again",
    );
  }
  site.disconnect();
  site.guest?.disconnect();

  let after = await newBoot(site, before.id, seconds, options);
  let forced = false;
  if (after.boot === undefined && site.bmc !== undefined) {
    options.onProgress(`not back within ${seconds} s: the BMC cuts the power`);
    await (await site.bmc()).powerCycle();
    forced = true;
    after = await newBoot(site, before.id, seconds, options);
  }
  if (after.boot === undefined)
    throw failure(
      site,
      "boot.never-returned",
      `not back within ${seconds} s after ${forced ? "the BMC cut the power" : "systemctl reboot"}; last seen: ${after.last}`,
      `look at its console${site.bmc === undefined ? "; no BMC is configured: cut its power by hand" : ""}${fallsBack ? `; the next start is with the old kernel again (${before.kernel})` : ""}, then pulumi up again`,
    );
  if (trial !== undefined && (forced || after.boot.kernel !== trial.kernel))
    throw failure(
      site,
      "boot.trial-failed",
      `kernel ${trial.kernel} did not come up${forced ? ` within ${seconds} s and the BMC cut the power` : ""}; the node runs ${after.boot.kernel} now`,
      "look at what that kernel said (its console; journalctl -k -b -1 only if it got as far as its disk), mend it, then pulumi up again",
    );
  options.onProgress(`back with ${after.boot.kernel}`);
}

/** By what changes the menu: GRUB's programs, which the Red Hat family names otherwise, and where its environment is. */
const PROGRAMS = {
  "update-grub": ["grub-reboot", GRUB_ENVIRONMENT_ASKS.saved, "/boot/grub"],
  grubby: ["grub2-reboot", GRUB_ENVIRONMENT_ASKS.saved2, "/boot/grub2"],
} as const;

/**
 * GRUB boots `entry` at the next start only; read back, since grub-reboot exits 0 where the setting has no effect.
 * True when it was seen that the start after that is with `oldKernel`.
 */
async function setTrial(site: Site, entry: string, oldKernel: string): Promise<boolean> {
  const said = (a: Answer) => (a.kind === "ran" ? a.stdout || a.stderr : "why" in a ? a.why : a.kind);
  const menu = parseBootMenu(await site.fresh(BOOT_MENU_ASKS));
  if (menu.state !== "known" || !menu.value.savedDefault)
    throw failure(
      site,
      "boot.no-fall-back",
      `no trial boot: ${menu.state === "known" ? "grub.cfg does not take the saved entry by default" : `grub.cfg: ${showFact(menu)}`}, so a trial kernel that hangs might start again`,
      `manage kernel-cmdline too, or set GRUB_DEFAULT=saved in /etc/default/grub and run ${menu.state === "known" && menu.value.by === "grubby" ? "grub2-mkconfig -o /etc/grub2.cfg" : "update-grub"}; then pulumi up again`,
    );
  const [tool, ask, folder] = PROGRAMS[menu.value.by];
  await change(site, `${tool} ${entry}`, { verb: "run", argv: [tool, entry], seconds: 60 });
  const { list } = await site.fresh({ list: ask });
  if (!said(list).split("\n").includes(`next_entry=${entry}`))
    throw failure(
      site,
      "boot.trial-not-set",
      `${tool} left no next_entry=${entry}: ${said(list).trim() || "grubenv is empty"}`,
      `see that ${folder}/grubenv can be written and that the entry exists`,
    );
  const saved = parseSavedEntry(said(list));
  return saved !== "" && saved !== entry && saved === menu.value.entries[oldKernel];
}

/** Takes a trial back that must not happen at somebody else's restart; says how that went. */
async function unsetTrial(site: Site, { kernel }: { readonly kernel: string }): Promise<string> {
  const { saved } = await site.fresh({ saved: GRUB_ENVIRONMENT_ASKS.saved });
  const unset = [saved.kind === "missing" ? "grub2-editenv" : "grub-editenv", "-", "unset", "next_entry"];
  try {
    await change(site, unset.join(" "), { verb: "run", argv: unset, seconds: 60 });
    return `; kernel ${kernel} is not tried at the next start either (next_entry was unset)`;
  } catch (error) {
    const why = error instanceof TeeUpError ? error.parts.saw : String(error);
    return `; the next start still tries kernel ${kernel} (${why}): run ${unset.join(" ")}`;
  }
}

/** From its host: ends the guest and starts it again, then waits for the new boot. */
export async function restartGuest(guest: Site, seconds: number, options: ActOptions): Promise<void> {
  const before = await bootOf(guest).catch((error: unknown) => {
    if (passing(error)) return undefined;
    throw error;
  });
  const { host } = guest;
  const { domain } = await host.fresh({ domain: { kind: "argv", argv: ["test", "-e", DOMAIN_FILE] } });
  if (domain.kind !== "ran")
    throw failure(host, "guest.launcher", "it cannot be told who starts the VM", `test -e ${DOMAIN_FILE}`);
  const unit = `${VM_UNIT_PREFIX}${VM_NAME}.service`;
  const libvirt = domain.status === 0;
  for (const verb of libvirt ? ["shutdown", "start"] : ["stop", "start"]) {
    if (options.signal.aborted) throw stopped(guest);
    const argv = libvirt ? [...VIRSH, verb, DOMAIN] : ["systemctl", verb, unit];
    await change(host, argv.join(" "), { verb: "run", argv, seconds: 180 });
    if (verb === "shutdown") await domainDown(host, options);
    if (verb !== "start") guest.disconnect();
  }
  await guestBoot(guest, before?.id, seconds, options);
}

const DOWN_SECONDS = 240;

/** virsh only presses the power button: waits until the domain's QEMU has gone. */
async function domainDown(host: Site, options: ActOptions): Promise<void> {
  const gone = async (): Promise<true | undefined> => {
    const { pid } = await host.fresh({ pid: { kind: "argv", argv: ["test", "-e", DOMAIN_PID] } });
    return pid.kind === "ran" && pid.status === 1 ? true : undefined;
  };
  if ((await poll(host, DOWN_SECONDS, options, gone, () => undefined)) === undefined)
    throw failure(
      host,
      "guest.never-down",
      `domain ${DOMAIN} did not power off within ${DOWN_SECONDS} s`,
      `virsh destroy ${DOMAIN} ends it by force; then pulumi up again`,
    );
}

/** Waits until the guest takes an SSH session. */
export async function waitGuest(guest: Site, seconds: number, options: ActOptions): Promise<void> {
  await guestBoot(guest, undefined, seconds, options);
}

async function guestBoot(guest: Site, oldId: string | undefined, seconds: number, options: ActOptions): Promise<void> {
  const { boot, last } = await newBoot(guest, oldId, seconds, options, refusedTooLong(guest));
  if (boot !== undefined) return;
  throw failure(
    guest,
    "guest.never-returned",
    `the guest takes no SSH session within ${seconds} s; last seen: ${last}`,
    `ssh ${nodeOf(guest)} sudo journalctl -u ${VM_UNIT_PREFIX}${VM_NAME} -n 40, and its console.log`,
  );
}

/** cloud-init makes the user while the guest boots; one that refuses the key after that will not change its mind. */
const GUEST_LOGIN_MS = 120_000;

function refusedTooLong(guest: Site): (error: TeeUpError) => void {
  let since: number | undefined;
  return (error) => {
    since = error.code === "ssh.auth-failed" ? (since ?? Date.now()) : undefined;
    if (since === undefined || Date.now() - since < GUEST_LOGIN_MS * guest.options.timeoutScale) return;
    throw failure(
      guest,
      "guest.auth-failed",
      `the guest is up, but lets nobody in: ${error.parts.saw}`,
      `make guest.publicKey of ${nodeOf(guest)} the public half of the key that TeeUp logs in with (guest.keyFile, else ssh.keyFile or the agent); a disk that was booted keeps the key it was made with`,
    );
  };
}

async function newBoot(
  site: Site,
  oldId: string | undefined,
  seconds: number,
  options: ActOptions,
  onError: (error: TeeUpError) => void = () => undefined,
): Promise<{ boot: Boot | undefined; last: string }> {
  let last = "no answer";
  const boot = await poll(
    site,
    seconds,
    options,
    async () => {
      const seen = await bootOf(site);
      if (seen !== undefined && seen.id !== oldId) return seen;
      last = seen === undefined ? "it answers, but not which boot this is" : "it still runs the old boot";
      // A connection to a machine that goes down may stay open without an answer: try each time anew.
      site.disconnect();
      return undefined;
    },
    (error) => {
      last = redact(error.parts.saw);
      onError(error);
    },
    passing,
  );
  return { boot, last };
}

async function bootOf(site: Site): Promise<Boot | undefined> {
  const { id, kernel } = await site.fresh(BOOT);
  if (id.kind !== "ran" || kernel.kind !== "ran" || kernel.status !== 0) return undefined;
  return { id: id.stdout.trim(), kernel: kernel.stdout.trim() };
}
