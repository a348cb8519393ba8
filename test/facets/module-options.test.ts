import { expect, test } from "@jest/globals";
import { moduleOptions as facet } from "../../providers/facets/module-options.ts";
import { missing, ok } from "../../providers/kit/ask.ts";
import { ModuleOptionsSchema, modprobeText, modulesLoadText } from "../../providers/kit/module-options.ts";
import { profileByName } from "../../stacks/profiles/resolve.ts";
import { argvs, CONTEXT, codes, factsOf } from "./run-examples.ts";

const { moduleOptions, modulesLoad } = profileByName("nvidia-du-11462-001-v1.0").host;
const want = ModuleOptionsSchema.parse({ options: moduleOptions.value, load: modulesLoad.value });
const parameters = (snp: string) =>
  ok(
    `/sys/module/kvm_amd/parameters/sev:Y\n/sys/module/kvm_amd/parameters/sev_es:Y\n/sys/module/kvm_amd/parameters/sev_snp:${snp}\n`,
    2,
  );
const good = {
  modprobe: ok(modprobeText(want)),
  modulesLoad: ok(modulesLoadText(want)),
  others: ok("", 1),
  parameters: parameters("Y"),
  loaded: ok("vfio_pci \n"),
};

test("001-HOST-27: what the guide's kvm.conf says", () => {
  expect(modprobeText(want).split("\n").slice(1, -1)).toEqual([
    "options kvm_amd sev_snp=1",
    "options kvm_amd sev=1",
    "options kvm_amd sev_es=1",
  ]);
});

test("000-07, 08: vfio-pci is loaded now, and at every boot", () => {
  const steps = facet.plan?.(want, factsOf(facet, { ...good, modulesLoad: missing, loaded: ok("", 1) }), CONTEXT);
  expect(codes(steps)).toEqual(["module-options.stage-load", "module-options.load"]);
  expect(argvs(steps)).toEqual(["modprobe vfio-pci"]);
});

test("a parameter that differs waits for a restart and says both values", () => {
  const facts = factsOf(facet, { ...good, staged: ok(""), parameters: parameters("N") });
  expect(facet.pending?.(want, facts)).toEqual({ reasons: ["kvm_amd.sev_snp is N, not 1"], boots: 1 });
  expect(facet.judge(want, facts).find((f) => f.code === "module-options.running")).toMatchObject({ level: "warn" });
  expect(facet.pending?.(want, factsOf(facet, good)).reasons).toEqual([]);
});

test("a parameter that the kernel refused at boot asks for no restart: snp-ready says why", () => {
  expect(facet.pending?.(want, factsOf(facet, { ...good, parameters: parameters("N") })).reasons).toEqual([]);
});

test("the mark of what was staged is written first: a killed run never loses a restart", () => {
  const [step] = facet.plan?.(want, factsOf(facet, { ...good, modprobe: missing }), CONTEXT) ?? [];
  expect(step?.actions.map((a) => "path" in a && a.path)).toEqual([
    "/run/teeup/staged/module-options",
    "/etc/modprobe.d/teeup.conf",
  ]);
});

test("another file may say the same, in the guide's spelling", () => {
  const facts = factsOf(facet, {
    ...good,
    others: ok("/etc/modprobe.d/kvm.conf:options kvm_amd sev-snp=1 sev=1 sev-es=1\n"),
  });
  expect(facet.judge(want, facts).filter((f) => f.level !== "pass")).toEqual([]);
});

test("delete removes both files, once", () => {
  expect(facet.undo?.(want, factsOf(facet, good), CONTEXT)).toMatchObject([
    {
      actions: [
        { do: "remove", path: "/etc/modprobe.d/teeup.conf" },
        { do: "remove", path: "/etc/modules-load.d/teeup.conf" },
      ],
    },
  ]);
  const bare = { ...good, modprobe: missing, modulesLoad: missing };
  expect(facet.undo?.(want, factsOf(facet, bare), CONTEXT)).toEqual([]);
});

test("with dracut, a file that somebody changed may be in the initramfs by now: it is made anew, and a kill in between shows", () => {
  const made = { ...good, os: ok("ID=fedora\n"), stamp: ok(modprobeText(want)) };
  const steps = facet.plan?.(want, factsOf(facet, { ...made, modprobe: ok("options kvm_amd sev_snp=0\n") }), CONTEXT);
  const did = steps?.[0]?.actions.map((a) => ("path" in a ? `${a.do} ${a.path}` : "argv" in a ? a.argv[0] : a.do));
  expect(did?.filter((action) => !/staged|dracut\.conf/.test(action))).toEqual([
    "remove /var/lib/teeup/module-options-initramfs",
    "write /etc/modprobe.d/teeup.conf",
    "dracut",
    "write /var/lib/teeup/module-options-initramfs",
  ]);
});
