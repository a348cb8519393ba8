import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { lackingSettings, settingsOf, withoutSettings, withSettings } from "../../providers/kit/libvirt-conf.ts";

const WANT = { user: "root", dynamic_ownership: 0, security_driver: "none" };
const PACKAGED = '# Master configuration file for the QEMU driver.\n#user = "libvirt-qemu"\n#dynamic_ownership = 1\n';

test("seed 004's settings stand at the end, and what contradicts them is switched off", () => {
  const old = `${PACKAGED}user = "libvirt-qemu"\nmax_files = 32768\n`;
  expect(withSettings(WANT, old).split("\n").slice(3)).toEqual([
    '#teeup# user = "libvirt-qemu"',
    "max_files = 32768",
    "# Written by TeeUp; a change below is undone by the next up.",
    'user = "root"',
    "dynamic_ownership = 0",
    'security_driver = "none"',
    "",
  ]);
});

test("a value in other quotes or of another type is another value", () => {
  expect(lackingSettings(WANT, 'user = root\ndynamic_ownership = "0"\nsecurity_driver = "none"\n')).toEqual([
    'user = "root"',
    "dynamic_ownership = 0",
  ]);
  expect(lackingSettings({}, "anything")).toEqual([]);
});

describe("whatever the file holds", () => {
  const value = fc.oneof(fc.stringMatching(/^[a-z/.-]{0,8}$/), fc.nat(9));
  const settings = fc.dictionary(fc.stringMatching(/^[a-z_]{1,6}$/), value, { maxKeys: 4 });
  const line = fc.oneof(
    fc.stringMatching(/^#? ?[a-z_]{1,6} = "?[a-z0-9]{0,6}"?$/),
    fc.stringMatching(/^[ -~]{0,20}$/),
    fc.constant(""),
  );
  const file = fc.array(line).map((lines) => lines.map((l) => `${l}\n`).join(""));

  test("then nothing is lacking, a second time changes nothing, and the others keep their values", () => {
    fc.assert(
      fc.property(settings, file, (want, text) => {
        const once = withSettings(want, text);
        expect(lackingSettings(want, once)).toEqual([]);
        expect(withSettings(want, once)).toBe(once);
        const [before, after] = [settingsOf(text), settingsOf(once)];
        for (const [key, old] of Object.entries(before))
          if (!(key in want)) expect([key, after[key]]).toEqual([key, old]);
      }),
    );
  });

  test("taken out again, the lines are those of before", () => {
    fc.assert(
      fc.property(settings, file, (want, text) => {
        const bare = (t: string) => t.replace(/\n*$/, "");
        expect(bare(withoutSettings(withSettings(want, text)))).toBe(bare(text));
      }),
    );
  });
});

test("a host whose file is blanks and line separators holds nobody up", () => {
  const before = performance.now();
  const blanks = " ".repeat(300);
  settingsOf(`a = ${blanks}\u2028${blanks}x\u2028x`);
  expect(performance.now() - before).toBeLessThan(1000);
  expect(settingsOf(`  user =   "qemu"  ${" ".repeat(30_000)}\nb=1`)).toEqual({ user: '"qemu"', b: "1" });
});
