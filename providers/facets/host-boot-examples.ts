import { failed, missing, ok } from "../kit/ask.ts";
import { example } from "../kit/example.ts";

const want = { timeoutSeconds: 1200 };
const ID = "gnulinux-6.14.0-37-generic-advanced-5b6f";
const good = {
  running: ok("6.14.0-37-generic\n"),
  saved: ok(`saved_entry=${ID}\n`),
  menu: ok(
    `set default="\${saved_entry}"\nmenuentry 'Ubuntu' $menuentry_id_option '${ID}' {\n\tlinux /boot/vmlinuz-6.14.0-37-generic ro\n}\n`,
  ),
  record: missing,
  asked: missing,
};
const unsaved = { ...good, saved: ok("saved_entry=\n") };
const noFallBack = {
  ...good,
  menu: ok(
    `set default="0"\nmenuentry 'Ubuntu' $menuentry_id_option '${ID}' {\n\tlinux /boot/vmlinuz-6.14.0-37-generic ro\n}\n`,
  ),
};
const restarted = { ...good, record: ok('{"reasons":["kernel: old"]}\n') };

const EL9 = "5.14.0-503.el9.x86_64";
const redHat = {
  running: ok(`${EL9}\n`),
  saved2: ok(`saved_entry=6f0c2a-${EL9}\nboot_success=1\n`),
  grubby: ok(`index=0\nkernel="/boot/vmlinuz-${EL9}"\nargs="ro"\nid="6f0c2a-${EL9}"\n`),
  grub2Default: ok(`   set default="$\{saved_entry}"\n`),
};

/** Restarts need other facets' pending reasons, which an example cannot give: see test/facets/host-boot.test.ts. */
export const HOST_BOOT_EXAMPLES = [
  example("the running kernel is the default", want, good),
  example("good trial, not kept yet", want, unsaved, ["host-boot.default"], ["host-boot.keep"]),
  example("restarted, and nothing waits", want, restarted, ["host-boot.ineffective"], ["host-boot.clear"]),
  example("GRUB does not take the saved entry", want, noFallBack, ["host-boot.no-saved-default"]),
  example("grubby: the running kernel is the default", want, redHat),
  example(
    "grubby: good trial, not kept yet",
    want,
    { ...redHat, saved2: ok(`saved_entry=6f0c2a-5.14.0-427.el9.x86_64\nboot_success=1\n`) },
    ["host-boot.default"],
    ["host-boot.keep"],
  ),
  example("no answer", want, { ...good, saved: failed("connection lost") }, ["host-boot.default"]),
];
