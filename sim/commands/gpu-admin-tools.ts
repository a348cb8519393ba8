import type { CcMode, NvidiaDevice, Ppcie } from "../model/gpu.ts";
import { Gpu } from "../model/gpu.ts";
import type { Machine } from "../model/machine.ts";
import { isGpu, isNvSwitch } from "../model/pci.ts";
import type { Command, Result } from "./command.ts";
import { always, ok } from "./command.ts";

const VERSION = "v2025.10.20o";
const MODES = { cc: ["off", "on", "devtools"], ppcie: ["off", "on"] } as const;

/** `nvidia_gpu_tools.py` itself; python3 finds it by the file that a checkout puts there. */
export function runGpuTool(machine: Machine, argv: readonly string[]): Result {
  const value = (name: string): string | undefined => {
    const inline = argv.find((w) => w.startsWith(`${name}=`));
    if (inline !== undefined) return inline.slice(name.length + 1);
    const at = argv.indexOf(name);
    return at < 0 ? undefined : argv[at + 1];
  };
  const stdout = [
    `NVIDIA GPU Tools version ${VERSION}`,
    `Command line arguments: [${argv
      .slice(1)
      .map((w) => `'${w}'`)
      .join(", ")}]`,
  ];
  const stderr: string[] = [];
  const time = `${new Date(machine.clock.now * 1000).toISOString().slice(0, 19).replace("T", ",")}.000`;
  const log = (level: string, text: string) => stderr.push(`${time} ${level.padEnd(8)} ${text}`);
  const end = (status: number, seconds = 2): Result => ({
    status,
    stdout: `${stdout.join("\n")}\n`,
    stderr: stderr.length === 0 ? "" : `${stderr.join("\n")}\n`,
    seconds,
  });
  const devices = value("--devices");
  const there = machine.pci.filter((f) => isGpu(f) || isNvSwitch(f));
  const everything = there.flatMap((f) => machine.node.deviceAt(machine, f.bdf) ?? []);
  const named = value("--gpu-name");
  const wanted = devices?.split(",") ?? [];
  const kindOf = (d: NvidiaDevice) => (d instanceof Gpu ? "gpus" : "nvswitches");
  const chosen: readonly NvidiaDevice[] =
    devices === undefined
      ? everything.filter((d) => d instanceof Gpu && (named === undefined || d.toolName.includes(named)))
      : everything.filter((d) =>
          wanted.some((w) => w === kindOf(d) || w === d.bdf || d.bdf.endsWith(w) || w === `10de:${d.device}`),
        );
  if (chosen.length === 0) {
    log("ERROR", `No devices found matching: ${devices ?? named ?? "gpus"}`);
    return end(1);
  }
  stdout.push("Topo:");
  for (const gpu of chosen)
    stdout.push(
      machine.cpu.vendor === "GenuineIntel" ? "  PCI 0000:15:01.0 0x8086:0x352a" : "  PCI 0000:80:01.1 0x1022:0x14ab",
      `   ${gpu.broken ? `${who(gpu)} [broken, cfg space not working 0xffffffff bars configured True]` : gpu.label}`,
    );
  const verbs = ["--query-cc-mode", "--query-cc-settings", "--set-cc-mode", "--query-ppcie-mode", "--set-ppcie-mode"];
  const asked = verbs.filter((verb) => argv.some((w) => w === verb || w.startsWith(`${verb}=`)));
  if (asked.length === 0) return end(0);
  const mode = value("--set-cc-mode");
  const ppcie = value("--set-ppcie-mode");
  for (const [kind, given] of [
    ["cc", mode],
    ["ppcie", ppcie],
  ] as const) {
    const choices: readonly string[] = MODES[kind];
    if (given === undefined || choices.includes(given)) continue;
    const list = choices.map((choice) => `'${choice}'`).join(", ");
    stderr.push(
      `nvidia_gpu_tools.py: error: argument --set-${kind}-mode: invalid choice: '${given}' (choose from ${list})`,
    );
    return end(2);
  }
  const crash = (failure: string): Result => {
    stderr.push(
      "Traceback (most recent call last):",
      `  File "/opt/teeup/gpu-admin-tools/nvidia_gpu_tools.py", line 4700, in <module>`,
      failure,
    );
    return end(1, 12);
  };
  for (const gpu of chosen) {
    if (gpu.broken) {
      log("ERROR", `${who(gpu)} is broken and --recover-broken-gpu was not specified, returning failure.`);
      return end(1);
    }
    log("INFO", `Selected ${gpu.label}`);
    if (gpu instanceof Gpu && gpu.mode !== "off")
      log("WARNING", `${gpu.label} has CC mode ${gpu.mode}, some functionality may not work`);
    if (gpu.ppcie !== "off")
      log("WARNING", `${gpu.label} has PPCIe mode ${gpu.ppcie}, some functionality may not work`);
    if (
      machine.now.drivers.get(gpu.bdf) === "nvidia" ||
      (machine.now.drivers.get(gpu.bdf) === undefined && machine.now.modules.has("nvidia"))
    ) {
      log(
        "ERROR",
        `The nvidia driver appears to be using ${gpu.label}, aborting. Specify --ignore-nvidia-driver to ignore this check.`,
      );
      return end(1);
    }
    // Touching registers of a GPU that a guest holds takes it away under the guest's feet.
    if (machine.node.guestHolds(gpu.bdf))
      machine.node.guest?.machine.logs.kernel(`NVRM: Xid (PCI:${gpu.bdf}): 79, GPU has fallen off the bus.`);
    const aboutCc = ["--query-cc-settings", "--set-cc-mode", "--query-cc-mode"].find((verb) => asked.includes(verb));
    if (aboutCc !== undefined && !(gpu instanceof Gpu)) {
      const what = {
        set: "Configuring CC not",
        mode: "Querying CC mode is not",
        settings: "Querying CC settings is not",
      };
      const of = aboutCc.startsWith("--set") ? "set" : aboutCc.endsWith("mode") ? "mode" : "settings";
      log("ERROR", `${what[of]} supported on ${gpu.label}`);
      return end(1);
    }
    if (asked.includes("--query-cc-settings") && gpu instanceof Gpu) {
      log("INFO", `${gpu.label} CC settings:`);
      const on = gpu.mode === "on" || gpu.mode === "devtools";
      for (const [name, is] of [
        ["enable", on],
        ["enable-devtools", gpu.mode === "devtools"],
        ["enable-allow-inband-control", true],
        ["enable-devtools-allow-inband-control", true],
      ] as const)
        log("INFO", `  ${name} = ${is ? 1 : 0}`);
    }
    if (mode !== undefined && gpu instanceof Gpu) {
      const failure = setMode(machine, gpu, mode as CcMode, argv.includes("--reset-after-cc-mode-switch"), log);
      if (failure !== undefined) return crash(failure);
    }
    if (asked.includes("--query-cc-mode") && gpu instanceof Gpu) log("INFO", `${gpu.label} CC mode is ${gpu.mode}`);
    if (ppcie !== undefined) {
      const failure = setPpcie(machine, gpu, ppcie as Ppcie, argv.includes("--reset-after-ppcie-mode-switch"), log);
      if (failure !== undefined) return crash(failure);
    }
    if (asked.includes("--query-ppcie-mode")) log("INFO", `${gpu.label} PPCIe mode is ${gpu.ppcie}`);
  }
  return end(0, 6);
}

const who = (device: NvidiaDevice): string => `${device instanceof Gpu ? "GPU" : "NvSwitch"} ${device.bdf}`;

/** Seed 001, known issue: asleep after a guest, the device answers to nothing. */
const asleep = (device: NvidiaDevice): string | undefined =>
  device.asleep
    ? `gpu.error.GpuPollTimeout: ${device.label} Timed out polling register boot_complete (0x200bc), value 0xffffffff is not the expected 0xff. Timeout 5.0 secs`
    : undefined;

function setPpcie(
  machine: Machine,
  device: NvidiaDevice,
  mode: Ppcie,
  reset: boolean,
  log: (level: string, text: string) => void,
): string | undefined {
  const sleeps = asleep(device);
  if (sleeps !== undefined) return sleeps;
  if (device instanceof Gpu && device.mode !== "off") {
    log("INFO", "CC is currently active. It will be turned off before switching to PPCIe.");
    if (mode === "on") device.nextMode = "off";
  }
  device.nextPpcie = mode;
  log("INFO", `${device.label} PPCIe mode set to ${mode}. It will be active after GPU or switch reset.`);
  if (!reset) return undefined;
  device.functionReset();
  machine.node.journal.gpuResets++;
  if (device.ppcie !== mode)
    return `gpu.error.GpuError: ${device.label} failed to switch to PPCIe mode ${mode}, current mode is ${device.ppcie}.`;
  log("INFO", `${device.label} was reset to apply the new PPCIe mode.`);
  return undefined;
}

function setMode(
  machine: Machine,
  gpu: Gpu,
  mode: CcMode,
  reset: boolean,
  log: (level: string, text: string) => void,
): string | undefined {
  const sleeps = asleep(gpu);
  if (sleeps !== undefined) return sleeps;
  if (gpu.ppcie === "on") {
    log("INFO", `${gpu.label} has PPCIe enabled. It will be turned off before switching to CC.`);
    if (mode !== "off") gpu.nextPpcie = "off";
  }
  gpu.nextMode = mode;
  log("INFO", `${gpu.label} CC mode set to ${mode}. It will be active after GPU reset.`);
  if (!reset) return undefined;
  const before = gpu.mode;
  gpu.functionReset();
  machine.node.journal.gpuResets++;
  if (before !== mode && machine.node.traps.staleAttestationAfterSwitch) machine.node.attestationStale = true;
  if (gpu.mode !== mode)
    return `gpu.error.GpuError: ${gpu.label} failed to switch to CC mode ${mode}, current mode is ${gpu.mode}.`;
  log("INFO", `${gpu.label} was reset to apply the new CC mode.`);
  return undefined;
}

export const gpuAdminTools: Command = {
  names: ["gpu-admin-tools"],
  base: false,
  mutates: always,
  run: (machine, argv) => (argv.length > 0 ? runGpuTool(machine, ["python3", ...argv]) : ok()),
};
