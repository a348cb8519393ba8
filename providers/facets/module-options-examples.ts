import { failed, missing, ok } from "../kit/ask.ts";
import { example } from "../kit/example.ts";
import type { ModuleOptionsWant } from "../kit/module-options.ts";
import * as modules from "../kit/module-options.ts";

const want: ModuleOptionsWant = {
  options: [{ module: "kvm_amd", option: "sev_snp", value: "1" }],
  load: ["vfio-pci"],
};
const good = {
  modprobe: ok(modules.modprobeText(want)),
  modulesLoad: ok(modules.modulesLoadText(want)),
  others: ok("", 1),
  parameters: ok("/sys/module/kvm_amd/parameters/sev_snp:Y\n", 2),
  loaded: ok("vfio_pci \n"),
};
const off = ok("/sys/module/kvm_amd/parameters/sev_snp:N\n", 2);
const other = ok("/etc/modprobe.d/kvm.conf:options kvm_amd sev-snp=0\n");
const [file, loadFile, running, loaded] = ["file", "load-file", "running", "loaded"].map((c) => `module-options.${c}`);
const bare = { ...good, modprobe: missing, modulesLoad: missing, parameters: off, loaded: ok("", 1) };
const steps = ["module-options.stage", "module-options.stage-load", "module-options.load"];

const dracut = { ...good, os: ok("ID=fedora\n"), stamp: ok(modules.modprobeText(want)) };
const [stage, ...others] = steps;

export const MODULE_OPTIONS_EXAMPLES = [
  example("in force", want, good),
  example("untouched", want, bare, [file, loadFile, running, loaded] as string[], steps),
  example("another file contradicts", want, { ...good, others: other }, ["module-options.conflict"]),
  example("dracut: in force", want, dracut),
  example(
    "dracut: untouched",
    want,
    { ...dracut, ...bare, stamp: missing },
    [file, "module-options.initramfs", loadFile, running, loaded] as string[],
    [stage, ...others] as string[],
  ),
  example(
    "dracut: killed before the initramfs was made",
    want,
    { ...dracut, stamp: missing },
    ["module-options.initramfs"],
    ["module-options.initramfs"],
  ),
  example("no answer", want, { ...good, modprobe: failed("connection lost") }, [file] as string[]),
];
