import type { AttestationFault } from "../faults.ts";
import type { Gpu } from "./gpu.ts";
import { NvSwitch } from "./gpu.ts";
import type { Machine } from "./machine.ts";
import { closeGpus, openGpu } from "./nvidia.ts";
import { isNvSwitch, NVSWITCH_DRIVER } from "./pci.ts";

/** What a verifier would find out about the GPUs of a guest, whatever tool asks. */
export interface Evidence {
  readonly gpus: readonly Gpu[];
  readonly driver: string;
  /** Nonce in the signed report. */
  readonly nonce: string;
  readonly failure: AttestationFault | "no-gpu" | "no-cc" | "devtools" | "stale" | undefined;
}

/** The NVSwitches' part: they are asked alone, and they have no CC mode, only Protected PCIe. */
export function collectSwitchEvidence(
  machine: Machine,
  nonce: string,
): Pick<Evidence, "nonce" | "failure"> & { readonly switches: readonly NvSwitch[] } {
  const { node, now } = machine;
  const switches = machine.pci
    .filter((f) => isNvSwitch(f) && now.drivers.get(f.bdf) === NVSWITCH_DRIVER)
    .flatMap((f) => {
      const device = node.deviceAt(machine, f.bdf);
      return device instanceof NvSwitch && !device.broken ? [device] : [];
    });
  const failure: Evidence["failure"] =
    switches.length === 0
      ? "no-gpu"
      : switches.some((s) => s.ppcie === "off")
        ? "no-cc"
        : (node.faults.attestation ?? (node.traps.noSwitchRim ? "rim-missing" : undefined));
  return { switches, nonce: failure === "nonce" ? "0".repeat(64) : nonce, failure };
}

/** Driver versions whose reference measurements are published. */
const RIM_DRIVERS = ["535.86.05", "535.274.02", "550.144.03", "570.86.15", "570.195.03", "580.95.05", "580.105.08"];

/** VBIOS versions whose reference measurements are published. */
const hasRim = (gpu: Gpu): boolean => gpu.vbios >= "96.00.5E.00.00";

export function collectEvidence(machine: Machine, nonce: string): Evidence {
  const { node } = machine;
  const driver = machine.now.modules.has("nvidia") ? (node.driverOf(machine)?.version ?? "") : "";
  const gpus = [...machine.now.gpus.keys()].flatMap((bdf) =>
    openGpu(machine, bdf) === undefined ? (node.gpuAt(machine, bdf) ?? []) : [],
  );
  closeGpus(machine);
  const wrong = node.faults.attestation;
  const failure: Evidence["failure"] =
    gpus.length === 0
      ? "no-gpu"
      : gpus.some((g) => !g.protected)
        ? "no-cc"
        : wrong !== undefined
          ? wrong
          : node.attestationStale
            ? "stale"
            : node.traps.noRim || !RIM_DRIVERS.includes(driver) || gpus.some((g) => !hasRim(g))
              ? "rim-missing"
              : gpus.some((g) => g.mode === "devtools")
                ? "devtools"
                : undefined;
  return { gpus, driver, nonce: failure === "nonce" ? "0".repeat(64) : nonce, failure };
}
