import { expect, test } from "@jest/globals";
import { snpReady as facet } from "../../providers/facets/snp-ready.ts";
import { SNP_READY_EXAMPLES } from "../../providers/facets/snp-ready-examples.ts";
import { failed, ok } from "../../providers/kit/ask.ts";
import { bad, factsOf } from "./run-examples.ts";

const named = (name: string) => {
  const found = SNP_READY_EXAMPLES.find((e) => e.name === name);
  if (found === undefined) throw new Error(name);
  return found;
};
const judge = (name: string, more = {}, want = {}) =>
  facet.judge({ ...named(name).want, ...want }, factsOf(facet, { ...named(name).answers, ...more }));

test("it only checks", () => {
  expect(facet.plan).toBeUndefined();
  expect(facet.undo).toBeUndefined();
});

test("001-HOST-42: ASIDs alone do not make a host ready", () => {
  const findings = judge("firmware too old");
  expect(findings.find((f) => f.code === "snp-ready.kvm")?.level).toBe("pass");
  expect(bad(findings)).toEqual(["snp-ready.firmware-too-old"]);
});

test("every bad line says what to do", () => {
  const hint = (name: string, code: string) => judge(name).find((f) => f.code === code)?.hint;
  expect(hint("RMP not reserved", "snp-ready.rmp-not-reserved")).toMatch(/SNP Memory Coverage/);
  expect(hint("RMP covers a part of memory", "snp-ready.rmp-partial")).toMatch(/all memory/);
  expect(hint("IOMMU in passthrough mode", "snp-ready.iommu-passthrough")).toMatch(/iommu=pt/);
  expect(hint("TCB", "snp-ready.tcb")).toMatch(/cold restart/);
});

test("the wanted firmware and number of guests are the stack's", () => {
  expect(bad(judge("the guide's 5.19 kernel", {}, { minimumApi: "1.55" }))).toEqual(["snp-ready.firmware"]);
  expect(bad(judge("upstream kernel", {}, { minimumAsids: 100 }))).toEqual(["snp-ready.kvm"]);
});

test("parameters are good as Y and as 1, and a missing one is off", () => {
  const parameters = ok("/sys/module/kvm_amd/parameters/sev:1\n/sys/module/kvm_amd/parameters/sev_es:1\n", 2);
  const finding = judge("upstream kernel", { parameters }).find((f) => f.code === "snp-ready.parameters");
  expect(finding).toMatchObject({ level: "fail", saw: "sev=1 sev_es=1 sev_snp=missing" });
});

test("an old kernel has no line for the IOMMU; a new one without it is not ready", () => {
  const answers = named("the guide's 5.19 kernel").answers;
  expect(bad(judge("the guide's 5.19 kernel"))).toEqual([]);
  expect(bad(judge("the guide's 5.19 kernel", { ...answers, kernel: ok("6.11.0-29-generic\n") }))).toEqual([
    "snp-ready.iommu",
  ]);
});

test("snphost that cannot be read is unknown, not good", () => {
  const level = (answer: ReturnType<typeof ok>) => judge("upstream kernel", { snphost: answer }).at(-1)?.level;
  expect(level(ok("", 1, "permission denied"))).toBe("unknown");
  expect(level(failed("no answer within 30 s"))).toBe("unknown");
});
