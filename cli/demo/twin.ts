import type { ChildProcessByStdio } from "node:child_process";
import { spawn } from "node:child_process";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import { fileURLToPath } from "node:url";
import { z } from "zod";
import { askedOf } from "../../stacks/profiles/cloud-goals.ts";
import {
  CLOUD_PLATFORMS,
  cloudProfileFor,
  isCloudPlatform,
  PLATFORMS,
  profileByName,
  unknowns,
} from "../../stacks/profiles/resolve.ts";

/** What the demo can show: the twin's platform and what its stack is told of it. */
export const DEMO_PLATFORMS = {
  snp: { platform: "onprem-snp", gpuMode: "on" },
  tdx: { platform: "onprem-tdx", gpuMode: "on" },
  /** An HGX board: eight Hopper GPUs and four NVSwitches, all in Protected PCIe mode. */
  "tdx-8gpu": { platform: "onprem-tdx", gpuMode: "ppcie" },
  /** An instance that exists, adopted by its address. */
  baidu: { platform: "baidu-bcc" },
  /** An instance that the stack makes, through stand-ins of the plugin and of the cloud. */
  alibaba: { platform: "alibaba-gn8v-tee" },
  "alibaba-8gpu": { platform: "alibaba-gn8v-tee", profile: "alibaba-gn8v-tee-8gpu" },
} as const;
export type DemoPlatform = keyof typeof DEMO_PLATFORMS;

/** How to reach a twin, as its program says in its first line; the credentials are made for it and end with it. */
const FactsSchema = z.looseObject({
  ssh: z.looseObject({
    host: z.string(),
    port: z.int(),
    user: z.string(),
    /** Not known before an instance is made. */
    hostKey: z.string().optional(),
    keyFile: z.string(),
    publicKey: z.string(),
  }),
  bmc: z.object({ url: z.string(), user: z.string(), password: z.string(), certificate: z.string() }).optional(),
  /** Value of PULUMI_DEBUG_PROVIDERS: the plugins that stand-ins take the place of. */
  providers: z.string().optional(),
  /** Of a twin of a record: in what it is not like the node. */
  unlike: z.array(z.string()).default([]),
  /** Socket of an SSH agent with the key in it. */
  agent: z.string().optional(),
  /** url → SHA-256 of what the twin's internet serves. */
  downloads: z.record(z.string(), z.string()),
});
export type TwinFacts = z.infer<typeof FactsSchema>;

/** What the twin's journal counted since it was last cleared. */
const CountsSchema = z.looseObject({
  hostExecs: z.number(),
  guestExecs: z.number(),
  reboots: z.number(),
  mutations: z.number(),
  gpuResets: z.number(),
  guestStarts: z.number(),
  /** Questions that the twin could not answer truthfully; empty when all is well. */
  unmodelled: z.array(z.string()),
});
export type TwinCounts = z.infer<typeof CountsSchema>;

export interface DemoTwin {
  readonly facts: TwinFacts;
  /** Stack config of a stack with this one node. */
  readonly config: Readonly<Record<string, unknown>>;
  /** Environment with the twin's secrets. */
  readonly env: Readonly<Record<string, string>>;
  counts(): Promise<TwinCounts>;
  /** Counts from here on. */
  clear(): Promise<void>;
  /** Injects a named drift of sim/drift.ts. */
  drift(name: string): Promise<void>;
  /** What happens to an instance of a cloud behind Pulumi's back. */
  readonly loss?: Loss;
  /** Ends its process; resolves when it is gone. */
  close(): Promise<void>;
}

export interface Loss {
  /** E.g. `instance released`. */
  readonly what: string;
  lose(): Promise<void>;
  /** What a person does before `up` can mend the rest; nothing where `up` makes another instance. */
  readonly help?: () => Promise<void>;
}

export interface DemoTwinOptions {
  /** Name of the node, default `gpu-01`. */
  readonly name?: string;
  /** Default `snp`. */
  readonly platform?: DemoPlatform;
  /** Profile of the stack; decides what is pinned. Default: the platform's own. */
  readonly profile?: string;
  /** Default `reboot`; `power-cycle` where destroy releases an instance. */
  readonly permit?: string;
  /** Whose BIOS and BMC, default `supermicro`. */
  readonly vendor?: string;
  /** File of `teeup record`: the twin is like that node, as far as twins can be. */
  readonly record?: string;
  /** A machine without a BMC. */
  readonly noBmc?: boolean;
}

/** Starts a twin in its own process; `dir` gets its key file. */
export async function startDemoTwin(dir: string, options: DemoTwinOptions = {}): Promise<DemoTwin> {
  const { name = "gpu-01", platform = "snp", vendor = "supermicro" } = options;
  const stack: { platform: Platform; gpuMode?: string; profile?: string } = DEMO_PLATFORMS[platform];
  const profile = options.profile ?? stack.profile ?? { ...PLATFORMS, ...CLOUD_PLATFORMS }[stack.platform].profile;
  const made = stack.platform === "alibaba-gn8v-tee";
  const permit = options.permit ?? (made ? "power-cycle" : "reboot");
  await mkdir(dir, { recursive: true });
  const key = join(dir, "id_ed25519");
  const [program, more] = made
    ? ["stand-in/main.ts", []]
    : ["main.ts", ["--until-eof", "--platform", platform, "--vendor", vendor]];
  const like = [
    ...(options.record === undefined ? [] : ["--record", options.record]),
    ...(options.noBmc === true ? ["--no-bmc"] : []),
  ];
  const file = fileURLToPath(new URL(`../../sim/${program}`, import.meta.url));
  const child = spawn(process.execPath, [file, "--name", name, "--key", key, ...more, ...like], {
    // A person's Ctrl+C goes to the whole group: the twin has to outlive what still talks to it.
    detached: true,
    stdio: ["pipe", "pipe", "inherit"],
  });
  const lines = new Lines(child);
  const tell = async (question: object) => void (await lines.ask(question));
  try {
    const facts = FactsSchema.parse(await lines.next());
    const { host, port, user, hostKey, keyFile, publicKey } = facts.ssh;
    const { bmc } = facts;
    // How an instance is known, and where it is, the stack that makes it says.
    const ssh = made ? { port, user, keyFile } : { host, port, user, hostKey, keyFile };
    return {
      facts,
      config: {
        "teeup:platform": stack.platform,
        ...(stack.gpuMode === undefined ? {} : { "teeup:gpuMode": stack.gpuMode }),
        "teeup:permit": permit,
        "teeup:profile": profile,
        "teeup:pins": pinsOf(stack.platform, profile, facts.downloads),
        ...(made ? { "teeup:instance": { sshFrom: ["203.0.113.7/32"], sampleWorkload: true } } : {}),
        "teeup:nodes": [
          {
            name,
            ssh,
            ...(bmc === undefined ? {} : { bmc: { url: bmc.url, user: bmc.user, certificate: bmc.certificate } }),
            ...(isCloudPlatform(stack.platform) && !made ? {} : { guest: { publicKey } }),
          },
        ],
      },
      env: {
        TEEUP_SSH_CONFIG: "/dev/null",
        ...(bmc === undefined ? {} : { TEEUP_BMC_PASSWORD: bmc.password }),
        ...(facts.providers === undefined ? {} : { PULUMI_DEBUG_PROVIDERS: facts.providers }),
        ...(facts.agent === undefined ? {} : { SSH_AUTH_SOCK: facts.agent }),
      },
      counts: async () => CountsSchema.parse(await lines.ask({ do: "journal" })),
      clear: () => tell({ do: "clear" }),
      drift: (drift) => tell({ do: "drift", name: drift }),
      ...(isCloudPlatform(stack.platform)
        ? {
            loss: made
              ? { what: "instance released", lose: () => tell({ do: "release" }) }
              : {
                  what: "instance stopped",
                  lose: () => tell({ do: "power", on: false }),
                  help: () => tell({ do: "power", on: true }),
                },
          }
        : {}),
      close: () => lines.close(),
    };
  } catch (error) {
    await lines.close();
    throw error;
  }
}

type Platform = (typeof DEMO_PLATFORMS)[DemoPlatform]["platform"];

/** What the profile leaves to the stack: sums of what the twin's internet serves, and any commit, since it has all. */
function pinsOf(platform: Platform, name: string, downloads: TwinFacts["downloads"]): Record<string, string> {
  const profile = isCloudPlatform(platform) ? askedOf(cloudProfileFor(platform, name), {}) : profileByName(name);
  return Object.fromEntries(
    unknowns(profile).map((path) => {
      if (path.endsWith("commit")) return [path, "0".repeat(40)];
      const { url } = valueAt(profile, path.replace(/\.\w+$/, "")) as { url: string };
      const sum = path.endsWith(".sha256") ? downloads[url] : undefined;
      if (sum === undefined) throw new Error(`the twin does not say what ${path} of ${name} is`);
      return [path, sum];
    }),
  );
}

/** What stands at a path of a profile; `value` beside `source` is passed through, as in the names of pins. */
function valueAt(profile: unknown, path: string): unknown {
  const inner = (at: unknown) =>
    at !== null && typeof at === "object" && "source" in at && "value" in at ? at.value : at;
  return path.split(".").reduce<unknown>((at, key) => inner((at as Record<string, unknown>)[key]), profile);
}

const AnswerSchema = z.union([
  z.looseObject({ ok: z.literal(true) }),
  z.object({ ok: z.literal(false), error: z.string() }),
]);

/** One line of JSON for each question, answered in order, over the stdin and stdout of the twin's process. */
class Lines {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  readonly #gone: Promise<void>;
  readonly #waiting: { resolve(answer: unknown): void; reject(error: Error): void }[] = [];

  constructor(child: ChildProcessByStdio<Writable, Readable, null>) {
    this.#child = child;
    createInterface({ input: child.stdout }).on("line", (line) => this.#waiting.shift()?.resolve(JSON.parse(line)));
    // Told by the end of the process, which says more.
    child.stdin.on("error", () => undefined);
    this.#gone = new Promise((resolve) => {
      child.on("close", (code) => {
        for (const { reject } of this.#waiting) reject(new Error(`the twin ended with status ${code}`));
        this.#waiting.length = 0;
        resolve();
      });
    });
  }

  next(): Promise<unknown> {
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  async ask(question: object): Promise<unknown> {
    const answer = this.next();
    this.#child.stdin.write(`${JSON.stringify(question)}\n`);
    const checked = AnswerSchema.parse(await answer);
    if (!checked.ok) throw new Error(`the twin: ${checked.error}`);
    return checked;
  }

  close(): Promise<void> {
    this.#child.stdin.end();
    return this.#gone;
  }
}
