import { expect, test } from "@jest/globals";
import { confidentialVm } from "../../providers/facets/confidential-vm.ts";
import { ok } from "../../providers/kit/ask.ts";
import { argvs, CONTEXT, factsOf, runExamples } from "./run-examples.ts";

runExamples(confidentialVm);

const { want, answers } = confidentialVm.examples[0]!;

test("starting is free, what stops a running guest is guest-stop, and it waits for the guest", () => {
  const steps = (n: number) => {
    const e = confidentialVm.examples[n]!;
    return confidentialVm.plan?.(e.want, factsOf(confidentialVm, e.answers), CONTEXT);
  };
  expect(steps(1)?.map((s) => s.disruption)).toEqual(["none"]);
  expect(steps(2)?.map((s) => s.disruption)).toEqual(["guest-stop"]);
  expect(steps(1)?.[0]?.actions.at(-1)).toEqual({ do: "wait-guest", timeoutSeconds: 900 });
  expect(argvs(steps(1))).toEqual([
    "systemctl daemon-reload",
    "systemctl enable teeup-vm-cvm0.service",
    "systemctl restart teeup-vm-cvm0.service",
  ]);
  expect(steps(2)?.[0]?.title).toContain("64G → ");
});

test("facts hold no process number: two looks at an unchanged machine are equal", () => {
  const process = answers["process"];
  const again = process?.kind === "ran" ? ok(process.stdout.replace(/^\d+/, "815")) : process!;
  expect(factsOf(confidentialVm, { ...answers, process: again })).toEqual(factsOf(confidentialVm, answers));
});

test("delete stops the guest, and is nothing when there is none", () => {
  const undo = (n: number) =>
    confidentialVm.undo?.(want, factsOf(confidentialVm, confidentialVm.examples[n]!.answers), CONTEXT);
  expect(undo(0)?.map((s) => s.disruption)).toEqual(["guest-stop"]);
  expect(undo(1)).toEqual([]);
});
