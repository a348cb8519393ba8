import type { ChildProcess } from "node:child_process";
import { fork } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { profileByName, unknowns } from "../../stacks/profiles/resolve.ts";

/** How to reach a twin; the credentials are made for it and end with it. */
export interface TwinFacts {
  readonly ssh: {
    readonly host: string;
    readonly port: number;
    readonly user: string;
    readonly hostKey: string;
    readonly privateKey: string;
    readonly publicKey: string;
  };
  readonly bmc: {
    readonly url: string;
    readonly user: string;
    readonly password: string;
    readonly certificate: string;
  };
}

export type TwinQuestion = { readonly id: number } & (
  | { readonly ask: "counts" }
  | { readonly ask: "clear" }
  | { readonly ask: "mutations" }
  | { readonly ask: "unmodelled" }
  | { readonly ask: "drift"; readonly name: string }
  | { readonly ask: "removeFile" | "hasFile"; readonly path: string }
  | { readonly ask: "sha256"; readonly url: string; readonly member?: string | undefined }
);
type Ask = TwinQuestion extends infer Q ? (Q extends TwinQuestion ? Omit<Q, "id"> : never) : never;

/** What the twin's journal counted since it was last cleared. */
export interface TwinCounts {
  readonly hostExecs: number;
  readonly guestExecs: number;
  readonly reboots: number;
  readonly mutations: number;
  readonly gpuResets: number;
  readonly guestStarts: number;
}

export interface DemoTwin {
  readonly facts: TwinFacts;
  /** Stack config of a stack with this one node, called `name`. */
  readonly config: Readonly<Record<string, unknown>>;
  /** Environment with the twin's secrets. */
  readonly env: Readonly<Record<string, string>>;
  counts(): Promise<TwinCounts>;
  /** Counts from here on. */
  clear(): Promise<void>;
  mutations(): Promise<
    readonly { readonly machine: string; readonly verb: string; readonly argv: readonly string[] }[]
  >;
  /** Questions that the twin could not answer truthfully; empty when all is well. */
  unmodelled(): Promise<readonly string[]>;
  /** Injects a named drift of the twin. */
  drift(name: string): Promise<void>;
  /** Removes a file of the host behind everybody's back. */
  removeFile(path: string): Promise<void>;
  hasFile(path: string): Promise<boolean>;
  /** Ends its process; resolves when it is gone. */
  close(): Promise<void>;
}

export interface DemoTwinOptions {
  /** Name of the node, default `gpu-01`. */
  readonly name?: string;
  /** Profile of the stack; decides what is pinned. */
  readonly profile?: string;
  /** Default `reboot`. */
  readonly permit?: string;
  /** Passed to the twin as they are, e.g. `{ vendor: "dell" }`. */
  readonly twin?: Readonly<Record<string, unknown>>;
}

/** Starts a twin in its own process; `dir` gets its key file. */
export async function startDemoTwin(dir: string, options: DemoTwinOptions = {}): Promise<DemoTwin> {
  const { name = "gpu-01", profile = "snp-upstream", permit = "reboot" } = options;
  const child = fork(
    fileURLToPath(new URL("twin-process.ts", import.meta.url)),
    [JSON.stringify({ name, ...options.twin })],
    {
      // A person's Ctrl+C goes to the whole group: the twin has to outlive the `pulumi destroy` that follows it.
      detached: true,
      stdio: ["ignore", "inherit", "inherit", "ipc"],
    },
  );
  const channel = new Channel(child);
  try {
    const facts = (await channel.first) as TwinFacts;
    await mkdir(dir, { recursive: true });
    const keyFile = join(dir, "id_ed25519");
    await writeFile(keyFile, facts.ssh.privateKey, { mode: 0o600 });
    const { host, port, user, hostKey } = facts.ssh;
    const { url, user: bmcUser, certificate } = facts.bmc;
    const pins = await pinsOf(profile, (ask) => channel.ask(ask));
    return {
      facts,
      config: {
        "teeup:permit": permit,
        "teeup:profile": profile,
        "teeup:pins": pins,
        "teeup:nodes": [
          {
            name,
            ssh: { host, port, user, hostKey, keyFile },
            bmc: { url, user: bmcUser, certificate },
            guest: { publicKey: facts.ssh.publicKey },
          },
        ],
      },
      env: { TEEUP_BMC_PASSWORD: facts.bmc.password, TEEUP_SSH_CONFIG: "/dev/null" },
      counts: async () => (await channel.ask({ ask: "counts" })) as TwinCounts,
      clear: async () => void (await channel.ask({ ask: "clear" })),
      mutations: async () => (await channel.ask({ ask: "mutations" })) as Awaited<ReturnType<DemoTwin["mutations"]>>,
      unmodelled: async () => (await channel.ask({ ask: "unmodelled" })) as string[],
      drift: async (drift) => void (await channel.ask({ ask: "drift", name: drift })),
      removeFile: async (path) => void (await channel.ask({ ask: "removeFile", path })),
      hasFile: async (path) => (await channel.ask({ ask: "hasFile", path })) as boolean,
      close: () => channel.close(),
    };
  } catch (error) {
    await channel.close();
    throw error;
  }
}

/** What the profile leaves to the stack: sums of what the twin's internet serves, and any commit, since it has all. */
async function pinsOf(name: string, ask: (ask: Ask) => Promise<unknown>): Promise<Record<string, string>> {
  const profile = profileByName(name);
  const pins: Record<string, string> = {};
  for (const path of unknowns(profile)) {
    if (path.endsWith("commit")) pins[path] = "0".repeat(40);
    else {
      const beside = valueAt(profile, path.replace(/\.\w+$/, "")) as { url: string; member?: string };
      const member = path.endsWith("memberSha256") ? beside.member : undefined;
      pins[path] = (await ask({ ask: "sha256", url: beside.url, member })) as string;
    }
  }
  return pins;
}

/** What stands at a path of a profile; `value` beside `source` is passed through, as in the names of pins. */
function valueAt(profile: unknown, path: string): unknown {
  const inner = (at: unknown) =>
    at !== null && typeof at === "object" && "source" in at && "value" in at ? at.value : at;
  return path.split(".").reduce<unknown>((at, key) => inner((at as Record<string, unknown>)[key]), profile);
}

/** Questions and answers over the IPC channel of a child, one id each; 0 is what it says when it is ready. */
class Channel {
  readonly first: Promise<unknown>;
  readonly #child: ChildProcess;
  readonly #gone: Promise<void>;
  readonly #waiting = new Map<number, { resolve(answer: unknown): void; reject(error: Error): void }>();
  #next = 1;

  constructor(child: ChildProcess) {
    this.#child = child;
    this.first = new Promise((resolve, reject) => this.#waiting.set(0, { resolve, reject }));
    child.on("message", (message: { id: number; answer?: unknown; error?: string }) => {
      const waiting = this.#waiting.get(message.id);
      this.#waiting.delete(message.id);
      if (message.error === undefined) waiting?.resolve(message.answer);
      else waiting?.reject(new Error(`the twin: ${message.error}`));
    });
    this.#gone = new Promise((resolve) => {
      child.on("exit", (code) => {
        for (const { reject } of this.#waiting.values()) reject(new Error(`the twin ended with status ${code}`));
        this.#waiting.clear();
        resolve();
      });
    });
  }

  ask(ask: Ask): Promise<unknown> {
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#child.send({ id, ...ask });
    });
  }

  close(): Promise<void> {
    if (this.#child.connected) this.#child.disconnect();
    return this.#gone;
  }
}
