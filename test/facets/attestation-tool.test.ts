import { expect, test } from "@jest/globals";
import { attestationTool } from "../../providers/facets/attestation-tool.ts";
import { CONTEXT, factsOf, runExamples } from "./run-examples.ts";

runExamples(attestationTool);

test("the verifier is installed before the SDK, into one environment, from the pinned commit", () => {
  const { want, answers } = attestationTool.examples.find((e) => e.name === "the SDK is missing")!;
  const steps = attestationTool.plan?.(want, factsOf(attestationTool, answers), CONTEXT) ?? [];
  const lines = steps.flatMap((s) =>
    s.actions.flatMap((a) => (a.do === "job" ? a.lines.map((l) => l.argv.join(" ")) : [])),
  );
  const at = (part: string) => lines.findIndex((l) => l.includes(part));
  expect(at("local_gpu_verifier")).toBeGreaterThan(at("-m venv --clear /opt/teeup/nvattest-venv"));
  expect(at("attestation_sdk")).toBeGreaterThan(at("local_gpu_verifier"));
  expect(at("aaaaaaaaaaaa")).toBeGreaterThanOrEqual(0);
  expect(lines.filter((l) => l.includes("pip")).every((l) => l.startsWith("/opt/teeup/nvattest-venv/bin/pip"))).toBe(
    true,
  );
  expect(steps[0]?.actions.at(-1)).toMatchObject({ do: "write", path: "/opt/teeup/nvattest-venv/teeup-commit" });
});
