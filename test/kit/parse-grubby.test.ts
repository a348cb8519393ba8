import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { missing, ok } from "../../providers/kit/ask.ts";
import { parseBootMenu, parseSaved } from "../../providers/kit/boot-menu.ts";
import { besideOthers, entryWords } from "../../providers/kit/kernel-cmdline.ts";
import { grubbyUpdate, parseGrubby, parseGrubbyEntries } from "../../providers/kit/parse-grubby.ts";
import { parseRpmKernels, parseVersionLocks } from "../../providers/kit/parse-packages.ts";

const EL9 = "5.14.0-503.el9.x86_64";
const entry = (n: number, release: string, args: string) =>
  `index=${n}\nkernel="/boot/vmlinuz-${release}"\nargs="${args}"\nroot="UUID=5b6f"\ninitrd="/boot/initramfs-${release}.img"\ntitle="Rocky Linux (${release}) 9.4"\nid="6f0c2a-${release}"\n`;
const INFO = entry(0, EL9, "ro console=tty0 swiotlb=1,any") + entry(1, "0-rescue-6f0c2a", "ro console=tty0");

test("entries, the pattern of one that is to come, and the words of all", () => {
  expect(parseGrubby(INFO)).toEqual({
    entries: { [EL9]: `6f0c2a-${EL9}` },
    pattern: "6f0c2a-%s",
    everywhere: ["console=tty0", "ro"],
    anywhere: ["console=tty0", "ro", "swiotlb=1,any"],
  });
});

test("grubby of release 7 has no quotes and no ids", () => {
  expect(parseGrubbyEntries('index=0\nkernel=/boot/vmlinuz-3.10.0\nargs="ro quiet"\nroot=/dev/sda1\n')).toEqual([
    { kernel: "/boot/vmlinuz-3.10.0", args: ["ro", "quiet"], id: "" },
  ]);
});

test("any words come back as they were", () => {
  const word = fc.stringMatching(/^[a-z][a-z0-9_.]{0,8}(=[a-z0-9,.:-]{1,6})?$/);
  fc.assert(
    fc.property(fc.array(word), (words) => {
      expect(parseGrubbyEntries(entry(0, EL9, words.join(" ")))[0]?.args).toEqual(words);
    }),
  );
});

describe("the menu", () => {
  const asked = { menu: missing, grubby: ok(INFO), grub2Default: ok("") };
  const saved = (text: string) => {
    const menu = parseBootMenu({ ...asked, grub2Default: ok(text) });
    return menu.state === "known" && menu.value.savedDefault;
  };

  test.each([
    [
      "the one-shot entry, else the saved one",
      `  set default="$\{next_entry}"\n  set default="$\{saved_entry}"\n`,
      true,
    ],
    ["another default", `  set default="$\{next_entry}"\n  set default="0"\n`, false],
    ["two files that differ", `set default="$\{saved_entry}"\nset default="1"\n`, false],
    ["no file", "", false],
  ])("%s", (_name, text, good) => {
    expect(saved(text)).toBe(good);
  });

  test("grub.cfg that cannot be read is not taken for the other family's", () => {
    expect(parseBootMenu({ ...asked, menu: { kind: "denied", why: "permission denied" } }).state).toBe("unknown");
  });

  test("neither family's: absent", () => {
    expect(parseBootMenu({ menu: missing, grubby: missing, grub2Default: missing }).state).toBe("absent");
    expect(parseSaved({ saved: missing, saved2: missing }).state).toBe("absent");
  });
});

describe("words of one name", () => {
  test("a console more stays a console more, another value takes the place of the first", () => {
    expect(besideOthers(["console=ttyS0", "swiotlb=2,any"], ["console=tty0", "swiotlb=1,any", "ro"], [])).toEqual({
      add: ["console=tty0", "console=ttyS0", "swiotlb=2,any"],
      replaced: ["swiotlb=1,any"],
    });
  });

  test("what is to go does not come back as a neighbour", () => {
    expect(besideOthers(["console=ttyS0"], ["console=tty0"], ["console=tty0"]).add).toEqual(["console=ttyS0"]);
  });

  test("panic= comes along unless somebody has set it", () => {
    const want = { present: ["a=1"], forbidden: [] };
    expect(entryWords(want, ["ro"])).toEqual(["panic=10", "a=1"]);
    expect(entryWords(want, ["panic=10"])).toEqual(["panic=10", "a=1"]);
    expect(entryWords(want, ["panic=0"])).toEqual(["a=1"]);
  });

  test("seed 002: one call for every kernel", () => {
    expect(grubbyUpdate(["swiotlb=4194304,any"], [])).toMatchObject({
      argv: ["grubby", "--update-kernel=ALL", "--args=swiotlb=4194304,any"],
    });
  });
});

describe("dnf's locks", () => {
  test("a lock holds its name, and that version with and without architecture", () => {
    expect(parseVersionLocks(`# Added lock on Mon\n\nkernel-core-0:5.14.0-503.el9.*\n!kernel-0:6.1-1.el9.*\n`)).toEqual(
      [
        "kernel-core",
        "kernel-core-5.14.0-503.el9",
        "kernel-core-5.14.0-503.el9.noarch",
        "kernel-core-5.14.0-503.el9.x86_64",
      ],
    );
  });

  test("kernels as rpm lists them: whole, and what brings a kernel by name too", () => {
    expect(parseRpmKernels(`kernel-core ${EL9}\nkernel-headers ${EL9}\n`)).toEqual([
      "kernel-core",
      `kernel-core-${EL9}`,
      `kernel-headers-${EL9}`,
    ]);
  });
});
