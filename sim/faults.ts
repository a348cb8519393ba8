export type AttestationFault =
  | "ocsp"
  | "rim-missing"
  | "time-out"
  | "malformed"
  | "truncated"
  | "nonce"
  | "measurements"
  | "exit-512"
  | "policy"
  | "empty";

/**
 * What goes wrong on demand. Set a field on `twin.faults`; clear it to be well again. Counters count down: once they
 * reach zero the fault has happened and does not come back.
 */
export interface Faults {
  /** Drop the connection when the n-th SSH exec from now arrives (1: the next one), before anything of it runs. */
  dropAtExec?: number;
  /** Drop it after the n-th mutating entry from now has run, before its answer is sent. */
  dropAfterMutation?: number;
  /** Refuse every login. */
  refuseAuth?: boolean;
  /** Host only: sudo refuses, as on a node where the user may not. */
  refuseSudo?: boolean;
  /** Password that sudo asks for; without it sudo asks nothing. */
  sudoPassword?: string;
  /** Commands whose first words match hang until the client gives up: the batch's own time limit answers `timeout`. */
  hang?: readonly string[];
  /** Channels of hanging commands never answer at all, not even with the time limit. */
  hangForEver?: boolean;
  /** Kernel releases that never come back once booted. */
  brokenKernels?: readonly string[];
  /** How they fail; `panic` reboots by itself when the command line has panic=N. Default `hang`. */
  brokenHow?: "hang" | "panic";
  /** A job's line that contains this text fails, `times` times. */
  failJobLine?: { readonly text: string; times: number };
  /** Every command on host or guest whose argv contains this text exits 1, `times` times. */
  failCommand?: { readonly text: string; times: number };
  /** What the driver says when it cannot initialise a GPU. */
  gpuInit?: string;
  attestation?: AttestationFault;
  /** Claims that the verifier makes of every device otherwise than usual; it then has nothing against them itself. */
  claims?: Readonly<Record<string, unknown>>;
  /** nvidia-persistenced needs this many polls until it is active, default 1. */
  persistencedPolls?: number;
  /** The BMC: set by sim/bmc.ts users. */
  bmc?: "401" | "down" | "slow";
}
