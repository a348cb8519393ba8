import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import {
  commandLineWords,
  entryOf,
  findWord,
  parseGrubCfg,
  parseSavedEntry,
  withOldWords,
  withoutWords,
} from "../../providers/kit/parse-grub.ts";

// origin: synthetic, shaped as grub-mkconfig 2.12 of Ubuntu 24.04 writes it
const CFG = `
if [ "\${next_entry}" ] ; then
   set default="\${next_entry}"
else
   set default="\${saved_entry}"
fi
menuentry 'Ubuntu' --class ubuntu $menuentry_id_option 'gnulinux-simple-5b6f' {
\tlinux\t/boot/vmlinuz-6.14.0-37-generic root=UUID=5b6f ro quiet a=1
\tinitrd\t/boot/initrd.img-6.14.0-37-generic
}
submenu 'Advanced options for Ubuntu' $menuentry_id_option 'gnulinux-advanced-5b6f' {
\tmenuentry 'Ubuntu, with Linux 6.14.0-37-generic' --class ubuntu $menuentry_id_option 'gnulinux-6.14.0-37-generic-advanced-5b6f' {
\t\tlinux\t/boot/vmlinuz-6.14.0-37-generic root=UUID=5b6f ro quiet a=1
\t}
\tmenuentry 'Ubuntu, with Linux 6.14.0-37-generic (recovery mode)' --class ubuntu $menuentry_id_option 'gnulinux-6.14.0-37-generic-recovery-5b6f' {
\t\tlinux\t/boot/vmlinuz-6.14.0-37-generic root=UUID=5b6f ro recovery a=1
\t}
\tmenuentry 'Ubuntu, with Linux 6.8.0-90-generic' --class ubuntu $menuentry_id_option 'gnulinux-6.8.0-90-generic-advanced-5b6f' {
\t\tlinux\t/boot/vmlinuz-6.8.0-90-generic root=UUID=5b6f ro quiet a=1
\t}
}
menuentry 'UEFI Firmware Settings' $menuentry_id_option 'uefi-firmware' {
\tfwsetup
}
`;

describe("grub.cfg", () => {
  const menu = parseGrubCfg(CFG);

  test("entries of normal kernels, by submenu and id", () => {
    expect(menu.entries).toEqual({
      "6.14.0-37-generic": "gnulinux-advanced-5b6f>gnulinux-6.14.0-37-generic-advanced-5b6f",
      "6.8.0-90-generic": "gnulinux-advanced-5b6f>gnulinux-6.8.0-90-generic-advanced-5b6f",
    });
    expect(entryOf(menu, "6.8.0-90-generic")).toBe("gnulinux-advanced-5b6f>gnulinux-6.8.0-90-generic-advanced-5b6f");
  });

  test("the entry of a kernel that is not installed yet", () => {
    expect(entryOf(menu, "5.19.0-rc6-snp")).toBe("gnulinux-advanced-5b6f>gnulinux-5.19.0-rc6-snp-advanced-5b6f");
    expect(entryOf(parseGrubCfg(""), "5.19.0-rc6-snp")).toBeUndefined();
  });

  test("without submenus the entries stand at the top", () => {
    const flat = CFG.replace(/^submenu.*$/m, "").replaceAll("\tmenuentry", "menuentry");
    expect(parseGrubCfg(flat).entries["6.8.0-90-generic"]).toBe("gnulinux-6.8.0-90-generic-advanced-5b6f");
  });

  test("words that stand everywhere and anywhere", () => {
    expect(menu.everywhere).toEqual(["a=1", "ro", "root=UUID=5b6f"]);
    expect(menu.anywhere).toEqual(["a=1", "quiet", "recovery", "ro", "root=UUID=5b6f"]);
    expect(menu.savedDefault).toBe(true);
    expect(parseGrubCfg(CFG.replace("saved_entry", "0")).savedDefault).toBe(false);
  });

  test("a boot partition of its own", () => {
    expect(Object.keys(parseGrubCfg(CFG.replaceAll("/boot/vmlinuz", "/vmlinuz")).entries)).toHaveLength(2);
  });
});

test("the saved entry", () => {
  expect(parseSavedEntry("saved_entry=a>b\nnext_entry=\n")).toBe("a>b");
  expect(parseSavedEntry("next_entry=x\n")).toBe("");
});

test("words of a command line keep their quotes together", () => {
  expect(commandLineWords('BOOT_IMAGE=/vmlinuz dyndbg="file a +p" ro\n')).toEqual([
    "BOOT_IMAGE=/vmlinuz",
    'dyndbg="file a +p"',
    "ro",
  ]);
});

const MAIN = "/etc/default/grub";
const OTHER = "/etc/default/grub.d/99-x.cfg";

test.each([
  [{ [MAIN]: ['GRUB_CMDLINE_LINUX_DEFAULT="quiet iommu=pt"'] }, [{ path: MAIN, plain: true }]],
  [{ [MAIN]: ["GRUB_CMDLINE_LINUX=iommu=pt"] }, [{ path: MAIN, plain: true }]],
  [{ [MAIN]: ['GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX iommu=pt"'] }, [{ path: MAIN, plain: false }]],
  [{ [MAIN]: ['X="iommu=pt"'] }, [{ path: MAIN, plain: false }]],
  [{ [OTHER]: ['GRUB_CMDLINE_LINUX="iommu=pt"'] }, [{ path: OTHER, plain: false }]],
  [{ [MAIN]: ['# GRUB_CMDLINE_LINUX="iommu=pt"'] }, []],
  [{ [MAIN]: ['GRUB_CMDLINE_LINUX="amd_iommu=pt iommu=ptx"'] }, []],
])("iommu=pt in %j", (files, places) => {
  expect(findWord(files, "iommu=pt")).toEqual(places);
});

test("taking words off keeps the old line, and undo puts it back", () => {
  const old = ["GRUB_DEFAULT=0", 'GRUB_CMDLINE_LINUX_DEFAULT="quiet amd_iommu=on iommu=pt"', "", "# end"];
  const next = withoutWords(old, ["iommu=pt"]);
  expect(next).toContain('GRUB_CMDLINE_LINUX_DEFAULT="quiet amd_iommu=on"');
  expect(findWord({ [MAIN]: next }, "iommu=pt")).toEqual([]);
  expect(withOldWords(next)).toEqual(old);
});

test("whatever the words, stripping takes only them and undo restores all", () => {
  const word = fc.stringMatching(/^[a-z][a-z0-9_.,:=/-]{0,10}$/);
  fc.assert(
    fc.property(fc.array(word), fc.uniqueArray(word), (words, gone) => {
      const lines = [`GRUB_CMDLINE_LINUX="${words.join(" ")}"`, "GRUB_TIMEOUT=5"];
      const next = withoutWords(lines, gone);
      const kept = words.filter((w) => !gone.includes(w));
      if (kept.length !== words.length) expect(next.at(-2)).toBe(`GRUB_CMDLINE_LINUX="${kept.join(" ")}"`);
      expect(withOldWords(next)).toEqual(lines);
    }),
  );
});

test("no parser throws, whatever a machine prints", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), fc.string(), (text, word) => {
      parseGrubCfg(text);
      parseSavedEntry(text);
      commandLineWords(text);
      findWord({ [MAIN]: text.split("\n") }, word);
    }),
  );
});
