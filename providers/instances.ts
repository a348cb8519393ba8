import { z } from "zod";
import type { Permit } from "./kit/disruption.ts";
import { permits } from "./kit/disruption.ts";
import { TeeUpError } from "./kit/errors.ts";
import type { Step } from "./kit/facet.ts";
import { instanceSteps, REFUSALS, type Seen, SeenSchema, type Shape, ShapeSchema, seenLines } from "./kit/instance.ts";
import type { Place } from "./kit/machine.ts";
import { describe, refusal } from "./reconcile.ts";

/**
 * Two resources around an instance that another provider makes. `instance-plan` comes before it: it says what making or
 * changing the instance costs, and refuses what the stack does not permit before the cloud is asked. `instance-place`
 * comes after it: where the instance is, and the host keys it was first seen with, for as long as it is that instance.
 */
export const INSTANCE_PLAN = "instance-plan";
export const INSTANCE_PLACE = "instance-place";

type Props = Record<string, unknown>;

const PlanSchema = z.looseObject({ node: z.string(), shape: ShapeSchema });
const PlaceInputs = z.looseObject({
  node: z.string(),
  instanceId: z.string(),
  host: z.string(),
  /** What the cloud says of the instance's keys: lines of ssh_host_*_key.pub. */
  said: z.string(),
  /** What its system disk is made from: another one has other keys. */
  image: z.string().optional(),
});
const PlaceOutputs = z.looseObject({
  instanceId: z.string(),
  hostKeys: z.array(z.string()),
  image: z.string().optional(),
});

export const isInstancePart = (props: Props): boolean =>
  props["facet"] === INSTANCE_PLAN || props["facet"] === INSTANCE_PLACE;

const shapeOf = (props: Props | undefined) => {
  const parsed = PlanSchema.safeParse(props);
  return parsed.success ? parsed.data.shape : undefined;
};

/** Instance plans of this run whose instance the cloud does not have, by their node. */
const absent = new Set<string>();
/** What the cloud shows of those that it has: a change may have been permitted once, and then not made. */
const shown = new Map<string, NonNullable<Seen["shape"]>>();

/** What there is now, as far as anybody knows; undefined for none. What is not there is not replaced. */
const thereNow = (node: string, before: Shape | undefined): Shape | undefined =>
  before === undefined || absent.has(node) ? undefined : { ...before, ...shown.get(node) };

/**
 * Inputs as they are kept, with the lines of a preview. What the cloud says now is left out: a refresh, which asks nobody,
 * would take it for today's.
 */
export function checkInstancePart(olds: Props, news: Props): Props {
  if (news["facet"] === INSTANCE_PLACE) return { ...news, plan: [] };
  const { seen: said, ...kept } = news;
  const { node, shape } = PlanSchema.parse(kept);
  const seen: Seen = SeenSchema.catch({}).parse(said);
  const before = shapeOf(olds);
  if (before !== undefined && seen.instances?.length === 0) absent.add(node);
  if (seen.shape !== undefined) shown.set(node, seen.shape);
  const steps = instanceSteps(thereNow(node, before), shape);
  return { ...kept, plan: [...steps.map(describe), ...seenLines(before !== undefined, shape, seen)] };
}

/** True when a run has to show the plan although the program wants what it wanted. */
export function mustShow(news: Props): boolean {
  const { node, facet } = news;
  const shape = shapeOf(news);
  if (facet !== INSTANCE_PLAN || shape === undefined) return false;
  return absent.has(String(node)) || instanceSteps(thereNow(String(node), shape), shape).length > 0;
}

/** The cloud's own error comes through as it is, with its request id; what to do about it stands beside. */
function sayRefusals(say: (line: string) => void): void {
  say(
    ["Should the cloud refuse to make the instance:", ...REFUSALS.map(([code, todo]) => `  ${code}: ${todo}`)].join(
      "\n",
    ),
  );
}

/** Throws unless the stack permits that the instance goes, with its disk: what cannot be had back needs the most. */
export function mayRelease(props: Props, permit: Permit): void {
  const { node, instanceId } = z.looseObject({ node: z.string(), instanceId: z.string() }).parse(props);
  const step: Step = {
    code: "instance-place.release",
    title: `release the instance ${instanceId} with its disk and all that is on it`,
    why: "it is in the stack no more",
    disruption: "power-cycle",
    actions: [],
  };
  if (!permits(permit, step.disruption)) throw refusal(node, INSTANCE_PLACE, [step], permit);
}

/** `olds` are the outputs of the last time; undefined for the first. */
export function bringInstancePart(
  olds: Props | undefined,
  news: Props,
  permit: Permit,
  say: (line: string) => void,
): Props {
  if (news["facet"] === INSTANCE_PLAN) {
    const { node, shape } = PlanSchema.parse(news);
    const over = instanceSteps(thereNow(node, shapeOf(olds)), shape).filter(
      (step) => !permits(permit, step.disruption),
    );
    if (over.length > 0) throw refusal(node, INSTANCE_PLAN, over, permit);
    if (olds === undefined || absent.has(node)) sayRefusals(say);
    return { node, facet: INSTANCE_PLAN, shape };
  }
  const { node, instanceId, host, said, image } = PlaceInputs.parse(news);
  const seen = said.split("\n").flatMap((line) => /^(?:ssh-|ecdsa-)\S+ AAAA\S+/.exec(line.trim())?.[0] ?? []);
  const before = PlaceOutputs.safeParse(olds);
  const same = before.success && before.data.instanceId === instanceId && (before.data.image ?? image) === image;
  const pinned = same ? before.data.hostKeys : [];
  // The record of what the cloud said is kept by it for some weeks only.
  const hostKeys = pinned.length > 0 && seen.length === 0 ? pinned : seen;
  if (hostKeys.length === 0)
    throw new TeeUpError({
      code: "instance.no-host-keys",
      node,
      saw: `Cloud Assistant gave no host keys of ${instanceId}: ${said.trim().split("\n").at(-1) || "no output"}`,
      next: "pulumi up again once its agent is online (ECS console, the instance, Cloud Assistant)",
    });
  if (pinned.length > 0 && pinned.join("\n") !== hostKeys.join("\n"))
    throw new TeeUpError({
      code: "instance.host-keys-changed",
      node,
      saw: `${instanceId} now shows other host keys than when it was made: reinstalled, or somebody in between`,
      next: "find out why; if that is right: pulumi state delete the instance-place resource, then pulumi up",
    });
  const at: Place = { host, hostKeys };
  return { node, facet: INSTANCE_PLACE, instanceId, hostKeys, at, ...(image === undefined ? {} : { image }) };
}
