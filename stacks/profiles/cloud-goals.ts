import type { FacetName } from "../../providers/kit/names.ts";
import type { CloudProfile } from "./cloud-schema.ts";
import { type EvidenceSettings, evidenceGoals } from "./evidence-goals.ts";
import { appraisal, type NodeGoal, tool } from "./goals.ts";

/** What a stack says of its instances beside the recipe. */
export interface InstanceSettings extends EvidenceSettings {
  /**
   * Unencrypted memory for device I/O in MiB, in place of the recipe's; for instances whose I/O was seen to suffer.
   * The argument of `swiotlb` is this times 512: it counts slots of 2 KiB (seed 003).
   */
  readonly swiotlbMiB?: number | undefined;
  /** Make and verify a TDX quote with Intel's sample tools, where the recipe has them; default no. */
  readonly quote?: boolean | undefined;
}

/** `swiotlb` counts slots of 2 KiB (seed 003, 说明). */
const SLOTS_PER_MIB = 512;

/** The parts of an instance, in the order in which they are brought about. */
export type InstancePersona = "system" | "guest" | "attestation";

/** The recipe without what the stack does not ask for. */
export function askedOf(profile: CloudProfile, { quote }: InstanceSettings): CloudProfile {
  if (quote === true) return profile;
  const { quote: _, ...rest } = profile;
  return rest;
}

/** Words of the kernel's command line: the recipe's, with the stack's own size of the bounce buffers. */
export function commandLine(profile: CloudProfile, { swiotlbMiB }: InstanceSettings): readonly string[] {
  const words = profile.system.commandLine.value;
  if (swiotlbMiB === undefined) return words;
  const any = words.some((word) => /^swiotlb=.*,any$/.test(word)) ? ",any" : "";
  return [...words.filter((word) => !word.startsWith("swiotlb=")), `swiotlb=${swiotlbMiB * SLOTS_PER_MIB}${any}`];
}

/**
 * One recipe applied to one instance. The same facets as those of a confidential VM on a host of one's own; what differs
 * between clouds is the recipe's data.
 *
 * The command line is staged before the driver comes, and the one restart that it takes lies between module options and
 * driver: the document's two restarts become one.
 */
export function instanceGoals(
  profile: CloudProfile,
  settings: InstanceSettings = {},
): Readonly<Record<InstancePersona, readonly NodeGoal[]>> {
  const { system, gpu, guest } = profile;
  const goal = (facet: FacetName, want: Readonly<Record<string, unknown>>): NodeGoal => ({ facet, want });
  const words = commandLine(profile, settings);
  const cuda = guest.cuda?.value;
  const agents = guest.persistenced.value.before;
  // Under Protected PCIe the GPUs talk through NVSwitches, which therefore attest themselves too.
  const switches = gpu.mode.value === "ppcie" ? { switches: true } : {};
  return {
    system: [
      goal("instance-system", {
        os: system.os.value,
        minimumKernel: system.minimumKernel.value,
        uefi: system.uefi.value,
        noRdma: system.noRdma.value,
      }),
      goal("packages", { names: system.packages.value }),
      ...(guest.lkca === undefined ? [] : [goal("lkca", { text: guest.lkca.value.text })]),
      ...(words.length === 0
        ? []
        : [goal("kernel-cmdline", { present: words, forbidden: [], trials: false }), goal("host-boot", {})]),
    ],
    guest: [
      goal("nvidia-driver", { ...guest.driver.value, agents }),
      ...(guest.fabricManager === undefined ? [] : [goal("fabric-manager", guest.fabricManager.value)]),
      goal("nvidia-persistenced", guest.persistenced.value),
      goal("gpu-agents", { units: agents }),
      ...(cuda === undefined
        ? []
        : [
            goal("cuda-toolkit", {
              ...cuda,
              ...(guest.cublas === undefined ? {} : cublas(guest.cublas.value)),
            }),
          ]),
      goal("guest-evidence", {
        gpuMode: gpu.mode.value,
        tee: "tdx",
        minimumVbios: gpu.minimumVbios.value,
        gpus: gpu.count.value,
        ...bounceBuffers(words),
      }),
    ],
    attestation: [
      ...(settings.quote !== true || profile.quote === undefined ? [] : [goal("tdx-quote", profile.quote.value)]),
      goal("attestation-tool", tool(profile.attestation.value)),
      goal("attestation", { ...appraisal(profile.attestation.value), ...switches }),
      ...evidenceGoals(settings, {
        tee: "tdx",
        gpu: profile.attestation.value,
        switches: gpu.mode.value === "ppcie",
      }),
      goal("gpu-ready-state", {}),
    ],
  };
}

/** What the command line asks for is what must be mapped once it runs. */
function bounceBuffers(words: readonly string[]): { swiotlbMiB?: number } {
  const slots = words.map((word) => /^swiotlb=(\d+)/.exec(word)?.[1]).find((found) => found !== undefined);
  return slots === undefined ? {} : { swiotlbMiB: Number(slots) / SLOTS_PER_MIB };
}

const cublas = ({ version, python }: { readonly version: string; readonly python?: string | undefined }) => ({
  cublas: version,
  ...(python === undefined ? {} : { python }),
});
