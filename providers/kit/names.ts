/**
 * Every facet's name and the module of its Pulumi type, `<persona>:<Type>`. Here, apart from the facets, because
 * programs name facets without loading them; a test compares the two.
 */
export const PARTS = {
  cpu: "hardware:Cpu",
  bios: "hardware:Bios",
  packages: "host:Packages",
  "kernel-build": "host:KernelBuild",
  kernel: "host:Kernel",
  "kernel-cmdline": "host:KernelCmdline",
  "module-options": "host:ModuleOptions",
  "sev-firmware": "host:SevFirmware",
  "vm-stack": "host:VmStack",
  libvirt: "host:Libvirt",
  "host-boot": "host:HostBoot",
  "snp-ready": "host:SnpReady",
  "tdx-ready": "host:TdxReady",
  "quote-service": "host:QuoteService",
  "gpu-inventory": "host:GpuInventory",
  "gpu-tools": "host:GpuTools",
  "gpu-cc-mode": "host:GpuCcMode",
  "vfio-binding": "host:VfioBinding",
  "guest-image": "host:GuestImage",
  "confidential-vm": "host:ConfidentialVm",
  "instance-system": "vm-admin:InstanceSystem",
  "guest-kernel": "vm-admin:GuestKernel",
  lkca: "vm-admin:Lkca",
  "nvidia-driver": "vm-admin:NvidiaDriver",
  "fabric-manager": "vm-admin:FabricManager",
  "nvidia-persistenced": "vm-admin:NvidiaPersistenced",
  "gpu-agents": "vm-admin:GpuAgents",
  "cuda-toolkit": "vm-admin:CudaToolkit",
  "guest-evidence": "vm-admin:GuestEvidence",
  "tdx-quote": "vm-user:TdxQuote",
  "attestation-tool": "vm-user:AttestationTool",
  attestation: "vm-user:Attestation",
  "guest-attestation": "vm-user:GuestAttestation",
  "gpu-ready-state": "vm-user:GpuReadyState",
} as const;

export type FacetName = keyof typeof PARTS;
