import { ARTIFACTS_DIR } from "../../providers/kit/host.ts";
import { KernelBuildSchema, packageFile } from "../../providers/kit/kernel-build.ts";
import type { FacetName } from "../../providers/kit/names.ts";
import { compareVersions } from "../../providers/kit/parse-packages.ts";
import { VmStackWantSchema, vmStackPaths } from "../../providers/kit/vm-stack.ts";
import type { Profile } from "./schema.ts";

/** A facet by name with its wanted state. */
export interface NodeGoal {
  readonly facet: FacetName;
  readonly want: Readonly<Record<string, unknown>>;
}

/** What one SNP node shall be, beside its profile. */
export interface SnpSettings {
  /** `all`, or the BDFs to pass to the confidential VM. */
  readonly gpus: "all" | readonly string[];
  readonly gpuMode: "on" | "off" | "devtools";
  readonly vm: { readonly cpus: number; readonly memoryGiB: number; readonly diskGiB: number };
  readonly guest: { readonly user: string; readonly port: number; readonly publicKey?: string | undefined };
}

/** The parts of a node in the order of the guides' personas: seed 001's workflow, figure 1. */
export type Persona = "hardware" | "host" | "gpu" | "cvm" | "guest" | "attestation";

/**
 * One recipe applied to one node: every facet with its want, grouped, in the order in which they are brought about.
 * Pure: the same profile and settings give the same goals, in a program, in `teeup check` and in tests.
 */
export function snpGoals(profile: Profile, settings: SnpSettings): Readonly<Record<Persona, readonly NodeGoal[]>> {
  const { host, gpu, guest } = profile;
  const { gpus, gpuMode, vm } = settings;
  const goal = (facet: FacetName, want: Readonly<Record<string, unknown>>): NodeGoal => ({ facet, want });
  const kernel = host.kernel.value;
  const stack = host.vmStack.value;
  const publicKey = settings.guest.publicKey === undefined ? {} : { publicKey: settings.guest.publicKey };
  return {
    hardware: [goal("cpu", {}), goal("bios", {})],
    host: [
      goal("packages", { names: host.packages.value, ...(host.pip === undefined ? {} : { pip: host.pip.value }) }),
      ...(kernel.kind === "build" ? [goal("kernel-build", recipeOf(kernel))] : []),
      // Before the kernel: without its GRUB_DEFAULT=saved a power loss would boot a new kernel that nobody tried.
      goal("kernel-cmdline", host.commandLine.value),
      goal("kernel", kernelWant(kernel, host.kernelConfig.value)),
      goal("module-options", { options: host.moduleOptions.value, load: host.modulesLoad.value }),
      goal("sev-firmware", host.sevFirmware.value),
      goal("vm-stack", stack),
      goal("host-boot", {}),
      goal("snp-ready", { minimumApi: host.sevFirmware.value.minimumApi }),
    ],
    gpu: [
      goal("gpu-inventory", { gpus }),
      goal("gpu-tools", { url: gpu.tools.value.url, commit: gpu.tools.value.commit }),
      goal("gpu-cc-mode", { gpus, mode: gpuMode }),
      goal("vfio-binding", { gpus }),
    ],
    cvm: [
      goal("guest-image", {
        url: guest.image.value.url,
        sha256: guest.image.value.sha256,
        diskGiB: vm.diskGiB,
        user: settings.guest.user,
        ...publicKey,
      }),
      goal("confidential-vm", {
        gpus,
        gpuMode,
        ...launch(stack),
        cpus: vm.cpus,
        memoryGiB: vm.memoryGiB,
        sshPort: settings.guest.port,
      }),
    ],
    guest: [
      goal("guest-kernel", guest.kernel.value),
      goal("lkca", { text: guest.lkca.value.text }),
      goal("nvidia-driver", guest.driver.value),
      goal("nvidia-persistenced", guest.persistenced.value),
      goal("guest-evidence", { gpuMode, minimumVbios: gpu.minimumVbios.value }),
    ],
    // In the other modes the GPUs have no evidence that a production policy could pass.
    attestation:
      gpuMode !== "on"
        ? []
        : [
            goal("attestation-tool", tool(profile.attestation.value)),
            goal("attestation", appraisal(profile.attestation.value)),
            goal("gpu-ready-state", {}),
          ],
  };
}

type KernelValue = Profile["host"]["kernel"]["value"];

function recipeOf({ kind: _, ...recipe }: Extract<KernelValue, { kind: "build" }>) {
  return recipe;
}

function kernelWant(kernel: KernelValue, config: readonly string[]): NodeGoal["want"] {
  const { release } = kernel;
  if (kernel.kind === "package") return { release, packages: kernel.packages, config };
  const file = `${ARTIFACTS_DIR}/${packageFile(KernelBuildSchema.parse(recipeOf(kernel)))}`;
  return { release, packages: [`linux-image-${release}`], file, config };
}

type AttestationValue = Profile["attestation"]["value"];

function tool(attestation: AttestationValue): NodeGoal["want"] {
  const { policy: _, ...rest } = attestation;
  if (rest.tool === "python-sdk") return rest;
  const { verifier: __, ...how } = rest;
  return how;
}

function appraisal(attestation: AttestationValue): NodeGoal["want"] {
  const { policy } = attestation;
  return attestation.tool === "nvattest"
    ? { tool: attestation.tool, verifier: attestation.verifier, policy }
    : { tool: attestation.tool, policy };
}

function launch(stack: Profile["host"]["vmStack"]["value"]): NodeGoal["want"] {
  const { qemu, ovmf } = vmStackPaths(VmStackWantSchema.parse(stack));
  // The 5.19 tree's QEMU starts SNP guests from pflash and knows no shared memfd memory; upstream's is the other way.
  const upstream = compareVersions(stack.minQemu, "9.1") >= 0;
  return { qemu, ovmf, ovmfAs: upstream ? "bios" : "pflash", memfd: upstream };
}
