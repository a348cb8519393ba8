import { expect, test } from "@jest/globals";
import fc from "fast-check";
import { gpuReadyState } from "../../providers/facets/gpu-ready-state.ts";
import { failed, missing, ok } from "../../providers/kit/ask.ts";
import { CONTEXT, factsOf, runExamples } from "./run-examples.ts";

runExamples(gpuReadyState);

const pass = gpuReadyState.examples[0]!.answers["local"]!;
const wrong = gpuReadyState.examples.find((e) => e.name === "not attested: never set")!.answers["local"]!;

test("whatever else is answered, nothing is set ready in a guest unless every attestation that was tried passed", () => {
  const verdict = fc.constantFrom(pass, wrong, missing, failed("no answer within 150 s"), ok(""), ok("{}"));
  const state = fc.constantFrom(ok("Confidential Compute GPUs Ready state: not-ready\n"), ok("?\n"), failed("lost"));
  fc.assert(
    fc.property(verdict, verdict, state, (local, remote, grs) => {
      const answers = { local, remote, sdk: missing, state: grs, inService: missing };
      const steps = gpuReadyState.plan?.({}, factsOf(gpuReadyState, answers), CONTEXT) ?? [];
      const tried = [local, remote].filter((v) => v !== missing);
      if (steps.length > 0) expect(tried.length > 0 && tried.every((v) => v === pass)).toBe(true);
    }),
  );
});

test("the mark that the guest is in service is written after the state is set", () => {
  const { answers } = gpuReadyState.examples.find(
    (e) => e.steps.includes("gpu-ready-state.set") && e.answers["local"] === pass,
  )!;
  const step = gpuReadyState.plan?.({}, factsOf(gpuReadyState, answers), CONTEXT)[0];
  expect(step?.actions).toMatchObject([
    { do: "run", argv: ["nvidia-smi", "conf-compute", "-srs", "1"] },
    { do: "write", path: "/var/lib/teeup/in-service" },
  ]);
});
