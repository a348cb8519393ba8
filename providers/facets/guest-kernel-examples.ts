import type { Answer } from "../kit/ask.ts";
import { failed, missing, ok } from "../kit/ask.ts";
import type { Example } from "../kit/facet.ts";
import { NO_MACHINE } from "../kit/guest.ts";
import type { GuestKernelWant } from "./guest-kernel.ts";

const R = "6.8.0-90-generic";
const want: GuestKernelWant = {
  release: R,
  packages: [`linux-image-${R}`],
  hold: ["linux-generic", "linux-virtual"],
  config: [],
  commandLine: [],
};
const menu = (releases: readonly string[], first = "0") =>
  [
    `   set default="${first}"`,
    "submenu 'Advanced options for Ubuntu' $menuentry_id_option 'gnulinux-advanced-u1' {",
    ...releases.flatMap((r) => [
      `\tmenuentry 'Ubuntu, with Linux ${r}' --class os $menuentry_id_option 'gnulinux-${r}-advanced-u1' {`,
      `\t\tlinux /boot/vmlinuz-${r} root=UUID=u1 ro`,
      "\t}",
    ]),
    "}",
    "",
  ].join("\n");
const entry = `gnulinux-advanced-u1>gnulinux-${R}-advanced-u1`;
const good: Readonly<Record<string, Answer>> = {
  running: ok(`${R}\n`),
  packages: ok(`installed linux-image-${R} 6.8.0-90.91\ninstalled linux-virtual 6.8.0-90.91\n`),
  held: ok(`installed\tlinux-image-${R}\t\thold\ninstalled\tlinux-virtual\t\thold\n`),
  grub: ok(menu([R], entry)),
  cmdline: ok(`BOOT_IMAGE=/boot/vmlinuz-${R} root=UUID=u1 ro\n`),
  inService: missing,
};
const example = (
  name: string,
  answers: Readonly<Record<string, Answer>>,
  findings: readonly string[],
  steps: readonly string[],
  wanted = want,
): Example<GuestKernelWant> => ({ name, want: wanted, answers: { ...good, ...answers }, findings, steps });

const td: GuestKernelWant = {
  ...want,
  config: ["CONFIG_CRYPTO_ECC", "CONFIG_CRYPTO_ECDSA"],
  commandLine: ["clearcpuid=mtrr"],
};
const tdAnswers: Readonly<Record<string, Answer>> = {
  cmdline: ok("root=UUID=u1 ro clearcpuid=mtrr\n"),
  grub: ok(menu([R], entry).replaceAll(" ro", " ro clearcpuid=mtrr")),
  configs: ok(`/boot/config-${R}:CONFIG_CRYPTO_ECC=y\n/boot/config-${R}:CONFIG_CRYPTO_ECDSA=m\n`),
};

const [R8, OLD8] = ["5.10.134-19.al8.x86_64", "5.10.134-16.al8.x86_64"];
const want8: GuestKernelWant = {
  release: R8,
  packages: [`kernel-core-${R8}`],
  hold: ["kernel-core"],
  config: [],
  commandLine: [],
};
const bls = (release: string) => ok(`index=0\nkernel="/boot/vmlinuz-${release}"\nargs="ro"\nid="7a-${release}"\n`);
const redHat: Readonly<Record<string, Answer>> = {
  os: ok('ID="alinux"\nID_LIKE="rhel fedora centos anolis"\n'),
  running: ok(`${R8}\n`),
  packages: missing,
  held: missing,
  grub: missing,
  rpmKernels: ok(`kernel-core ${R8}\nkernel-core ${OLD8}\n`),
  locks: ok("kernel-core-0:5.10.134-19.al8.*\n"),
  grubby: bls(R8),
  grub2Default: ok(`   set default="$\{saved_entry}"\n`),
  saved2: ok(`saved_entry=7a-${R8}\n`),
};

export const guestKernelExamples: readonly Example<GuestKernelWant>[] = [
  example("running, held and the default", {}, [], []),
  example(
    "no guest yet",
    { running: NO_MACHINE, packages: NO_MACHINE, held: NO_MACHINE, grub: NO_MACHINE, inService: NO_MACHINE },
    ["guest-kernel.installed", "guest-kernel.held", "guest-kernel.default", "guest-kernel.running"],
    ["guest-kernel.install", "guest-kernel.hold", "guest-kernel.default", "guest-kernel.restart"],
  ),
  example(
    "a fresh cloud image with another kernel",
    {
      running: ok("6.8.0-60-generic\n"),
      packages: ok("installed linux-image-6.8.0-60-generic 6.8.0-60.63\ninstalled linux-virtual 6.8.0-60.63\n"),
      held: ok(""),
      grub: ok(menu(["6.8.0-60-generic"])),
    },
    ["guest-kernel.installed", "guest-kernel.held", "guest-kernel.default", "guest-kernel.running"],
    ["guest-kernel.install", "guest-kernel.hold", "guest-kernel.default", "guest-kernel.restart"],
  ),
  example(
    "upgraded away: a newer kernel runs",
    { running: ok("6.11.0-9-generic\n"), grub: ok(menu(["6.11.0-9-generic", R])) },
    ["guest-kernel.default", "guest-kernel.upgraded"],
    ["guest-kernel.default", "guest-kernel.restart"],
  ),
  example(
    "no longer held",
    { held: ok(`installed\tlinux-image-${R}\t\thold\n`) },
    ["guest-kernel.held"],
    ["guest-kernel.hold"],
  ),
  example("a TD's command line and crypto", tdAnswers, [], [], td),
  example(
    "clearcpuid=mtrr is missing: staged, then a restart",
    { configs: tdAnswers["configs"] ?? missing },
    ["guest-kernel.words"],
    ["guest-kernel.words", "guest-kernel.restart"],
    td,
  ),
  example(
    "staged, and not running yet",
    { ...tdAnswers, cmdline: ok("root=UUID=u1 ro\n") },
    ["guest-kernel.words"],
    ["guest-kernel.restart"],
    td,
  ),
  example(
    "a kernel without the crypto that an SPDM session takes is a person's work",
    { ...tdAnswers, configs: ok(`/boot/config-${R}:CONFIG_CRYPTO_ECC=y\n`) },
    ["guest-kernel.config"],
    [],
    td,
  ),
  example(
    "no answer about the command line",
    { ...tdAnswers, cmdline: failed("connection lost") },
    ["guest-kernel.words"],
    [],
    td,
  ),
  { name: "Red Hat family: locked and the saved default", want: want8, answers: redHat, findings: [], steps: [] },
  {
    name: "Red Hat family: an image with another kernel and without dnf's plugin for locks",
    want: want8,
    answers: {
      ...redHat,
      running: ok(`${OLD8}\n`),
      rpmKernels: ok(`kernel-core ${OLD8}\n`),
      locks: missing,
      grubby: bls(OLD8),
      saved2: ok(`saved_entry=7a-${OLD8}\n`),
    },
    findings: ["guest-kernel.installed", "guest-kernel.held", "guest-kernel.default", "guest-kernel.running"],
    steps: ["guest-kernel.hold", "guest-kernel.install", "guest-kernel.default", "guest-kernel.restart"],
  },
  example("no answer", { packages: failed("connection lost") }, ["guest-kernel.installed"], []),
];
