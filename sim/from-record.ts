import type { Answer } from "../providers/kit/ask.ts";
import { type BiosSnapshot, BiosSnapshotSchema } from "../providers/kit/bios.ts";
import { isGpu, isNvSwitch, parseLspci } from "../providers/kit/parse-lspci.ts";
import type { BiosVendor } from "./model/bios.ts";
import { GrubSyntaxError, updateGrub } from "./model/grub.ts";
import type { TwinNode } from "./model/node.ts";
import { repository } from "./model/repository.ts";
import { OS, type OsName } from "./model/system.ts";
import type { TwinOptions } from "./twin.ts";

/** What is taken of `teeup record`: the host's answers, by question. */
export interface HostRecord {
  readonly node: string;
  readonly host: Readonly<Record<string, Answer>>;
}

export interface Likeness {
  readonly options: Partial<TwinOptions>;
  /** Changes the fresh machine before its first boot; may add to {@link Likeness.unlike}. */
  readonly apply: (node: TwinNode) => void;
  /** In what the twin is not like the node, one line each. */
  readonly unlike: readonly string[];
}

const MANUFACTURERS: readonly (readonly [RegExp, BiosVendor])[] = [
  [/supermicro/i, "supermicro"],
  [/dell/i, "dell"],
  [/asrock/i, "asrockrack"],
  [/^hpe?\b|hewlett/i, "hpe"],
  [/lenovo/i, "lenovo"],
];

/**
 * A machine of the node's shape: its processor's vendor, GPUs and NVSwitches, Ubuntu, kernel, board, BIOS settings, kernel
 * command line and module options. All else is as on a fresh machine.
 */
export function likenessOf(record: HostRecord): Likeness {
  const unlike: string[] = [];
  const read = (key: readonly unknown[]): string | undefined => {
    const answer = Object.entries(record.host).find(([text]) => sameQuestion(text, key))?.[1];
    return answer?.kind === "ran" && answer.status === 0 ? answer.stdout : undefined;
  };
  const devices = parseLspci(read(["argv", ["lspci", "-Dvmmkn"]]) ?? "") ?? [];
  if (devices.length === 0) unlike.push("its PCI devices are not in the record: the twin has one GPU behind an EPYC");
  const tee = devices.some(({ vendor, class: kind }) => vendor === "8086" && kind.startsWith("06")) ? "tdx" : "sev-snp";
  const gpus = devices.filter(isGpu);
  const switches = devices.filter(isNvSwitch);
  if (gpus.length > 0) unlike.push("addresses of PCI devices are the twin's own");

  const os = osOf(read(["file", "/etc/os-release"]) ?? "");
  const osName = os ?? (tee === "tdx" ? "ubuntu-26.04" : "ubuntu-24.04");
  if (os === undefined) unlike.push(`the twin knows no such operating system: it has ${OS[osName].pretty}`);
  const running = read(["argv", ["uname", "-r"]])?.trim() ?? "unknown";
  const kernel = repository("host", OS[osName].codename).has(`linux-image-${running}`) ? running : undefined;
  if (kernel === undefined) unlike.push(`the twin has no kernel ${running}: it begins with ${OS[osName].kernel}`);

  const bios = biosOf(record.host["bios"]);
  const vendor = MANUFACTURERS.find(([pattern]) => pattern.test(bios?.manufacturer ?? ""))?.[1];
  if (bios === undefined)
    unlike.push("its BIOS settings are not in the record: the twin's are as they leave the factory");
  else if (vendor === undefined) unlike.push(`the twin knows no BIOS of ${bios.manufacturer}: it has Supermicro's`);

  const grub = filesOf(read(["argv", ["grep", "-rH", "", "/etc/default/grub", "/etc/default/grub.d"]]) ?? "");
  const options = read(["argv", ["grep", "-rHE", "^[[:space:]]*options[[:space:]]", "/etc/modprobe.d"]]);
  return {
    unlike,
    options: {
      name: record.node,
      tee,
      os: osName,
      ...(devices.length === 0 ? {} : { gpus: gpus.length, switches: switches.length }),
      ...(kernel === undefined ? {} : { kernel }),
      ...(vendor === undefined ? {} : { vendor }),
    },
    apply: (node) => {
      const known = new Set(node.bios.attributes.map(({ name }) => name));
      const given = Object.entries(bios?.current ?? {}).filter(([name]) => known.has(name));
      node.bios.force(Object.fromEntries(given.filter((one): one is [string, string | number] => isSetting(one[1]))));
      if (options !== undefined) writeOptions(node, filesOf(options));
      writeGrub(node, grub, unlike);
    },
  };
}

/** The record has the lines with options only: what else a file of the twin says, such as a blacklist, stays. */
function writeOptions({ host: { files } }: TwinNode, lines: ReadonlyMap<string, string>): void {
  const own = files.listIf("/etc/modprobe.d").map((name) => `/etc/modprobe.d/${name}`);
  for (const path of new Set([...own, ...lines.keys()])) {
    const rest = (files.readIf(path) ?? "").split(/(?<=\n)/).filter((line) => !/^\s*options\s/.test(line));
    files.write(path, rest.join("") + (lines.get(path) ?? ""));
  }
}

/** Defaults of GRUB that the twin cannot read leave its own in place. */
function writeGrub({ host }: TwinNode, files: ReadonlyMap<string, string>, unlike: string[]): void {
  const before = new Map([...files.keys()].map((path) => [path, host.files.readIf(path)]));
  for (const [path, text] of files) host.files.write(path, text);
  try {
    updateGrub(host);
  } catch (error) {
    if (!(error instanceof GrubSyntaxError)) throw error;
    unlike.push(`the twin does not understand /etc/default/grub (${error.message}): it begins without a command line`);
    for (const [path, text] of before)
      if (text === undefined) host.files.remove(path);
      else host.files.write(path, text);
    updateGrub(host);
  }
}

const isSetting = (value: unknown): value is string | number => typeof value === "string" || typeof value === "number";

/** Limits on time and size, which follow, are no part of what is asked. */
function sameQuestion(text: string, key: readonly unknown[]): boolean {
  if (!text.startsWith("[")) return false;
  const asked = JSON.parse(text) as unknown[];
  return JSON.stringify(asked.slice(0, key.length)) === JSON.stringify(key);
}

function osOf(text: string): OsName | undefined {
  const version = /^VERSION_ID="?([\d.]+)"?$/m.exec(text)?.[1];
  if (!/^ID=ubuntu$/m.test(text)) return undefined;
  return (Object.keys(OS) as OsName[]).find((name) => OS[name].version === version);
}

function biosOf(answer: Answer | undefined): BiosSnapshot | undefined {
  if (answer?.kind !== "ran" || answer.status !== 0) return undefined;
  try {
    return BiosSnapshotSchema.parse(JSON.parse(answer.stdout));
  } catch {
    return undefined;
  }
}

/** `grep -H` as files again; lines that grep did not choose are not among them. */
function filesOf(text: string): ReadonlyMap<string, string> {
  const files = new Map<string, string>();
  for (const line of text.split("\n")) {
    const [, path, rest = ""] = /^(\/[^:]+):(.*)$/.exec(line) ?? [];
    if (path !== undefined) files.set(path, `${files.get(path) ?? ""}${rest}\n`);
  }
  return files;
}
