import { expect, test } from "@jest/globals";
import { packages } from "../../providers/facets/packages.ts";
import { ok } from "../../providers/kit/ask.ts";
import { argvs, bad, CONTEXT, codes, factsOf } from "./run-examples.ts";

const want = packages.want.parse({ names: ["git", "jq"] });
const ubuntu = { os: ok("ID=ubuntu\nID_LIKE=debian\n"), dpkg: ok("installed\tgit\t\tinstall\n") };

test("apt waits for another apt, never removes a package, and installs only what is missing", () => {
  expect(argvs(packages.plan?.(want, factsOf(packages, ubuntu), CONTEXT))).toEqual([
    "dpkg --configure -a",
    "apt-get -y update",
    "apt-get -y --no-remove install jq",
  ]);
});

test("a Red Hat family system is asked and served by rpm and dnf", () => {
  const rocky = { os: ok('ID="rocky"\nID_LIKE="rhel centos fedora"\n'), rpm: ok("git\n") };
  const facts = factsOf(packages, rocky);
  expect(bad(packages.judge(want, facts))).toEqual(["packages.missing"]);
  expect(argvs(packages.plan?.(want, facts, CONTEXT))).toEqual(["dnf install -y jq"]);
});

test("a system of another family is refused, nothing is planned", () => {
  const facts = factsOf(packages, { ...ubuntu, os: ok("ID=arch\n") });
  expect(bad(packages.judge(want, facts))).toEqual(["packages.distribution", "packages.missing"]);
  expect(codes(packages.plan?.(want, facts, CONTEXT))).toEqual([]);
});

test("a wanted package that somebody holds back: one finding with the command, nothing is planned", () => {
  const facts = factsOf(packages, {
    ...ubuntu,
    dpkg: ok("installed\tgit\t\tinstall\nnot-installed\tjq\t\thold\n"),
  });
  const findings = packages.judge(want, facts);
  expect(bad(findings)).toEqual(["packages.missing", "packages.held"]);
  expect(findings.find((f) => f.code === "packages.held")?.hint).toBe("apt-mark unhold jq");
  expect(codes(packages.plan?.(want, facts, CONTEXT))).toEqual([]);
});

test("an installed package may be held", () => {
  const facts = factsOf(packages, { ...ubuntu, dpkg: ok("installed\tgit\t\tinstall\ninstalled\tjq\t\thold\n") });
  expect(bad(packages.judge(want, facts))).toEqual([]);
});

test("pip is asked for only when something is wanted of it", () => {
  const seed = packages.want.parse({ names: ["git"], pip: ["numpy", "Flex"] });
  const facts = factsOf(packages, { ...ubuntu, pip: ok("numpy-1.26.4.dist-info\n", 1) });
  expect(argvs(packages.plan?.(seed, facts, CONTEXT))).toEqual(["python3 -m pip install flex"]);
  expect(codes(packages.judge(packages.want.parse({ names: ["git"] }), facts) as never)).not.toContain(
    "packages.pip-missing",
  );
});

test.each(["git; reboot", "-oX", "", "$(id)"])("%j is no package name", (name) => {
  expect(packages.want.safeParse({ names: [name] }).success).toBe(false);
});
