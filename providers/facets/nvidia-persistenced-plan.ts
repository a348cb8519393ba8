import type { Step } from "../kit/facet.ts";
import { valueIfKnown } from "../kit/facts.ts";
import { firstUnknown } from "../kit/findings.ts";
import { PERSISTENCED, restartDisruption } from "../kit/guest.ts";
import type { PersistencedFacts, PersistencedWant } from "./nvidia-persistenced.ts";

/** Overrides the package's unit, which runs without persistence mode and stops when nothing needs it. */
export const PATH = `/etc/systemd/system/${PERSISTENCED}`;

export const unitOf = (want: PersistencedWant): string => `# Written by TeeUp.
[Unit]
Description=NVIDIA Persistence Daemon
After=systemd-modules-load.service nvidia-fabricmanager.service
${want.before.length > 0 ? `Before=${want.before.join(" ")}\n` : ""}
[Service]
Type=forking
ExecStart=/usr/bin/nvidia-persistenced --user root${want.args.map((a) => ` ${a}`).join("")}
ExecStopPost=/bin/rm -rf /run/nvidia-persistenced
TimeoutStartSec=${want.timeoutSeconds}
TimeoutStopSec=60

[Install]
WantedBy=multi-user.target
`;

export function planPersistenced(want: PersistencedWant, facts: PersistencedFacts): readonly Step[] {
  if (firstUnknown(facts.unit, facts.active, facts.enabled, facts.stale)) return [];
  const state = valueIfKnown(facts.active);
  const written = valueIfKnown(facts.unit) === unitOf(want);
  const differs = facts.unit.state === "known" && !written;
  /** It was to start at boot, so if it does not run now, it has ended. */
  const defined = written && valueIfKnown(facts.enabled) === true;
  const steps: Step[] = [];
  const step = (code: string, title: string, why: string, disruption: Step["disruption"], actions: Step["actions"]) =>
    void steps.push({ code: `nvidia-persistenced.${code}`, title, why, disruption, actions });
  if (!written || valueIfKnown(facts.stale) === true || valueIfKnown(facts.enabled) !== true) {
    step(
      "unit",
      `write and enable ${PERSISTENCED}`,
      "it must start at boot, in time, and before all that uses the GPU",
      "none",
      [
        ...(written ? [] : [{ do: "write", path: PATH, content: unitOf(want) } as const]),
        { do: "run", argv: ["systemctl", "daemon-reload"] },
        { do: "run", argv: ["systemctl", "enable", PERSISTENCED] },
      ],
    );
  }
  const wait = {
    do: "wait",
    argv: ["systemctl", "is-active", "--quiet", PERSISTENCED],
    timeoutSeconds: want.timeoutSeconds,
    what: `${PERSISTENCED} to be active`,
  } as const;
  if (state === "activating") {
    step("wait", "wait until nvidia-persistenced has started", "nothing may use the GPU before", "none", [wait]);
  } else if (state === "active" ? differs : state === "failed" || defined) {
    // A daemon that ended took the session's keys with it, and only the reset that comes with a new VM allows another.
    const why =
      state === "active"
        ? "the daemon must not be stopped under the session it holds"
        : "the daemon ended; the GPU gives a new session after a reset only";
    step("restart-guest", "restart the guest for a new SPDM session", why, restartDisruption(facts.inService), [
      { do: "restart-guest", timeoutSeconds: 900 },
      wait,
    ]);
  } else if (state !== "active") {
    step(
      "start",
      "start nvidia-persistenced",
      "without it the driver drops the session, and the GPU allows no second one",
      "none",
      [{ do: "run", argv: ["systemctl", "start", PERSISTENCED], timeoutSeconds: want.timeoutSeconds + 30 }, wait],
    );
  }
  return steps;
}
