import { expect, test } from "@jest/globals";
import { failed, missing, ok } from "../../providers/kit/ask.ts";
import { inServiceOf, NO_MACHINE, restartDisruption } from "../../providers/kit/guest.ts";

const LOADED = ok("");
const NOT_READY = ok("Confidential Compute GPUs Ready state: not-ready\n");
const READY = ok("Confidential Compute GPUs Ready state: ready\n");
const SKIPPED = { kind: "skipped", why: "nvidia-persistenced is not active yet" } as const;

test.each([
  ["no mark, and the GPU takes no work", missing, NOT_READY, LOADED, "service"],
  ["no mark, no driver", missing, missing, ok("", 1), "service"],
  ["no guest", NO_MACHINE, NO_MACHINE, NO_MACHINE, "service"],
  ["the mark", ok("x\n"), NOT_READY, LOADED, "guest-stop"],
  ["no mark, but the GPU is ready", missing, READY, LOADED, "guest-stop"],
  ["no mark, and the state cannot be read", missing, SKIPPED, LOADED, "guest-stop"],
  ["no mark, and the modules cannot be read", missing, SKIPPED, failed("time-out"), "guest-stop"],
  ["the mark cannot be read", failed("time-out"), NOT_READY, LOADED, "guest-stop"],
] as const)("%s: a restart is %s", (_name, inService, ready, nvidia, disruption) => {
  expect(restartDisruption(inServiceOf({ inService, ready, nvidia }))).toBe(disruption);
});
