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
  menu: menu(WORD),
};
const plain = ok("BOOT_IMAGE=/boot/vmlinuz-6.14.0 root=/dev/sda1 ro quiet\n");
const web = ok("BOOT_IMAGE=/boot/vmlinuz-6.14.0 root=/dev/sda1 ro quiet amd_iommu=on iommu=pt\n");
const recipe = 'GRUB_CMDLINE_LINUX_DEFAULT="quiet amd_iommu=on iommu=pt"\n';
const [drop, running, inMenu] = ["kernel-cmdline.drop-in", "kernel-cmdline.running", "kernel-cmdline.menu"];

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
      menu: menu(`${WORD} iommu=pt`),
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
  example("no answer", want, { ...good, running: failed("connection lost") }, [running]),
];
