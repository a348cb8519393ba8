import { z } from "zod";
import type { BiosDependency, BiosSnapshot, BiosValue } from "../kit/bios.ts";
import { BIOS_CONDITIONS, isBiosAttributeKept } from "../kit/bios.ts";

/** Schemas of the Redfish resources that a BIOS needs, as loose as BMCs are; and what TeeUp keeps of them. */
const Link = z.object({ "@odata.id": z.string().min(1) });
export type Link = z.infer<typeof Link>;
const Value = z.union([z.string(), z.number(), z.boolean(), z.null()]);
const text = z
  .string()
  .nullish()
  .transform((t) => t ?? "");

export const Root = z.object({ Systems: Link, Registries: Link.optional() });
export const Members = z.object({ Members: z.array(Link) });
export const System = z.object({
  Manufacturer: text,
  Model: text,
  BiosVersion: text,
  PowerState: z.string().nullish(),
  Bios: Link.optional(),
  Actions: z
    .object({
      "#ComputerSystem.Reset": z
        .object({
          target: z.string(),
          "ResetType@Redfish.AllowableValues": z.array(z.string()).optional(),
          "@Redfish.ActionInfo": z.string().optional(),
        })
        .optional(),
    })
    .optional(),
});
export type System = z.infer<typeof System>;
export const ActionInfo = z.object({
  Parameters: z.array(z.object({ Name: z.string(), AllowableValues: z.array(z.string()).optional() })),
});
export const Bios = z.object({
  AttributeRegistry: z.string().nullish(),
  Attributes: z.record(z.string(), Value),
  "@Redfish.Settings": z
    .object({ SettingsObject: Link, SupportedApplyTimes: z.array(z.string()).optional() })
    .optional(),
});
export type Bios = z.infer<typeof Bios>;
export const Settings = z.object({
  "@odata.etag": z.string().optional(),
  Attributes: z
    .record(z.string(), Value)
    .nullish()
    .transform((a) => a ?? {}),
  /** iDRAC: where a configuration job is made that applies the settings. */
  Oem: z.object({ Dell: z.object({ Jobs: Link.optional() }).optional() }).optional(),
});
export type Settings = z.infer<typeof Settings>;
/** iDRAC's job queue, with the jobs in it. */
export const Jobs = z.object({
  Members: z.array(z.object({ JobType: z.string().optional(), JobState: z.string().optional() })),
});
export const RegistryFile = z.object({
  Location: z.array(z.object({ Language: z.string().optional(), Uri: z.string().optional() })),
});

const Attribute = z.object({
  AttributeName: z.string(),
  DisplayName: text,
  Type: text,
  ReadOnly: z.boolean().nullish(),
  GrayOut: z.boolean().nullish(),
  MenuPath: text,
  LowerBound: z.number().nullish(),
  UpperBound: z.number().nullish(),
  Value: z.array(z.object({ ValueName: z.string(), ValueDisplayName: z.string().nullish() })).nullish(),
});
type Attribute = z.infer<typeof Attribute>;
const Term = z.object({
  MapFromAttribute: z.string(),
  MapFromProperty: z.string(),
  MapFromCondition: z.string(),
  MapFromValue: Value.optional(),
  MapTerms: z.string().optional(),
});
const Dependency = z.object({
  Type: z.string().optional(),
  Dependency: z.object({
    MapFrom: z.array(Term).nullish(),
    MapToAttribute: z.string().optional(),
    MapToProperty: z.string().optional(),
    MapToValue: Value.optional(),
  }),
});
export const Registry = z.object({
  RegistryEntries: z.object({
    Attributes: z.array(Attribute),
    Dependencies: z.array(Dependency).nullish(),
  }),
});
export type Registry = z.infer<typeof Registry>;

export interface BiosParts {
  readonly system: { readonly Manufacturer: string; readonly Model: string; readonly BiosVersion: string };
  readonly bios: Bios;
  /** Attributes of the settings object: all of them, or only what is staged. */
  readonly staged: Readonly<Record<string, BiosValue>>;
  readonly registry?: Registry | undefined;
}

/** What a facet needs of the BIOS; `keep` says which attributes, by name and display name. */
export function snapshotOf({ system, bios, staged, registry }: BiosParts, keep = isBiosAttributeKept): BiosSnapshot {
  const attributes = Object.fromEntries(registry?.RegistryEntries.Attributes.map((a) => [a.AttributeName, a]) ?? []);
  const kept = (name: string): boolean => keep(name, attributes[name]?.DisplayName);
  const dependencies = (registry?.RegistryEntries.Dependencies ?? [])
    .flatMap(dependencyOf)
    .filter((d) => kept(d.attribute));
  const parents = new Set(dependencies.flatMap((d) => d.when.map((w) => w.attribute)));
  // The values that rules look at are kept too.
  const holds = (name: string): boolean => kept(name) || (parents.has(name) && !/password|salt/i.test(name));
  const pick = <T>(record: Readonly<Record<string, T>>): [string, T][] =>
    Object.entries(record).filter(([name]) => holds(name));
  return {
    manufacturer: system.Manufacturer,
    model: system.Model,
    biosVersion: system.BiosVersion,
    current: Object.fromEntries(pick(bios.Attributes)),
    staged: Object.fromEntries(pick(staged).filter(([name, value]) => bios.Attributes[name] !== value)),
    registry: Object.fromEntries(pick(attributes).map(([name, a]) => [name, entryOf(a, bios.Attributes[name])])),
    dependencies,
    hasRegistry: registry !== undefined,
  };
}

function entryOf(a: Attribute, current: BiosValue | undefined): BiosSnapshot["registry"][string] {
  const names = a.Value?.map((v) => v.ValueName) ?? [];
  const shown = a.Value?.map((v) => v.ValueDisplayName ?? v.ValueName) ?? [];
  // Supermicro numbers the names ("1") while the BIOS resource reads and takes the display names ("Enabled").
  const spelled = typeof current === "string" && !names.includes(current) && shown.includes(current) ? shown : names;
  return {
    displayName: a.DisplayName,
    type: a.Type,
    readOnly: a.ReadOnly === true || a.GrayOut === true,
    values: spelled,
    menuPath: a.MenuPath,
    ...(typeof a.LowerBound === "number" ? { lowerBound: a.LowerBound } : {}),
    ...(typeof a.UpperBound === "number" ? { upperBound: a.UpperBound } : {}),
  };
}

/** Only maps from values in force to being closed matter; iDRAC writes `Readonly`. */
function dependencyOf({ Dependency: d }: z.infer<typeof Dependency>): BiosDependency[] {
  const { MapFrom: from, MapToAttribute: attribute, MapToProperty: to, MapToValue: locks } = d;
  if (attribute === undefined || !from?.length || typeof locks !== "boolean" || !/^(readonly|grayout)$/i.test(to ?? ""))
    return [];
  const when = from.flatMap((t) => {
    const condition = BIOS_CONDITIONS.find((c) => c === t.MapFromCondition);
    if (condition === undefined || t.MapFromProperty !== "CurrentValue" || t.MapFromValue === undefined) return [];
    return [
      {
        attribute: t.MapFromAttribute,
        condition,
        value: t.MapFromValue,
        terms: t.MapTerms === "OR" ? ("OR" as const) : ("AND" as const),
      },
    ];
  });
  // A rule of which a part is not understood says nothing.
  return when.length === from.length ? [{ attribute, locks, when }] : [];
}

/** Why settings cannot be staged, one line each; empty when they can. */
export function invalid(
  snapshot: BiosSnapshot,
  settings: Readonly<Record<string, string | number | boolean>>,
): string[] {
  return Object.entries(settings).flatMap(([name, value]) => {
    const entry = snapshot.registry[name];
    if (entry === undefined)
      return !snapshot.hasRegistry && name in snapshot.current ? [] : [`${name} is not an attribute of this BIOS`];
    if (snapshot.current[name] === value) return [];
    if (entry.readOnly) return [`${name} is read-only now`];
    const { lowerBound: low = Number.NEGATIVE_INFINITY, upperBound: high = Number.POSITIVE_INFINITY } = entry;
    if (entry.values.length > 0 && !entry.values.includes(String(value)))
      return [`${name} takes ${entry.values.join(", ")}, not ${value}`];
    if (
      entry.type === "Integer" &&
      !(typeof value === "number" && Number.isInteger(value) && value >= low && value <= high)
    )
      return [`${name} takes a whole number of ${low} to ${high}, not ${value}`];
    if (entry.type === "Boolean" && typeof value !== "boolean") return [`${name} takes true or false, not ${value}`];
    return [];
  });
}
