import type { Action } from "../../providers/kit/action.ts";
import type { Answer, Answers, Ask, Asks } from "../../providers/kit/ask.ts";
import type { Fleet, Machine } from "../../providers/kit/machine.ts";
import { execute } from "../../sim/commands/exec.ts";
import { Journal } from "../../sim/journal.ts";
import { Bios } from "../../sim/model/bios.ts";
import { Clock } from "../../sim/model/clock.ts";
import { FsError } from "../../sim/model/files.ts";
import { Internet } from "../../sim/model/internet.ts";
import type { Cpu } from "../../sim/model/machine.ts";
import { TwinNode } from "../../sim/model/node.ts";
import { isRedHat } from "../../sim/model/red-hat.ts";
import { GENOA, hostFirmware, installSystem, systemFiles } from "../../sim/model/system.ts";

/** A simulated host without SSH and BMC between: facets and reconcile at full speed. */
export interface HostTwin {
  readonly node: TwinNode;
  readonly fleet: Fleet;
  /** Every action that was carried out, in a few words. */
  readonly done: string[];
}

export interface HostTwinOptions {
  readonly kernel?: string;
  readonly os?: "ubuntu-24.04" | "ubuntu-22.04";
  readonly cpu?: Cpu;
  /** Attribute values in force from the start, past all checks; default: all that SNP needs. */
  readonly bios?: Readonly<Record<string, string | number>>;
  /** Firmware of the secure processor as delivered. */
  readonly firmware?: { readonly major: number; readonly minor: number; readonly build: number };
}

export const GOOD_BIOS = {
  "SMEE#003E": "Enabled",
  "SEV-SNPSupport#01A7": "Enabled",
  "SNPMemory(RMPTable)Coverage#003C": "Enabled",
  "SEV-ESASIDSpaceLimitControl#003F": "Manual",
  "SEV-ESASIDSpaceLimit#700C": 100,
  "IOMMU#0196": "Enabled",
} as const;

export function hostTwin(options: HostTwinOptions = {}): HostTwin {
  const bios = new Bios("supermicro");
  let ids = 0;
  const node = new TwinNode({
    clock: new Clock(),
    bios,
    gpus: [],
    sevFirmware: options.firmware ?? { major: 1, minor: 55, build: 21 },
    journal: new Journal(),
    internet: new Internet(),
    exec: execute,
    host: {
      hostname: "gpu-01",
      base: systemFiles(options.os ?? "ubuntu-24.04"),
      cpu: options.cpu ?? GENOA,
      memoryBytes: 2 ** 40,
      pci: [],
    },
    uuid: () => `00000000-0000-4000-8000-${String(++ids).padStart(12, "0")}`,
  });
  const known = new Set(bios.attributes.map((a) => a.name));
  const wanted = options.bios ?? GOOD_BIOS;
  bios.force(Object.fromEntries(Object.entries(wanted).filter(([name]) => known.has(name))));
  installSystem(node.host, options.kernel ?? "6.8.0-90-generic", [
    "linux-generic",
    "linux-image-generic",
    "linux-headers-generic",
  ]);
  hostFirmware(node.host, undefined);
  node.bootNow();
  const done: string[] = [];
  const host: Machine = {
    id: "gpu-01",
    observe: async <A extends Asks>(asks: A) =>
      Object.fromEntries(Object.entries(asks).map(([name, ask]) => [name, answer(node, ask)])) as Answers<A>,
    forget: () => undefined,
    act: async (action) => {
      done.push(describe(action));
      act(node, action);
    },
    lock: async () => ({ lost: new AbortController().signal, release: async () => undefined }),
  };
  const guest: Machine = {
    ...host,
    id: "gpu-01/cvm0",
    observe: async <A extends Asks>(asks: A) =>
      Object.fromEntries(
        Object.keys(asks).map((name) => [name, { kind: "no-machine", why: "not made yet" }]),
      ) as Answers<A>,
  };
  return { node, done, fleet: { names: ["gpu-01"], node: () => ({ host, guest }), close: async () => undefined } };
}

function answer(node: TwinNode, ask: Ask): Answer {
  if (ask.kind === "bios") return { kind: "failed", why: "no BMC is configured" };
  if (ask.kind === "file") {
    const found = node.host.files.stat(ask.path);
    return found === undefined
      ? { kind: "missing" }
      : { kind: "ran", status: 0, stdout: node.host.files.read(ask.path), stderr: "" };
  }
  for (const gate of ask.gates ?? [])
    if (execute(node.host, gate.argv).status !== gate.exit) return { kind: "skipped", why: gate.why };
  const { status, stdout, stderr } = execute(node.host, ask.argv);
  if (status === 127) return { kind: "missing" };
  if (stdout.length > (ask.maxBytes ?? 65_536)) return { kind: "failed", why: "too long" };
  return { kind: "ran", status, stdout, stderr };
}

function act(node: TwinNode, action: Action): void {
  const { host } = node;
  const run = (argv: readonly string[], cwd = "/") => {
    const { status, stdout, stderr } = execute(host, argv, { cwd });
    if (status !== 0) throw new Error(`${argv.join(" ")}: exit ${status}: ${stderr || stdout}`);
  };
  switch (action.do) {
    case "write":
      host.files.write(action.path, action.content, { mode: action.mode ?? "0644" });
      return;
    case "remove":
      try {
        host.files.remove(action.path);
      } catch (error) {
        if (!(error instanceof FsError)) throw error;
      }
      return;
    case "run":
      run(action.argv);
      return;
    case "job": {
      for (const line of action.lines) run(line.argv, line.cwd);
      return;
    }
    case "reboot": {
      if (action.trial !== undefined) run([isRedHat(node.host) ? "grub2-reboot" : "grub-reboot", action.trial.entry]);
      node.reset("GracefulRestart", "os");
      node.settle();
      if (host.running === undefined) {
        node.reset("PowerCycle", "bmc");
        node.settle();
      }
      const release = host.running?.kernel.release;
      if (action.trial !== undefined && release !== action.trial.kernel)
        throw new Error(`trial kernel ${action.trial.kernel} did not come back; ${release} runs again`);
      return;
    }
    default:
      throw new Error(`no host facet does ${action.do}`);
  }
}

function describe(action: Action): string {
  switch (action.do) {
    case "write":
    case "remove":
      return `${action.do} ${action.path}`;
    case "run":
      return action.argv.join(" ");
    case "job":
      return `job ${action.name}`;
    default:
      return action.do;
  }
}
