import type { Action } from "../kit/action.ts";
import { GPU_TOOL } from "../kit/argv.ts";
import type { Step } from "../kit/facet.ts";
import type { PciDevice } from "../kit/parse-lspci.ts";
import { VM_UNIT } from "../kit/qemu-snp.ts";

/**
 * Switches GPUs to a CC mode and resets them.
 *
 * After a guest has used a GPU, vfio-pci lets it sink into D3 and the switch times out: seed 001's known issue. Unless
 * `disable_idle_d3` is in effect, the GPU leaves vfio-pci for the switch and comes back (its option 1), by driverctl
 * instead of `unbind` and `bind`, which fail when the device is unbound or bound already.
 */
export function setCcMode(
  gpus: readonly PciDevice[],
  mode: string,
  options: { readonly stopGuest: boolean; readonly rebind: boolean },
): readonly Action[] {
  const devices = gpus.map((g) => g.bdf).join(",");
  const rebind = options.rebind ? gpus.filter((g) => g.driver === "vfio-pci") : [];
  // Not saved: the binding that lasts is vfio-binding's, and it repairs a device that was left unbound here.
  const override = (driver: string): readonly Action[] =>
    rebind.map((g) => ({ do: "run", argv: ["driverctl", "--nosave", "set-override", g.bdf, driver] }));
  return [
    ...(options.stopGuest ? ([{ do: "run", argv: ["systemctl", "stop", VM_UNIT], timeoutSeconds: 180 }] as const) : []),
    ...override("none"),
    {
      do: "run",
      argv: ["python3", GPU_TOOL, "--devices", devices, `--set-cc-mode=${mode}`, "--reset-after-cc-mode-switch"],
      timeoutSeconds: 300,
    },
    ...override("vfio-pci"),
  ];
}

/** The tool refuses a GPU that the host's nvidia driver uses, and the driver has no business on this host. */
export function unloadNvidia(held: boolean): Step {
  return {
    code: "gpu-cc-mode.unload-nvidia",
    title: "unload the host's nvidia driver",
    why: "the GPU belongs to the guest; its mode cannot be switched under a driver",
    disruption: held ? "guest-stop" : "gpu-reset",
    actions: [
      { do: "run", argv: ["systemctl", "stop", "nvidia-persistenced.service"], okStatus: [0, 5] },
      { do: "run", argv: ["modprobe", "-r", "nvidia_drm", "nvidia_modeset", "nvidia_uvm", "nvidia"] },
    ],
  };
}
