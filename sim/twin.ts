import { createHash, randomBytes } from "node:crypto";
import type { SimBmc, SimBmcOptions } from "./bmc.ts";
import { startBmc } from "./bmc.ts";
import { execute } from "./commands/exec.ts";
import { applyDrift } from "./drift.ts";
import type { Faults } from "./faults.ts";
import { Journal } from "./journal.ts";
import type { BiosVendor } from "./model/bios.ts";
import { Bios } from "./model/bios.ts";
import { Clock } from "./model/clock.ts";
import { Gpu } from "./model/gpu.ts";
import { Internet } from "./model/internet.ts";
import { fingerprint, freshKeyPair, makeHostKeys } from "./model/keys.ts";
import type { Cpu, Machine } from "./model/machine.ts";
import { TwinNode } from "./model/node.ts";
import type { PciFunction } from "./model/pci.ts";
import type { SevFirmware } from "./model/stand-ins.ts";
import type { OsName } from "./model/system.ts";
import { GENOA, hostFirmware, installSystem, systemFiles } from "./model/system.ts";
import { applyScenario, scenarioNamed } from "./scenarios.ts";
import type { SshDoor } from "./ssh-server.ts";
import { authorized, openSshDoor } from "./ssh-server.ts";

export interface TwinOptions {
  /** Host name. Default `twin`. */
  readonly name?: string;
  /** BIOS and BMC vendor. Default `supermicro`. */
  readonly vendor?: BiosVendor;
  /** Named preset of scenarios.ts that changes the untouched machine. */
  readonly scenario?: string;
  /** Default `ubuntu-24.04`. */
  readonly os?: OsName;
  readonly cpu?: Cpu;
  /** Kernel of the fresh installation. */
  readonly kernel?: string;
  /** SEV firmware in the processor's flash. Default 1.49.3. */
  readonly sevFirmware?: SevFirmware;
  /** Newest SEV firmware file that linux-firmware brought; `null`: none. Default 1.55.21. */
  readonly sevFirmwareFile?: SevFirmware | null;
  /** Number of GPUs, each in an IOMMU group of its own. Default 1. */
  readonly gpus?: number;
  readonly memoryGiB?: number;
  /** OpenSSH public key lines that may log in as root and ops; a fresh key is made when none is given. */
  readonly authorizedKeys?: readonly string[];
  /** 0 takes a free port. */
  readonly sshPort?: number;
  /** A BMC on HTTPS beside the SSH server. Default true. */
  readonly bmc?: boolean;
  readonly bmcOptions?: Partial<
    Pick<SimBmcOptions, "user" | "password" | "port" | "auth" | "noApplyTimes" | "certificateDays">
  >;
  /** Looks at a door that stays shut after a reset. Default 2. */
  readonly bootKnocks?: number;
  readonly guestPolls?: number;
  readonly jobPolls?: number;
}

export interface TwinSsh {
  readonly host: "127.0.0.1";
  readonly port: number;
  readonly user: "ops";
  /** `SHA256:…` of the host key now. */
  readonly hostKey: string;
  /** Line for known_hosts. */
  readonly knownHosts: string;
  /** Private key that may log in, when the twin made one. */
  readonly privateKey: string | undefined;
  readonly publicKey: string | undefined;
}

/** A running twin. */
export interface Twin {
  readonly node: TwinNode;
  readonly host: Machine;
  readonly journal: Journal;
  readonly faults: Faults;
  readonly ssh: TwinSsh;
  readonly bmc: SimBmc | undefined;
  /** Injects a named drift; see drift.ts. */
  drift(name: string): void;
  /** The host shows another key from the next connection on. */
  replaceHostKey(): void;
  /** Breaks every connection now. */
  dropConnections(): void;
  stop(): Promise<void>;
}

/** The model alone: an untouched node that runs, without any server. */
export function makeNode(given: TwinOptions = {}): TwinNode {
  const options = withScenario(given);
  const clock = new Clock();
  const bios = new Bios(options.vendor ?? "supermicro");
  const count = options.gpus ?? 1;
  const gpus = Array.from(
    { length: count },
    (_, index) => new Gpu({ bdf: `0000:${(0x81 + index * 0x10).toString(16)}:00.0`, index }),
  );
  const os = options.os ?? "ubuntu-24.04";
  const name = options.name ?? "twin";
  const seed = randomBytes(8).toString("hex");
  let counter = 0;
  const uuid = () => {
    const hex = createHash("sha256").update(`${seed} ${counter++}`).digest("hex");
    return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-a${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
  };
  const node = new TwinNode({
    clock,
    bios,
    gpus,
    sevFirmware: options.sevFirmware ?? { major: 1, minor: 49, build: 3 },
    journal: new Journal(),
    internet: new Internet(),
    exec: execute,
    uuid,
    host: {
      hostname: name,
      base: systemFiles(os),
      cpu: options.cpu ?? GENOA,
      memoryBytes: (options.memoryGiB ?? 512) * 2 ** 30,
      pci: hostPci(gpus),
    },
    ...(options.bootKnocks === undefined ? {} : { bootKnocks: options.bootKnocks }),
    ...(options.guestPolls === undefined ? {} : { guestPolls: options.guestPolls }),
    ...(options.jobPolls === undefined ? {} : { jobPolls: options.jobPolls }),
  });
  const file =
    options.sevFirmwareFile === undefined ? { major: 1, minor: 55, build: 21 } : (options.sevFirmwareFile ?? undefined);
  hostFirmware(node.host, file);
  const jammy = os === "ubuntu-22.04";
  installSystem(node.host, options.kernel ?? (jammy ? "5.15.0-60-generic" : "6.8.0-45-generic"), [
    "linux-image-generic",
    "linux-headers-generic",
    "linux-generic",
  ]);
  if (options.scenario !== undefined) applyScenario(node, options.scenario, "off");
  node.bootNow();
  if (!node.up) throw new Error("the fresh installation does not boot: is its kernel in repository.ts?");
  if (options.scenario !== undefined) applyScenario(node, options.scenario, "on");
  node.journal.clear();
  return node;
}

/** A scenario may ask for another machine; what the caller says wins. */
function withScenario(given: TwinOptions): TwinOptions {
  return given.scenario === undefined ? given : { ...scenarioNamed(given.scenario).options, ...given };
}

function hostPci(gpus: readonly Gpu[]): PciFunction[] {
  const amd = (
    bdf: string,
    device: string,
    cls: string,
    className: string,
    deviceName: string,
    group: number,
    more: Partial<PciFunction> = {},
  ): PciFunction => ({
    bdf,
    vendor: "1022",
    device,
    subsystem: "15d91c05",
    class: cls,
    className,
    vendorName: "Advanced Micro Devices, Inc. [AMD]",
    deviceName,
    rev: "00",
    group,
    drivers: [],
    modules: [],
    ...more,
  });
  return [
    amd("0000:00:00.0", "14a4", "060000", "Host bridge", "Genoa/Bergamo Root Complex", 0, { bridge: true }),
    amd("0000:45:00.5", "14ca", "108000", "Encryption controller", "Genoa CCP/PSP 4.0 Device", 7, {
      drivers: ["ccp"],
      modules: ["ccp"],
    }),
    amd("0000:80:00.0", "14a4", "060000", "Host bridge", "Genoa/Bergamo Root Complex", 18, { bridge: true }),
    amd("0000:80:01.1", "14ab", "060400", "PCI bridge", "Genoa/Bergamo PCIe GPP Bridge", 19, {
      bridge: true,
      drivers: ["pcieport"],
    }),
    {
      ...amd("0000:c1:00.0", "2813", "020000", "Ethernet controller", "MT28841", 40, {
        drivers: ["mlx5_core"],
        modules: ["mlx5_core"],
      }),
      vendor: "15b3",
      vendorName: "Mellanox Technologies",
    },
    {
      ...amd("0000:c2:00.0", "a80a", "010802", "Non-Volatile memory controller", "NVMe SSD Controller PM9A3", 41, {
        drivers: ["nvme"],
        modules: ["nvme"],
      }),
      vendor: "144d",
      vendorName: "Samsung Electronics Co Ltd",
    },
    ...gpus.map(
      (gpu, i): PciFunction => ({
        bdf: gpu.bdf,
        vendor: "10de",
        device: gpu.device,
        subsystem: "10de1626",
        class: "030200",
        className: "3D controller",
        vendorName: "NVIDIA Corporation",
        deviceName: "GH100 [H100 PCIe]",
        rev: "a1",
        group: 21 + i,
        drivers: ["nvidia", "nouveau"],
        modules: ["nvidiafb", "nouveau", "nvidia"],
        numaNode: 1,
      }),
    ),
  ].sort((a, b) => (a.bdf < b.bdf ? -1 : 1));
}

/** Starts a twin: an untouched node behind SSH and a BMC on loopback. Stop it with `stop()`. */
export async function startTwin(given: TwinOptions = {}): Promise<Twin> {
  const options = withScenario(given);
  const node = makeNode(options);
  const { host } = node;
  const made = options.authorizedKeys === undefined ? freshKeyPair("twin") : undefined;
  const keys = options.authorizedKeys ?? [made?.public.trim() ?? ""];
  for (const [path, content, mode] of makeHostKeys(host.hostname)) host.files.write(path, content, { mode });
  for (const home of ["/root", "/home/ops"])
    host.files.write(`${home}/.ssh/authorized_keys`, keys.map((k) => `${k}\n`).join(""), { mode: "0600" });
  const door: SshDoor = await openSshDoor(
    node,
    { machine: host, keysOf: (user) => authorized(host, user) },
    options.sshPort ?? 0,
  );
  const bmc =
    options.bmc === false
      ? undefined
      : await startBmc({
          bios: node.bios,
          power: () => node.power,
          journal: node.journal,
          faults: node.faults,
          ...options.bmcOptions,
        });
  return {
    node,
    host,
    journal: node.journal,
    faults: node.faults,
    bmc,
    get ssh(): TwinSsh {
      const line = (host.files.readIf("/etc/ssh/ssh_host_ed25519_key.pub") ?? "").trim();
      return {
        host: "127.0.0.1",
        port: door.port,
        user: "ops",
        hostKey: fingerprint(line),
        knownHosts: `[127.0.0.1]:${door.port} ${line.split(" ").slice(0, 2).join(" ")}`,
        privateKey: made?.private,
        publicKey: made?.public.trim(),
      };
    },
    drift: (name) => applyDrift(node, name),
    replaceHostKey: () => void door.replaceHostKey(),
    dropConnections: () => door.dropAll(),
    stop: async () => {
      await door.close();
      await bmc?.close();
    },
  };
}
