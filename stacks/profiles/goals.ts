import { TeeUpError } from "../../providers/kit/errors.ts";
import { ARTIFACTS_DIR } from "../../providers/kit/host.ts";
import { KernelBuildSchema, packageFile } from "../../providers/kit/kernel-build.ts";
import type { FacetName } from "../../providers/kit/names.ts";
import { compareVersions } from "../../providers/kit/parse-packages.ts";
import { LAUNCH } from "../../providers/kit/qemu-args.ts";
import { VmStackWantSchema, vmStackPaths } from "../../providers/kit/vm-stack.ts";
import { type EvidenceSettings, evidenceGoals } from "./evidence-goals.ts";
import type { Profile } from "./schema.ts";

/** A facet by name with its wanted state. */
export interface NodeGoal {
  readonly facet: FacetName;
  readonly want: Readonly<Record<string, unknown>>;
}

/** What one node shall be, beside its profile. */
export interface NodeSettings extends EvidenceSettings {
  /** `all`, or the BDFs to pass to the confidential VM. */
  readonly gpus: "all" | readonly string[];
  /** `ppcie`: all GPUs and NVSwitches together. */
  readonly gpuMode: "on" | "off" | "devtools" | "ppcie";
  readonly vm: { readonly cpus: number; readonly memoryGiB: number; readonly diskGiB: number };
  readonly guest: { readonly user: string; readonly port: number; readonly publicKey?: string | undefined };
}

/** The parts of a node in the order of the guides' personas: seed 001's workflow, figure 1. */
export type Persona = "hardware" | "host" | "gpu" | "cvm" | "guest" | "attestation";

/**
 * One recipe applied to one node: every facet with its want, grouped, in the order in which they are brought about.
 * Pure: the same profile and settings give the same goals, in a program, in `teeup check` and in tests. What the two
 * TEEs have in common has one line here; what differs is the profile's.
 */
export function nodeGoals(profile: Profile, settings: NodeSettings): Readonly<Record<Persona, readonly NodeGoal[]>> {
  const { host, gpu, guest } = profile;
  const { gpus, gpuMode, vm } = settings;
  const goal = (facet: FacetName, want: Readonly<Record<string, unknown>>): NodeGoal => ({ facet, want });
  const kernel = host.kernel.value;
  const stack = host.vmStack.value;
  const publicKey = settings.guest.publicKey === undefined ? {} : { publicKey: settings.guest.publicKey };
  // Left out where it is what facets take for granted, so that states from before TDX stay as they are.
  const tee = profile.cpu === "sev-snp" ? {} : { tee: profile.cpu };
  const launcher = host.launcher === undefined ? {} : { launcher: host.launcher.value };
  const switches = gpuMode === "ppcie" ? { switches: true } : {};
  const production = gpuMode === "on" || gpuMode === "ppcie";
  const evidence = evidenceGoals(settings, {
    tee: profile.cpu,
    gpu: production ? profile.attestation.value : undefined,
    switches: gpuMode === "ppcie",
    launch: { vcpus: vm.cpus, cpuModel: LAUNCH[profile.cpu].cpuModel },
  });
  const firmware = settings.attestation?.firmware === undefined ? {} : { firmware: settings.attestation.firmware };
  return {
    hardware: [goal("cpu", tee), goal("bios", tee)],
    host: [
      goal("packages", { names: host.packages.value, ...(host.pip === undefined ? {} : { pip: host.pip.value }) }),
      ...(kernel.kind === "build" ? [goal("kernel-build", recipeOf(kernel))] : []),
      // Before the kernel: without its GRUB_DEFAULT=saved a power loss would boot a new kernel that nobody tried.
      goal("kernel-cmdline", host.commandLine.value),
      goal("kernel", kernelWant(host)),
      goal("module-options", { options: host.moduleOptions.value, load: host.modulesLoad.value }),
      ...(host.sevFirmware === undefined ? [] : [goal("sev-firmware", host.sevFirmware.value)]),
      goal("vm-stack", { ...stack, ...tee }),
      ...(host.libvirt === undefined ? [] : [goal("libvirt", host.libvirt.value)]),
      goal("host-boot", {}),
      ...(host.sevFirmware === undefined ? [] : [goal("snp-ready", { minimumApi: host.sevFirmware.value.minimumApi })]),
      ...(host.tdx === undefined ? [] : [goal("tdx-ready", host.tdx.value)]),
      ...(host.quoteService === undefined ? [] : [goal("quote-service", host.quoteService.value)]),
    ],
    gpu: [
      goal("gpu-inventory", { gpus, ...switches }),
      goal("gpu-tools", { url: gpu.tools.value.url, commit: gpu.tools.value.commit }),
      goal("gpu-cc-mode", { gpus, mode: gpuMode }),
      goal("vfio-binding", { gpus, ...switches }),
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
        ...tee,
        ...launcher,
        ...launch(profile),
        ...firmware,
        cpus: vm.cpus,
        memoryGiB: vm.memoryGiB,
        sshPort: settings.guest.port,
      }),
    ],
    guest: [
      goal("guest-kernel", {
        ...guest.kernel.value,
        ...(guest.kernelConfig === undefined ? {} : { config: guest.kernelConfig.value }),
        ...(guest.commandLine === undefined ? {} : { commandLine: guest.commandLine.value }),
      }),
      goal("lkca", { text: lkcaText(guest.lkca.value.text, gpuMode) }),
      goal("nvidia-driver", guest.driver.value),
      // It sets up the switches that the daemon's GPUs then use.
      ...(gpuMode === "ppcie" ? [goal("fabric-manager", fabricManager(profile))] : []),
      goal("nvidia-persistenced", guest.persistenced.value),
      goal("guest-evidence", { gpuMode, ...tee, minimumVbios: gpu.minimumVbios.value }),
    ],
    // In the other modes the GPUs have no evidence that a production policy could pass.
    attestation: !production
      ? evidence
      : [
          goal("attestation-tool", tool(profile.attestation.value)),
          goal("attestation", { ...appraisal(profile.attestation.value), ...switches }),
          ...evidence,
          goal("gpu-ready-state", {}),
        ],
  };
}

type KernelValue = Profile["host"]["kernel"]["value"];

function recipeOf({ kind: _, ...recipe }: Extract<KernelValue, { kind: "build" }>) {
  return recipe;
}

function kernelWant({ kernel: { value: kernel }, kernelConfig, kernelConfigOff }: Profile["host"]): NodeGoal["want"] {
  const { release } = kernel;
  const off = kernelConfigOff === undefined ? {} : { configOff: kernelConfigOff.value };
  const want = { release, config: kernelConfig.value, ...off };
  if (kernel.kind === "package") return { ...want, packages: kernel.packages };
  const file = `${ARTIFACTS_DIR}/${packageFile(KernelBuildSchema.parse(recipeOf(kernel)))}`;
  return { ...want, packages: [`linux-image-${release}`], file };
}

type AttestationValue = Profile["attestation"]["value"];

export function tool(attestation: AttestationValue): NodeGoal["want"] {
  const { policy: _, ...rest } = attestation;
  if (rest.tool === "python-sdk") return rest;
  const { verifier: __, ...how } = rest;
  return how;
}

export function appraisal(attestation: AttestationValue): NodeGoal["want"] {
  const { policy } = attestation;
  return attestation.tool === "nvattest"
    ? { tool: attestation.tool, verifier: attestation.verifier, policy }
    : { tool: attestation.tool, policy };
}

/** Throws `config.no-fabric-manager`: the recipe is for one GPU. */
/** The driver must be told of Protected PCIe when it loads (seed 002, 8 GPU, module configuration). */
const PPCIE_OPTION = 'options nvidia NVreg_RegistryDwords="RmEnableProtectedPcie=0x1"\n';
const lkcaText = (text: string, gpuMode: NodeSettings["gpuMode"]): string =>
  gpuMode !== "ppcie" || text.includes("RmEnableProtectedPcie") ? text : `${text}${PPCIE_OPTION}`;

function fabricManager({ name, guest }: Profile): NodeGoal["want"] {
  if (guest.fabricManager !== undefined)
    return { packages: guest.fabricManager.value.packages, version: guest.driver.value.version };
  throw new TeeUpError({
    code: "config.no-fabric-manager",
    subject: "teeup:gpuMode",
    saw: `profile ${name} has no fabric manager, which ppcie needs`,
    next: "pulumi config set teeup:gpuMode on, or choose a profile for several GPUs",
  });
}

function launch({ cpu, host }: Profile): NodeGoal["want"] {
  const stack = host.vmStack.value;
  const { qemu, ovmf } = vmStackPaths(VmStackWantSchema.parse(stack));
  // TDs of every QEMU that has them start from -bios, with memory of guest_memfd that needs no word.
  if (cpu === "tdx") return { qemu, ovmf, ovmfAs: "bios", memfd: false };
  // The 5.19 tree's QEMU starts SNP guests from pflash and knows no shared memfd memory; upstream's is the other way.
  const upstream = compareVersions(stack.minQemu, "9.1") >= 0;
  return { qemu, ovmf, ovmfAs: upstream ? "bios" : "pflash", memfd: upstream };
}
