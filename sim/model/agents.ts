import { file, program } from "./files.ts";
import type { Machine } from "./machine.ts";
import { closeGpus, openGpu } from "./nvidia.ts";

/** Programs of clouds and of users that look at the GPUs by themselves whenever a driver is there (seeds 002 and 003). */
const AGENTS: readonly string[] = ["argusagent", "ollama", "bcm-agent", "has-agent"];

export const isAgent = (path: string): boolean => AGENTS.includes(path.split("/").at(-1) ?? "");

/** Brings an agent with its unit, started at every boot after the units named. */
export function installAgent(machine: Machine, unit: string, path: string, after: readonly string[]): void {
  const { files, units } = machine;
  files.place(path, program(path.split("/").at(-1) ?? ""));
  files.place(
    `/etc/systemd/system/${unit}`,
    file(
      [
        ...["[Unit]", `Description=${unit.replace(/\.service$/, "")}`, `After=${after.join(" ")}`, ""],
        ...["[Service]", `ExecStart=${path}`, "Restart=always", "", "[Install]", "WantedBy=multi-user.target", ""],
      ].join("\n"),
    ),
  );
  units.enable(unit);
}

/** Agents that run open every GPU and let it go; unless nvidia-persistenced holds it, that was the GPU's one session. */
export function agentsLook(machine: Machine): void {
  const { processes, modules, gpus } = machine.now;
  if (!modules.has("nvidia") || ![...processes.values()].some(({ argv }) => isAgent(argv[0] ?? ""))) return;
  for (const bdf of gpus.keys()) openGpu(machine, bdf);
  closeGpus(machine);
}
