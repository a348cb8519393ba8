import { expect, test } from "@jest/globals";
import { fabricManager } from "../../providers/facets/fabric-manager.ts";
import { ok } from "../../providers/kit/ask.ts";
import type { Step } from "../../providers/kit/facet.ts";
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

const RUNNING = ok("ActiveState=active\nUnitFileState=enabled\nNeedDaemonReload=no\n");
const linesOf = (step?: Step): string[] =>
  (step?.actions ?? []).flatMap((a) => (a.do === "job" ? a.lines.map((l) => l.argv.join(" ")) : []));

test("of the archive's versions the loaded driver's is taken, whatever is newest", () => {
  const job = plan("the archive is ahead")[0]?.actions.find((a) => a.do === "job");
  const install = job?.do === "job" ? job.lines.at(-1)?.argv : undefined;
  expect(install).toContain("nvidia-fabricmanager-580=580.95.05*");
});

test("with dnf too, past a lock on another version, which is held anew", () => {
  const rpm = {
    os: ok('ID="rocky"\nID_LIKE="rhel fedora"\n'),
    aptHeld: ok(""),
    locks: ok("nvidia-fabricmanager-580-0:580.105.08-1.*\n"),
  };
  const steps = plan("the archive is ahead", rpm);
  expect(linesOf(steps[0]).slice(-2)).toEqual([
    "dnf versionlock delete nvidia-fabricmanager-580",
    "dnf install -y nvidia-fabricmanager-580-580.95.05",
  ]);
  expect(steps.map((s) => s.code)).toContain("fabric-manager.hold");
  expect(linesOf(plan("the archive is ahead", { ...rpm, locks: ok("") })[0])).toEqual([
    "dnf install -y nvidia-fabricmanager-580-580.95.05",
  ]);
});

test("a run that is killed between install and start leaves no old process behind a binary that fits", () => {
  for (const name of ["the archive is ahead", "NSCQ is missing"]) {
    const [step] = plan(name, { state: RUNNING, version: ok("Fabric Manager version is : 1.0\n") });
    const lines = linesOf(step);
    const stop = lines.indexOf("systemctl stop nvidia-fabricmanager.service");
    expect(stop).toBeGreaterThanOrEqual(0);
    expect(lines.findIndex((l) => / install |dpkg/.test(l))).toBeGreaterThan(stop);
    expect(lines.findLastIndex((l) => /sha256sum|update/.test(l))).toBeLessThan(stop);
  }
  expect(linesOf(plan("NSCQ is missing")[0]).join()).not.toContain("systemctl");
});

test("files are verified before they are installed, and the fabric manager's stands before NSCQ's", () => {
  const [step] = plan("NSCQ is missing");
  const job = step?.actions.find((a) => a.do === "job");
  const lines = job?.do === "job" ? job.lines.map((l) => l.argv.join(" ")) : [];
  expect(lines.filter((l) => l.startsWith("sha256sum --check"))).toHaveLength(2);
  expect(lines.findIndex((l) => l.startsWith("dpkg"))).toBeGreaterThan(
    lines.findLastIndex((l) => l.startsWith("sha256sum")),
  );
});

test("a restart under GPUs that may be at work is a guest-stop, under idle ones a service", () => {
  const running = { state: RUNNING };
  const worst = (more: Readonly<Record<string, ReturnType<typeof ok>>>) =>
    plan("the archive is ahead", { ...running, ...more }).map((s) => s.disruption);
  expect(worst({})).toEqual(["service", "service"]);
  expect(worst({ inService: ok("…\n") })).toEqual(["guest-stop", "guest-stop"]);
});
