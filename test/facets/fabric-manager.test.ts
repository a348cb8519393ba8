import { expect, test } from "@jest/globals";
import { fabricManager } from "../../providers/facets/fabric-manager.ts";
import { ok } from "../../providers/kit/ask.ts";
import { CONTEXT, factsOf, runExamples } from "./run-examples.ts";

runExamples(fabricManager);

const example = (name: string) => {
  const found = fabricManager.examples.find((e) => e.name.startsWith(name));
  if (found === undefined) throw new Error(name);
  return found;
};
const plan = (name: string, more: Readonly<Record<string, ReturnType<typeof ok>>> = {}) => {
  const { want, answers } = example(name);
  return fabricManager.plan?.(want, factsOf(fabricManager, { ...answers, ...more }), CONTEXT) ?? [];
};

test("of the archive's versions the loaded driver's is taken, whatever is newest", () => {
  const job = plan("the archive is ahead")[0]?.actions.find((a) => a.do === "job");
  const install = job?.do === "job" ? job.lines.at(-1)?.argv : undefined;
  expect(install).toContain("nvidia-fabricmanager-580=580.95.05*");
});

test("files are verified before they are installed, and the fabric manager's stands before NSCQ's", () => {
  const [step] = plan("NSCQ is missing");
  const job = step?.actions.find((a) => a.do === "job");
  const lines = job?.do === "job" ? job.lines.map((l) => l.argv.join(" ")) : [];
  expect(lines.filter((l) => l.startsWith("sha256sum --check"))).toHaveLength(2);
  expect(lines.findIndex((l) => l.startsWith("dpkg"))).toBeGreaterThan(lines.findLastIndex((l) => l.startsWith("sha256sum")));
});

test("a restart under GPUs that may be at work is a guest-stop, under idle ones a service", () => {
  const running = { state: ok("ActiveState=active\nUnitFileState=enabled\nNeedDaemonReload=no\n") };
  const worst = (more: Readonly<Record<string, ReturnType<typeof ok>>>) =>
    plan("the archive is ahead", { ...running, ...more }).map((s) => s.disruption);
  expect(worst({})).toEqual(["service", "service"]);
  expect(worst({ inService: ok("…\n") })).toEqual(["guest-stop", "guest-stop"]);
});
