import { describe, expect, test } from "@jest/globals";
import { FACETS } from "../../providers/facets/index.ts";
import { collected, failed, isThere, missing, ok } from "../../providers/kit/ask.ts";
import { CONTEXT, codes, factsOf } from "../facets/run-examples.ts";

// origin: stderr of GNU grep 3.8, findutils 4.9, dpkg 1.21 and systemd 252 in the C locale
test.each([
  ["a match", ok("x\n"), { state: "known", value: "x\n" }],
  ["no match", ok("", 1), { state: "known", value: "" }],
  [
    "one folder missing",
    ok("x\n", 2, "grep: /etc/default/grub.d: No such file or directory\n"),
    { state: "known", value: "x\n" },
  ],
  ["find, folder missing", ok("", 1, "find: '/opt/x': No such file or directory\n"), { state: "known", value: "" }],
  [
    "dpkg-query, no such package",
    ok("a\n", 1, "dpkg-query: no packages found matching qemu-*\n"),
    { state: "known", value: "a\n" },
  ],
  [
    "not allowed",
    ok("x\n", 2, "grep: /a: No such file or directory\ngrep: /b: Permission denied\n"),
    { state: "unknown", why: "grep: /b: Permission denied" },
  ],
  [
    "dpkg broken",
    ok("", 2, "dpkg-query: error: parsing file '/var/lib/dpkg/status' near line 7:\n"),
    { state: "unknown", why: "dpkg-query: error: parsing file '/var/lib/dpkg/status' near line 7:" },
  ],
  [
    "no journal",
    ok("", 1, "No journal files were found.\n"),
    { state: "unknown", why: "No journal files were found." },
  ],
  ["no such program", missing, { state: "absent" }],
  ["time-out", failed("no answer within 20 s"), { state: "unknown", why: "no answer within 20 s" }],
] as const)("%s", (_name, answer, fact) => {
  expect(collected(answer)).toEqual(fact);
});

test("a file is there, is not, or nobody knows", () => {
  expect(isThere(ok(""))).toEqual({ state: "known", value: true });
  expect(isThere(missing)).toEqual({ state: "known", value: false });
  expect(isThere({ kind: "denied", why: "permission denied" })).toEqual({ state: "unknown", why: "permission denied" });
});

describe("a complaint of a program never reads as `nothing there`", () => {
  const names = ["packages", "kernel-build", "kernel", "kernel-cmdline", "module-options", "vm-stack", "snp-ready"];
  test.each(FACETS.filter((f) => names.includes(f.name)).map((f) => [f.name, f] as const))("%s", (_name, facet) => {
    const [first] = facet.examples;
    if (first === undefined) throw new Error("no example");
    const complaint = ok("", 2, "Input/output error");
    const facts = factsOf(facet, Object.fromEntries(Object.keys(facet.asks).map((ask) => [ask, complaint])));
    const levels = facet.judge(first.want, facts).map((f) => f.level);
    expect(levels).toContain("unknown");
    expect(levels).not.toContain("pass");
    expect(codes(facet.plan?.(first.want, facts, CONTEXT))).toEqual([]);
  });
});
