import * as pulumi from "@pulumi/pulumi";
import { z } from "zod";
import {
  ConfidentialVm,
  GuestImage,
  HostBoot,
  KernelCmdline,
  ModuleOptions,
  Packages,
  VfioBinding,
  VmStack,
} from "../../../components/parts.ts";

/**
 * The part of an SNP node that needs no SEV-SNP hardware, in the order of components/gpu-node.ts, on a machine of the
 * lab. What the machine cannot be (an EPYC with an H100) stands in the wants: words of an Intel IOMMU, a stand-in for
 * QEMU's SNP.
 */
const lab = z
  .strictObject({
    node: z.string(),
    image: z.strictObject({ url: z.string(), sha256: z.string() }),
    publicKey: z.string(),
    qemu: z.string(),
  })
  .parse(JSON.parse(new pulumi.Config("lab").require("machine")));

const { node } = lab;
const after = (...dependsOn: pulumi.Resource[]) => ({ dependsOn });

const packages = new Packages("packages", { node, names: ["driverctl", "cloud-image-utils", "lab-agent"] });
const cmdline = new KernelCmdline(
  "kernel-cmdline",
  { node, present: ["intel_iommu=on", "iommu.strict=1"] },
  after(packages),
);
const modules = new ModuleOptions(
  "module-options",
  { node, options: [{ module: "vfio_pci", option: "disable_idle_d3", value: "1" }], load: ["vfio-pci"] },
  after(packages),
);
const boot = new HostBoot("host-boot", { node }, after(cmdline, modules));
const stack = new VmStack(
  "vm-stack",
  {
    node,
    kind: "packages",
    packages: ["qemu-system-x86", "ovmf"],
    qemu: "/usr/bin/qemu-system-x86_64",
    ovmf: "/usr/share/ovmf/OVMF.fd",
    // No SNP below 9.1, so the facet asks for none: docs/decisions/lab-stand-ins.md.
    minQemu: "7.2",
  },
  after(boot),
);
const vfio = new VfioBinding("vfio-binding", { node, gpus: "all" }, after(boot));
const image = new GuestImage(
  "guest-image",
  { node, ...lab.image, diskGiB: 8, user: "root", publicKey: lab.publicKey },
  after(packages),
);
export const vm = new ConfidentialVm(
  "confidential-vm",
  { node, gpus: "all", qemu: lab.qemu, ovmf: "/usr/share/ovmf/OVMF.fd", cpus: 2, memoryGiB: 2 },
  after(stack, vfio, image),
).urn;
