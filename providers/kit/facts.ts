/**
 * What is known about one thing. `absent` (looked, not there) and `unknown` (could not look) never merge:
 * unknown fails the judge and plans nothing.
 */
export type Fact<T> =
  | { readonly state: "known"; readonly value: T }
  | { readonly state: "absent" }
  | { readonly state: "unknown"; readonly why: string };

export const known = <T>(value: T): Fact<T> => ({ state: "known", value });
export const absent: Fact<never> = { state: "absent" };
export const unknown = (why: string): Fact<never> => ({ state: "unknown", why });

/** Value of a known fact, else `undefined`. For display and comparison, never to decide that something is absent. */
export function valueIfKnown<T>(fact: Fact<T>): T | undefined {
  return fact.state === "known" ? fact.value : undefined;
}

export function mapFact<T, U>(fact: Fact<T>, f: (value: T) => U): Fact<U> {
  return fact.state === "known" ? known(f(fact.value)) : fact;
}

/** As {@link mapFact}, for an `f` that may find the value not to be understood. */
export function flatMapFact<T, U>(fact: Fact<T>, f: (value: T) => Fact<U>): Fact<U> {
  return fact.state === "known" ? f(fact.value) : fact;
}

/** One short phrase for findings: the value, `absent`, or `unknown (why)`. */
export function showFact<T>(fact: Fact<T>, show: (value: T) => string = String): string {
  if (fact.state === "known") return show(fact.value);
  return fact.state === "absent" ? "absent" : `unknown (${fact.why})`;
}
