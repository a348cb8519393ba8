import { expect, test } from "@jest/globals";
import fc from "fast-check";
import { packageFamily } from "../../providers/kit/host.ts";
import {
  compareReleases,
  compareVersions,
  parseDpkgHolds,
  parseDpkgNames,
  parseDpkgVersions,
  parseGrepLines,
  parseLines,
  parseOsRelease,
  parseSha256sum,
  pipName,
} from "../../providers/kit/parse-packages.ts";

test("os-release with and without quotes", () => {
  expect(parseOsRelease('NAME="Ubuntu"\nVERSION_ID="24.04"\nID=ubuntu\nID_LIKE=debian\n')).toEqual({
    id: "ubuntu",
    like: ["debian"],
    versionId: "24.04",
  });
  expect(parseOsRelease("ID='rocky'\nID_LIKE=\"rhel centos fedora\"\n")).toEqual({
    id: "rocky",
    like: ["rhel", "centos", "fedora"],
    versionId: "",
  });
});

test.each([
  ["ID=ubuntu\nID_LIKE=debian\n", "debian"],
  ["ID=debian\n", "debian"],
  ['ID="rocky"\nID_LIKE="rhel centos fedora"\n', "rpm"],
  ["ID=fedora\n", "rpm"],
  ["ID=arch\n", undefined],
  ["", undefined],
])("family of %j is %s", (text, family) => {
  expect(packageFamily(text)).toBe(family);
});

test("only what is installed counts, and what it provides", () => {
  expect(
    parseDpkgNames("installed\tacpica-tools\tiasl (= 1), acpidump\nconfig-files\tjq\t\nhalf-installed\tx\t\n"),
  ).toEqual(["acpica-tools", "acpidump", "iasl"]);
  expect(parseDpkgVersions("installed b 2\nnot-installed a \nconfig-files c 1\ninstalled a 1:1.0-1\n")).toEqual({
    a: "1:1.0-1",
    b: "2",
  });
});

test("what is on hold is so installed or not", () => {
  const said = "installed\tqemu-system-x86\tqemu-kvm\thold\nnot-installed\tjq\t\thold\ninstalled\tgit\t\tinstall\n";
  expect(parseDpkgHolds(`${said}not-installed\thold\t\tunknown\n`)).toEqual(["jq", "qemu-system-x86"]);
});

const word = fc.stringMatching(/^[a-z][a-z0-9+.-]{0,12}$/);
const sum = fc.stringMatching(/^[0-9a-f]{64}$/);
const path = fc.stringMatching(/^\/[\w./ -]{0,20}[\w-]$/);
const line = fc.stringMatching(/^[^\n\r]{0,30}$/);

test("package names come back from what dpkg-query prints", () => {
  fc.assert(
    fc.property(fc.uniqueArray(word), (names) => {
      expect(parseDpkgNames(names.map((n) => `installed\t${n}\t\n`).join(""))).toEqual([...names].sort());
      expect(parseLines(names.map((n) => `${n}\n`).join(""))).toEqual([...names].sort());
    }),
  );
});

test("sums come back from what sha256sum prints", () => {
  fc.assert(
    fc.property(fc.dictionary(path, sum), (table) => {
      const text = Object.entries(table)
        .map(([p, s]) => `${s}  ${p}\n`)
        .join("");
      expect(parseSha256sum(text)).toEqual({ ...table });
    }),
  );
});

test("files come back from what grep -rH '' prints, empty lines included", () => {
  fc.assert(
    fc.property(fc.dictionary(fc.stringMatching(/^\/[\w./-]{1,20}$/), fc.array(line, { minLength: 1 })), (files) => {
      const text = Object.entries(files)
        .flatMap(([p, lines]) => lines.map((l) => `${p}:${l}\n`))
        .join("");
      expect(parseGrepLines(text)).toEqual({ ...files });
    }),
  );
});

test("no parser throws, whatever a machine prints", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), (text) => {
      for (const parse of [
        parseOsRelease,
        parseDpkgNames,
        parseDpkgVersions,
        parseGrepLines,
        parseLines,
        parseSha256sum,
      ])
        parse(text);
    }),
  );
});

test("versions compare number by number", () => {
  expect(compareVersions("1.51.3", "1.51")).toBe(1);
  expect(compareVersions("1.9", "1.51")).toBe(-1);
  expect(compareVersions("6.14.0-37-generic", "6.14.0-37-generic")).toBe(0);
  expect(compareVersions("5.19.0-rc6-snp-host-d9bd54fea4d2", "6.9")).toBe(-1);
  fc.assert(
    fc.property(fc.array(fc.nat(300), { minLength: 1 }), fc.array(fc.nat(300), { minLength: 1 }), (a, b) => {
      expect(compareVersions(a.join("."), b.join("."))).toBe(0 - compareVersions(b.join("."), a.join(".")) + 0);
    }),
  );
});

test.each([
  ["5.10.134-18.al8.x86_64", "5.10.134-18.al8.x86_64", 0],
  ["5.10.134-18.0.5.al8.x86_64", "5.10.134-18.al8.x86_64", 1],
  ["5.10.134-18.1.al8.x86_64", "5.10.134-18.al8.x86_64", 1],
  ["5.10.134-17.3.al8.x86_64", "5.10.134-18.al8.x86_64", -1],
  ["5.10.134-9.al8.x86_64", "5.10.134-18.al8.x86_64", -1],
  ["6.6.0", "6.6.0", 0],
  ["6.8.0-90-generic", "6.6.0", 1],
  ["6.6.0-14-generic", "6.6.0", 1],
  ["6.6", "6.6.0", 0],
  ["5.15.0-143-generic", "6.6.0", -1],
])("the kernel release %s beside %s: %d", (a, b, order) => {
  expect([compareReleases(a, b), compareReleases(b, a)]).toEqual([order, 0 - order]);
});

test("Python package names as pip compares them", () => {
  expect(["Foo_Bar-1.2.dist-info", "numpy-1.26.4.dist-info", "bison"].map(pipName)).toEqual([
    "foo-bar",
    "numpy",
    "bison",
  ]);
});
