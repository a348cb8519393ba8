import { z } from "zod";
import type { Finding, Level } from "./facet.ts";
import type { Fact } from "./facts.ts";
import { absent, unknown } from "./facts.ts";

/** A finding on its way through Pulumi or a file, to reports. */
export const FindingSchema = z.strictObject({
  code: z.string(),
  level: z.enum(["pass", "warn", "fail", "unknown"]),
  want: z.string(),
  saw: z.string(),
  hint: z.string(),
  source: z.string(),
});

const of =
  (level: Level) =>
  (code: string, want: string, saw: string, hint: string, source: string): Finding => {
    return { code, level, want, saw, hint, source };
  };

/** What was wanted is not there. */
export const fail = of("fail");
/** Could not be looked at; fails the judge like a `fail` does. */
export const unsure = of("unknown");

/** Findings of one facet: the code's first half and the usual source are said once. */
export function findingsOf(facet: string, usual: string) {
  const bad =
    (level: Level) =>
    (what: string, want: string, saw: string, hint: string, source = usual): Finding =>
      of(level)(`${facet}.${what}`, want, saw, hint, source);
  return {
    pass: (what: string, want: string, saw: string, source = usual): Finding =>
      of("pass")(`${facet}.${what}`, want, saw, "", source),
    fail: bad("fail"),
    unsure: bad("unknown"),
    /** Not as it should be, and seen to elsewhere. */
    warn: bad("warn"),
  };
}

/** A fact of a parser's result: `undefined` means that the text was not understood, which is unknown. */
export function parsed<T>(fact: Fact<string>, parse: (text: string) => T | undefined, what: string): Fact<T> {
  if (fact.state === "absent") return absent;
  if (fact.state === "unknown") return fact;
  const value = parse(fact.value);
  return value === undefined ? unknown(`could not understand ${what}`) : { state: "known", value };
}

/** The first `unknown` among facts, for a finding and for planning nothing. */
export function firstUnknown(...facts: readonly Fact<unknown>[]): string | undefined {
  for (const fact of facts) if (fact.state === "unknown") return fact.why;
  return undefined;
}

/** True only when it is known to be true. */
export const isTrue = (fact: Fact<boolean>): boolean => fact.state === "known" && fact.value;
