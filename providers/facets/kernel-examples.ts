import { failed, ok } from "../kit/ask.ts";
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
  held: ok("linux-generic\nlinux-image-6.14.0-37-generic\n"),
  grub: ok(""),
};
const old = { ...good, running: ok("6.8.0-90-generic\n") };
const bare = { ...old, images: ok("vmlinuz-6.8.0-90-generic\n"), packages: ok("", 1), held: ok("") };
const upgraded = { ...good, running: ok("6.17.0-8-generic\n"), held: ok("") };

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
  example("no answer", want, { ...good, held: failed("no answer within 20 s") }, ["kernel.held"]),
];
