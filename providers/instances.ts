import { z } from "zod";
import type { Permit } from "./kit/disruption.ts";
import { permits } from "./kit/disruption.ts";
import { TeeUpError } from "./kit/errors.ts";
import { instanceSteps, REFUSALS, ShapeSchema } from "./kit/instance.ts";
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
});
const PlaceOutputs = z.looseObject({ instanceId: z.string(), hostKeys: z.array(z.string()) });

export const isInstancePart = (props: Props): boolean =>
  props["facet"] === INSTANCE_PLAN || props["facet"] === INSTANCE_PLACE;

const shapeOf = (props: Props | undefined) => {
  const parsed = PlanSchema.safeParse(props);
  return parsed.success ? parsed.data.shape : undefined;
};

/** Lines of a preview. */
export function instanceLines(olds: Props, news: Props): string[] {
  if (news["facet"] === INSTANCE_PLACE) return [];
  return instanceSteps(shapeOf(olds), PlanSchema.parse(news).shape).map(describe);
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
    const over = instanceSteps(shapeOf(olds), shape).filter((step) => !permits(permit, step.disruption));
    if (over.length > 0) throw refusal(node, INSTANCE_PLAN, over, permit);
    if (olds === undefined) for (const [code, todo] of REFUSALS) say(`if the cloud says ${code}: ${todo}`);
    return { node, facet: INSTANCE_PLAN, shape };
  }
  const { node, instanceId, host, said } = PlaceInputs.parse(news);
  const seen = said.split("\n").flatMap((line) => /^(?:ssh-|ecdsa-)\S+ AAAA\S+/.exec(line.trim())?.[0] ?? []);
  const before = PlaceOutputs.safeParse(olds);
  const pinned = before.success && before.data.instanceId === instanceId ? before.data.hostKeys : [];
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
  return { node, facet: INSTANCE_PLACE, instanceId, hostKeys, at };
}
