import { z } from "zod";
import type { Disruption } from "./disruption.ts";
import type { Step } from "./facet.ts";

/** What an instance is made with, as far as a change of it touches what runs there. */
export const ShapeSchema = z.strictObject({
  type: z.string(),
  image: z.string(),
  zone: z.string(),
  diskCategory: z.string(),
  diskGiB: z.int(),
  keyPair: z.string(),
});
export type Shape = z.infer<typeof ShapeSchema>;

interface Effect {
  readonly disruption: Disruption;
  readonly title: (from: string, to: string) => string;
  readonly why: string;
}

/**
 * What the plugin does when an input changes, worst first: another instance, another system disk, a stop and start
 * (aliyun/terraform-provider-alicloud, resource_alicloud_instance.go: ForceNew and the update of each attribute).
 */
const EFFECTS: Readonly<Partial<Record<keyof Shape, Effect>>> = {
  zone: another("zone"),
  diskCategory: another("category of the system disk"),
  image: {
    disruption: "power-cycle",
    title: (from, to) => `replace the system disk, image ${from} → ${to}: all that is on it is lost`,
    why: "another image is another system disk",
  },
  type: {
    disruption: "guest-stop",
    title: (from, to) => `stop the instance, change its type ${from} → ${to}, start it`,
    why: "a running instance does not change its type",
  },
  keyPair: {
    disruption: "guest-stop",
    title: () => "bind another key pair, which restarts the instance",
    why: "the key of the running system is written when it starts",
  },
};

function another(what: string): Effect {
  return {
    disruption: "power-cycle",
    title: (from, to) =>
      `replace the instance, ${what} ${from} → ${to}: it is released with its disk and all that is on it`,
    why: "this cannot change while the instance exists",
  };
}

/** What making or changing the instance costs; `from` is undefined while there is none. */
export function instanceSteps(from: Shape | undefined, to: Shape): Step[] {
  const step = (code: string, title: string, why: string, disruption: Disruption): Step => ({
    code: `instance-plan.${code}`,
    title,
    why,
    disruption,
    actions: [],
  });
  if (from === undefined)
    return [step("make", `make an instance ${to.type} in ${to.zone} from ${to.image}`, "there is none yet", "none")];
  return (Object.keys(EFFECTS) as (keyof Shape)[]).flatMap((key) => {
    const effect = EFFECTS[key];
    if (effect === undefined || from[key] === to[key]) return [];
    return [step(key, effect.title(String(from[key]), String(to[key])), effect.why, effect.disruption)];
  });
}

/** Why the cloud refuses to make an instance, by the start of its error code, and what to do. */
export const REFUSALS: readonly (readonly [code: string, todo: string])[] = [
  [
    "OperationDenied.NoStock",
    "sold out in this zone: try later, another type of the recipe, or reserve capacity with the account manager",
  ],
  ["QuotaExceed", "the account's vCPU quota is used up: raise it in the ECS console (Quotas), or release an instance"],
  [
    "InvalidResourceType.NotSupported, InvalidInstanceType",
    "the zone does not sell this type to this account: gn8v-tee is cn-beijing-l only, and by invitation",
  ],
  [
    "InvalidVSwitchId, ZoneNotAllowed, InvalidZoneId",
    "the vSwitch is in another zone than the recipe's: set teeup:instance.zone back",
  ],
  ["InvalidImageId", "the image is gone: take a newer one whose kernel is new enough (teeup:pins instance.image)"],
];

/** What to do for an error of the cloud; undefined for one that is not in the list. */
export function refusalOf(error: string): string | undefined {
  return REFUSALS.find(([codes]) => codes.split(", ").some((code) => error.includes(code)))?.[1];
}
