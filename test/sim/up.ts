import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { facetNamed } from "../../providers/facets/index.ts";
import type { StackConfig } from "../../providers/kit/config.ts";
import { StackConfigSchema } from "../../providers/kit/config.ts";
import type { Permit } from "../../providers/kit/disruption.ts";
import { openFleet } from "../../providers/machine/fleet.ts";
import type { FleetOptions } from "../../providers/machine/options.ts";
import type { Done, Goal } from "../../providers/reconcile.ts";
import { isFailing, Reconciler } from "../../providers/reconcile.ts";
import { downloadSha256, memberSha256 } from "../../sim/model/internet.ts";
import type { Twin } from "../../sim/twin.ts";
import type { NodeSettings } from "../../stacks/profiles/goals.ts";
import { nodeGoals } from "../../stacks/profiles/goals.ts";
import { profileByName, resolveProfile, unknowns } from "../../stacks/profiles/resolve.ts";
import type { Profile } from "../../stacks/profiles/schema.ts";

/** Pins for what a profile leaves open, as the twin's internet serves it. */
export function twinPins(profile: Profile): Record<string, string> {
  // Paths leave out the `value` that every value stands in, beside its source.
  const open = (v: unknown): unknown =>
    typeof v === "object" && v !== null && "source" in v && "value" in v ? v.value : v;
  const at = (path: string): unknown =>
    path.split(".").reduce((value: unknown, key) => open((value as Record<string, unknown>)[key]), profile);
  return Object.fromEntries(
    unknowns(profile).map((path) => {
      if (path.endsWith("commit")) return [path, "12".repeat(20)];
      const folder = path.slice(0, path.lastIndexOf("."));
      const { url, member } = at(folder) as { url: string; member?: string };
      return [path, path.endsWith("memberSha256") ? memberSha256(url, member ?? "") : downloadSha256(url)];
    }),
  );
}

export interface Client {
  readonly config: StackConfig;
  readonly goals: readonly Goal[];
  /** One whole `up` in a process of its own: reconciles every goal in order and stops at the first error. */
  up(options?: { permit?: Permit; until?: string }): Promise<Outcome>;
  /** One whole preview: looks at every goal. */
  preview(): Promise<Outcome>;
  /** One facet deleted: its undo steps that ran. Rejects as `up` of Pulumi would. */
  undo(facet: string, permit: Permit): Promise<readonly string[]>;
  close(): void;
}

export interface Outcome {
  readonly ran: readonly string[];
  /** Codes of steps that were planned (preview). */
  readonly planned: readonly string[];
  /** Findings that are not a pass, as `code level`. */
  readonly failing: readonly string[];
  readonly error: Error | undefined;
  readonly last: Done | undefined;
}

const FAST: Partial<FleetOptions> = { pollFirstMs: 5, pollMaxMs: 20, silenceMs: 3000 };

export function clientOf(
  twin: Twin,
  options: { profile?: string; settings?: Partial<NodeSettings>; fleet?: Partial<FleetOptions> } = {},
): Client {
  const folder = mkdtempSync(join(tmpdir(), "teeup-up-"));
  const keyFile = join(folder, "id_ed25519");
  writeFileSync(keyFile, twin.ssh.privateKey ?? "", { mode: 0o600 });
  const config = StackConfigSchema.parse({
    nodes: [
      {
        name: "gpu-01",
        ssh: { host: twin.ssh.host, port: twin.ssh.port, user: twin.ssh.user, keyFile, hostKey: twin.ssh.hostKey },
        ...(twin.bmc === undefined
          ? {}
          : {
              bmc: {
                url: twin.bmc.url,
                user: twin.bmc.user,
                password: twin.bmc.password,
                certificate: twin.bmc.fingerprint,
              },
            }),
        guest: { publicKey: twin.ssh.publicKey, keyFile },
      },
    ],
  });
  const profile = profileByName(options.profile ?? "snp-upstream");
  const groups = nodeGoals(resolveProfile(profile, twinPins(profile)), {
    gpus: "all",
    gpuMode: "on",
    vm: { cpus: 16, memoryGiB: 64, diskGiB: 100 },
    guest: { user: "teeup", port: 2222, publicKey: twin.ssh.publicKey },
    ...options.settings,
  });
  const goals = Object.values(groups)
    .flat()
    .map(({ facet, want }): Goal => {
      const found = facetNamed(facet);
      return { facet: found, node: "gpu-01", want: found.want.parse(want) };
    });
  const session = () =>
    new Reconciler(openFleet(config, { TEEUP_SSH_CONFIG: "/dev/null" }, { ...FAST, ...options.fleet }));
  return {
    config,
    goals,
    async up({ permit = "reboot", until } = {}) {
      const reconciler = session();
      const ran: string[] = [];
      const failing: string[] = [];
      let error: Error | undefined;
      let last: Done | undefined;
      reconciler.prefetch([...new Set(goals.map((g) => g.facet))]);
      try {
        for (const goal of goals) await reconciler.look(goal);
        for (const goal of goals) {
          last = await reconciler.reconcile(goal, {
            permit,
            onProgress: () => undefined,
            signal: new AbortController().signal,
          });
          ran.push(...last.ran);
          failing.push(...last.findings.filter((f) => f.level !== "pass").map((f) => `${f.code} ${f.level}`));
          if (goal.facet.name !== "bios" && last.findings.some(isFailing))
            throw new Error(
              `${goal.facet.name}: ${last.findings
                .filter(isFailing)
                .map((f) => `${f.code}: ${f.saw}`)
                .join("; ")}`,
            );
          if (goal.facet.name === until) break;
        }
      } catch (e) {
        error = e as Error;
      } finally {
        await reconciler.close();
      }
      return { ran, planned: [], failing, error, last };
    },
    async preview() {
      const reconciler = session();
      const planned: string[] = [];
      const failing: string[] = [];
      let error: Error | undefined;
      reconciler.prefetch([...new Set(goals.map((g) => g.facet))]);
      try {
        for (const goal of goals) {
          const look = await reconciler.look(goal);
          planned.push(...look.steps.map((s) => `${s.code} ${s.disruption}`));
          failing.push(...look.findings.filter((f) => f.level !== "pass").map((f) => `${f.code} ${f.level}`));
        }
      } catch (e) {
        error = e as Error;
      } finally {
        await reconciler.close();
      }
      return { ran: [], planned, failing, error, last: undefined };
    },
    async undo(facet, permit) {
      const goal = goals.find((g) => g.facet.name === facet);
      if (goal === undefined) throw new Error(`no goal ${facet}`);
      const reconciler = session();
      const { signal } = new AbortController();
      try {
        return await reconciler.undo(goal, { permit, onProgress: () => undefined, signal });
      } finally {
        await reconciler.close();
      }
    },
    close: () => rmSync(folder, { recursive: true, force: true }),
  };
}
