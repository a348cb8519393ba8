import { z } from "zod";
import { text } from "../kit/ask.ts";
import { ATTEST_ASKS, switchesOf, type Verdicts, verdictsOf } from "../kit/attest.ts";
import type { Step } from "../kit/facet.ts";
import { facet, pass } from "../kit/facet.ts";
import type { Fact } from "../kit/facts.ts";
import { showFact, valueIfKnown } from "../kit/facts.ts";
import { fail, parsed, unsure } from "../kit/findings.ts";
import { GPU_GATES, IN_SERVICE, IN_SERVICE_ASK } from "../kit/guest.ts";
import type { Verdict } from "../kit/parse-nvattest.ts";
import { parseReadyState } from "../kit/parse-nvidia-smi.ts";
import { gpuReadyStateExamples } from "./gpu-ready-state-examples.ts";

const SOURCE =
  "seed 001, Virtual Machine User, note on ReadyState; command of seed 002 (nvidia-smi conf-compute -srs 1)";

const Want = z.strictObject({});
type Facts = {
  readonly state: Fact<"ready" | "not-ready">;
  readonly verdicts: Verdicts;
  /** NVSwitches of the guest: they must have attested themselves too. */
  readonly switches: Fact<number>;
  readonly inService: Fact<string>;
};

/**
 * Methods that were tried (their policy is installed): all of them must have passed, and there must be one; where the
 * guest has NVSwitches, one for them too.
 */
function passed({ verdicts, switches }: Pick<Facts, "verdicts" | "switches">): boolean {
  const { switchLocal, switchRemote, ...gpus } = verdicts;
  const tried = (list: readonly Fact<Verdict>[]) => list.filter((v) => v.state !== "absent");
  const all = (list: readonly Fact<Verdict>[]) => list.every((v) => v.state === "known" && v.value.verdict === "pass");
  const [forGpus, forSwitches] = [tried(Object.values(gpus)), tried([switchLocal, switchRemote])];
  const needed = switches.state === "known" ? Math.min(1, switches.value) : 1;
  return forGpus.length > 0 && forSwitches.length >= needed && all([...forGpus, ...forSwitches]);
}

/** The GPU takes no work before this is set, and it is set only for a GPU that attested itself just now. */
export const gpuReadyState = facet({
  name: "gpu-ready-state",
  type: "GpuReadyState",
  on: "guest",
  persona: "vm-user",
  summary: "The GPUs' ready state, set only after they attested themselves.",
  sources: [SOURCE],
  want: Want,
  asks: {
    ...ATTEST_ASKS,
    state: { kind: "argv", argv: ["nvidia-smi", "conf-compute", "-grs"], gates: GPU_GATES, timeoutSeconds: 60 },
    inService: IN_SERVICE_ASK,
  },
  parse: (a): Facts => ({
    state: parsed(text(a.state), parseReadyState, "nvidia-smi conf-compute -grs"),
    verdicts: verdictsOf(a),
    switches: switchesOf(a),
    inService: text(a.inService),
  }),
  judge(_want, { state, verdicts, switches, inService }) {
    const attested = passed({ verdicts, switches });
    const wanted = "ready, after an attestation that passed";
    if (state.state === "unknown")
      return [
        unsure(
          "gpu-ready-state.unknown",
          wanted,
          state.why,
          "nvidia-smi conf-compute -grs, once nvidia-persistenced is active",
          SOURCE,
        ),
      ];
    if (state.state === "absent")
      return [fail("gpu-ready-state.absent", wanted, "no driver, or no guest", "see nvidia-driver", SOURCE)];
    if (state.value === "ready") {
      return attested
        ? [
            pass("gpu-ready-state.ready", wanted, "ready", SOURCE),
            ...(inService.state === "known"
              ? []
              : [
                  fail(
                    "gpu-ready-state.mark",
                    IN_SERVICE,
                    showFact(inService),
                    "pulumi up writes it: restarts of this guest need a permit from then on",
                    SOURCE,
                  ),
                ]),
          ]
        : [
            fail(
              "gpu-ready-state.unattested",
              wanted,
              "ready, but the attestation does not pass",
              "see attestation; nvidia-smi conf-compute -srs 0 takes the GPUs out of service",
              SOURCE,
            ),
          ];
    }
    return attested
      ? [fail("gpu-ready-state.not-ready", wanted, "not ready", "pulumi up sets it", SOURCE)]
      : [
          fail(
            "gpu-ready-state.not-attested",
            wanted,
            "not ready, and the attestation does not pass",
            "see attestation",
            SOURCE,
          ),
        ];
  },
  plan(_want, { state, verdicts, switches, inService }): Step[] {
    // Without a guest nothing can have attested; the plan then shows what will be done.
    const future = state.state === "absent" && Object.values(verdicts).every((v) => v.state === "absent");
    if (!future && !passed({ verdicts, switches })) return [];
    if (state.state === "unknown" || inService.state === "unknown") return [];
    if (state.state === "known" && state.value === "ready" && inService.state === "known") return [];
    const set = valueIfKnown(state) !== "ready";
    return [
      {
        code: set ? "gpu-ready-state.set" : "gpu-ready-state.mark",
        title: set ? "GPUs: not ready → ready" : `write ${IN_SERVICE}`,
        why: set ? "the GPUs attested themselves and take work from now on" : "the guest may hold work from now on",
        disruption: "none",
        actions: [
          ...(set ? [{ do: "run", argv: ["nvidia-smi", "conf-compute", "-srs", "1"] } as const] : []),
          { do: "write", path: IN_SERVICE, content: "The GPUs of this guest were attested and set ready by TeeUp.\n" },
        ],
      },
    ];
  },
  show: ({ state }) => ({ ready: showFact(state) }),
  examples: gpuReadyStateExamples,
  covers: ["001-VM-27", "001-USER-04", "001-USER-05", "001-USER-06"],
});
