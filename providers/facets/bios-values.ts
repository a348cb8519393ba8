import type { BiosSnapshot, BiosValue } from "../kit/bios.ts";
import { bareBiosName } from "../kit/bios.ts";

/** Bare words of which one will do, a number that is the least, or one exact value. */
export type Wanted = readonly string[] | { readonly atLeast: number } | string | number | boolean;

export const showWanted = (wanted: Wanted): string =>
  typeof wanted === "object" ? ("atLeast" in wanted ? String(wanted.atLeast) : (wanted[0] ?? "")) : String(wanted);

/** A value as bare words: `CbsCmnCpuSmeeEnabled` of CbsCmnCpuSmee is `enabled`. */
function bareValue(name: string, value: BiosValue | undefined): string {
  const [prefix, bare] = [
    bareBiosName(name),
    String(value ?? "")
      .replace(/[^A-Za-z0-9]/g, "")
      .toLowerCase(),
  ];
  return bare.startsWith(prefix) ? bare.slice(prefix.length) : bare;
}

export function isMet(name: string, wanted: Wanted, value: BiosValue | undefined): boolean {
  if (value === undefined || value === null) return false;
  if (typeof wanted !== "object") return wanted === value;
  // More ASIDs for SEV-ES and SNP than wanted do no harm.
  return "atLeast" in wanted ? Number(value) >= wanted.atLeast : wanted.includes(bareValue(name, value));
}

/** The value as this board spells it, or why it cannot be. */
export function spell(
  snapshot: BiosSnapshot,
  name: string,
  write: string | undefined,
  wanted: Wanted,
): string | number | boolean | { saw: string; hint: string } {
  const entry = snapshot.registry[name];
  const { lowerBound: low = Number.NEGATIVE_INFINITY, upperBound: high = Number.POSITIVE_INFINITY } = entry ?? {};
  if (typeof wanted === "object" && "atLeast" in wanted) {
    const listed = entry?.values.find((v) => v === String(wanted.atLeast));
    if (listed !== undefined) return listed;
    if (wanted.atLeast >= low && wanted.atLeast <= high) return wanted.atLeast;
    return { saw: `${name} takes ${low} to ${high}`, hint: `set minSevAsid to at most ${high}` };
  }
  if (entry === undefined || entry.values.length === 0)
    return typeof wanted === "object" ? (pairOf(snapshot.current[name], wanted) ?? write ?? "Enabled") : wanted;
  const accepted =
    typeof wanted === "object"
      ? wanted.map((w) => entry.values.find((v) => bareValue(name, v) === w)).find((v) => v !== undefined)
      : entry.values.find((v) => v === String(wanted));
  return (
    accepted ?? {
      saw: `${name} takes ${entry.values.join(", ")}`,
      hint: "BIOS update needed, or set the value by hand in the BIOS menu",
    }
  );
}

/** Without a registry: BIOSes that say Disable also say Enable, of what is a switch. */
const pairOf = (value: BiosValue | undefined, wanted: readonly string[]): string | undefined =>
  !wanted.includes("enabled")
    ? undefined
    : value === "Disabled"
      ? "Enabled"
      : value === "Disable"
        ? "Enable"
        : undefined;
