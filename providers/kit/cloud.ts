import { z } from "zod";
import type { Step } from "./facet.ts";

/**
 * Clouds whose instances are nodes: such a node is itself the confidential VM. Guest and host facets both look at it,
 * and there is no host below it that could be asked or that could restart it.
 */
export const CloudSchema = z.enum(["alibaba", "baidu"]);
export type Cloud = z.infer<typeof CloudSchema>;

/** Platforms (`teeup:platform`) whose nodes are instances. */
export const PLATFORM_CLOUDS: Readonly<Record<string, Cloud>> = { "alibaba-gn8v-tee": "alibaba", "baidu-bcc": "baidu" };

/** The cloud that a node is an instance of: its own word before its platform's. */
export const cloudOf = (platform: string, own: Cloud | undefined): Cloud | undefined =>
  own ?? PLATFORM_CLOUDS[platform];

/**
 * Host facets that also look at an instance: what they manage is a system's own. All others need a machine of one's own,
 * with its BIOS, its VFIO and its virtual machines.
 */
export const HOST_FACETS_OF_INSTANCES: readonly string[] = ["packages", "kernel-cmdline", "host-boot"];

/** How an instance of a cloud is restarted. */
interface CloudRules {
  readonly title: string;
  /** `inside`: by its own system. `console`: only by a person, in the cloud's console. */
  readonly restart: "inside" | "console";
  /** What a person does instead. */
  readonly console: string;
  /** What to do about an instance that cannot be reached. */
  readonly lost: string;
  readonly source: string;
}

export const CLOUDS: Readonly<Record<Cloud, CloudRules>> = {
  alibaba: {
    title: "Alibaba Cloud ECS",
    restart: "inside",
    console: "ECS console, Instances, the instance, Restart",
    lost: "pulumi up --refresh asks the cloud whether it was stopped or released, and makes another one when it is gone",
    source: "seed 002, step 1 (restart the instance); nothing there forbids a restart from inside",
  },
  baidu: {
    title: "Baidu AI Cloud BCC",
    restart: "console",
    console: "BCC console, Instances, the instance, More, Restart",
    lost: "see in the BCC console whether it was stopped or released: start it, or give teeup:nodes another one's address",
    source: "seed 003, 使用限制, 重启限制: an instance with TDX supports no reboot from inside",
  },
};

const RESTARTS: readonly string[] = ["reboot", "restart-guest"];

/** The step as it can be taken in that cloud: a restart that the instance must not do itself is a person's. */
export function inCloud(cloud: Cloud | undefined, step: Step): Step {
  if (cloud === undefined || !step.actions.some((action) => RESTARTS.includes(action.do))) return step;
  const { restart, console, source, title } = CLOUDS[cloud];
  if (restart === "inside") return step;
  return {
    ...step,
    title: `${step.title}. In the ${console}: ${title} allows no restart from inside (${source})`,
    disruption: "human",
    actions: [],
    afterOthers: true,
  };
}
