import type { Action } from "../kit/action.ts";
import { GPU_TOOL_CLEAN, GUEST_HOLDS_GPU, NVIDIA_LOADED, RUN_GPU_TOOL } from "../kit/argv.ts";
import type { PlanContext, Step } from "../kit/facet.ts";
import { firstUnknown, isTrue } from "../kit/findings.ts";
import { stopVm } from "../kit/libvirt.ts";
import type { PciDevice } from "../kit/parse-lspci.ts";
import { isBlackwell, isGpu, isNvSwitch, selectGpus } from "../kit/parse-lspci.ts";
import type { GpuCcModeWant } from "./gpu-cc-mode.ts";
import type { GpuCcModeFacts } from "./gpu-cc-mode-facts.ts";
import { modeOf, targets } from "./gpu-cc-mode-facts.ts";

export const unknownOf = (f: GpuCcModeFacts): string | undefined =>
  firstUnknown(f.devices, f.held, f.nvidiaLoaded, f.modes, f.vm);

/**
 * While a guest runs: the devices whose mode is not what it must be, as far as the VM itself tells. All of them when it
 * was made for another mode; those that it was not given, since their mode cannot be read beside a running guest. None
 * when the holder is not the VM's process, or the VM says nothing: somebody else's VM is not stopped.
 */
export function heldBack(
  want: GpuCcModeWant,
  devices: readonly PciDevice[],
  { vm, ours }: GpuCcModeFacts,
): readonly PciDevice[] {
  if (!isTrue(ours) || vm.state !== "known" || vm.value.mode === "unsaid") return [];
  const { mode, gpus: given } = vm.value;
  return mode === want.mode ? devices.filter((d) => !given.includes(d.bdf)) : devices;
}

/** Why Protected PCIe cannot be had here: it is all GPUs and NVSwitches of a Hopper node, or none. */
export function notProtectable(
  want: GpuCcModeWant,
  devices: readonly PciDevice[],
): "blackwell" | "no-switches" | "partial" | undefined {
  if (want.mode !== "ppcie") return undefined;
  if (devices.some(isBlackwell)) return "blackwell";
  if (!devices.some(isNvSwitch)) return "no-switches";
  const { gpus } = selectGpus(devices, want.gpus);
  return gpus.length < devices.filter(isGpu).length ? "partial" : undefined;
}

/** Devices to switch; all of them when no mode can be read for a reason that the steps remove (no tool, nvidia loaded). */
function toSwitch(want: GpuCcModeWant, facts: GpuCcModeFacts): readonly PciDevice[] {
  const { devices, held, modes } = facts;
  if (devices.state !== "known" || unknownOf(facts) !== undefined) return [];
  const { absent } = selectGpus(devices.value, want.gpus);
  if (absent.length > 0 || notProtectable(want, devices.value) !== undefined) return [];
  const all = targets(want, devices.value);
  if (isTrue(held)) return heldBack(want, all, facts);
  if (modes.state !== "known") return all;
  const seen = new Map(modes.value.map((g) => [g.bdf, g]));
  const bad = (d: PciDevice) => {
    const tool = seen.get(d.bdf);
    const cannot = want.mode === "ppcie" ? tool?.ppcie === "unsupported" : tool?.trouble === "unsupported";
    return modeOf(tool, d) === undefined || tool?.trouble === "broken" || cannot;
  };
  // All or nothing: with one that cannot be switched, the others would be half a fabric.
  if (want.mode === "ppcie" && all.some(bad)) return [];
  return all.filter((d) => !bad(d) && modeOf(seen.get(d.bdf), d) !== want.mode);
}

const tool = (devices: readonly PciDevice[], kind: "cc" | "ppcie", mode: string): Action => ({
  do: "run",
  argv: [
    ...RUN_GPU_TOOL,
    ...["--devices", devices.map((d) => d.bdf).join(",")],
    ...[`--set-${kind}-mode=${mode}`, `--reset-after-${kind}-mode-switch`],
  ],
  // Each device waits for its own boot after its reset.
  timeoutSeconds: 300 + 60 * devices.length,
});

/**
 * After a guest has used a GPU, vfio-pci lets it sink into D3 and the switch times out: seed 001's known issue. Unless
 * `disable_idle_d3` is in effect, the GPU leaves vfio-pci for the switch and comes back (its option 1), by driverctl
 * instead of `unbind` and `bind`, which fail when the device is unbound or bound already.
 */
function setMode(
  want: GpuCcModeWant,
  devices: readonly PciDevice[],
  leave: readonly PciDevice[],
  facts: GpuCcModeFacts,
  stopGuest: boolean,
): readonly Action[] {
  const away = facts.idleD3Off ? [] : [...new Set([...leave, ...devices])].filter((d) => d.driver === "vfio-pci");
  // Not saved: the binding that lasts is vfio-binding's, and it repairs a device that was left unbound here.
  const override = (driver: string): readonly Action[] =>
    away.map((g) => ({ do: "run", argv: ["driverctl", "--nosave", "set-override", g.bdf, driver] }));
  return [
    ...(stopGuest ? stopVm(facts.vm.state === "known" ? facts.vm.value.launcher : "qemu") : []),
    // Whoever else may hold the GPU by now: it is not taken from under a guest or a driver.
    { do: "run", argv: GUEST_HOLDS_GPU, okStatus: [1] },
    { do: "run", argv: NVIDIA_LOADED, okStatus: [1] },
    { do: "run", argv: GPU_TOOL_CLEAN },
    ...override("none"),
    ...(leave.length > 0 ? [tool(leave, "ppcie", "off")] : []),
    // The tool turns CC off by itself where it is on.
    ...(want.mode === "ppcie"
      ? [tool(devices, "ppcie", "on")]
      : devices.length > 0
        ? [tool(devices, "cc", want.mode)]
        : []),
    ...override("vfio-pci"),
  ];
}

const count = (devices: readonly PciDevice[]): string => {
  const switches = devices.filter(isNvSwitch).length;
  const gpus = devices.length - switches;
  return [...(gpus > 0 ? [`${gpus} GPUs`] : []), ...(switches > 0 ? [`${switches} NVSwitches`] : [])].join(" and ");
};

export function planCcMode(want: GpuCcModeWant, facts: GpuCcModeFacts, context: PlanContext): readonly Step[] {
  const modes = facts.modes.state === "known" ? facts.modes.value : [];
  const was = (d: PciDevice) =>
    modeOf(
      modes.find((m) => m.bdf === d.bdf),
      d,
    );
  const wanted = toSwitch(want, facts);
  const there = facts.devices.state === "known" ? facts.devices.value : [];
  const vm = facts.vm.state === "known" ? facts.vm.value : undefined;
  const inPpcie = (d: PciDevice) =>
    isTrue(facts.held) ? wanted.length > 0 && vm?.mode === "ppcie" && vm.gpus.includes(d.bdf) : was(d) === "ppcie";
  // One mode per host: the fabric leaves Protected PCIe as a whole, as it came to it.
  const leave = want.mode === "ppcie" ? [] : there.filter(inPpcie);
  if (wanted.length + leave.length === 0 || unknownOf(facts) !== undefined) return [];
  // What was asked for cannot be had: nothing is reset for a part of it.
  if (selectGpus(there, want.gpus).absent.length > 0) return [];
  const devices = want.mode === "off" ? wanted.filter((d) => !leave.includes(d)) : wanted;
  const all = [...new Set([...devices, ...leave])];
  const held = context.guestRunning || isTrue(facts.held);
  const from = [...new Set(all.map((d) => was(d) ?? "unread"))].join("/");
  const what = all.length > 2 || want.mode === "ppcie" ? count(all) : all.map((g) => g.bdf).join(", ");
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
      title: `CC mode of ${what}: ${from} → ${want.mode}, with a GPU reset`,
      why: held ? "the guest must give the GPU back first" : "the mode takes effect at a reset only",
      disruption: held ? "guest-stop" : "gpu-reset",
      actions: setMode(want, devices, leave, facts, held),
    },
  ];
}
