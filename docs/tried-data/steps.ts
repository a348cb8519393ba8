/**
 * Every step that a facet can plan, and what tried it on a real kernel: the lab's virtual machine, unless the test says
 * otherwise. Which tests passed is in results.json, written by `npm run tried`.
 */
export type Trial =
  | { readonly by: "test"; readonly file: string; readonly test: string }
  /** Could be tried without SEV-SNP hardware, and was not. */
  | { readonly by: "untried"; readonly why: string }
  /** Needs what no virtual machine has. */
  | { readonly by: "hardware"; readonly why: string };

const lab =
  (file: string) =>
  (test: string): Trial => ({ by: "test", file: `test/lab/${file}.test.ts`, test });
const [up, kernel, rpm] = [lab("up"), lab("kernel"), lab("rpm")];
const untried = (why: string): Trial => ({ by: "untried", why });
const hardware = (why: string): Trial => ({ by: "hardware", why });

const UP = up("what stands on the machine after up");
const DESTROY = up("destroy gives back what up took");
const DRIFT = up("up mends all of it, without a restart");
const TRIED_KERNEL = kernel(
  "a built kernel is installed by dpkg, tried once through GRUB, and made the default only when it has come up",
);
const PERSON = untried("ends with a person: the step has nothing to run");
const GPU = hardware("an NVIDIA GPU in confidential mode");
const GUEST = hardware("a confidential guest with its GPU; the lab's guest is a stand-in that takes no session");
const TDX = hardware("a processor with TDX");
const EVIDENCE = hardware("a processor that signs reports, behind configfs-tsm; the twin signs with test roots");

export const STEPS: Readonly<Record<string, Trial>> = {
  "bios.stage": hardware("a server's BMC; the twin's has the attributes that vendors publish"),
  "bios.by-hand": PERSON,
  "packages.install": UP,
  "packages.pip": untried("the lab's packages are Debian's alone; the twin has the old recipe that needs pip"),
  "kernel-build.build": untried(
    "a kernel of the recipe takes hours here; the lab builds a small one outside the facet",
  ),
  "kernel-build.fetch": TRIED_KERNEL,
  "kernel.install": TRIED_KERNEL,
  "kernel.hold": TRIED_KERNEL,
  "kernel.unhold": rpm("that is deleted may be upgraded again"),
  "kernel-cmdline.stage": UP,
  "kernel-cmdline.strip": untried("the lab's machine starts without the web's recipe; update-grub itself is tried"),
  "kernel-cmdline.edit": PERSON,
  "kernel-cmdline.update-grub": untried("follows only a hand edit of grub.cfg; update-grub itself is tried"),
  "kernel-cmdline.restore": DESTROY,
  "module-options.stage": UP,
  "module-options.stage-load": UP,
  "module-options.load": UP,
  "module-options.initramfs": rpm("of a run that was killed before dracut: only the initramfs is made again"),
  "module-options.remove": DESTROY,
  "sev-firmware.stage": hardware("AMD's secure processor takes the file"),
  "sev-firmware.restore": hardware("AMD's secure processor takes the file"),
  "vm-stack.install": UP,
  "vm-stack.hold": UP,
  "vm-stack.unhold": DESTROY,
  "vm-stack.build-qemu": untried("a QEMU with SNP builds for an hour on the lab's emulated processor"),
  "vm-stack.build-ovmf": untried("needs the network and an hour; the lab's machine has neither"),
  "libvirt.install": untried("libvirtd has not been given to the lab's machine yet"),
  "libvirt.configure": untried("libvirtd has not been given to the lab's machine yet"),
  "libvirt.restore": untried("libvirtd has not been given to the lab's machine yet"),
  "libvirt.start": untried("libvirtd has not been given to the lab's machine yet"),
  "host-boot.restart": TRIED_KERNEL,
  "host-boot.keep": TRIED_KERNEL,
  "host-boot.clear": TRIED_KERNEL,
  "host-boot.no-saved-default": PERSON,
  "quote-service.key": untried("a download over the network, which the lab's machine does not have"),
  "quote-service.install": TDX,
  "quote-service.start": TDX,
  "quote-service.register": TDX,
  "gpu-tools.install": untried("a clone over the network, which the lab's machine does not have"),
  "gpu-tools.remove": untried("a clone over the network, which the lab's machine does not have"),
  "gpu-cc-mode.set": GPU,
  "gpu-cc-mode.unload-nvidia": GPU,
  "vfio-binding.modules-load": UP,
  "vfio-binding.module": untried("module-options has loaded vfio-pci before; modprobe itself is tried"),
  "vfio-binding.bind": UP,
  "vfio-binding.save": untried("only while a guest holds the device, and the stand-in does not"),
  "vfio-binding.group-shared": PERSON,
  "vfio-binding.restore": DESTROY,
  "guest-image.seed": UP,
  "guest-image.disk": UP,
  "guest-image.grow": untried("no test of the lab asks for a larger disk afterwards; qemu-img itself is tried"),
  "guest-image.replace": PERSON,
  "guest-image.remove": DESTROY,
  "confidential-vm.start": UP,
  "confidential-vm.restart": DRIFT,
  "confidential-vm.define": untried("libvirtd has not been given to the lab's machine yet"),
  "confidential-vm.stray": PERSON,
  "confidential-vm.stuck": PERSON,
  "confidential-vm.remove": DESTROY,
  "guest-kernel.install": GUEST,
  "guest-kernel.hold": GUEST,
  "guest-kernel.default": GUEST,
  "guest-kernel.restart": GUEST,
  "guest-kernel.words": GUEST,
  "lkca.configure": GUEST,
  "lkca.restart": GUEST,
  "nvidia-driver.install": GPU,
  "nvidia-driver.hold": GPU,
  "nvidia-driver.load": GPU,
  "nvidia-driver.restart": GPU,
  "fabric-manager.install": GPU,
  "fabric-manager.hold": GPU,
  "fabric-manager.start": GPU,
  "nvidia-persistenced.unit": GPU,
  "nvidia-persistenced.start": GPU,
  "nvidia-persistenced.wait": GPU,
  "nvidia-persistenced.restart-guest": GPU,
  "gpu-agents.start": untried("the lab's machine has no agent of a cloud; systemctl itself is tried"),
  "cuda-toolkit.install": GPU,
  "cuda-toolkit.cublas": GPU,
  "tdx-quote.packages": GPU,
  "tdx-quote.generator": GPU,
  "tdx-quote.verifier": GPU,
  "tdx-quote.quote": TDX,
  "tdx-quote.pccs": GPU,
  "attestation-tool.install": GPU,
  "attestation.policy": GPU,
  "guest-attestation.attest": EVIDENCE,
  "guest-attestation.withdraw": EVIDENCE,
  "gpu-ready-state.set": GPU,
  "gpu-ready-state.mark": GPU,
};
