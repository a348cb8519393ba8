import { failed, ok } from "../kit/ask.ts";
import { example } from "../kit/example.ts";
import type { CommandLine } from "../kit/kernel-cmdline.ts";
import { dropIn } from "../kit/kernel-cmdline.ts";

const WORD = "vfio-pci.disable_idle_d3=1";
const want: CommandLine = { present: [WORD], forbidden: ["iommu=pt", "amd_iommu=off"] };
const OURS = "/etc/default/grub.d/50-teeup.cfg";
const THEIRS = "/etc/default/grub.d/99-web.cfg";

/** What `grep -rsH ''` prints of files. */
const files = (table: Readonly<Record<string, string>>) =>
  ok(
    Object.entries(table)
      .flatMap(([path, text]) =>
        text
          .trimEnd()
          .split("\n")
          .map((line) => `${path}:${line}\n`),
      )
      .join(""),
  );
const menu = (words: string) =>
  ok(`   set default="\${saved_entry}"\n\tlinux\t/boot/vmlinuz-6.14.0 root=/dev/sda1 ro ${words}\n`);
const MAIN = 'GRUB_DEFAULT=0\nGRUB_CMDLINE_LINUX_DEFAULT="quiet"\n';
const good = {
  running: ok(`BOOT_IMAGE=/boot/vmlinuz-6.14.0 root=/dev/sda1 ro ${WORD} quiet\n`),
  files: files({ "/etc/default/grub": MAIN, [OURS]: dropIn(want) }),
  menu: menu(`panic=10 ${WORD}`),
};
const plain = ok("BOOT_IMAGE=/boot/vmlinuz-6.14.0 root=/dev/sda1 ro quiet\n");
const web = ok("BOOT_IMAGE=/boot/vmlinuz-6.14.0 root=/dev/sda1 ro quiet amd_iommu=on iommu=pt\n");
const recipe = 'GRUB_CMDLINE_LINUX_DEFAULT="quiet amd_iommu=on iommu=pt"\n';
const [drop, running, inMenu] = ["kernel-cmdline.drop-in", "kernel-cmdline.running", "kernel-cmdline.menu"];

/** What grubby shows of two kernels and the rescue image (synthetic, in the order and form of grubby-bls). */
const grubby = (words: string) =>
  ok(
    ["5.14.0-503.el9.x86_64", "5.14.0-427.el9.x86_64", "0-rescue-6f0c2a"]
      .map(
        (release, n) =>
          `index=${n}\nkernel="/boot/vmlinuz-${release}"\nargs="ro crashkernel=1G ${words}"\nroot="UUID=5b6f"\ninitrd="/boot/initramfs-${release}.img"\ntitle="Linux (${release})"\nid="6f0c2a-${release}"\n`,
      )
      .join(""),
  );
const redHat = {
  running: ok(
    `BOOT_IMAGE=(hd0,gpt2)/vmlinuz-5.14.0-503.el9.x86_64 root=UUID=5b6f ro crashkernel=1G ${WORD} panic=10\n`,
  ),
  files: files({ "/etc/default/grub": 'GRUB_DEFAULT=saved\nGRUB_CMDLINE_LINUX="iommu=pt"\n' }),
  grubby: grubby(`${WORD} panic=10`),
  grub2Default: ok(`   set default="$\{next_entry}"\n   set default="$\{saved_entry}"\n`),
};

export const KERNEL_CMDLINE_EXAMPLES = [
  example("in force", want, good),
  example(
    "untouched",
    want,
    { running: plain, files: files({ "/etc/default/grub": MAIN }), menu: ok("linux /boot/vmlinuz-6.14.0 ro quiet\n") },
    [drop, running, inMenu],
    ["kernel-cmdline.stage"],
  ),
  example("staged, waits for a restart", want, { ...good, running: plain }, [running]),
  example(
    "the web's recipe in /etc/default/grub",
    want,
    {
      running: web,
      files: files({ "/etc/default/grub": recipe, [OURS]: dropIn(want) }),
      menu: menu(`panic=10 ${WORD} iommu=pt`),
    },
    ["kernel-cmdline.iommu-pt", running, inMenu],
    ["kernel-cmdline.strip"],
  ),
  example(
    "the web's recipe in another drop-in",
    want,
    { ...good, running: web, files: files({ [OURS]: dropIn(want), [THEIRS]: 'GRUB_CMDLINE_LINUX="iommu=pt"\n' }) },
    ["kernel-cmdline.iommu-pt", "kernel-cmdline.overridden", running],
    ["kernel-cmdline.edit"],
  ),
  example("boot menu not written", want, { ...good, menu: menu("quiet") }, [inMenu], ["kernel-cmdline.update-grub"]),
  example("grubby: in force", want, redHat),
  example(
    "grubby: untouched, with the web's recipe",
    want,
    {
      ...redHat,
      running: ok("root=UUID=5b6f ro crashkernel=1G iommu=pt\n"),
      grubby: grubby("iommu=pt"),
    },
    [running, "kernel-cmdline.iommu-pt", inMenu],
    ["kernel-cmdline.stage"],
  ),
  example(
    "grubby: the menu does not take the saved entry",
    want,
    { ...redHat, grub2Default: ok('set default="0"\n') },
    [inMenu],
  ),
  example(
    "grubby: entries of release 7, without ids",
    want,
    { ...redHat, grubby: ok("index=0\nkernel=/boot/vmlinuz-3\n") },
    ["kernel-cmdline.drop-in", "kernel-cmdline.iommu-pt", inMenu],
  ),
  example("no answer", want, { ...good, running: failed("connection lost") }, [running]),
];
