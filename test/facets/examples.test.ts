import { describe, expect, test } from "@jest/globals";
import { FACETS } from "../../providers/facets/index.ts";
import type { Answer } from "../../providers/kit/ask.ts";
import { failed, missing, ok } from "../../providers/kit/ask.ts";
import { CONTEXT, codes, factsOf, NO_MACHINE, runExamples } from "./run-examples.ts";

for (const facet of FACETS) {
  runExamples(facet);

  describe(`${facet.name}: shape`, () => {
    const answersOf = (answer: Answer) => Object.fromEntries(Object.keys(facet.asks).map((name) => [name, answer]));

    test("steps are one line, and what runs has a class that may be permitted", () => {
      for (const example of facet.examples) {
        const facts = factsOf(facet, example.answers);
        const steps = [
          ...(facet.plan?.(example.want, facts, CONTEXT) ?? []),
          ...(facet.undo?.(example.want, facts, CONTEXT) ?? []),
        ];
        for (const step of steps) {
          expect(step.code.startsWith(`${facet.name}.`)).toBe(true);
          expect(`${step.title}${step.why}`).not.toMatch(/[\r\n]/);
          // What a facet by evidence does first, asking for it, is no action on the machine.
          if (facet.evidence === undefined || step.disruption === "human")
            expect([step.code, step.disruption === "human"]).toEqual([step.code, step.actions.length === 0]);
        }
      }
    });

    test("facts survive JSON", () => {
      const odd: Answer[] = [
        missing,
        failed("connection lost"),
        NO_MACHINE,
        ok(""),
        ok("\0\n\u{1F600}:=,{}[]", 3, "x"),
      ];
      for (const answers of [...facet.examples.map((e) => e.answers), ...odd.map(answersOf)]) {
        const facts = factsOf(facet, answers);
        expect(JSON.parse(JSON.stringify(facts))).toEqual(facts);
        const shown = facet.show(facts);
        // An undefined value is left out of JSON; anything else that JSON changes would be a difference in every preview.
        expect(Object.getPrototypeOf(shown)).toBe(Object.prototype);
        expect(Object.keys(shown)).not.toEqual([]);
        expect(JSON.parse(JSON.stringify(shown))).toEqual(shown);
      }
    });

    test("an example that passes plans nothing, and nothing of it waits for a restart", () => {
      const passing = facet.examples.filter((e) => e.findings.length === 0);
      expect(passing.length).toBeGreaterThan(0);
      for (const example of passing) {
        const facts = factsOf(facet, example.answers);
        expect(codes(facet.plan?.(example.want, facts, CONTEXT))).toEqual([]);
        expect(facet.pending?.(example.want, facts).reasons ?? []).toEqual([]);
      }
    });
  });
}

test("names, types and the facets' own answers are unique", () => {
  expect(new Set(FACETS.map((f) => f.name)).size).toBe(FACETS.length);
  expect(new Set(FACETS.map((f) => f.type)).size).toBe(FACETS.length);
  expect(FACETS.filter((f) => f.boots).map((f) => f.name)).toEqual(["host-boot"]);
});
