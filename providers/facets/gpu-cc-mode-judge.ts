import { GPU_TOOL, GUEST_HOLDS_GPU } from "../kit/argv.ts";
import type { Finding } from "../kit/facet.ts";
import { findingsOf, isTrue } from "../kit/findings.ts";
import { VIRSH } from "../kit/libvirt.ts";
import type { ToolGpu } from "../kit/parse-gpu-tool.ts";
import type { PciDevice } from "../kit/parse-lspci.ts";
import { isBlackwell, isNvSwitch, selectGpus } from "../kit/parse-lspci.ts";
import { VM_UNIT } from "../kit/qemu-args.ts";
import type { GpuCcModeWant } from "./gpu-cc-mode.ts";
import { type GpuCcModeFacts, modeOf, targets } from "./gpu-cc-mode-facts.ts";
import { heldBack, notProtectable, unknownOf } from "./gpu-cc-mode-switch.ts";

export const SOURCE = "seed 001, Configuring the GPU (Required); NVIDIA/gpu-admin-tools README";
export const KNOWN_ISSUE =
  "seed 001, (Known Issue) Cannot Change the CC State after a Guest OS Shutdown; NVIDIA/nvtrust#58, #77";
export const PPCIE =
  "NVIDIA/nvtrust#128 (Protected PCIe with only some of the GPUs); canonical/tdx gpu-cc/h100/setup-gpus.sh";
const { pass, fail, unsure, warn } = findingsOf("gpu-cc-mode", SOURCE);

const recover = (bdf: string) =>
  `sudo python3 ${GPU_TOOL} --devices ${bdf} --recover-broken-gpu, else power-cycle the node`;

/** What keeps a device from being switched at all. */
function troubleAt(want: GpuCcModeWant, d: PciDevice, seen: ToolGpu | undefined): Finding | undefined {
  const at = `CC mode ${want.mode} at ${d.bdf}`;
  if (seen?.trouble === "broken") return fail("broken", at, "the tool calls the GPU broken", recover(d.bdf));
  if (want.mode === "ppcie" && seen?.ppcie === "unsupported") {
    const hint = "Protected PCIe needs Hopper GPUs and NVSwitches with a firmware that knows it: ask for the update";
    return fail("unsupported", at, "this device, or its firmware, has no Protected PCIe", hint, PPCIE);
  }
  if (seen?.trouble === "unsupported") return fail("unsupported", at, "this GPU has no CC mode", "use Hopper or newer");
  if (modeOf(seen, d) !== undefined) return undefined;
  return unsure("unknown", at, seen?.trouble ?? "the tool says nothing of it", recover(d.bdf));
}

function judgeDevice(want: GpuCcModeWant, d: PciDevice, seen: ToolGpu | undefined): Finding {
  const at = `CC mode ${want.mode} at ${d.bdf}`;
  const is = modeOf(seen, d) ?? "unread";
  const source = seen?.trouble === undefined ? SOURCE : KNOWN_ISSUE;
  return (
    troubleAt(want, d, seen) ??
    (is === want.mode
      ? pass("mode", at, is)
      : fail("mode", at, is, "pulumi up switches it, with permit gpu-reset", source))
  );
}

/** All or nothing: one finding for the whole fabric. */
function judgeFabric(want: GpuCcModeWant, all: readonly PciDevice[], seen: ReadonlyMap<string, ToolGpu>): Finding[] {
  const troubles = all.flatMap((d) => troubleAt(want, d, seen.get(d.bdf)) ?? []);
  if (troubles.length > 0) return troubles;
  const on = all.filter((d) => modeOf(seen.get(d.bdf), d) === "ppcie");
  const wanted = `Protected PCIe at ${all.filter((d) => !isNvSwitch(d)).length} GPUs and ${all.filter(isNvSwitch).length} NVSwitches`;
  if (on.length === all.length) return [pass("mode", wanted, "on at all of them", PPCIE)];
  const hint = "pulumi up switches the rest in one step, with permit gpu-reset";
  if (on.length === 0) return [fail("mode", wanted, "on at none of them", hint, PPCIE)];
  const lack = all.filter((d) => !on.includes(d)).map((d) => d.bdf);
  const saw = `half-switched: not at ${lack.slice(0, 4).join(", ")}${lack.length > 4 ? ` and ${lack.length - 4} more` : ""}`;
  return [fail("half", wanted, saw, hint, PPCIE)];
}

const QUERY_PPCIE = `sudo python3 ${GPU_TOOL} --devices gpus,nvswitches --query-ppcie-mode`;

/**
 * Devices behind NVSwitches of which nobody knows that they are out of Protected PCIe: a GPU's CC mode is off in it too.
 * The tool ends at the first device that has none, as all of Blackwell: then nothing is in it.
 */
function ppcieUnread(devices: readonly PciDevice[], modes: readonly ToolGpu[]): readonly string[] {
  if (!devices.some(isNvSwitch) || modes.some((m) => m.ppcie === "unsupported")) return [];
  const said = new Map(modes.map((m) => [m.bdf, m]));
  const out = (m: ToolGpu | undefined) => m?.ppcie !== undefined || m?.mode === "on" || m?.mode === "devtools";
  return devices.filter((d) => !out(said.get(d.bdf))).map((d) => d.bdf);
}

const REFUSALS = {
  blackwell: [
    "there are Blackwell GPUs",
    "gpuMode on: Blackwell protects NVLink in CC mode on, and has no Protected PCIe",
  ],
  "no-switches": [
    "there is no NVSwitch",
    "gpuMode on; if the node has NVSwitches, see why lspci -d 10de::0680 shows none",
  ],
  partial: ["only some of the node's GPUs are wanted", "gpus: all, or gpuMode on with the GPUs by their addresses"],
} as const;

export function judgeCcMode(want: GpuCcModeWant, facts: GpuCcModeFacts): readonly Finding[] {
  const { devices, modes } = facts;
  const wanted = `CC mode ${want.mode}`;
  const why = unknownOf(facts);
  if (why !== undefined || devices.state !== "known") {
    const hint = `python3 ${GPU_TOOL} --devices gpus --query-cc-mode`;
    return [unsure("unknown", wanted, why ?? "no list of GPUs", hint)];
  }
  const { gpus, absent: gone } = selectGpus(devices.value, want.gpus);
  if (gpus.length === 0 || gone.length > 0) {
    return [fail("no-gpu", wanted, "a wanted GPU is not there", "see gpu-inventory")];
  }
  const refused = notProtectable(want, devices.value);
  if (refused !== undefined) {
    const [saw, hint] = REFUSALS[refused];
    return [fail(refused, "Protected PCIe: all GPUs and NVSwitches of a Hopper node", saw, hint, PPCIE)];
  }
  const all = targets(want, devices.value);
  if (isTrue(facts.held)) return [judgeHeld(want, all, facts)];
  if (isTrue(facts.nvidiaLoaded)) {
    const saw = "the nvidia driver is loaded on the host";
    return [fail("nvidia-loaded", wanted, saw, "unload it (modprobe -r nvidia): the GPU belongs to the guest")];
  }
  if (modes.state !== "known")
    return [fail("unread", wanted, "gpu-admin-tools is not installed, or changed", "see gpu-tools")];
  const seen = new Map(modes.value.map((g) => [g.bdf, g]));
  if (want.mode === "ppcie") return judgeFabric(want, all, seen);
  const left = devices.value.filter((d) => !all.includes(d) && seen.get(d.bdf)?.ppcie === "on").map((d) => d.bdf);
  const unread = ppcieUnread(devices.value, modes.value);
  const alone = want.mode === "on" && gpus.length > 1 && devices.value.some(isNvSwitch) && !gpus.some(isBlackwell);
  return [
    ...all.map((d) => judgeDevice(want, d, seen.get(d.bdf))),
    ...(left.length === 0
      ? []
      : [
          fail(
            "left-in-ppcie",
            "no device left in Protected PCIe",
            left.join(", "),
            "pulumi up switches it off",
            PPCIE,
          ),
        ]),
    ...(unread.length === 0
      ? []
      : [
          unsure("ppcie-unread", "no device left in Protected PCIe", `${unread.join(", ")} unread`, QUERY_PPCIE, PPCIE),
        ]),
    ...(alone
      ? [
          warn(
            "nvlink",
            "Protected PCIe for several Hopper GPUs of one guest",
            wanted,
            "gpuMode ppcie: Hopper protects no NVLink in CC mode on",
            PPCIE,
          ),
        ]
      : []),
  ];
}

/** The host cannot read a mode now. What the VM was made for is known, and its guest sees the rest. */
function judgeHeld(want: GpuCcModeWant, all: readonly PciDevice[], facts: GpuCcModeFacts): Finding {
  const wanted = `CC mode ${want.mode}`;
  const said = facts.vm.state === "known" ? facts.vm.value.mode : "unsaid";
  if (!isTrue(facts.ours)) {
    const saw = "held by a QEMU process that is not the confidential VM's";
    return unsure("unknown", wanted, saw, `stop it when it may be stopped: ${GUEST_HOLDS_GPU.join(" ")} finds it`);
  }
  // Not unknown: confidential-vm comes later, and defines the VM anew.
  if (said === "unsaid")
    return warn("held", wanted, "held by the confidential VM, whose unit says no mode", "pulumi up writes the unit");
  const other = heldBack(want, all, facts).map((g) => g.bdf);
  if (other.length === 0)
    return pass("held", wanted, `held by a running guest (made for: ${said}); its own evidence tells`);
  const saw =
    said === want.mode ? `${other.join(", ")} unread: a guest runs without it` : `held by a guest for ${said}`;
  const vm = facts.vm.state === "known" && facts.vm.value.launcher === "libvirt" ? VIRSH[0] : VM_UNIT;
  return fail("mode", wanted, saw, `permit guest-stop: the VM is stopped for it (${vm})`);
}
