import { failed, missing, ok } from "../kit/ask.ts";
import { example } from "../kit/example.ts";
import type { KernelWant } from "../kit/kernel.ts";

const want: KernelWant = {
  release: "6.14.0-37-generic",
  packages: ["linux-image-6.14.0-37-generic"],
  config: ["CONFIG_KVM_AMD_SEV"],
};
const good = {
  running: ok("6.14.0-37-generic\n"),
  images: ok("vmlinuz-6.14.0-37-generic\nvmlinuz-6.8.0-90-generic\n"),
  packages: ok("installed linux-image-6.14.0-37-generic 6.14.0-37.37\ninstalled linux-generic 6.8.0-90.91\n", 1),
  configs: ok("/boot/config-6.14.0-37-generic:CONFIG_KVM_AMD_SEV=y\n"),
  held: ok("installed\tlinux-generic\t\thold\ninstalled\tlinux-image-6.14.0-37-generic\t\thold\n"),
  grub: ok(""),
};
const old = { ...good, running: ok("6.8.0-90-generic\n") };
const bare = { ...old, images: ok("vmlinuz-6.8.0-90-generic\n"), packages: ok("", 1), held: ok("") };
const upgraded = { ...good, running: ok("6.17.0-8-generic\n"), held: ok("") };

const EL9 = "5.14.0-503.el9.x86_64";
const want9: KernelWant = { release: EL9, packages: [`kernel-core-${EL9}`], config: [] };
const redHat = {
  os: ok('ID="rocky"\nID_LIKE="rhel centos fedora"\n'),
  running: ok(`${EL9}\n`),
  images: ok(`vmlinuz-${EL9}\nvmlinuz-0-rescue-6f0c2a\n`),
  rpmKernels: ok(`kernel-core ${EL9}\nkernel ${EL9}\nkernel-headers ${EL9}\n`),
  locks: ok("# Added lock on Mon Oct  5 08:00:00 2026\nkernel-core-0:5.14.0-503.el9.*\nkernel-0:5.14.0-503.el9.*\n"),
  grubby: ok(`index=0\nkernel="/boot/vmlinuz-${EL9}"\nargs="ro"\nid="6f0c2a-${EL9}"\n`),
};

export const KERNEL_EXAMPLES = [
  example("runs and is held", want, good),
  example("staged, waits for a restart", want, old, ["kernel.running"]),
  example(
    "untouched",
    want,
    bare,
    ["kernel.installed", "kernel.held", "kernel.running"],
    ["kernel.install", "kernel.hold"],
  ),
  example("upgraded by apt", want, upgraded, ["kernel.held", "kernel.upgraded"], ["kernel.hold"]),
  example("built without SEV", want, { ...good, configs: ok("", 1) }, ["kernel.config"]),
  example(
    "built with what the recipe turns off",
    { ...want, configOff: ["CONFIG_KEXEC", "CONFIG_CRASH_DUMP"] },
    {
      ...good,
      configs: ok(
        "/boot/config-6.14.0-37-generic:CONFIG_KVM_AMD_SEV=y\n/boot/config-6.14.0-37-generic:CONFIG_KEXEC=y\n",
      ),
    },
    ["kernel.config"],
  ),
  example("Red Hat family: runs and is locked", want9, redHat),
  example(
    "Red Hat family: untouched, another version is locked",
    want9,
    {
      ...redHat,
      running: ok("5.14.0-427.el9.x86_64\n"),
      images: ok("vmlinuz-5.14.0-427.el9.x86_64\nvmlinuz-0-rescue-6f0c2a\n"),
      rpmKernels: ok("kernel-core 5.14.0-427.el9.x86_64\nkernel 5.14.0-427.el9.x86_64\n"),
      locks: ok("kernel-core-0:5.14.0-427.el9.*\n"),
    },
    ["kernel.installed", "kernel.held", "kernel.running"],
    ["kernel.hold", "kernel.install"],
  ),
  example(
    "Red Hat family: dnf's plugin for locks is missing",
    want9,
    { ...redHat, locks: missing },
    ["kernel.held"],
    ["kernel.hold"],
  ),
  example("no answer", want, { ...good, held: failed("no answer within 20 s") }, ["kernel.held"]),
];
