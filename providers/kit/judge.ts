import type { Finding, Level } from "./facet.ts";
import type { Fact } from "./facts.ts";
import { showFact } from "./facts.ts";

export interface Criterion<T> {
  readonly code: string;
  readonly want: string;
  /** How to fix it. */
  readonly hint: string;
  /** Where it is written. */
  readonly source: string;
  readonly good: (value: T) => boolean;
  /** What was seen, in a few words; default `String`. */
  readonly show?: (value: T) => string;
  /** Level when it is not good or absent; default `fail`. */
  readonly level?: Extract<Level, "warn" | "fail">;
}

/** One finding about one fact: known and good passes, known and bad or absent fails, unknown stays unknown. */
export function judgeFact<T>(fact: Fact<T>, criterion: Criterion<T>): Finding {
  const { code, want, hint, source, good, show, level = "fail" } = criterion;
  const saw = showFact(fact, show);
  if (fact.state === "known" && good(fact.value)) return { code, level: "pass", want, saw, hint: "", source };
  if (fact.state === "unknown") return { code, level: "unknown", want, saw, hint: `find out why: ${fact.why}`, source };
  return { code, level, want, saw, hint, source };
}
