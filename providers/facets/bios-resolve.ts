import type { BiosSnapshot, BiosValue } from "../kit/bios.ts";
import { bareBiosName } from "../kit/bios.ts";
import type { Found } from "./bios-order.ts";
import { bootOrder } from "./bios-order.ts";
import type { Wanted } from "./bios-values.ts";
import { isMet, showWanted, spell } from "./bios-values.ts";
import type { BiosKey, BiosSetting } from "./bios-vendors.ts";

/** What is wanted of a vendor's settings. */
export interface BiosAim {
  readonly settings: readonly BiosSetting[];
  readonly minSevAsid: number;
  /** Exact attribute names, to settle an ambiguity. */
  readonly names: Readonly<Partial<Record<BiosKey, string>>>;
  /** Further attributes by exact name. */
  readonly extra: Readonly<Record<string, string | number | boolean>>;
}

/** One wanted setting, found on this board. */
export interface BiosTarget {
  /** Key of the vendor table, or `extra`. */
  readonly key: BiosKey | "extra";
  readonly name: string;
  /** Spelled as this BMC wants it written. */
  readonly value: string | number | boolean;
  readonly saw: BiosValue | undefined;
  readonly staged: BiosValue | undefined;
  readonly met: boolean;
  /** Will it be met after the next restart, with what is staged now? */
  readonly after: boolean;
  /** Which of the coming restarts brings it, 1 for the next; 0 when it is met. */
  readonly boot: number;
}

export interface BiosProblem {
  readonly kind: "attribute-missing" | "attribute-ambiguous" | "value-unknown" | "locked";
  readonly want: string;
  readonly saw: string;
  readonly hint: string;
}

export interface BiosResolution {
  readonly targets: readonly BiosTarget[];
  /** While there is any, nothing is staged: the node could not get to the wanted state. */
  readonly problems: readonly BiosProblem[];
}

/** Finds every wanted setting on this board and orders them into as few restarts as their dependencies allow. */
export function resolveBios(snapshot: BiosSnapshot, aim: BiosAim): BiosResolution {
  const problems: BiosProblem[] = [];
  const found: Found[] = [];
  const settle = (setting: BiosSetting | undefined, names: readonly string[], wanted: Wanted) => {
    const want = setting?.display ?? names[0] ?? "";
    const pinned = setting === undefined ? undefined : aim.names[setting.key];
    const at = locate(snapshot, names, setting?.display, pinned);
    if (at.length > 1) {
      const hint = `say which one it is: names: { ${setting?.key}: "${at[0]}" }`;
      problems.push({ kind: "attribute-ambiguous", want, saw: `two attributes fit: ${at.join(" and ")}`, hint });
    }
    const [name] = at;
    if (name === undefined && (setting?.optional !== true || pinned !== undefined))
      problems.push(missingOf(snapshot, pinned === undefined ? names : [pinned]));
    if (name === undefined || at.length > 1) return;
    const value = spell(snapshot, name, setting?.write, wanted);
    if (typeof value === "object")
      problems.push({ kind: "value-unknown", want: `${name} = ${showWanted(wanted)}`, ...value });
    else found.push({ setting, name, value, met: (values) => isMet(name, wanted, values[name]) });
  };
  for (const s of aim.settings) {
    const least = s.accept === "minSevAsid" ? aim.minSevAsid : s.accept;
    settle(s, s.names, typeof least === "number" ? { atLeast: least } : least);
  }
  for (const [name, value] of Object.entries(aim.extra)) settle(undefined, [name], value);

  const boots = bootOrder(snapshot, found);
  const targets = found.flatMap(({ setting, name, value, met }): BiosTarget[] => {
    const [saw, boot, staged] = [snapshot.current[name], boots.get(name), snapshot.staged[name]];
    if (boot === undefined && saw === undefined) {
      // Listed by a registry that many boards share, but not shown by this one.
      if (setting?.optional !== true) problems.push(missingOf(snapshot, [name]));
      return [];
    }
    if (boot === undefined) {
      const hint = "another setting or the setup password closes it: open it in the BIOS menu, or update the BIOS";
      problems.push({ kind: "locked", want: `${name} = ${value}`, saw: `${name} is ${saw} and read-only`, hint });
    }
    const after = staged === undefined ? met(snapshot.current) : met({ [name]: staged });
    return [
      { key: setting?.key ?? "extra", name, value, saw, staged, met: met(snapshot.current), after, boot: boot ?? 0 },
    ];
  });
  return { targets, problems };
}

/** What can be staged now and is not staged yet; a staged value that would undo a met setting is staged back. */
export function toStage({ targets, problems }: BiosResolution): Record<string, string | number | boolean> {
  if (problems.length > 0) return {};
  const now = targets.filter((t) => !t.after && t.boot <= 1);
  // Staging the value in force takes the staged one off again.
  return Object.fromEntries(now.map((t) => [t.name, t.met && t.saw !== undefined && t.saw !== null ? t.saw : t.value]));
}

/** Attribute names that fit: the exact one if the BIOS has it, else all whose bare or display name is the same. */
function locate(
  snapshot: BiosSnapshot,
  names: readonly string[],
  display: string | undefined,
  pinned?: string,
): string[] {
  const all = [...new Set([...Object.keys(snapshot.current), ...Object.keys(snapshot.registry)])];
  const exact = pinned ?? names.find((name) => all.includes(name));
  if (exact !== undefined) return all.filter((name) => name === exact);
  if (display === undefined) return [];
  const wanted = new Set([...names, display].map(bareBiosName));
  const fits = (name: string) =>
    wanted.has(bareBiosName(name)) || wanted.has(bareBiosName(snapshot.registry[name]?.displayName ?? ""));
  return all.filter(fits);
}

const missingOf = (snapshot: BiosSnapshot, names: readonly string[]): BiosProblem => ({
  kind: "attribute-missing",
  want: names.join(" or "),
  saw: `${names.join(" or ")} is not among the attributes of BIOS ${snapshot.biosVersion} (${snapshot.model})`,
  hint: "BIOS update needed: this BIOS or CPU does not offer it; update it with the vendor's tool, then run again",
});
