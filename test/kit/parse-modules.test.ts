import { expect, test } from "@jest/globals";
import fc from "fast-check";
import { parseModprobeOptions, parseModuleParameters, sameParameter } from "../../providers/kit/parse-modules.ts";

test("dashes and underscores are one, files in modprobe's order", () => {
  expect(
    parseModprobeOptions({
      "/etc/modprobe.d/z.conf": ["options kvm_amd sev=0"],
      "/etc/modprobe.d/kvm.conf": ["# options x y=1", "options kvm-amd sev-snp=1 sev=1", "blacklist nouveau"],
      "/etc/modprobe.d/kvm.conf.bak": ["options kvm_amd sev=0"],
    }),
  ).toEqual([
    { file: "/etc/modprobe.d/kvm.conf", module: "kvm_amd", option: "sev_snp", value: "1" },
    { file: "/etc/modprobe.d/kvm.conf", module: "kvm_amd", option: "sev", value: "1" },
    { file: "/etc/modprobe.d/z.conf", module: "kvm_amd", option: "sev", value: "0" },
  ]);
});

test("parameters below /sys/module", () => {
  expect(
    parseModuleParameters("/sys/module/kvm_amd/parameters/sev:Y\n/sys/module/vfio_pci/parameters/ids:\nx\n"),
  ).toEqual({
    "kvm_amd.sev": "Y",
    "vfio_pci.ids": "",
  });
});

test.each([
  ["1", "Y", true],
  ["y", "Y", true],
  ["0", "N", true],
  ["1", "N", false],
  ["", "1", false],
  ["10de:2331", "10de:2331", true],
])("%s means %s: %s", (a, b, same) => {
  expect(sameParameter(a, b)).toBe(same);
});

test("no parser throws, whatever a machine prints", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), (text) => {
      parseModuleParameters(text);
      parseModprobeOptions({ "/etc/modprobe.d/a.conf": text.split("\n") });
    }),
  );
});
