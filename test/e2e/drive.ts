import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { facetNamed } from "../../providers/facets/index.ts";
import type { StackConfig } from "../../providers/kit/config.ts";
import { StackConfigSchema } from "../../providers/kit/config.ts";
import type { Permit } from "../../providers/kit/disruption.ts";
import type { Finding, Step } from "../../providers/kit/facet.ts";
import { openFleet } from "../../providers/machine/fleet.ts";
import type { FleetOptions } from "../../providers/machine/options.ts";
import { blocking, type Goal, isFailing, Reconciler, type Run } from "../../providers/reconcile.ts";
import { downloadSha256, memberSha256 } from "../../sim/model/internet.ts";
import { startTwin, type Twin, type TwinOptions } from "../../sim/twin.ts";
import { askedOf } from "../../stacks/profiles/cloud-goals.ts";
import { type NodeGoal, type NodeSettings, nodeGoals } from "../../stacks/profiles/goals.ts";
import {
  cloudProfileFor,
  goalsOfNode,
  isCloudPlatform,
  profileByName,
  resolveProfile,
  unknowns,
} from "../../stacks/profiles/resolve.ts";

export const NODE = "gpu-01";

/** How a provider process reaches the nodes of a stack. */
export interface Reach {
  readonly config: StackConfig;
  readonly env: NodeJS.ProcessEnv;
}

/** What a stack is about: whose machines, how many GPUs, by which recipe. */
export interface Platform {
  readonly name: string;
  readonly twin: TwinOptions;
  /** How many restarts the board's BIOS takes: settings of TDX open one after another. */
  readonly restarts: number;
  readonly stack: Pick<StackConfig, "platform" | "gpuMode"> & {
    readonly profile: string;
    readonly instance?: Partial<StackConfig["instance"]>;
  };
}
export const SNP: Platform = {
  name: "SNP with 1 GPU",
  twin: {},
  restarts: 1,
  stack: { platform: "onprem-snp", profile: "snp-upstream", gpuMode: "on" },
};
export const TDX: Platform = {
  name: "TDX with 1 GPU",
  twin: { tee: "tdx" },
  restarts: 4,
  stack: { platform: "onprem-tdx", profile: "tdx-upstream", gpuMode: "on" },
};
export const TDX_8GPU: Platform = {
  name: "TDX with 8 GPUs and 4 NVSwitches",
  twin: { tee: "tdx", gpus: 8, switches: 4 },
  restarts: 4,
  stack: { platform: "onprem-tdx", profile: "tdx-upstream", gpuMode: "ppcie" },
};
export const PLATFORMS: readonly Platform[] = [SNP, TDX, TDX_8GPU];

/** Instances of clouds: the node is the confidential VM. How often each restarts itself on its way. */
export const ALIBABA: Platform = {
  name: "Alibaba gn8v-tee with 1 GPU",
  twin: { cloud: "alibaba" },
  restarts: 1,
  stack: { platform: "alibaba-gn8v-tee", profile: "alibaba-gn8v-tee-1gpu", gpuMode: "on" },
};
export const ALIBABA_8GPU: Platform = {
  name: "Alibaba gn8v-tee with 8 GPUs and 4 NVSwitches",
  twin: { cloud: "alibaba", gpus: 8, switches: 4 },
  restarts: 1,
  stack: { platform: "alibaba-gn8v-tee", profile: "alibaba-gn8v-tee-8gpu", gpuMode: "ppcie" },
};
export const BAIDU: Platform = {
  name: "Baidu BCC with 8 GPUs and 4 NVSwitches",
  twin: { cloud: "baidu", gpus: 8, switches: 4 },
  restarts: 0,
  stack: { platform: "baidu-bcc", profile: "baidu-bcc-gen7", gpuMode: "ppcie" },
};
export const INSTANCES: readonly Platform[] = [ALIBABA, ALIBABA_8GPU, BAIDU];

/** A twin with a stack config that leads to it, in a folder of its own. */
export interface Bench extends Reach {
  readonly twin: Twin;
  readonly folder: string;
  close(): Promise<void>;
}

export async function bench(options: TwinOptions = {}, on: Platform = SNP): Promise<Bench> {
  const twin = await startTwin({ ...on.twin, ...options });
  const folder = mkdtempSync(join(tmpdir(), "teeup-e2e-"));
  const keyFile = join(folder, "id");
  writeFileSync(keyFile, twin.ssh.privateKey ?? "", { mode: 0o600 });
  const config = StackConfigSchema.parse({
    ...on.stack,
    permit: "reboot",
    nodes: [
      {
        name: NODE,
        ssh: { host: twin.ssh.host, port: twin.ssh.port, user: twin.ssh.user, hostKey: twin.ssh.hostKey, keyFile },
        ...(twin.bmc === undefined
          ? {}
          : { bmc: { url: twin.bmc.url, user: twin.bmc.user, certificate: twin.bmc.fingerprint } }),
        guest: { publicKey: twin.ssh.publicKey },
      },
    ],
    pins: pinsOn(on.stack),
  });
  const env: NodeJS.ProcessEnv = { PATH: process.env["PATH"], HOME: folder };
  if (twin.bmc !== undefined) env["TEEUP_BMC_PASSWORD"] = twin.bmc.password;
  return {
    twin,
    config,
    env,
    folder,
    close: async () => {
      await twin.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Sums and commits that a profile leaves open, as the twin's internet serves them. */
export function pinsOf(profileName: string): Record<string, string> {
  return pinsFor(profileByName(profileName));
}

function pinsOn({ platform, profile, instance = {} }: Platform["stack"]): Record<string, string> {
  if (!isCloudPlatform(platform)) return pinsOf(profile);
  return pinsFor(askedOf(cloudProfileFor(platform, profile), instance));
}

/** The same for any recipe, also a cloud's. */
export function pinsFor(profile: object): Record<string, string> {
  return Object.fromEntries(unknowns(profile).map((path) => [path, openValue(profile, path)]));
}

function openValue(profile: unknown, path: string): string {
  if (path.endsWith("commit")) return "c".repeat(40);
  const leaf = path.split(".").at(-1);
  let at: unknown = profile;
  for (const part of path.split(".").slice(0, -1)) {
    at = (at as Record<string, unknown>)[part];
    if (typeof at === "object" && at !== null && "value" in at) at = at.value;
  }
  const { url, member } = at as { url: string; member?: string };
  return leaf === "memberSha256" && member !== undefined ? memberSha256(url, member) : downloadSha256(url);
}

/** Of the stack's own profile when none is named. */
export function goalsOf({ config }: Reach, named?: string, settings: Partial<NodeSettings> = {}): Goal[] {
  const profileName = named ?? config.profile ?? "snp-upstream";
  const node = config.nodes[0];
  if (node === undefined) throw new Error("no node");
  const goal = ({ facet, want }: NodeGoal): Goal => ({
    facet: facetNamed(facet),
    node: node.name,
    want: facetNamed(facet).want.parse(want),
  });
  if (isCloudPlatform(config.platform)) return goalsOfNode(config, node.guest).map(goal);
  const groups = nodeGoals(resolveProfile(profileByName(profileName), config.pins), {
    gpus: "all",
    gpuMode: config.gpuMode,
    vm: config.vm,
    guest: node.guest,
    attestation: config.attestation,
    ...settings,
  });
  return Object.values(groups).flat().map(goal);
}

/** Fast polling: the twin's time is virtual. */
export const QUICK: Partial<FleetOptions> = { pollFirstMs: 2, pollMaxMs: 20 };

export interface Outcome {
  readonly ran: readonly string[];
  readonly findings: readonly Finding[];
}

/** What one `up` of the node does, through the production code over SSH and HTTPS; a fresh process as far as memory goes. */
export async function up(b: Reach, permit: Permit = "reboot", goals: readonly Goal[] = goalsOf(b)): Promise<Outcome> {
  const ran: string[] = [];
  const findings: Finding[] = [];
  const reconciler = new Reconciler(openFleet(b.config, b.env, QUICK));
  const run: Run = { permit, onProgress: () => undefined, signal: new AbortController().signal };
  try {
    for (const goal of goals) {
      const done = await reconciler.reconcile(goal, run);
      ran.push(...done.ran);
      findings.push(...blocking(done));
      if (blocking(done).length > 0) break;
    }
    return { ran, findings };
  } finally {
    await reconciler.close();
  }
}

/** What a preview sees. */
export async function look(
  b: Reach,
  goals: readonly Goal[] = goalsOf(b),
): Promise<{
  steps: Step[];
  findings: Finding[];
  passes: Finding[];
  byFacet: Record<string, { steps: string[]; findings: string[] }>;
}> {
  const reconciler = new Reconciler(openFleet(b.config, b.env, QUICK));
  try {
    reconciler.prefetch(goals.map((g) => g.facet));
    const byFacet: Record<string, { steps: string[]; findings: string[] }> = {};
    const steps: Step[] = [];
    const findings: Finding[] = [];
    const passes: Finding[] = [];
    for (const goal of goals) {
      const seen = await reconciler.look(goal);
      const failing = seen.findings.filter(isFailing);
      steps.push(...seen.steps);
      findings.push(...failing);
      passes.push(...seen.findings.filter((f) => f.level === "pass"));
      if (seen.steps.length > 0 || failing.length > 0)
        byFacet[goal.facet.name] = { steps: seen.steps.map((s) => s.code), findings: failing.map((f) => f.code) };
    }
    return { steps, findings, passes, byFacet };
  } finally {
    await reconciler.close();
  }
}
