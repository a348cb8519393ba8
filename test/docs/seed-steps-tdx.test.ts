import { expect, test } from "@jest/globals";
import { intelTdxKvmCoco } from "../../stacks/profiles/intel-tdx-kvm-coco-20240512.ts";
import { asks, found, onNodeOf, restartFor } from "./on-node.ts";

/*
 * Step by step: what TeeUp does or asks on a node of seed 004's own profile, beside what the seed prescribes there. Each
 * row is one id of docs/coverage.md, which points here by it.
 */
const { goals, plan } = onNodeOf(intelTdxKvmCoco);

const kernel = (): string => plan("kernel-build", "untouched");
const stack = (): string => plan("vm-stack", "nothing built");
const libvirt = (): string => plan("libvirt", "not installed");
const mode = (): string => plan("gpu-cc-mode", "off");
const bind = (): string => plan("vfio-binding", "untouched: nouveau has it, vfio-pci is not loaded");
const image = (): string => plan("guest-image", "nothing there");
const vm = (): string => plan("confidential-vm", "no VM yet");
const guest = (): string => plan("guest-kernel", "a fresh cloud image with another kernel");
const KVM = "git\\.kernel\\.org\\/pub\\/scm\\/linux\\/kernel\\/git\\/vishal\\/kvm\\.git";
const BASE = "698ca1e403579ca00e16a5b28ae4d576d9f1b20e";

test.each<[string, () => string, RegExp]>([
  // tdx-kvm
  ["004-04", kernel, /git init --quiet \/var\/lib\/teeup\/build\/kernel\/linux$/m],
  ["004-05", kernel, /git .*-c user\.name=TeeUp -c user\.email=teeup@localhost am /],
  ["004-07", kernel, /fetch .*https:\/\/github\.com\/intel\/tdx-linux\.git a702f131457e986fcc678481548a574c13e7f580$/m],
  ["004-08", kernel, new RegExp(`fetch .*https://${KVM} ${BASE}$`, "m")],
  // No copy into the tree: the mailbox is named where it was fetched.
  ["004-09", kernel, /\/build\/kernel\/patches-0\/tdx-kvm\/tdx_kvm_baseline_698ca1e40357\.mbox$/m],
  ["004-10", kernel, /am --quiet --empty=drop \S+tdx_kvm_baseline_698ca1e40357\.mbox$/m],
  // A commit, never a branch that is rebased.
  ["004-12", kernel, new RegExp(`^(?![\\s\\S]*kvm-coco-queue)[\\s\\S]*checkout --quiet --force ${BASE}$`, "m")],
  ["004-13", kernel, new RegExp(`checkout .*${BASE}[\\s\\S]*am .*_baseline_698ca1e40357\\.mbox`)],

  // tdx-qemu, tdx-edk2
  [
    "004-14",
    stack,
    /fetch .*https:\/\/gitlab\.com\/qemu-project\/qemu\.git 900536d3e97aed7fdd9cb4dadd3bf7023360e819$/m,
  ],
  ["004-15", stack, /am --quiet --empty=drop \S+tdx_qemu_baseline_900536d3e9\.mbox$/m],
  [
    "004-16",
    stack,
    /am .* \/var\/lib\/teeup\/build\/qemu-series\/patches-0\/tdx-qemu\/tdx_qemu_baseline_900536d3e9\.mbox$/m,
  ],

  // building the host kernel
  [
    "004-19",
    () => plan("packages", "one of each missing"),
    /apt-get .* install build-essential libncurses-dev bison flex libssl-dev libelf-dev debhelper meson ninja-build libglib2\.0-dev python3-pip nasm iasl /,
  ],
  // One argv: no line is continued, so no blank can end it.
  ["004-20", () => plan("packages", "one of each missing"), /^apt-get .* install build-essential .* iasl .*$/m],
  ["004-21", kernel, /make .*olddefconfig\n[\s\S]*scripts\/config/],
  [
    "004-22",
    () => `${kernel()}\n${found("kernel", "built without SEV", { want: { config: ["CONFIG_INTEL_TDX_HOST"] } })}`,
    /--enable INTEL_TDX_HOST [\s\S]*--module KVM --module KVM_INTEL [\s\S]*fail kernel\.config: .*CONFIG_INTEL_TDX_HOST is off/,
  ],
  ["004-23", kernel, /--enable HYPERV [\s\S]*--module TDX_GUEST_DRIVER /],
  [
    "004-24",
    () => `${kernel()}\n${found("kernel", "built with what the recipe turns off")}`,
    /--disable KEXEC --disable CRASH_DUMP [\s\S]*fail kernel\.config: .*CONFIG_KEXEC is on/,
  ],
  ["004-25", kernel, /make .* -j64 bindeb-pkg$/m],
  [
    "004-26",
    () => plan("kernel", "untouched"),
    /apt-get .*install \/var\/lib\/teeup\/artifacts\/linux-image-6\.9\.0-rc7-tdx-698ca1e40357_1-teeup1_amd64\.deb$/m,
  ],
  [
    "004-27",
    () => plan("module-options", "untouched"),
    /write \/etc\/modprobe\.d\/teeup\.conf\n.*\noptions kvm_intel tdx=on$/m,
  ],
  // A file's content: no shell reads it, so its quotes do not matter.
  [
    "004-28",
    () => plan("module-options", "untouched"),
    /^(?![\s\S]*[“”"']options)[\s\S]*write \/etc\/modprobe\.d\/teeup\.conf/,
  ],
  [
    "004-29",
    () => plan("kernel-cmdline", "untouched"),
    /GRUB_CMDLINE_LINUX="[^"]*console=ttyS0,115200 kvm_intel\.tdx=on nohibernate/,
  ],
  ["004-30", () => plan("kernel-cmdline", "untouched"), /^update-grub$/m],
  // Debian's way on Debian's family.
  ["004-31", () => plan("kernel-cmdline", "untouched"), /^(?![\s\S]*grubby)[\s\S]*write \/etc\/default\/grub\.d\//],

  // building QEMU and OVMF
  ["004-32", stack, /\.\/configure --target-list=x86_64-softmmu --prefix=\S+ --enable-kvm --enable-slirp/],
  ["004-33", stack, /build\/qemu && make -j64\n.*make install$/m],
  ["004-34", stack, /fetch .*https:\/\/github\.com\/tianocore\/edk2\.git 3e722403cd16388a0e4044e705a2b34c841d76ca$/m],
  ["004-35", stack, /build\/ovmf submodule update .*--init/],
  ["004-36", stack, /submodule update .*--init/],
  ["004-37", stack, /clean -ffdxq[\s\S]*make -C BaseTools/],
  ["004-38", stack, /bash OvmfPkg\/build\.sh -a X64 -b DEBUG .*-p OvmfPkg\/OvmfPkgX64\.dsc$/m],
  ["004-39", stack, /build\.sh .*-t GCC5 /],
  ["004-40", stack, /build\.sh .*-n 64 /],
  // One tag, for the build and for where its result is looked for.
  ["004-41", stack, /-b DEBUG -t GCC5 [\s\S]*Build\/OvmfX64\/DEBUG_GCC5\/FV\/OVMF\.fd/],
  ["004-42", stack, /^install -D .*Build\/OvmfX64\/DEBUG_GCC5\/FV\/OVMF\.fd /m],
  ["004-43", stack, /DEBUG_GCC5\/FV\/OVMF\.fd \/opt\/teeup\/ovmf\/OVMF\.fd$/m],
  [
    "004-44",
    () => restartFor({ facet: "kernel-cmdline", reason: "command line lacks nohibernate" }),
    /^\[reboot\] host-boot\.restart:/m,
  ],

  // libvirt
  ["004-45", libvirt, /write \/etc\/libvirt\/qemu\.conf\n[\s\S]*^user = "root"\ngroup = "root"$/m],
  ["004-46", libvirt, /^dynamic_ownership = 0$/m],
  ["004-47", libvirt, /^security_driver = "none"$/m],
  ["004-48", libvirt, /^systemctl restart libvirtd\.service$/m],

  // CC mode on the GPU
  [
    "004-49",
    () => plan("gpu-tools", "not there yet"),
    /fetch .*https:\/\/github\.com\/NVIDIA\/gpu-admin-tools\.git [0-9a-f]{40}/,
  ],
  ["004-50", () => plan("gpu-tools", "not there yet"), /git init --quiet \/opt\/teeup\/gpu-admin-tools/],
  ["004-51", () => asks("gpu-cc-mode"), /nvidia_gpu_tools\.py --devices gpus --query-cc-mode$/m],
  ["004-52", mode, /--set-cc-mode=on --reset-after-cc-mode-switch/],
  ["004-53", () => asks("gpu-inventory"), /^lspci /m],
  ["004-54", () => plan("module-options", "untouched"), /^modprobe vfio-pci$/m],
  ["004-55", bind, /driverctl set-override 0000:81:00\.0 vfio-pci/],
  [
    "004-56",
    () => found("gpu-inventory", "one H100 of an id the guide does not name"),
    /pass gpu-inventory\.gpu: .*2331/,
  ],

  // the guest, and the TD
  ["004-06", image, /cloud-localds /],
  ["004-58", image, /^qemu-img convert /m],
  ["004-60", guest, /clearcpuid=mtrr/],
  [
    "004-61",
    () => goals.map((g) => g.facet).join(" "),
    /kernel .*vm-stack .*tdx-ready .*vfio-binding .*confidential-vm/,
  ],
  [
    "004-62",
    () => found("guest-kernel", "a kernel without the crypto that an SPDM session takes is a person's work"),
    /fail guest-kernel\.\S+: .*CONFIG_CRYPTO_EC/,
  ],
  [
    "004-63",
    () => JSON.stringify(goals.find((g) => g.facet === "guest-kernel")?.want),
    /CONFIG_CRYPTO_ECDSA.*CONFIG_CRYPTO_ECRDSA/,
  ],
  ["004-64", vm, /-object \S*tdx-guest/],
  ["004-65", vm, /vfio-pci,host=0000:81:00\.0/],
])("%s", (_id, text, pattern) => {
  expect(text()).toMatch(pattern);
});

test("nothing of the seed is left to a shell", () => {
  for (const text of [kernel(), stack(), libvirt()]) expect(text).not.toMatch(/\$\(|\bsudo\b|\bsh -c\b/);
});
