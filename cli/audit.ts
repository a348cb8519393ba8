import { FACETS, facetNamed } from "../providers/facets/index.ts";
import { type StackConfig, StackConfigSchema } from "../providers/kit/config.ts";
import { TeeUpError } from "../providers/kit/errors.ts";
import type { Facet } from "../providers/kit/facet.ts";
import { findingsOf } from "../providers/kit/findings.ts";
import type { Fleet } from "../providers/kit/machine.ts";
import { openFleet } from "../providers/machine/fleet.ts";
import { openLocal } from "../providers/machine/local.ts";
import { Reconciler } from "../providers/reconcile.ts";
import { askedOf, instanceGoals } from "../stacks/profiles/cloud-goals.ts";
import type { CloudProfile } from "../stacks/profiles/cloud-schema.ts";
import { type NodeGoal, nodeGoals } from "../stacks/profiles/goals.ts";
import {
  CLOUD_PROFILES,
  type Pins,
  profileByName,
  resolveCloudProfile,
  resolveProfile,
  unknowns,
} from "../stacks/profiles/resolve.ts";
import type { FacetReport, NodeReport } from "./report.ts";
import { facetReport, nodeReport } from "./report.ts";

export interface AuditOptions {
  /** Profile of stacks/profiles. */
  readonly profile: string;
  /** This very machine, without SSH. */
  readonly local?: boolean | undefined;
  /** The machine is the confidential guest itself: only what the guides do in the guest is looked at. */
  readonly guest?: boolean | undefined;
  /** The GPUs' mode; default `on`. */
  readonly gpuMode?: StackConfig["gpuMode"] | undefined;
  /** `path=value` for what the profile leaves open. What stays open is reported as unknown. */
  readonly pin?: readonly string[] | undefined;
}

/**
 * Judges a machine that is in no stack against a profile: `host` is a name, an address or a Host alias of
 * ~/.ssh/config. Writes nothing. Throws `config.unknown-profile`, `config.bad-pin`, and what reaching it throws.
 */
export async function auditMachine(host: string, options: AuditOptions, env = process.env): Promise<NodeReport> {
  const started = performance.now();
  const name = nameOf(host);
  const goals = goalsOf(options);
  const reconciler = new Reconciler(open(host, name, options, env));
  try {
    reconciler.prefetch(FACETS.filter((facet) => goals.some((goal) => goal.facet === facet.name)));
    await reconciler.reach(name);
    const reports: FacetReport[] = [];
    for (const goal of goals) reports.push(await lookAt(reconciler, name, goal));
    return nodeReport(host, reports, (performance.now() - started) / 1000);
  } finally {
    await reconciler.close();
  }
}

/** Names of nodes are narrower than names of machines. */
const nameOf = (host: string): string =>
  host
    .toLowerCase()
    .replaceAll(/[^a-z0-9-]+/g, "-")
    .replaceAll(/^-+/g, "")
    .slice(0, 63) || "machine";

function open(host: string, name: string, options: AuditOptions, env: NodeJS.ProcessEnv): Fleet {
  if (options.local === true) return openLocal(name, env);
  const fleet = openFleet(StackConfigSchema.parse({ nodes: [{ name, ssh: { host } }] }), env);
  if (options.guest !== true && !CLOUD_PROFILES.some((profile) => profile.name === options.profile)) return fleet;
  const itself = fleet.node(name).host;
  return { names: fleet.names, node: () => ({ host: itself, guest: itself }), close: () => fleet.close() };
}

/** Stands for a value that nobody gave: no file and no commit has it. */
const OPEN = "0".repeat(64);

interface AuditGoal extends NodeGoal {
  /** What of its want nobody gave. */
  readonly open?: string;
}

function goalsOf(options: AuditOptions): readonly AuditGoal[] {
  const pins = Object.fromEntries((options.pin ?? []).map(parsePin));
  const recipe = CLOUD_PROFILES.find((profile) => profile.name === options.profile);
  const cloud = recipe === undefined ? undefined : askedOf(recipe, {});
  const left = unknowns(cloud ?? profileByName(options.profile)).filter((path) => pins[path] === undefined);
  const filled = { ...pins, ...Object.fromEntries(left.map((path) => [path, standIn(path)])) };
  return goalsFor(options, cloud, filled).map((goal) =>
    JSON.stringify(goal.want).includes(OPEN.slice(0, 32)) ? { ...goal, open: `one of ${left.join(", ")}` } : goal,
  );
}

function goalsFor(options: AuditOptions, cloud: CloudProfile | undefined, pins: Pins): readonly NodeGoal[] {
  // An instance has no host that could be asked: all that its recipe wants is looked at on the instance.
  if (cloud !== undefined) return Object.values(instanceGoals(resolveCloudProfile(cloud, pins, {}))).flat();
  const goals = nodeGoals(resolveProfile(profileByName(options.profile), pins), {
    gpus: "all",
    gpuMode: options.gpuMode ?? "on",
    vm: { cpus: 16, memoryGiB: 64, diskGiB: 100 },
    guest: { user: "teeup", port: 2222 },
  });
  const wanted = options.guest === true ? "guest" : "host";
  return Object.values(goals)
    .flat()
    .filter(({ facet }) => facetNamed(facet).on === wanted);
}

/** As long as what it stands for. */
const standIn = (path: string): string =>
  OPEN.slice(0, path.endsWith(".commit") ? 40 : path.endsWith(".md5") ? 32 : 64);

function parsePin(text: string): [string, string] {
  const at = text.indexOf("=");
  if (at > 0) return [text.slice(0, at), text.slice(at + 1)];
  throw new TeeUpError({
    code: "config.bad-pin",
    subject: `--pin ${text}`,
    saw: "not path=value",
    next: "e.g. --pin guest.image.sha256=<64 hex digits>",
  });
}

async function lookAt(reconciler: Reconciler, node: string, { facet: name, want, open }: AuditGoal) {
  const facet = facetNamed(name);
  const parsed = facet.want.safeParse(want);
  if (open !== undefined || !parsed.success)
    return undecided(facet, open ?? parsed.error?.issues.map((i) => `${i.path.join(".")}: ${i.message}`).join("; "));
  const { findings, steps } = await reconciler.look({ facet, node, want: parsed.data });
  return facetReport(facet, findings, steps);
}

function undecided(facet: Facet, what = "its wanted state"): FacetReport {
  const { unsure } = findingsOf(facet.name, "the profile leaves it open");
  const hint = "give --pin path=value, or check the machine as a node of a stack";
  return facetReport(facet, [unsure("undecided", `a value for ${what}`, "none was given", hint)], []);
}
