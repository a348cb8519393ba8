import * as pulumi from "@pulumi/pulumi";
import type { Seen, Shape } from "./kit/instance.ts";
import type { Door, Place } from "./kit/machine.ts";

/**
 * The dynamic provider's source text, the same for every resource ever made. Pulumi keeps it in state and runs it for
 * read and delete, so neither it nor the specifier in it may ever change.
 */
export const PROVIDER_TEXT =
  'exports.handler=()=>require("module").createRequire(process.cwd()+"/")("teeup/host-provider").provider';

/**
 * In a preview with TEEUP_REVIEW=1 the provider puts what a reviewer wants to know among the inputs. Never in an update:
 * a state is to stay small, and is no place for what is on a node's files.
 */
const review = (): { readonly review?: true } =>
  pulumi.runtime.isDryRun() && process.env["TEEUP_REVIEW"] === "1" ? { review: true } : {};

export interface FacetArgs {
  /** Name of a node in `teeup:nodes`. How to reach it is read from the stack config by the provider. */
  readonly node: pulumi.Input<string>;
  /** The wanted state; docs/facets.md lists the fields of each facet. */
  readonly want: pulumi.Input<Readonly<Record<string, unknown>>>;
  /** Where the node is, when the stack itself makes it; public host keys, no secret. */
  readonly at?: pulumi.Input<Place> | undefined;
}

/** One facet of one machine as a Pulumi resource. */
export class FacetResource extends pulumi.CustomResource {
  declare readonly node: pulumi.Output<string>;
  declare readonly facet: pulumi.Output<string>;
  /** What was seen on the machine after the last change or refresh; never what was wanted. */
  declare readonly observed: pulumi.Output<Readonly<Record<string, unknown>>>;
  /** Findings that are not a pass, as `<level> <code>: <what was seen>`. */
  declare readonly findings: pulumi.Output<readonly string[]>;
  /** Of a confidential VM whose firmware is pinned: what it will measure as, known before it boots. */
  declare readonly measurement: pulumi.Output<string | undefined>;

  /** `type` is `<persona>:<Type>`, so that policies and filters can match one kind. */
  constructor(type: string, facet: string, name: string, args: FacetArgs, opts?: pulumi.CustomResourceOptions) {
    super(
      `pulumi-nodejs:dynamic/${type}`,
      name,
      {
        facet,
        node: args.node,
        want: args.want,
        ...(args.at === undefined ? {} : { at: args.at }),
        ...review(),
        __provider: PROVIDER_TEXT,
        observed: undefined,
        findings: undefined,
        measurement: undefined,
      },
      opts,
    );
    heardFromEngine(this);
  }
}

export interface NodePlanArgs {
  readonly node: pulumi.Input<string>;
  /** Every facet of the node in the order in which it is brought about. */
  readonly goals: pulumi.Input<readonly { readonly facet: string; readonly want: Readonly<Record<string, unknown>> }[]>;
  /** As in {@link FacetArgs}. */
  readonly at?: pulumi.Input<Place> | undefined;
}

/**
 * The whole plan of a node in one resource. It is the first one of a node: an `up` that the permit does not cover
 * stops here, with the list, before anything is touched.
 */
export class NodePlan extends pulumi.CustomResource {
  /** What would be done, in order, each with its disruption; empty when nothing is. */
  declare readonly plan: pulumi.Output<readonly string[]>;

  constructor(name: string, args: NodePlanArgs, opts?: pulumi.CustomResourceOptions) {
    super(
      "pulumi-nodejs:dynamic/node:NodePlan",
      name,
      {
        facet: "node-plan",
        node: args.node,
        goals: args.goals,
        ...(args.at === undefined ? {} : { at: args.at }),
        ...review(),
        __provider: PROVIDER_TEXT,
        plan: undefined,
      },
      opts,
    );
    heardFromEngine(this);
  }
}

export interface InstancePlanArgs {
  readonly node: pulumi.Input<string>;
  /** What the instance is made with. */
  readonly shape: pulumi.Input<Shape>;
  /** What the cloud says now; not kept. */
  readonly seen?: pulumi.Input<Seen> | undefined;
}

/** Stands before a cloud's instance: what making or changing it costs, refused when the stack does not permit it. */
export class InstancePlan extends pulumi.CustomResource {
  declare readonly plan: pulumi.Output<readonly string[]>;

  constructor(name: string, args: InstancePlanArgs, opts?: pulumi.CustomResourceOptions) {
    const props = { facet: "instance-plan", node: args.node, shape: args.shape, seen: args.seen };
    super(
      "pulumi-nodejs:dynamic/node:InstancePlan",
      name,
      { ...props, __provider: PROVIDER_TEXT, plan: undefined },
      opts,
    );
    heardFromEngine(this);
  }
}

export interface InstancePlaceArgs {
  readonly node: pulumi.Input<string>;
  readonly instanceId: pulumi.Input<string>;
  /** Its address. */
  readonly host: pulumi.Input<string>;
  /** Lines of its /etc/ssh/ssh_host_*_key.pub, as the cloud gives them. */
  readonly said: pulumi.Input<string>;
  /** What its system disk is made from. */
  readonly image: pulumi.Input<string>;
}

/** Where an instance is and how it is known: the host keys that it was first seen with stay those of this instance. */
export class InstancePlace extends pulumi.CustomResource {
  declare readonly at: pulumi.Output<Place>;

  constructor(name: string, args: InstancePlaceArgs, opts?: pulumi.CustomResourceOptions) {
    const { node, instanceId, host, said, image } = args;
    super(
      "pulumi-nodejs:dynamic/node:InstancePlace",
      name,
      { facet: "instance-place", node, instanceId, host, said, image, __provider: PROVIDER_TEXT, at: undefined },
      opts,
    );
    heardFromEngine(this);
  }
}

export interface NodeSessionArgs {
  readonly node: pulumi.Input<string>;
  /** Verdict of the node's attestation. */
  readonly verdict: pulumi.Input<string>;
  /** As in {@link FacetArgs}. */
  readonly at?: pulumi.Input<Place> | undefined;
}

/** The boot that an attested node is in, and how it is reached: what commands that run once hang on. */
export class NodeSession extends pulumi.CustomResource {
  declare readonly bootId: pulumi.Output<string>;
  declare readonly verdict: pulumi.Output<string>;
  declare readonly door: pulumi.Output<Door>;

  constructor(name: string, args: NodeSessionArgs, opts?: pulumi.CustomResourceOptions) {
    const props = { facet: "node-session", node: args.node, verdict: args.verdict };
    const at = args.at === undefined ? {} : { at: args.at };
    const outputs = { bootId: undefined, door: undefined };
    super(
      "pulumi-nodejs:dynamic/node:NodeSession",
      name,
      { ...props, ...at, __provider: PROVIDER_TEXT, ...outputs },
      opts,
    );
    heardFromEngine(this);
  }
}

/**
 * With --continue-on-error a program goes on after a resource failed. The engine reports that failure; the SDK reports
 * it again for whatever waits for the resource, as an unhandled exception with a stack trace. So outputs that nobody
 * reads count as read, and what is left is one line.
 */
function heardFromEngine(resource: pulumi.CustomResource): void {
  const hear = (error: unknown): void => {
    if (error instanceof Error) Object.assign(error, { __pulumiRunError: true });
  };
  for (const value of Object.values(resource)) {
    if (pulumi.Output.isInstance(value)) pulumi.recover<unknown>(value, hear);
  }
}
