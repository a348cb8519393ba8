import { expect, test } from "@jest/globals";
import { fabricManager } from "../../providers/facets/fabric-manager.ts";
import { type Answer, missing, ok } from "../../providers/kit/ask.ts";
import type { Step } from "../../providers/kit/facet.ts";
import { CONTEXT, codes, factsOf, runExamples } from "./run-examples.ts";

runExamples(fabricManager);

const example = (name: string) => {
  const found = fabricManager.examples.find((e) => e.name.startsWith(name));
  if (found === undefined) throw new Error(name);
  return found;
};
const plan = (name: string, more: Readonly<Record<string, Answer>> = {}) => {
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

test("where dnf cannot hold yet, its plugin comes first", () => {
  const rpm = { os: ok('ID="rocky"\nID_LIKE="rhel fedora"\n'), aptHeld: missing };
  const hold = (more: object) => plan("missing", { ...rpm, ...more }).find((s) => s.code === "fabric-manager.hold");
  const argv = (step?: Step) => step?.actions.map((a) => (a.do === "run" ? a.argv.join(" ") : a.do));
  const lock = "dnf versionlock add nvidia-fabricmanager-580";
  expect(argv(hold({ locks: missing }))).toEqual(["dnf install -y python3-dnf-plugin-versionlock", lock]);
  expect(argv(hold({ locks: ok("") }))).toEqual([lock]);
});

test("files of the Red Hat family go by rpm, back to an older one too, each verified before the old process is stopped", () => {
  const url =
    "https://developer.download.nvidia.cn/compute/cuda/repos/rhel8/x86_64/nvidia-fabric-manager-570.86.15-1.x86_64.rpm";
  const want = fabricManager.want.parse({ version: "570.86.15", files: [{ url, sha256: "ab".repeat(32) }] });
  const { answers } = example("NSCQ is missing");
  const facts = factsOf(fabricManager, {
    ...answers,
    os: ok('ID="alinux"\nID_LIKE="rhel fedora centos"\n'),
    aptHeld: missing,
    locks: missing,
    loaded: ok("NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.86.15  Thu Jan 16 23:01:02 UTC 2025\n"),
    version: ok("Fabric Manager version is : 570.195.03\n"),
    state: RUNNING,
  });
  const [install] = fabricManager.plan?.(want, facts, CONTEXT) ?? [];
  const file = "/var/lib/teeup/artifacts/nvidia-fabric-manager-570.86.15-1.x86_64.rpm";
  expect(linesOf(install)).toEqual([
    `curl --fail --location --silent --show-error --retry 3 --output ${file} ${url}`,
    `sha256sum --check --strict ${file}.sha256`,
    "systemctl stop nvidia-fabricmanager.service",
    `rpm --upgrade --oldpackage --replacepkgs ${file}`,
  ]);
  // Files are no archive's: nothing upgrades them, so nothing is held.
  expect(codes(fabricManager.plan?.(want, facts, CONTEXT))).toEqual(["fabric-manager.install", "fabric-manager.start"]);
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
