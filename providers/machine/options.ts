import type { BiosSnapshot } from "../kit/bios.ts";
import type { BmcConfig } from "../kit/config.ts";
import { JOB_DIR, LOCK_FILE, LOCK_OWNER_FILE } from "../kit/protocol.ts";

/** What the machine room needs of a BMC; redfish.ts implements it. */
export interface BmcClient {
  bios(): Promise<BiosSnapshot>;
  stage(settings: Readonly<Record<string, string | number | boolean>>): Promise<void>;
  powerCycle(): Promise<void>;
}

/** Times and places that tests change. Times in milliseconds. */
export interface FleetOptions {
  /** An ssh_config file in place of ~/.ssh/config and /etc/ssh/ssh_config; TEEUP_SSH_CONFIG. */
  readonly sshConfigFile?: string | undefined;
  /** Time for connecting, host key and authentication together, unless ssh_config has ConnectTimeout. */
  readonly connectMs: number;
  /** An idle connection is asked for a sign of life this often; four without an answer end it. */
  readonly keepaliveMs: number;
  /** How long past its own time limits a machine may be silent before a batch is given up. */
  readonly silenceMs: number;
  /** Bytes of one batch's answers together. */
  readonly maxBatchBytes: number;
  /** Waiting begins with this interval and grows to `pollMaxMs`. */
  readonly pollFirstMs: number;
  readonly pollMaxMs: number;
  /** Multiplies the time limits of waiting (reboot, wait, job, guest); TEEUP_TIMEOUT_SCALE. */
  readonly timeoutScale: number;
  /** How long a job's machine may be out of reach before the run gives up on it (the job itself goes on). */
  readonly reconnectMs: number;
  readonly lockFile: string;
  readonly lockOwnerFile: string;
  readonly jobDir: string;
  readonly bmc: (node: string, config: BmcConfig, password: string) => Promise<BmcClient>;
}

export function fleetOptions(env: NodeJS.ProcessEnv, given: Partial<FleetOptions> = {}): FleetOptions {
  const scale = Number(env["TEEUP_TIMEOUT_SCALE"] ?? "1");
  return {
    sshConfigFile: env["TEEUP_SSH_CONFIG"],
    connectMs: 20_000,
    keepaliveMs: 15_000,
    silenceMs: 20_000,
    maxBatchBytes: 32 << 20,
    pollFirstMs: 100,
    pollMaxMs: 5000,
    timeoutScale: Number.isFinite(scale) && scale > 0 ? scale : 1,
    reconnectMs: 600_000,
    lockFile: LOCK_FILE,
    lockOwnerFile: LOCK_OWNER_FILE,
    jobDir: JOB_DIR,
    // Loaded only where it is used: an HTTP client costs start-up time.
    bmc: async (node, config, password) => new (await import("./redfish.ts")).Bmc(node, config, password),
    ...given,
  };
}

/** A variable of the environment for one node: `NAME_GPU_01` before `NAME`. Empty counts as unset. */
export function envFor(env: NodeJS.ProcessEnv, name: string, node: string): string | undefined {
  const own = env[`${name}_${node.toUpperCase().replaceAll("-", "_")}`];
  return own || env[name] || undefined;
}
