import { expect, test } from "@jest/globals";
import { nvidiaPersistenced } from "../../providers/facets/nvidia-persistenced.ts";
import { argvs, CONTEXT, factsOf, runExamples } from "./run-examples.ts";

runExamples(nvidiaPersistenced);

const { want } = nvidiaPersistenced.examples[0]!;
const plan = (n: number) =>
  nvidiaPersistenced.plan?.(want, factsOf(nvidiaPersistenced, nvidiaPersistenced.examples[n]!.answers), CONTEXT);

test("the unit starts in time, keeps the session, and stands before all that uses the GPU", () => {
  const write = plan(2)?.[0]?.actions.find((a) => a.do === "write");
  const unit = write?.do === "write" ? write.content : "";
  expect(unit).toContain("TimeoutStartSec=900");
  expect(unit).toContain("Before=cloudmonitor.service");
  expect(unit).toContain("ExecStart=/usr/bin/nvidia-persistenced --user root --uvm-persistence-mode --verbose");
  expect(unit).not.toContain("StopWhenUnneeded");
  expect(unit).toContain("WantedBy=multi-user.target");
});

test("the first start has as long as it needs; a lost session is never started anew in the same guest", () => {
  const start = plan(2)?.at(-1)?.actions[0];
  expect(start).toMatchObject({ do: "run", timeoutSeconds: 930 });
  for (const step of nvidiaPersistenced.examples.flatMap((_e, n) => plan(n) ?? [])) {
    if (step.code !== "nvidia-persistenced.restart-guest") continue;
    expect(argvs([step])).toEqual([]);
    expect(step.actions[0]).toMatchObject({ do: "restart-guest" });
  }
});

test.each([["--no-persistence-mode; reboot"], ["$(reboot)"], ["--user root"]])("%j is no argument", (arg) => {
  expect(nvidiaPersistenced.want.safeParse({ ...want, args: [arg] }).success).toBe(false);
});
