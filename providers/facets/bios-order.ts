import type { BiosDependency, BiosSnapshot, BiosValue } from "../kit/bios.ts";
import type { BiosSetting } from "./bios-vendors.ts";

type Values = Readonly<Record<string, BiosValue | undefined>>;

/** A wanted setting and the attribute that holds it on this board. */
export interface Found {
  /** Absent for an attribute that the wanted state names itself. */
  readonly setting: BiosSetting | undefined;
  readonly name: string;
  readonly value: string | number | boolean;
  met(values: Values): boolean;
}

/** Which restart brings each setting. What no restart would open is left out. */
export function bootOrder(snapshot: BiosSnapshot, found: readonly Found[]): ReadonlyMap<string, number> {
  const boots = new Map(found.filter((f) => f.met(snapshot.current)).map((f) => [f.name, 0]));
  let values: Values = snapshot.current;
  for (let boot = 1; boots.size < found.length; boot++) {
    const open = found.filter((f) => !boots.has(f.name) && isOpen(snapshot, f, found, values));
    if (open.length === 0) break;
    for (const { name } of open) boots.set(name, boot);
    values = { ...values, ...Object.fromEntries(open.map((f) => [f.name, f.value])) };
  }
  return boots;
}

/** Could this setting be staged if `values` were in force? */
function isOpen(snapshot: BiosSnapshot, { setting, name }: Found, found: readonly Found[], values: Values): boolean {
  const parents = found.filter((f) => f.setting !== undefined && setting?.after?.includes(f.setting.key));
  if (!parents.every((parent) => parent.met(values))) return false;
  const rules = (snapshot.dependencies ?? []).filter((d) => d.attribute === name);
  if (isLocked(rules, values)) return false;
  // Closed or hidden now: only what a parent or a rule explains will open by itself.
  const explained = isLocked(rules, snapshot.current) || !parents.every((parent) => parent.met(snapshot.current));
  const closed = snapshot.registry[name]?.readOnly === true || snapshot.current[name] === undefined;
  return !closed || explained;
}

/** The last rule that holds decides, as the DMTF registry has it. */
function isLocked(rules: readonly BiosDependency[], values: Values): boolean {
  return rules.findLast((rule) => holds(rule, values))?.locks ?? false;
}

function holds({ when }: BiosDependency, values: Values): boolean {
  return when.reduce((before, term, i) => {
    const now = compare(term.condition, values[term.attribute], term.value);
    return i === 0 ? now : term.terms === "OR" ? before || now : before && now;
  }, true);
}

function compare(
  condition: BiosDependency["when"][number]["condition"],
  a: BiosValue | undefined,
  b: BiosValue,
): boolean {
  if (condition === "EQU") return a === b;
  if (condition === "NEQ") return a !== b;
  if (typeof a !== "number" || typeof b !== "number") return false;
  return { GTR: a > b, GEQ: a >= b, LSS: a < b, LEQ: a <= b }[condition];
}
