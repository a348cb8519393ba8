import type { CcMode, Gpu } from "../model/gpu.ts";
import type { Machine } from "../model/machine.ts";
import { isGpu } from "../model/pci.ts";
import type { Command, Result } from "./command.ts";
import { always, ok } from "./command.ts";

const VERSION = "v2025.10.20o";
const MODES: readonly string[] = ["off", "on", "devtools"];

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
  const all = machine.pci.filter(isGpu).flatMap((f) => machine.node.gpuAt(machine, f.bdf) ?? []);
  const named = value("--gpu-name");
  const wanted = devices?.split(",") ?? [];
  const gpus =
    devices === undefined
      ? all.filter((g) => named === undefined || g.toolName.includes(named))
      : all.filter((g) =>
          wanted.some((w) => w === "gpus" || w === g.bdf || g.bdf.endsWith(w) || w === `10de:${g.device}`),
        );
  if (gpus.length === 0) {
    log("ERROR", `No devices found matching: ${devices ?? named ?? "gpus"}`);
    return end(1);
  }
  stdout.push("Topo:");
  for (const gpu of gpus)
    stdout.push(
      `  PCI 0000:80:01.1 0x1022:0x14ab`,
      `   ${gpu.broken ? `GPU ${gpu.bdf} [broken, cfg space not working 0xffffffff bars configured True]` : gpu.label}`,
    );
  const verbs = ["--query-cc-mode", "--query-cc-settings", "--set-cc-mode", "--query-ppcie-mode", "--set-ppcie-mode"];
  const asked = verbs.filter((verb) => argv.some((w) => w === verb || w.startsWith(`${verb}=`)));
  if (asked.length === 0) return end(0);
  const mode = value("--set-cc-mode");
  if (mode !== undefined && !MODES.includes(mode)) {
    stderr.push(
      `nvidia_gpu_tools.py: error: argument --set-cc-mode: invalid choice: '${mode}' (choose from 'off', 'on', 'devtools')`,
    );
    return end(2);
  }
  for (const gpu of gpus) {
    if (gpu.broken) {
      log("ERROR", `GPU ${gpu.bdf} is broken and --recover-broken-gpu was not specified, returning failure.`);
      return end(1);
    }
    log("INFO", `Selected ${gpu.label}`);
    if (gpu.mode !== "off") log("WARNING", `${gpu.label} has CC mode ${gpu.mode}, some functionality may not work`);
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
    if (asked.includes("--query-cc-settings")) {
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
    if (mode !== undefined) {
      const failure = setMode(machine, gpu, mode as CcMode, argv.includes("--reset-after-cc-mode-switch"), log);
      if (failure !== undefined) {
        stderr.push(
          "Traceback (most recent call last):",
          `  File "/opt/teeup/gpu-admin-tools/nvidia_gpu_tools.py", line 4700, in <module>`,
          failure,
        );
        return end(1, 12);
      }
    }
    if (asked.includes("--query-cc-mode")) log("INFO", `${gpu.label} CC mode is ${gpu.mode}`);
    if (asked.includes("--query-ppcie-mode")) log("INFO", `${gpu.label} PPCIe mode is ${gpu.ppcie}`);
  }
  return end(0, 6);
}

function setMode(
  machine: Machine,
  gpu: Gpu,
  mode: CcMode,
  reset: boolean,
  log: (level: string, text: string) => void,
): string | undefined {
  // Seed 001, known issue: asleep after a guest, the GPU answers to nothing.
  if (gpu.asleep)
    return `gpu.error.GpuPollTimeout: ${gpu.label} Timed out polling register boot_complete (0x200bc), value 0xffffffff is not the expected 0xff. Timeout 5.0 secs`;
  // Hopper: with PPCIe on, the CC knobs are not the GPU's own any more.
  if (gpu.ppcie === "on" && mode !== "off")
    return `gpu.error.GpuError: ${gpu.label} failed to switch to CC mode ${mode}, current mode is ${gpu.mode}.`;
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
