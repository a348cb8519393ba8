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

/** What the cloud says before it is asked for anything; what it does not say is left out. */
export const SeenSchema = z.strictObject({
  /** Ids of the instances that it has for this node. */
  instances: z.array(z.string()).optional(),
  /** What the one of them is now, whatever was wanted of it last. */
  shape: ShapeSchema.pick({ type: true, image: true, zone: true }).optional(),
  /** Whether it sells the type in the zone to this account, now. */
  offered: z.boolean().optional(),
});
export type Seen = z.infer<typeof SeenSchema>;

interface Effect {
  readonly disruption: Disruption | ((from: string, to: string) => Disruption);
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
  diskGiB: {
    disruption: (from, to) => (Number(to) > Number(from) ? "none" : "human"),
    title: (from, to) =>
      Number(to) > Number(from)
        ? `grow the system disk ${from} → ${to} GiB; its file system grows at the next start`
        : `a system disk does not shrink (${from} → ${to} GiB): set teeup:instance.diskGiB back`,
    why: "the disk is resized while it is in use",
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
    const [before, after] = [String(from[key]), String(to[key])];
    const { disruption } = effect;
    const worst = typeof disruption === "string" ? disruption : disruption(before, after);
    return [step(key, effect.title(before, after), effect.why, worst)];
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
    "the zone does not sell this type to this account: gn8v-tee is cn-beijing-l only (teeup:instance.zone), and by invitation",
  ],
  [
    "InvalidVSwitchId, ZoneNotAllowed, InvalidZoneId",
    "the vSwitch is in another zone than the recipe's: set teeup:instance.zone back",
  ],
  ["InvalidImageId", "the image is gone: take a newer one whose kernel is new enough (teeup:instance.image)"],
];

/** What the cloud said that making the instance will fail on, that it is gone, or that one is there: lines of a plan. */
export function seenLines(made: boolean, shape: Shape, { instances, offered }: Seen): string[] {
  const absent = made && instances?.length === 0;
  const others = made ? [] : (instances ?? []);
  return [
    ...(others.length > 0
      ? [
          `[check] instance-plan.another: want one instance, saw ${others.join(", ")} of this stack and node, which this state does not know: up would make one beside it. Look for the state that made it, or release it in the ECS console`,
        ]
      : []),
    ...(absent
      ? [
          "[check] instance-plan.absent: want one instance, saw none in the cloud; pulumi up --refresh makes one. It was never made, or released with all that was on its disk",
        ]
      : []),
    ...(offered === false
      ? [
          `[check] instance-plan.not-offered: want ${shape.type} in ${shape.zone}, saw that the cloud does not sell it there to this account now: sold out (later, or reserved capacity), the wrong zone (teeup:instance.zone), or no invitation`,
        ]
      : []),
  ];
}

/** Prefix length of an IPv4 range below which it is no place that somebody connects from. */
const WIDE = 8;

/** Ranges through which about everybody may come. */
export const wideRanges = (cidrs: readonly string[]): string[] =>
  cidrs.filter((cidr) => Number(cidr.split("/")[1] ?? 32) < WIDE);
