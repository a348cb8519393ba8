import type { z } from "zod";
import type { NodeConfig, StackConfig } from "../../providers/kit/config.ts";
import { TeeUpError } from "../../providers/kit/errors.ts";
import { alibabaGn8vTee1gpu } from "./alibaba-gn8v-tee-1gpu.ts";
import { alibabaGn8vTee8gpu } from "./alibaba-gn8v-tee-8gpu.ts";
import { baiduBccGen7 } from "./baidu-bcc-gen7.ts";
import { askedOf, type InstanceSettings, instanceGoals } from "./cloud-goals.ts";
import type { CloudProfile } from "./cloud-schema.ts";
import { CloudProfileSchema } from "./cloud-schema.ts";
import { type NodeGoal, nodeGoals } from "./goals.ts";
import { intelTdxKvmCoco } from "./intel-tdx-kvm-coco-20240512.ts";
import { nvidiaDu11462 } from "./nvidia-du-11462-001-v1.0.ts";
import type { Profile } from "./schema.ts";
import { ProfileSchema, UNKNOWN } from "./schema.ts";
import { snpUpstream } from "./snp-upstream.ts";
import { tdxUpstream } from "./tdx-upstream.ts";

/** All profiles; of each TEE, the newest first. */
export const PROFILES: readonly Profile[] = [snpUpstream, nvidiaDu11462, tdxUpstream, intelTdxKvmCoco];

/** Recipes for instances of clouds. */
export const CLOUD_PROFILES: readonly CloudProfile[] = [alibabaGn8vTee1gpu, alibabaGn8vTee8gpu, baiduBccGen7];

/** The recipe that a stack of a cloud's platform gets without a word. */
export const CLOUD_PLATFORMS = {
  "alibaba-gn8v-tee": { cloud: "alibaba", profile: "alibaba-gn8v-tee-1gpu" },
  "baidu-bcc": { cloud: "baidu", profile: "baidu-bcc-gen7" },
} as const;
export type CloudPlatform = keyof typeof CLOUD_PLATFORMS;
export const isCloudPlatform = (platform: string): platform is CloudPlatform => platform in CLOUD_PLATFORMS;

/** Throws `config.unknown-profile`, or `config.wrong-profile` for a recipe of another cloud. */
export function cloudProfileFor(platform: CloudPlatform, wanted: string | CloudProfile | undefined): CloudProfile {
  const { cloud, profile } = CLOUD_PLATFORMS[platform];
  const fitting = CLOUD_PROFILES.filter((p) => p.cloud === cloud);
  const found = typeof wanted === "object" ? wanted : CLOUD_PROFILES.find((p) => p.name === (wanted ?? profile));
  if (found === undefined)
    throw badProfile("config.unknown-profile", `no profile of a cloud is called ${JSON.stringify(wanted)}`, fitting);
  if (found.cloud === cloud) return found;
  throw badProfile("config.wrong-profile", `profile ${found.name} is for ${found.cloud}, not for ${platform}`, fitting);
}

/** Which processor's recipes a platform's program takes, and the one of them that a stack gets without a word. */
export const PLATFORMS = {
  "onprem-snp": { cpu: "sev-snp", profile: "snp-upstream" },
  "onprem-tdx": { cpu: "tdx", profile: "tdx-upstream" },
} as const satisfies Readonly<
  Record<Exclude<StackConfig["platform"], CloudPlatform>, { cpu: Profile["cpu"]; profile: string }>
>;

/** Every goal of a node, in order: what a program declares and what `teeup check` compares with. */
export function goalsOfNode(config: StackConfig, guest: NodeConfig["guest"]): readonly NodeGoal[] {
  const { platform, pins } = config;
  if (isCloudPlatform(platform)) {
    const profile = resolveCloudProfile(cloudProfileFor(platform, config.profile), pins, config.instance);
    return Object.values(instanceGoals(profile, { ...config.instance, attestation: config.attestation })).flat();
  }
  const { cpu, profile } = PLATFORMS[platform];
  const resolved = resolveProfile(profileFor(cpu, config.profile ?? profile), pins);
  const { gpuMode, vm, attestation } = config;
  return Object.values(nodeGoals(resolved, { gpus: "all", gpuMode, vm, guest, attestation })).flat();
}

/**
 * Dotted path → value for what a profile leaves `unknown`, and for urls that a site serves from a mirror, e.g.
 * `{"guest.image.sha256": "…", "guest.image.url": "https://mirror.lan/noble.img"}`.
 */
export type Pins = Readonly<Record<string, string>>;

/** Throws TeeUpError `config.unknown-profile` that lists the names. */
export function profileByName(name: string): Profile {
  const found = PROFILES.find((p) => p.name === name);
  if (found !== undefined) return found;
  throw badProfile("config.unknown-profile", `no profile is called ${JSON.stringify(name)}`, PROFILES);
}

/**
 * The recipe, by its name in this package or as it is, for nodes of `cpu`. Throws `config.unknown-profile`, and
 * `config.wrong-profile` for a recipe of other processors.
 */
export function profileFor(cpu: Profile["cpu"], wanted: string | Profile): Profile {
  const found = typeof wanted === "string" ? profileByName(wanted) : wanted;
  if (found.cpu === cpu) return found;
  const fitting = PROFILES.filter((p) => p.cpu === cpu);
  throw badProfile(
    "config.wrong-profile",
    `profile ${found.name} is for ${found.cpu}, these nodes are ${cpu}`,
    fitting,
  );
}

function badProfile(code: string, saw: string, fitting: readonly { readonly name: string }[]): TeeUpError {
  const names = fitting.map((p) => p.name);
  const next = `pulumi config set teeup:profile ${names[0]} (there are: ${names.join(", ")})`;
  return new TeeUpError({ code, subject: "teeup:profile", saw, next });
}

/** Paths of all values that a profile leaves unknown, as `teeup:pins` names them. */
export function unknowns(profile: object): string[] {
  const out: string[] = [];
  visit(profile, [], (path, leaf) => {
    if (leaf === UNKNOWN) out.push(path);
    return leaf;
  });
  return out;
}

/**
 * The profile with every unknown value pinned. Throws TeeUpError `config.missing-pin` that lists all that is missing,
 * `config.bad-pin` for a pin that names nothing or does not fit.
 */
export function resolveProfile(profile: Profile, pins: Pins): Profile {
  return resolveWith(ProfileSchema, profile, pins);
}

/**
 * As {@link resolveProfile}, for the recipes of clouds. What the stack does not ask for needs no pin; `config.instance` for
 * what it asks for and the recipe does not have.
 */
export function resolveCloudProfile(profile: CloudProfile, pins: Pins, settings: InstanceSettings): CloudProfile {
  if (settings.quote === true && profile.quote === undefined)
    throw new TeeUpError({
      code: "config.instance",
      subject: "teeup:instance.quote",
      saw: `profile ${profile.name} has no tools that make a quote: nothing would be made or verified`,
      next: "pulumi config rm --path teeup:instance.quote",
    });
  return resolveWith(CloudProfileSchema, askedOf(profile, settings), pins);
}

function resolveWith<P extends { readonly name: string }>(schema: z.ZodType<P>, profile: P, pins: Pins): P {
  const used = new Set<string>();
  const missing: string[] = [];
  const urls = new Map<string, string>();
  const filled = visit(profile, [], (path, leaf) => {
    if (path.endsWith(".url")) urls.set(path.slice(0, -".url".length), leaf);
    const open = leaf === UNKNOWN;
    const pin = pins[path];
    if (pin !== undefined && (open || path.endsWith(".url"))) {
      used.add(path);
      return pin;
    }
    if (open) missing.push(path);
    return leaf;
  });
  const bad = Object.keys(pins).find((path) => !used.has(path));
  if (bad !== undefined) throw badPin(bad, `profile ${profile.name} has no open value and no url of that path`);
  if (missing.length > 0) {
    throw new TeeUpError({
      code: "config.missing-pin",
      subject: "teeup:pins",
      saw: `profile ${profile.name} does not know ${missing.map((path) => `${path} (of ${urls.get(path.slice(0, path.lastIndexOf("."))) ?? "?"})`).join(", ")}`,
      next: `pulumi config set --path 'teeup:pins["${missing[0]}"]' <value> (a commit's 40 or a file's 64 hex digits), likewise for each`,
    });
  }
  const parsed = schema.safeParse(filled);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw badPin(issue?.path.filter((part) => part !== "value").join(".") ?? "", issue?.message ?? "does not fit");
}

function badPin(path: string, saw: string): TeeUpError {
  return new TeeUpError({
    code: "config.bad-pin",
    subject: `teeup:pins["${path}"]`,
    saw,
    next: "correct or remove it in stacks/Pulumi.<stack>.yaml",
  });
}

/** Copies `node`, each string through `leaf`. The `value` of a sourced value does not count as a part of its path. */
function visit(node: unknown, path: readonly string[], leaf: (path: string, value: string) => string): unknown {
  if (typeof node === "string") return leaf(path.join("."), node);
  if (Array.isArray(node)) return node.map((part, i) => visit(part, [...path, String(i)], leaf));
  if (typeof node !== "object" || node === null) return node;
  return Object.fromEntries(
    Object.entries(node).map(([key, part]) => [key, visit(part, key === "value" ? path : [...path, key], leaf)]),
  );
}
