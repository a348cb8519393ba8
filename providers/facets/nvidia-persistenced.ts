import { z } from "zod";
import { failed, ok, text } from "../kit/ask.ts";
import { example } from "../kit/example.ts";
import type { Step } from "../kit/facet.ts";
import { facet } from "../kit/facet.ts";
import type { Fact } from "../kit/facts.ts";
import { known, mapFact, showFact, unknown, valueOf } from "../kit/facts.ts";
import { firstUnknown } from "../kit/findings.ts";
import { IN_SERVICE_ASK, NO_MACHINE, PERSISTENCED, restartDisruption } from "../kit/guest.ts";
import { judgeFact } from "../kit/judge.ts";

const SOURCE = "seed 001, Setting up the NVIDIA Driver to be in Persistence Mode; units of seeds 002 and 003";
/** Overrides the package's unit, which runs without persistence mode and stops when nothing needs it. */
const PATH = `/etc/systemd/system/${PERSISTENCED}`;

const Want = z.strictObject({
  args: z.array(z.string().regex(/^--[a-z-]+(=[\w.-]+)?$/)).default([]).describe("Arguments of nvidia-persistenced."),
  before: z.array(z.string().regex(/^[\w@.-]+\.(service|target)$/)).default([]).describe("Units that use the GPU: they start after it."),
  timeoutSeconds: z.int().min(30).max(3600).default(900).describe("How long the start may take: eight GPUs in CC mode take minutes."),
});
type Want = z.output<typeof Want>;
type Facts = {
  readonly unit: Fact<string>;
  /** `active`, `activating`, `inactive`, `failed`, … */
  readonly active: Fact<string>;
  readonly enabled: Fact<boolean>;
  readonly stale: Fact<boolean>;
  readonly inService: Fact<string>;
};

const unitOf = (want: Want): string => `# Written by TeeUp.
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

/** The daemon holds the only SPDM session that the GPU gives without a reset: it must start once and stay. */
export const nvidiaPersistenced = facet({
  name: "nvidia-persistenced",
  type: "NvidiaPersistenced",
  on: "guest",
  persona: "vm-admin",
  summary: "nvidia-persistenced keeps the GPU's SPDM session, started before everything that uses the GPU.",
  sources: [SOURCE, "NVIDIA/nvtrust#128 (slower than 120 s with eight GPUs)"],
  want: Want,
  asks: {
    unit: { kind: "file", path: PATH },
    state: { kind: "argv", argv: ["systemctl", "show", PERSISTENCED, "-p", "ActiveState", "-p", "UnitFileState", "-p", "NeedDaemonReload"] },
    inService: IN_SERVICE_ASK,
  },
  parse(a): Facts {
    const shown = mapFact(text(a.state), (t) => new Map(t.split("\n").map((l) => l.split("=", 2) as [string, string])));
    const get = (key: string): Fact<string> => {
      if (shown.state !== "known") return shown;
      const value = shown.value.get(key);
      return value === undefined ? unknown(`systemctl shows no ${key}`) : known(value);
    };
    return {
      unit: text(a.unit),
      active: get("ActiveState"),
      enabled: mapFact(get("UnitFileState"), (s) => s === "enabled"),
      stale: mapFact(get("NeedDaemonReload"), (s) => s === "yes"),
      inService: text(a.inService),
    };
  },
  judge: (want, facts) => [
    judgeFact(facts.unit, {
      code: "nvidia-persistenced.unit",
      want: `${PATH} with ${want.timeoutSeconds} s to start${want.before.length > 0 ? `, before ${want.before.join(", ")}` : ""}`,
      hint: "teeup up writes it; a restart of the guest applies it",
      source: SOURCE,
      good: (t) => t === unitOf(want) && valueOf(facts.stale) !== true,
      show: (t) => (t === unitOf(want) ? (valueOf(facts.stale) === true ? "systemd has not read it" : "as wanted") : "another text"),
    }),
    judgeFact(facts.enabled, {
      code: "nvidia-persistenced.enabled",
      want: "started at every boot",
      hint: `systemctl enable ${PERSISTENCED}`,
      source: SOURCE,
      good: (enabled) => enabled,
      show: (enabled) => (enabled ? "enabled" : "not enabled"),
    }),
    judgeFact(facts.active, {
      code: valueOf(facts.active) === "activating" ? "nvidia-persistenced.starting" : "nvidia-persistenced.active",
      want: "active",
      hint:
        valueOf(facts.active) === "activating"
          ? "wait: the GPU's session takes minutes under CC; run nothing that uses the GPU meanwhile"
          : `journalctl -u ${PERSISTENCED}; a lost SPDM session needs a restart of the guest`,
      source: SOURCE,
      good: (state) => state === "active",
    }),
  ],
  plan(want, facts): Step[] {
    if (firstUnknown(facts.unit, facts.active, facts.enabled, facts.stale)) return [];
    const state = valueOf(facts.active);
    const written = valueOf(facts.unit) === unitOf(want);
    const steps: Step[] = [];
    const step = (code: string, title: string, why: string, disruption: Step["disruption"], actions: Step["actions"]) =>
      void steps.push({ code: `nvidia-persistenced.${code}`, title, why, disruption, actions });
    if (!written || valueOf(facts.stale) === true || valueOf(facts.enabled) !== true) {
      step("unit", `write and enable ${PERSISTENCED}`, "it must start at boot, in time, and before all that uses the GPU", "none", [
        ...(written ? [] : [{ do: "write", path: PATH, content: unitOf(want) } as const]),
        { do: "run", argv: ["systemctl", "daemon-reload"] },
        { do: "run", argv: ["systemctl", "enable", PERSISTENCED] },
      ]);
    }
    const wait = { do: "wait", argv: ["systemctl", "is-active", "--quiet", PERSISTENCED], timeoutSeconds: want.timeoutSeconds, what: `${PERSISTENCED} to be active` } as const;
    if (state === "activating") {
      step("wait", "wait until nvidia-persistenced has started", "nothing may use the GPU before", "none", [wait]);
    } else if (state === "failed" || (state === "active" && facts.unit.state === "known" && !written)) {
      // Stopping the daemon destroys the session's keys, and only the reset that comes with a new VM allows another session.
      const why = state === "failed" ? "the GPU gives a new session after a reset only" : "the daemon must not be stopped under the session it holds";
      step("restart-guest", "restart the guest for a new SPDM session", why, restartDisruption(facts.inService), [{ do: "restart-guest", timeoutSeconds: 900 }, wait]);
    } else if (state !== "active") {
      step("start", "start nvidia-persistenced", "without it the driver drops the session, and the GPU allows no second one", "none", [
        { do: "run", argv: ["systemctl", "start", PERSISTENCED], timeoutSeconds: want.timeoutSeconds + 30 },
        wait,
      ]);
    }
    return steps;
  },
  show: ({ active, enabled }) => ({ active: showFact(active), enabled: showFact(enabled) }),
  examples: [],
  covers: ["001-VM-17", "001-VM-18", "001-VM-19", "001-VM-20", "001-VM-21", "001-VM-22", "001-VM-23", "001-USER-09", "001-USER-10"],
});
