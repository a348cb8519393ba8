import { TeeUpError } from "../kit/errors.ts";
import type { Facet } from "../kit/facet.ts";
import { attestation } from "./attestation.ts";
import { attestationTool } from "./attestation-tool.ts";
import { bios } from "./bios.ts";
import { confidentialVm } from "./confidential-vm.ts";
import { cpu } from "./cpu.ts";
import { cudaToolkit } from "./cuda-toolkit.ts";
import { fabricManager } from "./fabric-manager.ts";
import { gpuAgents } from "./gpu-agents.ts";
import { gpuCcMode } from "./gpu-cc-mode.ts";
import { gpuInventory } from "./gpu-inventory.ts";
import { gpuReadyState } from "./gpu-ready-state.ts";
import { gpuTools } from "./gpu-tools.ts";
import { guestAttestation } from "./guest-attestation.ts";
import { guestEvidence } from "./guest-evidence.ts";
import { guestImage } from "./guest-image.ts";
import { guestKernel } from "./guest-kernel.ts";
import { hostBoot } from "./host-boot.ts";
import { instanceSystem } from "./instance-system.ts";
import { kernel } from "./kernel.ts";
import { kernelBuild } from "./kernel-build.ts";
import { kernelCmdline } from "./kernel-cmdline.ts";
import { libvirt } from "./libvirt.ts";
import { lkca } from "./lkca.ts";
import { moduleOptions } from "./module-options.ts";
import { nvidiaDriver } from "./nvidia-driver.ts";
import { nvidiaPersistenced } from "./nvidia-persistenced.ts";
import { packages } from "./packages.ts";
import { quoteService } from "./quote-service.ts";
import { sevFirmware } from "./sev-firmware.ts";
import { snpReady } from "./snp-ready.ts";
import { tdxQuote } from "./tdx-quote.ts";
import { tdxReady } from "./tdx-ready.ts";
import { vfioBinding } from "./vfio-binding.ts";
import { vmStack } from "./vm-stack.ts";

export {
  attestation,
  attestationTool,
  bios,
  confidentialVm,
  cpu,
  cudaToolkit,
  fabricManager,
  gpuAgents,
  gpuCcMode,
  gpuInventory,
  gpuReadyState,
  gpuTools,
  guestAttestation,
  guestEvidence,
  guestImage,
  guestKernel,
  hostBoot,
  instanceSystem,
  kernel,
  kernelBuild,
  kernelCmdline,
  libvirt,
  lkca,
  moduleOptions,
  nvidiaDriver,
  nvidiaPersistenced,
  packages,
  quoteService,
  sevFirmware,
  snpReady,
  tdxQuote,
  tdxReady,
  vfioBinding,
  vmStack,
};

/** Every facet, in the order of the guides. A new check is one new file, and one line here. */
export const FACETS: readonly Facet[] = [
  cpu,
  bios,
  packages,
  kernelBuild,
  kernel,
  kernelCmdline,
  moduleOptions,
  sevFirmware,
  vmStack,
  libvirt,
  hostBoot,
  snpReady,
  tdxReady,
  quoteService,
  gpuInventory,
  gpuTools,
  gpuCcMode,
  vfioBinding,
  guestImage,
  confidentialVm,
  instanceSystem,
  guestKernel,
  lkca,
  nvidiaDriver,
  fabricManager,
  nvidiaPersistenced,
  gpuAgents,
  cudaToolkit,
  guestEvidence,
  tdxQuote,
  attestationTool,
  attestation,
  guestAttestation,
  gpuReadyState,
] as readonly unknown[] as readonly Facet[];

const BY_NAME = new Map(FACETS.map((f) => [f.name, f]));

/** Throws TeeUpError `facet.unknown` that lists the names. */
export function facetNamed(name: string): Facet {
  const found = BY_NAME.get(name);
  if (found !== undefined) return found;
  throw new TeeUpError({
    code: "facet.unknown",
    subject: name,
    saw: `no facet is called ${JSON.stringify(name)}`,
    next: `use one of: ${FACETS.map((f) => f.name).join(", ")}`,
  });
}
