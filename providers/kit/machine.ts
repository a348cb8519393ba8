import type { Action } from "./action.ts";
import type { Collected } from "./appraisal.ts";
import type { Answers, Asks } from "./ask.ts";
import type { Method } from "./attest.ts";
import type { Cloud } from "./cloud.ts";

/** What reconcile needs of a machine; providers/machine/ implements it, tests may use a fake. */
export interface Machine {
  /** `gpu-01`, or `gpu-01/cvm0` for a guest. */
  readonly id: string;
  /**
   * Asks everything in as few execs as possible (asks of one tick travel together) and remembers each answer until
   * {@link Machine.forget}. Never rejects for a machine that cannot be reached: every answer then is `failed` with
   * the complete reason. Rejects only for host key, authentication and configuration errors (TeeUpError).
   */
  observe<A extends Asks>(asks: A): Promise<Answers<A>>;
  /** Drops remembered answers, of this machine and of machines reached through it. */
  forget(): void;
  /** Interprets one action. Rejects with a TeeUpError when it failed; the answers are forgotten either way. */
  act(action: Action, options: ActOptions): Promise<void>;
  /**
   * Evidence of this guest over a nonce that is drawn for it, together with that of its GPUs. Leaves nothing on the
   * machine. Rejects with TeeUpError `evidence.*`. Absent where there is no session to bind it to.
   */
  evidence?(gpu: readonly Method[]): Promise<Collected>;
  /**
   * Takes the host's lock (one per host, guests included). Rejects with `lock.held` naming the holder.
   * The lock dies with the connection; `lost` is aborted when that happens.
   */
  lock(purpose: string): Promise<Lock>;
}

export interface ActOptions {
  /** One line of progress of long work. */
  readonly onProgress: (line: string) => void;
  /** Aborted when the engine is gone or the lock is lost: stop before the next thing that changes the machine. */
  readonly signal: AbortSignal;
}

export interface Lock {
  readonly lost: AbortSignal;
  release(): Promise<void>;
}

export interface NodeMachines {
  readonly host: Machine;
  /** The same machine as `host` when the node is an instance of a cloud. */
  readonly guest: Machine;
  /** The cloud that the node is an instance of; absent for a machine of one's own. */
  readonly cloud?: Cloud | undefined;
}

/** Where a node is, when the stack config cannot know it: an instance that the same stack makes. */
export interface Place {
  /** Address or name. */
  readonly host: string;
  /** Public host keys, lines as in /etc/ssh/ssh_host_*.pub; without any, known_hosts and `ssh.hostKey` count. */
  readonly hostKeys?: readonly string[] | undefined;
}

/** How a program of its own reaches a machine: as TeeUp did, with the host key that it verified. No secret. */
export interface Door {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  /** Public host key, a line as in /etc/ssh/ssh_host_*.pub. */
  readonly hostKey: string;
  /** The bastion before it. */
  readonly via?: Door | undefined;
}

/** All nodes of a stack; one per provider process. */
export interface Fleet {
  /** Throws TeeUpError `config.unknown-node` that lists the known names. */
  node(name: string): NodeMachines;
  readonly names: readonly string[];
  /** Says where a node is that the stack config gives no address for. A later call moves it. */
  locate?(name: string, place: Place): void;
  /** False while nobody has said where the node is. */
  located?(name: string): boolean;
  /** How the node was reached; connects when nothing did yet. */
  door?(name: string): Promise<Door>;
  /** Of a fleet of records: when the node's was made and its hash. Absent for machines themselves. */
  recorded?(name: string): Promise<{ readonly at: string; readonly hash: string }>;
  close(): Promise<void>;
}
