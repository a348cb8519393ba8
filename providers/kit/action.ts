/**
 * Everything a step may do, as data. Only providers/machine/ interprets it.
 * All of it must be idempotent: a killed run does it again.
 */
export type Action =
  /** Atomic write (temporary file beside it, fsync, rename). Parent folders are made. */
  | {
      readonly do: "write";
      readonly path: string;
      readonly content: string;
      /** Octal text, default "0644". */
      readonly mode?: string;
      /** Default "root:root". */
      readonly owner?: string;
    }
  | { readonly do: "remove"; readonly path: string }
  /** A short command. Any exit status not in `okStatus` (default [0]) fails the step. */
  | {
      readonly do: "run";
      readonly argv: readonly [string, ...string[]];
      /** Seconds, default 120. */
      readonly timeoutSeconds?: number;
      readonly okStatus?: readonly number[];
      /**
       * Tried again for up to five minutes while it fails saying one of these: for programs that do not themselves wait
       * for somebody else's lock.
       */
      readonly retryWhile?: readonly string[];
      /** What a failure means and what to do then: for a check that says nothing itself. */
      readonly means?: { readonly saw: string; readonly next: string };
    }
  /**
   * Long work: a transient systemd unit `teeup-<name>-<hash>` keyed by the hash of `lines`. A second run attaches to
   * a running one and takes a finished one as done. `lines` run in order and stop at the first failure.
   */
  | {
      readonly do: "job";
      readonly name: string;
      readonly lines: readonly JobLine[];
      /** Seconds for the whole job, default 3600. */
      readonly timeoutSeconds?: number;
    }
  /**
   * Reboot this machine and wait for a new boot_id. With `trial`, that GRUB entry boots once only; when the node does
   * not return within `timeoutSeconds` the BMC forces a power cycle, which boots the default entry again.
   */
  | {
      readonly do: "reboot";
      readonly trial?: { readonly entry: string; readonly kernel: string };
      readonly timeoutSeconds?: number;
    }
  /** Stage BIOS settings through the BMC; they apply at the next reset. `settings` are exact attribute names. */
  | { readonly do: "stage-bios"; readonly settings: Readonly<Record<string, string | number | boolean>> }
  /** Poll a read-only command until it exits 0, e.g. a unit becoming active or a guest's sshd answering. */
  | {
      readonly do: "wait";
      readonly argv: readonly [string, ...string[]];
      readonly timeoutSeconds: number;
      readonly what: string;
    }
  /** Wait until the guest of this node accepts an SSH session. */
  | { readonly do: "wait-guest"; readonly timeoutSeconds: number }
  /**
   * Put a secret of the stack as a file into an attested guest. The action names it; its value is looked up where the
   * action is carried out, and nowhere else. Refused on any other session than `session` and where the host key is not
   * `to`, with nothing sent.
   */
  | {
      readonly do: "release";
      readonly secret: string;
      readonly path: string;
      readonly mode: string;
      readonly owner: string;
      /** Public line of the host key that the evidence is bound to. */
      readonly to: string;
      /** The session that the evidence came over, by {@link Appraisal.session}: a host key outlives its guest. */
      readonly session: string;
    }
  /** From a facet on a guest: end the guest and let its host start it again (SNP guests cannot reboot themselves). */
  | { readonly do: "restart-guest"; readonly timeoutSeconds: number };

export interface JobLine {
  readonly argv: readonly [string, ...string[]];
  /** Working directory, absolute. */
  readonly cwd?: string;
}
