import { GUEST_GPUS_READY, NVIDIA_LOADED } from "./argv.ts";
import type { Answer, Answers, Ask, Gate } from "./ask.ts";
import { text } from "./ask.ts";
import type { Disruption } from "./disruption.ts";
import type { Fact } from "./facts.ts";
import { known } from "./facts.ts";
import { parseReadyState } from "./parse-nvidia-smi.ts";

/** The unit that keeps the GPU's SPDM session alive (seed 001, "Persistence Mode"). */
export const PERSISTENCED = "nvidia-persistenced.service";

/**
 * Nothing may touch the GPU through the driver before these hold: an early nvidia-smi can destroy the SPDM session,
 * and the GPU takes no second one without a reset (seed 001; docs/sources.md).
 */
export const GPU_GATES: readonly Gate[] = [
  { argv: ["systemctl", "is-active", "--quiet", PERSISTENCED], exit: 0, why: "nvidia-persistenced is not active yet" },
  { argv: GUEST_GPUS_READY, exit: 0, why: "the driver has not initialised every GPU yet" },
];

/** Written once the first attested GPU was set ready: from then on the guest may hold somebody's work. */
export const IN_SERVICE = "/var/lib/teeup/in-service";
export const IN_SERVICE_ASK = { kind: "file", path: IN_SERVICE } as const satisfies Ask;

/** The GPUs' ready state, asked once the driver may be asked. */
export const READY_ASK = {
  kind: "argv",
  argv: ["nvidia-smi", "conf-compute", "-grs"],
  gates: GPU_GATES,
  timeoutSeconds: 60,
} as const satisfies Ask;
/** Whether somebody may be at work in the guest: for {@link inServiceOf}. */
export const SERVICE_ASKS = {
  inService: IN_SERVICE_ASK,
  ready: READY_ASK,
  nvidia: { kind: "argv", argv: NVIDIA_LOADED },
} as const;

/**
 * The mark, absent only when nobody can be at work: it is not there, and the GPU is known not to be ready or has no
 * driver. The mark alone says too little: somebody may have set the GPU ready by hand, or have removed the file.
 */
export function inServiceOf(answers: Answers<typeof SERVICE_ASKS>): Fact<string> {
  const mark = text(answers.inService);
  if (mark.state !== "absent") return mark;
  const { nvidia } = answers;
  if (nvidia.kind === "no-machine" || (nvidia.kind === "ran" && nvidia.status === 1)) return mark;
  const ready = text(answers.ready);
  if (ready.state === "known" && parseReadyState(ready.value) === "not-ready") return mark;
  return known("the GPUs are not known to be not-ready");
}

/**
 * What restarting the guest costs. The GPU takes no work before its ready state is set (seed 001, "Virtual Machine
 * User"), so until then a restart interrupts nobody: `service`. Afterwards, and whenever it cannot be told, it is the
 * stop of a running guest.
 */
export function restartDisruption(inService: Fact<string>): Disruption {
  return inService.state === "absent" ? "service" : "guest-stop";
}

/** Example answer of a guest whose VM was never made. */
export const NO_MACHINE: Answer = { kind: "no-machine", why: "the confidential VM does not exist yet" };
