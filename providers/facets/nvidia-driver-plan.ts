import { z } from "zod";
import type { JobLine } from "../kit/action.ts";
import { RepositorySchema, Sha256Schema } from "../kit/downloads.ts";
import type { Step } from "../kit/facet.ts";
import type { Fact } from "../kit/facts.ts";
import { showFact, valueIfKnown } from "../kit/facts.ts";
import { firstUnknown } from "../kit/findings.ts";
import { awake, type GpuAgent, GpuAgentSchema, stopAgents } from "../kit/gpu-agents.ts";
import { restartDisruption } from "../kit/guest.ts";
import * as host from "../kit/host.ts";

const Name = z.string().regex(/^[a-z0-9][a-z0-9+.=:~-]*$/);
const Url = z.url({ protocol: /^https?$/ });
const version = z
  .string()
  .regex(/^\d[\d.]*$/)
  .describe("Driver version, or its leading part: `580.` takes every 580.");
const agents = z
  .array(GpuAgentSchema)
  .optional()
  .describe("Units that would open the GPU as soon as the driver is there: stopped before, started by gpu-agents.");
export const NvidiaDriverWant = z.discriminatedUnion("kind", [
  z.strictObject({
    kind: z.literal("packages"),
    version,
    packages: z.array(Name).min(1).describe("Packages of the open kernel modules and of nvidia-smi; held."),
    repository: RepositorySchema.optional().describe(
      "Where the packages come from; default: the distribution's archive.",
    ),
    agents,
  }),
  z.strictObject({
    kind: z.literal("runfile"),
    version,
    url: Url.describe("NVIDIA's or CUDA's .run file."),
    referer: Url.optional().describe(
      "Page that the download names as the one it comes from, where a mirror asks for it.",
    ),
    sha256: Sha256Schema,
    cuda: z.string().optional().describe("CUDA version that the file brings; not checked."),
    args: z.array(z.string().regex(/^-/)).describe("Arguments besides --silent, e.g. -m=kernel-open."),
    prerequisites: z.array(Name).default([]).describe("Packages the run file needs."),
    agents,
  }),
]);
export type NvidiaDriverWant = z.output<typeof NvidiaDriverWant>;
export interface Module {
  readonly version: string;
  readonly open: boolean;
}
export interface NvidiaDriverFacts {
  /** For the running kernel, loaded or not. */
  readonly installed: Fact<Module>;
  readonly loaded: Fact<Module>;
  readonly held: Fact<readonly string[]>;
  readonly inService: Fact<string>;
  readonly agents: Fact<readonly GpuAgent[]>;
  readonly stopped: Fact<readonly string[]>;
}

export const good = (want: NvidiaDriverWant) => (m: Module) =>
  m.open && (m.version === want.version || m.version.startsWith(want.version.replace(/\.?$/, ".")));
export const show = (m: Module): string => `${m.version}, ${m.open ? "open" : "proprietary"} kernel modules`;
export const unheld = (want: NvidiaDriverWant, held: readonly string[]) =>
  want.kind === "packages" ? want.packages.filter((p) => !held.includes(p.replace(/=.*/, ""))) : [];

function installLines(want: NvidiaDriverWant): { checks: Step["actions"]; lines: JobLine[] } {
  const apt = (...args: string[]): JobLine => ({ argv: [...host.APT, ...args] });
  if (want.kind === "runfile") {
    const run = host.download(want.url, want.sha256, want.referer);
    return {
      checks: [run.checks],
      lines: [
        ...(want.prerequisites.length > 0 ? [apt("update"), apt("install", ...want.prerequisites)] : []),
        ...run.lines,
        { argv: ["sh", run.file, "--silent", ...want.args] },
      ],
    };
  }
  const keyring = want.repository && host.download(want.repository.keyring.url, want.repository.keyring.sha256);
  return {
    checks: keyring ? [keyring.checks] : [],
    lines: [
      ...(keyring ? [...keyring.lines, { argv: ["dpkg", "--install", keyring.file] } as const] : []),
      apt("update"),
      apt("install", "--no-install-recommends", "--allow-change-held-packages", ...want.packages),
    ],
  };
}

export function planNvidiaDriver(want: NvidiaDriverWant, facts: NvidiaDriverFacts): readonly Step[] {
  const agents = want.agents ?? [];
  const asked = agents.length === 0 ? [] : [facts.agents, facts.stopped];
  if (firstUnknown(facts.installed, facts.loaded, facts.held, ...asked)) return [];
  const steps: Step[] = [];
  const installed = facts.installed.state === "known" && good(want)(facts.installed.value);
  const inTheWay = installed && facts.loaded.state === "known" ? [] : awake(agents, facts.agents);
  if (inTheWay.length > 0) {
    steps.push({
      code: "nvidia-driver.agents",
      title: `stop ${inTheWay.join(", ")} until nvidia-persistenced runs`,
      why: "the GPU gives one session, and whoever opens it first without the daemon loses it",
      disruption: "service",
      actions: stopAgents(inTheWay, facts.stopped),
    });
  }
  if (!installed) {
    const { checks, lines } = installLines(want);
    steps.push({
      code: "nvidia-driver.install",
      title: `driver: ${showFact(facts.installed, show)} → ${want.version} (${want.kind}, open kernel modules)`,
      why: "the guest's GPU works in CC mode with the open kernel modules only",
      disruption: facts.loaded.state === "known" ? restartDisruption(facts.inService) : "none",
      actions: [...checks, ...host.job("nvidia-driver", lines, 3600)],
    });
  }
  const hold = unheld(want, valueIfKnown(facts.held) ?? []).map((p) => p.replace(/=.*/, ""));
  if (hold.length > 0) {
    steps.push({
      code: "nvidia-driver.hold",
      title: `hold ${hold.join(", ")}`,
      why: "an upgrade may bring a version without a published RIM",
      disruption: "none",
      actions: [host.holdPackages("debian", hold)],
    });
  }
  if (facts.loaded.state === "absent") {
    steps.push({
      code: "nvidia-driver.load",
      title: "load the driver",
      why: "nothing loads it before the next boot",
      disruption: "none",
      actions: [{ do: "run", argv: ["modprobe", "nvidia"] }],
    });
  } else if (facts.loaded.state === "known" && !good(want)(facts.loaded.value)) {
    steps.push({
      code: "nvidia-driver.restart",
      title: `restart the guest: driver ${facts.loaded.value.version} → ${want.version}`,
      why: "a driver that holds an SPDM session cannot be exchanged",
      disruption: restartDisruption(facts.inService),
      actions: [{ do: "restart-guest", timeoutSeconds: 900 }],
    });
  }
  return steps;
}
