import { describe, expect, test } from "@jest/globals";
import { nvidiaDriver } from "../../providers/facets/nvidia-driver.ts";
import type { Step } from "../../providers/kit/facet.ts";
import { CONTEXT, factsOf, runExamples } from "./run-examples.ts";

runExamples(nvidiaDriver);

const example = (name: string) => nvidiaDriver.examples.find((e) => e.name === name)!;
const lines = (steps: readonly Step[] | undefined) =>
  (steps ?? []).flatMap((s) => s.actions.flatMap((a) => (a.do === "job" ? a.lines.map((l) => l.argv.join(" ")) : [])));

describe("installation", () => {
  test("packages", () => {
    const { want, answers } = example("a fresh guest");
    expect(lines(nvidiaDriver.plan?.(want, factsOf(nvidiaDriver, answers), CONTEXT)).at(-1)).toMatch(
      /^apt-get .* install .*nvidia-headless-580-server-open$/,
    );
  });

  test("the guide's run file is verified before it runs, silently and with open kernel modules", () => {
    const { want, answers } = example("a fresh guest of the 2023 guide");
    const seen = lines(nvidiaDriver.plan?.(want, factsOf(nvidiaDriver, answers), CONTEXT));
    const at = (part: string) => seen.findIndex((l) => l.includes(part));
    expect(at("install gcc make")).toBeGreaterThanOrEqual(0);
    expect(at("sha256sum --check")).toBeGreaterThan(at("curl"));
    expect(seen.at(-1)).toBe("sh /var/lib/teeup/artifacts/cuda_12.2.0_535.86.06_linux.run --silent -m=kernel-open");
  });
});

test.each([
  ["580.", "580.95.05", true],
  ["580.", "58.1", false],
  ["535.86", "535.86.05", true],
  ["535.86", "535.861.1", false],
  ["580.95.05", "580.95.05", true],
])("version %s takes %s: %s", (version, seen, good) => {
  const { want, answers } = example("loaded, open, held");
  const modinfo = { kind: "ran", status: 0, stderr: "", stdout: `version: ${seen}\nlicense: Dual MIT/GPL\n` } as const;
  const facts = factsOf(nvidiaDriver, { ...answers, module: modinfo });
  const finding = nvidiaDriver.judge({ ...want, version }, facts).find((f) => f.code === "nvidia-driver.installed");
  expect(finding?.level).toBe(good ? "pass" : "fail");
});
