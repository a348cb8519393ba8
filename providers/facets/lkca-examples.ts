import { failed, missing, ok } from "../kit/ask.ts";
import { example } from "../kit/example.ts";
import type { Example } from "../kit/facet.ts";
import { NO_MACHINE } from "../kit/guest.ts";
import type { LkcaWant } from "./lkca.ts";

const WANT: LkcaWant = {
  text: "install nvidia /sbin/modprobe ecdsa_generic; /sbin/modprobe ecdh; /sbin/modprobe --ignore-install nvidia\n",
};
const GOOD = {
  config: ok(WANT.text),
  stamp: ok(WANT.text),
  initramfsTools: ok(""),
  log: ok("", 1),
  restarted: missing,
  inService: missing,
};
const STUBS = { ...GOOD, log: ok("NVRM: libspdm expects LKCA but found stubs!\n") };

export const lkcaExamples: readonly Example<LkcaWant>[] = [
  example("configured, and the initramfs made after it", WANT, GOOD),
  example(
    "no guest yet",
    WANT,
    {
      config: NO_MACHINE,
      stamp: NO_MACHINE,
      initramfsTools: NO_MACHINE,
      log: NO_MACHINE,
      restarted: NO_MACHINE,
      inService: NO_MACHINE,
    },
    ["lkca.config", "lkca.initramfs"],
    ["lkca.configure"],
  ),
  example(
    "killed before the initramfs was made",
    WANT,
    { ...GOOD, stamp: missing },
    ["lkca.initramfs"],
    ["lkca.configure"],
  ),
  example(
    "the guide's misprint on the machine",
    WANT,
    { ...GOOD, config: ok("install nvidia /sbin/modprobe ecdsa_generic ecdh; …\n") },
    ["lkca.config"],
    ["lkca.configure"],
  ),
  // systemd before 243, which Alibaba Cloud Linux 3 has (239): systemd/systemd#12581.
  example("an older journalctl that finds no line ends with 0", WANT, { ...GOOD, log: ok("") }),
  example(
    "a journalctl that cannot look for a line is no sign that there is none",
    WANT,
    { ...GOOD, log: ok("", 1, "Compiled without pattern matching support\n") },
    ["lkca.stubs"],
  ),
  example(
    "no journal of the kernel's is no sign either",
    WANT,
    { ...GOOD, log: ok("", 0, "No journal files were found.\n") },
    ["lkca.stubs"],
  ),
  example("the driver took the stubs", WANT, STUBS, ["lkca.stubs"], ["lkca.configure", "lkca.restart"]),
  example("the driver took the stubs again after that restart", WANT, { ...STUBS, restarted: ok(WANT.text) }, [
    "lkca.stubs",
  ]),
  example("no answer", WANT, { ...GOOD, config: failed("connection lost") }, ["lkca.config"], []),
];
