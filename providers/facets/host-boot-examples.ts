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

/** Restarts need other facets' pending reasons, which an example cannot give: see test/facets/host-boot.test.ts. */
export const HOST_BOOT_EXAMPLES = [
  example("the running kernel is the default", want, good),
  example("good trial, not kept yet", want, unsaved, ["host-boot.default"], ["host-boot.keep"]),
  example("restarted, and nothing waits", want, restarted, ["host-boot.ineffective"], ["host-boot.clear"]),
  example("GRUB does not take the saved entry", want, noFallBack, ["host-boot.no-saved-default"]),
  example("no answer", want, { ...good, saved: failed("connection lost") }, ["host-boot.default"]),
];
