import { fabricState } from "../model/fabric.ts";
import type { Gpu } from "../model/gpu.ts";
import type { Machine } from "../model/machine.ts";
import { closeGpus, openGpu } from "../model/nvidia.ts";
import type { Command, Result } from "./command.ts";
import { fail, lines, ok, unmodelled } from "./command.ts";

const NO_DRIVER =
  "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that the latest NVIDIA driver is installed and running.\n\n";
const USAGE = `
    conf-compute -- Display Confidential Compute information.

    Usage: nvidia-smi conf-compute [options]
`;

const CPU_CAPS = { "sev-snp": "AMD SEV-SNP", tdx: "INTEL TDX", none: "None" } as const;
const cpuCaps = (machine: Machine): string => CPU_CAPS[machine.node.guestTee ?? "none"];

const bus = (bdf: string): string => `0000${bdf}`.toUpperCase();

interface Seen {
  readonly bdf: string;
  readonly gpu: Gpu;
  readonly state: { ready: boolean };
}

/** Every call opens the GPUs and lets them go at its end: without nvidia-persistenced that destroys the session. */
export const nvidiaSmi: Command = {
  names: ["nvidia-smi"],
  base: false,
  mutates: (argv) =>
    argv.some(
      (w) =>
        ["-srs", "--set-gpus-ready-state", "-pm", "--persistence-mode", "-sm", "-r", "--gpu-reset"].includes(w) ||
        w.startsWith("-pm="),
    ),
  run: (machine, argv) => {
    if (!machine.now.modules.has("nvidia")) return fail(9, "", NO_DRIVER);
    const seen: Seen[] = [];
    for (const [bdf, state] of machine.now.gpus) {
      const gpu = machine.node.gpuAt(machine, bdf);
      if (gpu !== undefined && openGpu(machine, bdf) === undefined) seen.push({ bdf, gpu, state });
    }
    if (machine.node.guest?.machine === machine && seen.length > 0) machine.node.guest.gpuUsed = true;
    const result = argv[1] === "conf-compute" ? confCompute(machine, argv, seen) : query(machine, argv, seen);
    closeGpus(machine);
    return { ...result, seconds: 1 };
  },
};

function confCompute(machine: Machine, argv: readonly string[], seen: readonly Seen[]): Result {
  const first = seen[0];
  if (first === undefined) return ok("No devices were found\n");
  const on = seen.every(({ gpu }) => gpu.mode !== "off") && machine.node.guestTee !== undefined;
  // Under Protected PCIe the CC feature is off, and yet the GPUs wait for their ready state.
  const secure = seen.every(({ gpu }) => gpu.protected) && machine.node.guestTee !== undefined;
  const ready = secure && seen.every(({ state }) => state.ready);
  const multi = seen.every(({ gpu }) => gpu.ppcie === "on") ? "Protected PCIe" : "None";
  const option = argv[2] ?? "-h";
  switch (option) {
    case "-h":
    case "--help":
      return ok(USAGE);
    case "-f":
    case "--get-cc-feature":
      return ok(`CC status: ${on ? "ON" : "OFF"}\n`);
    case "-d":
    case "--get-devtools-mode":
      return ok(`DevTools Mode: ${seen.some(({ gpu }) => gpu.mode === "devtools") ? "ON" : "OFF"}\n`);
    case "-e":
    case "--get-environment":
      return ok(`CC Environment: ${secure ? "PRODUCTION" : "UNAVAILABLE"}\n`);
    case "-gc":
    case "--get-cpu-caps":
      return ok(`CPU CC capabilities: ${cpuCaps(machine)}\n`);
    case "-gg":
    case "--get-gpus-caps":
      return ok("GPU CC capabilities: CC Capable\n");
    case "-mgm":
    case "--get-multigpu-mode":
      return ok(`Multi-GPU Mode: ${multi}\n`);
    case "-gm":
    case "--get-mem-size-info":
      return ok(
        seen
          .map(
            ({ gpu }, i) =>
              `GPU ${i}: ${gpu.product} (UUID: ${gpu.uuid})\nProtected memory size:   ${secure ? 83_364_864 : 0} KiB\nUnprotected memory size: ${secure ? 0 : 83_364_864} KiB\n`,
          )
          .join(""),
      );
    case "-grs":
    case "--get-gpus-ready-state":
      return ok(`Confidential Compute GPUs Ready state: ${ready ? "ready" : "not-ready"}\n`);
    case "-srs":
    case "--set-gpus-ready-state": {
      const value = argv[3];
      if (value !== "0" && value !== "1") return fail(2, "", `Option "-srs" needs a value of 0 or 1.\n`);
      if (!secure) return fail(3, "", "Failed to set Confidential Compute GPUs ready state: Not Supported\n");
      for (const { state, gpu } of seen) {
        state.ready = value === "1";
        gpu.ready = value === "1";
      }
      return ok(`Set Confidential Compute GPUs Ready state to ${value === "1" ? "ready" : "not-ready"}.\n`);
    }
    case "-q":
    case "--query-conf-compute":
      return ok(
        lines([
          "",
          "==============NVSMI CONF-COMPUTE LOG==============",
          "",
          `    CC State                   : ${on ? "ON" : "OFF"}`,
          `    Multi-GPU Mode             : ${multi}`,
          `    CPU CC Capabilities        : ${cpuCaps(machine)}`,
          "    GPU CC Capabilities        : CC Capable",
          `    CC GPUs Ready State        : ${ready ? "Ready" : "Not Ready"}`,
          "",
        ]),
      );
    default:
      return { status: 2, stdout: `Option "${option}" is not recognized.\n`, stderr: "" };
  }
}

const FIELDS: Readonly<Record<string, (seen: Seen, machine: Machine, index: number) => string>> = {
  index: (_s, _m, i) => String(i),
  name: ({ gpu }) => gpu.product,
  "pci.bus_id": ({ bdf }) => bus(bdf),
  "pci.device_id": ({ gpu }) => `0x${gpu.device.toUpperCase()}10DE`,
  "pci.sub_device_id": () => "0x162610DE",
  vbios_version: ({ gpu }) => gpu.vbios,
  driver_version: (_s, machine) => machine.node.driverOf(machine)?.version ?? "",
  persistence_mode: (_s, machine) => (machine.node.persistencedRuns(machine) ? "Enabled" : "Disabled"),
  uuid: ({ gpu }) => gpu.uuid,
  serial: ({ gpu }) => gpu.serial,
  "memory.total": () => "81559 MiB",
};

function query(machine: Machine, argv: readonly string[], seen: readonly Seen[]): Result {
  if (seen.length === 0) return fail(6, "", "No devices were found\n");
  const version = machine.node.driverOf(machine)?.version ?? "";
  const fields = argv
    .find((w) => w.startsWith("--query-gpu="))
    ?.slice("--query-gpu=".length)
    .split(",");
  if (fields !== undefined) {
    const format = argv.find((w) => w.startsWith("--format="))?.slice("--format=".length) ?? "";
    const bad = fields.find((name) => FIELDS[name] === undefined);
    if (bad !== undefined) return { status: 2, stdout: `Field "${bad}" is not a valid field to query.\n`, stderr: "" };
    const rows = seen.map((s, i) => fields.map((name) => FIELDS[name]?.(s, machine, i) ?? "").join(", "));
    return ok(lines(format.includes("noheader") ? rows : [fields.join(", "), ...rows]));
  }
  if (argv.includes("-L") || argv.includes("--list-gpus"))
    return ok(seen.map(({ gpu }, i) => `GPU ${i}: ${gpu.product} (UUID: ${gpu.uuid})\n`).join(""));
  if (argv.includes("-pm"))
    return ok(seen.map(({ bdf }) => `Enabled persistence mode for GPU ${bus(bdf)}.\n`).join(""));
  if (argv.includes("-q") || argv.includes("--query")) {
    return ok(
      lines([
        "",
        "==============NVSMI LOG==============",
        "",
        "Timestamp                                              : Mon Oct  5 08:00:00 2026",
        `Driver Version                                         : ${version}`,
        "CUDA Version                                           : 13.0",
        "",
        `Attached GPUs                                          : ${seen.length}`,
        ...seen.flatMap(({ bdf, gpu }) => [
          `GPU ${bus(bdf)}`,
          `    Product Name                                       : ${gpu.product}`,
          "    Product Brand                                      : NVIDIA",
          "    Product Architecture                               : Hopper",
          `    Persistence Mode                                   : ${machine.node.persistencedRuns(machine) ? "Enabled" : "Disabled"}`,
          `    Serial Number                                      : ${gpu.serial}`,
          `    GPU UUID                                           : ${gpu.uuid}`,
          "    Minor Number                                       : 0",
          `    VBIOS Version                                      : ${gpu.vbios}`,
          "    GPU Virtualization Mode",
          "        Virtualization Mode                            : Pass-Through",
          `    GSP Firmware Version                               : ${version}`,
          "    PCI",
          `        Device Id                                      : 0x${gpu.device.toUpperCase()}10DE`,
          `        Bus Id                                         : ${bus(bdf)}`,
          "    FB Memory Usage",
          "        Total                                          : 81559 MiB",
          "    Conf Compute Protected Memory Usage",
          `        Total                                          : ${gpu.protected ? 81411 : 0} MiB`,
          "    Fabric",
          `        State                                          : ${fabricState(machine).state}`,
          `        Status                                         : ${fabricState(machine).status}`,
          "    Processes                                          : None",
          "",
        ]),
      ]),
    );
  }
  if (argv.length === 1)
    return ok(
      lines([
        `| NVIDIA-SMI ${version}  Driver Version: ${version}  CUDA Version: 13.0 |`,
        ...seen.map(({ bdf, gpu }, i) => `|   ${i}  ${gpu.product}   ${bus(bdf)} Off |`),
      ]),
    );
  return unmodelled(argv);
}
