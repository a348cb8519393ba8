import { describe, expect, test } from "@jest/globals";
import type { Answer, Answers, Asks } from "../../providers/kit/ask.ts";
import { failed, missing } from "../../providers/kit/ask.ts";
import type { Facet, Finding, PlanContext, Step } from "../../providers/kit/facet.ts";

export const CONTEXT: PlanContext = { node: "gpu-01", pending: [], guestRunning: false };
export const NO_MACHINE: Answer = { kind: "no-machine", why: "the confidential VM does not exist yet" };

export const bad = (findings: readonly Finding[]): string[] =>
  findings.filter((f) => f.level !== "pass").map((f) => f.code);
export const codes = (steps: readonly Step[] | undefined): string[] => (steps ?? []).map((s) => s.code);
/** argv of every `run` action, for assertions on what would be run. */
export const argvs = (steps: readonly Step[] | undefined): string[] =>
  (steps ?? []).flatMap((s) => s.actions.flatMap((a) => (a.do === "run" ? [a.argv.join(" ")] : [])));

/** Facts from answers by name; what is not answered is `missing`. */
export function factsOf<W, F, A extends Asks>(facet: Facet<W, F, A>, answers: Readonly<Record<string, Answer>>): F {
  const names = Object.keys(facet.asks);
  for (const name of Object.keys(answers))
    if (!names.includes(name)) throw new Error(`${facet.name} does not ask ${name}`);
  return facet.parse(Object.fromEntries(names.map((n) => [n, answers[n] ?? missing])) as Answers<A>);
}

/** The examples of a facet, and what must hold for every facet. */
export function runExamples<W, F, A extends Asks>(facet: Facet<W, F, A>): void {
  describe(`${facet.name}: examples`, () => {
    test.each(facet.examples.map((e) => [e.name, e] as const))("%s", (_name, example) => {
      expect(facet.want.parse(example.want)).toEqual(example.want);
      const facts = factsOf(facet, example.answers);
      expect(bad(facet.judge(example.want, facts))).toEqual(example.findings);
      expect(codes(facet.plan?.(example.want, facts, CONTEXT))).toEqual(example.steps);
    });

    test("there is a pass, a fail and an unknown among them", () => {
      const levels = facet.examples.map((e) => {
        const found = facet.judge(e.want, factsOf(facet, e.answers)).map((f) => f.level);
        return found.includes("unknown") ? "unknown" : found.includes("fail") ? "fail" : "pass";
      });
      expect(new Set(levels)).toEqual(new Set(["pass", "fail", "unknown"]));
    });
  });

  describe(`${facet.name}: what holds for every facet`, () => {
    const want = facet.examples[0]?.want as W;
    const all = (answer: Answer) => factsOf(facet, Object.fromEntries(Object.keys(facet.asks).map((n) => [n, answer])));

    test.each([
      ["failed", failed("connection lost")],
      ["denied", { kind: "denied", why: "permission denied" }],
    ] as const)("when every answer is %s, nothing passes and nothing is planned", (_kind, answer) => {
      const facts = all(answer);
      const findings = facet.judge(want, facts);
      expect(findings.filter((f) => f.level === "unknown").length).toBeGreaterThan(0);
      expect(findings.filter((f) => f.level === "pass")).toEqual([]);
      expect(codes(facet.plan?.(want, facts, CONTEXT))).toEqual([]);
      expect(codes(facet.undo?.(want, facts, CONTEXT))).toEqual([]);
    });

    test("one answer that fails never turns a failing judgement into a passing one, and plans nothing new", () => {
      for (const example of facet.examples) {
        const before = facet.judge(example.want, factsOf(facet, example.answers));
        const planned = codes(facet.plan?.(example.want, factsOf(facet, example.answers), CONTEXT));
        for (const name of Object.keys(facet.asks)) {
          const facts = factsOf(facet, { ...example.answers, [name]: failed("no answer within 20 s") });
          const after = facet.judge(example.want, facts);
          if (bad(before).length > 0) expect([name, bad(after).length]).not.toEqual([name, 0]);
          for (const code of codes(facet.plan?.(example.want, facts, CONTEXT))) expect(planned).toContain(code);
        }
      }
    });

    test("what is not a pass says how to fix it and where it is written, and every code carries the facet's name", () => {
      for (const example of facet.examples) {
        const facts = factsOf(facet, example.answers);
        for (const finding of facet.judge(example.want, facts)) {
          expect(finding.code.startsWith(`${facet.name}.`)).toBe(true);
          expect(finding.source).not.toBe("");
          if (finding.level !== "pass") expect([finding.code, finding.hint === ""]).toEqual([finding.code, false]);
        }
        for (const step of facet.plan?.(example.want, facts, CONTEXT) ?? []) {
          expect(step.code.startsWith(`${facet.name}.`)).toBe(true);
          expect(step.title).not.toContain("undefined");
        }
      }
    });

    test("what is shown is small", () => {
      for (const example of facet.examples) {
        expect(JSON.stringify(facet.show(factsOf(facet, example.answers))).length).toBeLessThanOrEqual(600);
      }
    });

    if (facet.on === "guest") {
      test("a guest that does not exist yet: judged as failing, and every step is listed", () => {
        const facts = all(NO_MACHINE);
        const findings = facet.judge(want, facts);
        expect(findings.filter((f) => f.level === "fail").length).toBeGreaterThan(0);
        expect(findings.filter((f) => f.level === "unknown")).toEqual([]);
        if (facet.plan !== undefined) expect(facet.plan(want, facts, CONTEXT).length).toBeGreaterThan(0);
      });
    }
  });
}
