import type { Answer } from "../kit/ask.ts";
import { failed, missing, ok } from "../kit/ask.ts";
import type { Example } from "../kit/facet.ts";
import { NO_MACHINE } from "../kit/guest.ts";
import type { PersistencedWant } from "./nvidia-persistenced.ts";
import { unitOf } from "./nvidia-persistenced-plan.ts";

const want: PersistencedWant = {
  args: ["--uvm-persistence-mode", "--verbose"],
  before: ["cloudmonitor.service"],
  timeoutSeconds: 900,
};
const state = (active: string, enabled = "enabled", stale = "no") =>
  ok(`ActiveState=${active}\nUnitFileState=${enabled}\nNeedDaemonReload=${stale}\n`);
const good: Readonly<Record<string, Answer>> = { unit: ok(unitOf(want)), state: state("active"), inService: missing };
const example = (
  name: string,
  answers: Readonly<Record<string, Answer>>,
  findings: readonly string[],
  steps: readonly string[],
): Example<PersistencedWant> => ({ name, want, answers: { ...good, ...answers }, findings, steps });

export const persistencedExamples: readonly Example<PersistencedWant>[] = [
  example("active, enabled, before the agents", {}, [], []),
  example(
    "no guest yet",
    { unit: NO_MACHINE, state: NO_MACHINE, inService: NO_MACHINE },
    ["nvidia-persistenced.unit", "nvidia-persistenced.enabled", "nvidia-persistenced.active"],
    ["nvidia-persistenced.unit", "nvidia-persistenced.start"],
  ),
  example(
    "the package's unit: no persistence mode, stops when nothing needs it",
    { unit: missing, state: state("inactive", "static") },
    ["nvidia-persistenced.unit", "nvidia-persistenced.enabled", "nvidia-persistenced.active"],
    ["nvidia-persistenced.unit", "nvidia-persistenced.start"],
  ),
  example(
    "still starting after 120 s",
    { state: state("activating") },
    ["nvidia-persistenced.starting"],
    ["nvidia-persistenced.wait"],
  ),
  example(
    "failed: the session is lost until the GPU is reset",
    { state: state("failed") },
    ["nvidia-persistenced.active"],
    ["nvidia-persistenced.restart-guest"],
  ),
  example(
    "stopped after its start: the session went with it",
    { state: state("inactive") },
    ["nvidia-persistenced.active"],
    ["nvidia-persistenced.restart-guest"],
  ),
  example(
    "another unit under a running daemon",
    { unit: ok("[Service]\nExecStart=/usr/bin/nvidia-persistenced\n") },
    ["nvidia-persistenced.unit"],
    ["nvidia-persistenced.unit", "nvidia-persistenced.restart-guest"],
  ),
  example(
    "no answer",
    { state: failed("connection lost") },
    ["nvidia-persistenced.enabled", "nvidia-persistenced.active"],
    [],
  ),
];
