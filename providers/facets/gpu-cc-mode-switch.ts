import type { Action } from "../kit/action.ts";
import { GPU_TOOL_CLEAN, GUEST_HOLDS_GPU, NVIDIA_LOADED, RUN_GPU_TOOL } from "../kit/argv.ts";
import type { PlanContext, Step } from "../kit/facet.ts";
import { firstUnknown, isTrue } from "../kit/findings.ts";
import type { PciDevice } from "../kit/parse-lspci.ts";
import { selectGpus } from "../kit/parse-lspci.ts";
import { VM_UNIT } from "../kit/qemu-snp.ts";
import type { GpuCcModeWant } from "./gpu-cc-mode.ts";
import type { GpuCcModeFacts } from "./gpu-cc-mode-facts.ts";

/**
 * While a guest runs: the wanted GPUs whose mode is not what it must be, as far as the VM's own unit tells. All of them
 * when it was made for another mode; those that it was not given, since their mode cannot be read beside a running
 * guest. None when the holder is not the unit's process, or the unit says nothing: somebody else's VM is not stopped.
 */
export function heldBack(
  want: GpuCcModeWant,
  gpus: readonly PciDevice[],
  { unit, ours }: GpuCcModeFacts,
): readonly PciDevice[] {
  if (!isTrue(ours) || unit.state !== "known" || unit.value.mode === "unsaid") return [];
  const { mode, gpus: given } = unit.value;
  return mode === want.mode ? gpus.filter((g) => !given.includes(g.bdf)) : gpus;
}

/** GPUs to switch; all wanted ones when no mode can be read for a reason that the steps remove (no tool, nvidia loaded). */
function toSwitch(want: GpuCcModeWant, facts: GpuCcModeFacts): readonly PciDevice[] {
  const { gpus: devices, held, unit, nvidiaLoaded, modes } = facts;
  if (devices.state !== "known" || firstUnknown(held, nvidiaLoaded, modes, unit) !== undefined) return [];
  const { gpus, absent } = selectGpus(devices.value, want.gpus);
  if (absent.length > 0) return [];
  if (isTrue(held)) return heldBack(want, gpus, facts);
  if (modes.state !== "known") return gpus;
  const seen = new Map(modes.value.map((g) => [g.bdf, g]));
  return gpus.filter((g) => {
    const gpu = seen.get(g.bdf);
    if (gpu?.mode === undefined || gpu.trouble === "broken" || gpu.trouble === "unsupported") return false;
    return gpu.mode !== want.mode;
  });
}

/**
 * After a guest has used a GPU, vfio-pci lets it sink into D3 and the switch times out: seed 001's known issue. Unless
 * `disable_idle_d3` is in effect, the GPU leaves vfio-pci for the switch and comes back (its option 1), by driverctl
 * instead of `unbind` and `bind`, which fail when the device is unbound or bound already.
 */
function setCcMode(gpus: readonly PciDevice[], mode: string, stopGuest: boolean, rebind: boolean): readonly Action[] {
  const away = rebind ? gpus.filter((g) => g.driver === "vfio-pci") : [];
  // Not saved: the binding that lasts is vfio-binding's, and it repairs a device that was left unbound here.
  const override = (driver: string): readonly Action[] =>
    away.map((g) => ({ do: "run", argv: ["driverctl", "--nosave", "set-override", g.bdf, driver] }));
  const stop: Action = { do: "run", argv: ["systemctl", "stop", VM_UNIT], timeoutSeconds: 240, okStatus: [0, 5] };
  const devices = gpus.map((g) => g.bdf).join(",");
  return [
    ...(stopGuest ? [stop] : []),
    // Whoever else may hold the GPU by now: it is not taken from under a guest or a driver.
    { do: "run", argv: GUEST_HOLDS_GPU, okStatus: [1] },
    { do: "run", argv: NVIDIA_LOADED, okStatus: [1] },
    { do: "run", argv: GPU_TOOL_CLEAN },
    ...override("none"),
    {
      do: "run",
      argv: [...RUN_GPU_TOOL, "--devices", devices, `--set-cc-mode=${mode}`, "--reset-after-cc-mode-switch"],
      timeoutSeconds: 300,
    },
    ...override("vfio-pci"),
  ];
}

export function planCcMode(want: GpuCcModeWant, facts: GpuCcModeFacts, context: PlanContext): readonly Step[] {
  const gpus = toSwitch(want, facts);
  if (gpus.length === 0) return [];
  const held = context.guestRunning || isTrue(facts.held);
  const modes = facts.modes.state === "known" ? facts.modes.value : [];
  const was = [...new Set(gpus.map((g) => modes.find((m) => m.bdf === g.bdf)?.mode ?? "unread"))].join("/");
  const unload: Step = {
    code: "gpu-cc-mode.unload-nvidia",
    title: "unload the host's nvidia driver",
    why: "the GPU belongs to the guest; its mode cannot be switched under a driver",
    disruption: held ? "guest-stop" : "gpu-reset",
    actions: [
      { do: "run", argv: ["systemctl", "stop", "nvidia-persistenced.service"], okStatus: [0, 5] },
      { do: "run", argv: ["modprobe", "-r", "nvidia_drm", "nvidia_modeset", "nvidia_uvm", "nvidia"] },
    ],
  };
  return [
    ...(isTrue(facts.nvidiaLoaded) ? [unload] : []),
    {
      code: "gpu-cc-mode.set",
      title: `CC mode of ${gpus.map((g) => g.bdf).join(", ")}: ${was} → ${want.mode}, with a GPU reset`,
      why: held ? "the guest must give the GPU back first" : "the mode takes effect at a reset only",
      disruption: held ? "guest-stop" : "gpu-reset",
      actions: setCcMode(gpus, want.mode, held, !facts.idleD3Off),
    },
  ];
}
