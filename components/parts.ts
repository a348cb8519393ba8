import type * as pulumi from "@pulumi/pulumi";
import type { z } from "zod";
import type * as facets from "../providers/facets/index.ts";
import { type FacetName, PARTS } from "../providers/kit/names.ts";
import { FacetResource } from "../providers/resource.ts";

/** The node by its name in `teeup:nodes`, and the fields of the facet's want; docs/facets.md lists them all. */
export type PartArgs<W> = { readonly node: pulumi.Input<string> } & {
  readonly [K in keyof W]?: pulumi.Input<W[K]>;
};

type Want<F extends { readonly want: z.ZodType }> = z.output<F["want"]>;

/** Named, since declarations cannot describe an anonymous class with private members of the SDK. */
export interface PartClass<W> {
  new (name: string, args: PartArgs<W>, opts?: pulumi.CustomResourceOptions): FacetResource;
}

function part<W>(facet: FacetName): PartClass<W> {
  const type = PARTS[facet];
  return class Part extends FacetResource {
    constructor(name: string, { node, ...want }: PartArgs<W>, opts?: pulumi.CustomResourceOptions) {
      super(type, facet, name, { node, want: want as Record<string, unknown> }, opts);
    }
  };
}

/** Each facet as a resource of its own, for programs that manage only a part of a node. */
export const Cpu = part<Want<typeof facets.cpu>>("cpu");
export const Bios = part<Want<typeof facets.bios>>("bios");
export const Packages = part<Want<typeof facets.packages>>("packages");
export const KernelBuild = part<Want<typeof facets.kernelBuild>>("kernel-build");
export const Kernel = part<Want<typeof facets.kernel>>("kernel");
export const KernelCmdline = part<Want<typeof facets.kernelCmdline>>("kernel-cmdline");
export const ModuleOptions = part<Want<typeof facets.moduleOptions>>("module-options");
export const SevFirmware = part<Want<typeof facets.sevFirmware>>("sev-firmware");
export const VmStack = part<Want<typeof facets.vmStack>>("vm-stack");
export const Libvirt = part<Want<typeof facets.libvirt>>("libvirt");
export const HostBoot = part<Want<typeof facets.hostBoot>>("host-boot");
export const SnpReady = part<Want<typeof facets.snpReady>>("snp-ready");
export const TdxReady = part<Want<typeof facets.tdxReady>>("tdx-ready");
export const QuoteService = part<Want<typeof facets.quoteService>>("quote-service");
export const GpuInventory = part<Want<typeof facets.gpuInventory>>("gpu-inventory");
export const GpuTools = part<Want<typeof facets.gpuTools>>("gpu-tools");
export const GpuCcMode = part<Want<typeof facets.gpuCcMode>>("gpu-cc-mode");
export const VfioBinding = part<Want<typeof facets.vfioBinding>>("vfio-binding");
export const GuestImage = part<Want<typeof facets.guestImage>>("guest-image");
export const ConfidentialVm = part<Want<typeof facets.confidentialVm>>("confidential-vm");
export const GuestKernel = part<Want<typeof facets.guestKernel>>("guest-kernel");
export const Lkca = part<Want<typeof facets.lkca>>("lkca");
export const NvidiaDriver = part<Want<typeof facets.nvidiaDriver>>("nvidia-driver");
export const FabricManager = part<Want<typeof facets.fabricManager>>("fabric-manager");
export const NvidiaPersistenced = part<Want<typeof facets.nvidiaPersistenced>>("nvidia-persistenced");
export const GuestEvidence = part<Want<typeof facets.guestEvidence>>("guest-evidence");
export const AttestationTool = part<Want<typeof facets.attestationTool>>("attestation-tool");
export const Attestation = part<Want<typeof facets.attestation>>("attestation");
export const GuestAttestation = part<Want<typeof facets.guestAttestation>>("guest-attestation");
export const GpuReadyState = part<Want<typeof facets.gpuReadyState>>("gpu-ready-state");
export const InstanceSystem = part<Want<typeof facets.instanceSystem>>("instance-system");
export const GpuAgents = part<Want<typeof facets.gpuAgents>>("gpu-agents");
export const CudaToolkit = part<Want<typeof facets.cudaToolkit>>("cuda-toolkit");
export const TdxQuote = part<Want<typeof facets.tdxQuote>>("tdx-quote");
