import type { Fact } from "./facts.ts";
import { absent, unknown } from "./facts.ts";
import type { Finding, Level } from "./facet.ts";

const of =
  (level: Level) =>
  (code: string, want: string, saw: string, hint: string, source: string): Finding => ({ code, level, want, saw, hint, source });

/** What was wanted is not there. */
export const fail = of("fail");
/** Could not be looked at; fails the judge like a `fail` does. */
export const unsure = of("unknown");
/** Worth a person's eye, but nothing is broken. */
export const warn = of("warn");

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
