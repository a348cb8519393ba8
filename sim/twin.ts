import { createHash, randomBytes } from "node:crypto";
import type { SimBmc, SimBmcOptions } from "./bmc.ts";
import { startBmc } from "./bmc.ts";
import { execute } from "./commands/exec.ts";
import { applyDrift } from "./drift.ts";
import type { Faults } from "./faults.ts";
import { Journal } from "./journal.ts";
import { installAgent } from "./model/agents.ts";
import type { BiosVendor, Tee } from "./model/bios.ts";
import { Bios } from "./model/bios.ts";
import { Clock } from "./model/clock.ts";
import { Gpu, NvSwitch } from "./model/gpu.ts";
import { Internet } from "./model/internet.ts";
import { fingerprint, freshKeyPair, makeHostKeys } from "./model/keys.ts";
import type { Cpu, Machine } from "./model/machine.ts";
import { TwinNode } from "./model/node.ts";
import type { PciFunction } from "./model/pci.ts";
import { NVSWITCH_DRIVER } from "./model/pci.ts";
import { installAlinux } from "./model/red-hat.ts";
import type { SevFirmware } from "./model/stand-ins.ts";
import type { OsName } from "./model/system.ts";
import { EMERALD, GENOA, guestCpu, hostFirmware, installSystem, OS, systemFiles } from "./model/system.ts";
import type { TdxModule } from "./model/tdx.ts";
import { applyScenario, scenarioOptions } from "./scenarios.ts";
import type { SshDoor } from "./ssh-server.ts";
import { authorized, openSshDoor } from "./ssh-server.ts";

export interface TwinOptions {
  /** What the processor has: an EPYC with SEV-SNP, or a Xeon with TDX. Default `sev-snp`. */
  readonly tee?: Tee;
  /**
   * An instance of that cloud instead of a machine of one's own: a TDX guest behind its own sshd, with its GPUs (eight and
   * more in Protected PCIe mode with their NVSwitches) given to it, and no BMC.
   */
  readonly cloud?: keyof typeof CLOUDS;
  /** Host name. Default `twin`. */
  readonly name?: string;
  /** BIOS and BMC vendor. Default `supermicro`. */
  readonly vendor?: BiosVendor;
  /** Named preset of scenarios.ts that changes the untouched machine. */
  readonly scenario?: string;
  /** Default `ubuntu-24.04`; with TDX `ubuntu-26.04`, the first whose own kernel and QEMU have it. */
  readonly os?: OsName;
  readonly cpu?: Cpu;
  /** Kernel of the fresh installation. */
  readonly kernel?: string;
  /** SEV firmware in the processor's flash. Default 1.49.3. */
  readonly sevFirmware?: SevFirmware;
  /** Newest SEV firmware file that linux-firmware brought; `null`: none. Default 1.55.21. */
  readonly sevFirmwareFile?: SevFirmware | null;
  /** TDX module that the BIOS image carries. Default 1.5.24. */
  readonly tdxModule?: TdxModule;
  /** Number of GPUs, each in an IOMMU group of its own. Default 1. More than 4, or switches: an HGX board. */
  readonly gpus?: number;
  /** Number of NVSwitches, each in an IOMMU group of its own. Default 0. */
  readonly switches?: number;
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
  /** Changes the fresh machine before its first boot. */
  readonly prepare?: (node: TwinNode) => void;
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

/** What an instance of a cloud runs before anybody touched it, and what a reboot from inside does. */
const CLOUDS = {
  baidu: { os: "ubuntu-22.04", kernel: "6.8.0-90-generic", install: installBcc, restart: "console" },
  // Its files begin as Ubuntu's; then it becomes what its image is (model/red-hat.ts).
  alibaba: { os: "ubuntu-22.04", kernel: "5.10.134-18.al8.x86_64", install: installAlinux, restart: "inside" },
} as const satisfies Readonly<
  Record<
    string,
    {
      os: OsName;
      kernel: string;
      install: (machine: Machine, kernel: string) => void;
      restart: "inside" | "console";
    }
  >
>;

const METAS = ["linux-image-generic", "linux-headers-generic", "linux-generic"];

/** Ubuntu as Baidu's images have it, with the agents of the cloud (seed 003). */
function installBcc(machine: Machine, kernel: string): void {
  installSystem(machine, kernel, METAS);
  for (const name of ["bcm-agent", "has-agent"])
    installAgent(machine, `${name}.service`, `/opt/${name}/bin/${name}`, ["nvidia-persistenced.service"]);
}

/** The model alone: an untouched node that runs, without any server. */
export function makeNode(wanted: TwinOptions = {}): TwinNode {
  const options = withScenario(wanted);
  const clock = new Clock();
  const cloud = options.cloud === undefined ? undefined : CLOUDS[options.cloud];
  const tee = options.tee ?? (cloud === undefined ? "sev-snp" : "tdx");
  const bios = new Bios(options.vendor ?? "supermicro", tee);
  const count = options.gpus ?? 1;
  const hgx = count > 4 || (options.switches ?? 0) > 0;
  const gpus = Array.from({ length: count }, (_, index) =>
    hgx
      ? new Gpu({ bdf: `0000:${HGX_BUSES[index]}:00.0`, index, form: "sxm" })
      : new Gpu({ bdf: `0000:${(0x81 + index * 0x10).toString(16)}:00.0`, index }),
  );
  const switches = Array.from(
    { length: options.switches ?? 0 },
    (_, index) => new NvSwitch({ bdf: `0000:${(7 + index).toString(16).padStart(2, "0")}:00.0`, index }),
  );
  const os = options.os ?? cloud?.os ?? (tee === "tdx" ? "ubuntu-26.04" : "ubuntu-24.04");
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
    switches,
    ...(options.tdxModule === undefined ? {} : { tdxModule: options.tdxModule }),
    sevFirmware: options.sevFirmware ?? { major: 1, minor: 49, build: 3 },
    journal: new Journal(),
    internet: new Internet(),
    exec: execute,
    uuid,
    instance: cloud === undefined ? undefined : { tee, restart: cloud.restart },
    host: {
      hostname: name,
      base: systemFiles(os),
      cpu: options.cpu ?? (cloud !== undefined ? guestCpu(tee) : tee === "tdx" ? EMERALD : GENOA),
      memoryBytes: (options.memoryGiB ?? (hgx ? 2048 : 512)) * 2 ** 30,
      pci: hostPci(tee, gpus, switches),
    },
    ...(options.bootKnocks === undefined ? {} : { bootKnocks: options.bootKnocks }),
    ...(options.guestPolls === undefined ? {} : { guestPolls: options.guestPolls }),
    ...(options.jobPolls === undefined ? {} : { jobPolls: options.jobPolls }),
  });
  const file =
    options.sevFirmwareFile === undefined ? { major: 1, minor: 55, build: 21 } : (options.sevFirmwareFile ?? undefined);
  if (cloud === undefined) hostFirmware(node.host, file);
  else for (const device of [...gpus, ...switches]) given(device, hgx);
  if (cloud === undefined) installSystem(node.host, options.kernel ?? OS[os].kernel, METAS);
  else cloud.install(node.host, options.kernel ?? cloud.kernel);
  if (options.scenario !== undefined) applyScenario(node, options.scenario, "off");
  options.prepare?.(node);
  node.bootNow();
  if (!node.up) throw new Error("the fresh installation does not boot: is its kernel in repository.ts?");
  if (options.scenario !== undefined) applyScenario(node, options.scenario, "on");
  node.journal.clear();
  return node;
}

/** The cloud gives devices to an instance in their confidential mode. */
function given(device: Gpu | NvSwitch, all: boolean): void {
  if (all) device.ppcie = "on";
  else if (device instanceof Gpu) device.mode = "on";
}

/** A scenario may ask for another machine; what the caller says wins. */
function withScenario(given: TwinOptions): TwinOptions {
  return given.scenario === undefined ? given : { ...scenarioOptions(given.scenario), ...given };
}

/** Buses of the GPUs of an HGX H100 board; its NVSwitches follow one another from bus 7. */
const HGX_BUSES = ["1b", "43", "52", "61", "9d", "c3", "d1", "df"];

function hostPci(tee: Tee, gpus: readonly Gpu[], switches: readonly NvSwitch[]): PciFunction[] {
  const part = (
    bdf: string,
    device: string,
    cls: string,
    className: string,
    deviceName: string,
    group: number,
    more: Partial<PciFunction> = {},
  ): PciFunction => ({
    bdf,
    vendor: tee === "tdx" ? "8086" : "1022",
    device,
    subsystem: "15d91c05",
    class: cls,
    className,
    vendorName: tee === "tdx" ? "Intel Corporation" : "Advanced Micro Devices, Inc. [AMD]",
    deviceName,
    rev: "00",
    group,
    drivers: [],
    modules: [],
    ...more,
  });
  const own =
    tee === "tdx"
      ? [
          part("0000:00:00.0", "09a2", "088000", "System peripheral", "Ice Lake Memory Map/VT-d", 0, { bridge: true }),
          part("0000:15:01.0", "352a", "060400", "PCI bridge", "PCI Express Root Port", 19, {
            bridge: true,
            drivers: ["pcieport"],
          }),
        ]
      : [
          part("0000:00:00.0", "14a4", "060000", "Host bridge", "Genoa/Bergamo Root Complex", 0, { bridge: true }),
          part("0000:45:00.5", "14ca", "108000", "Encryption controller", "Genoa CCP/PSP 4.0 Device", 7, {
            drivers: ["ccp"],
            modules: ["ccp"],
          }),
          part("0000:80:00.0", "14a4", "060000", "Host bridge", "Genoa/Bergamo Root Complex", 18, { bridge: true }),
          part("0000:80:01.1", "14ab", "060400", "PCI bridge", "Genoa/Bergamo PCIe GPP Bridge", 19, {
            bridge: true,
            drivers: ["pcieport"],
          }),
        ];
  const nvidia = (bdf: string, device: string, group: number) => ({
    bdf,
    vendor: "10de",
    device,
    subsystem: "10de1626",
    vendorName: "NVIDIA Corporation",
    rev: "a1",
    group,
  });
  return [
    ...own,
    {
      ...part("0000:c1:00.0", "2813", "020000", "Ethernet controller", "MT28841", 40, {
        drivers: ["mlx5_core"],
        modules: ["mlx5_core"],
      }),
      vendor: "15b3",
      vendorName: "Mellanox Technologies",
    },
    {
      ...part("0000:c2:00.0", "a80a", "010802", "Non-Volatile memory controller", "NVMe SSD Controller PM9A3", 41, {
        drivers: ["nvme"],
        modules: ["nvme"],
      }),
      vendor: "144d",
      vendorName: "Samsung Electronics Co Ltd",
    },
    ...gpus.map(
      (gpu, i): PciFunction => ({
        ...nvidia(gpu.bdf, gpu.device, 21 + i),
        class: "030200",
        className: "3D controller",
        deviceName: gpu.toolName === "H100-SXM" ? "GH100 [H100 SXM5 80GB]" : "GH100 [H100 PCIe]",
        drivers: ["nvidia", "nouveau"],
        modules: ["nvidiafb", "nouveau", "nvidia"],
        numaNode: 1,
      }),
    ),
    ...switches.map(
      ({ bdf, device }, i): PciFunction => ({
        ...nvidia(bdf, device, 60 + i),
        class: "068000",
        className: "Bridge",
        deviceName: "GH100 [H100 NVSwitch]",
        drivers: [NVSWITCH_DRIVER],
        modules: ["nvidia"],
        numaNode: 0,
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
    options.bmc === false || options.cloud !== undefined
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
