import { expect, test } from "@jest/globals";
import { gpuCcMode } from "../../providers/facets/gpu-cc-mode.ts";
import { gpuTools } from "../../providers/facets/gpu-tools.ts";
import { runExamples } from "./run-examples.ts";

runExamples(gpuTools);

test("untracked files count as changed, and a changed tool is never run", () => {
  expect(gpuTools.asks.status.argv).toContain("--untracked-files=all");
  expect(gpuCcMode.asks.modes.gates.map((g) => g.argv.join(" "))).toContain(
    "git --no-optional-locks -C /opt/teeup/gpu-admin-tools diff --quiet HEAD",
  );
});
