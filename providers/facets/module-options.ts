import type { Finding, Step } from "../kit/facet.ts";
import { facet } from "../kit/facet.ts";
import { known, valueIfKnown } from "../kit/facts.ts";
import { firstUnknown, isTrue } from "../kit/findings.ts";
import { MODPROBE_FILE, MODULES_LOAD_FILE } from "../kit/host.ts";
import { judgeFact } from "../kit/judge.ts";
import type { ModuleOptionsFacts, ModuleOptionsWant } from "../kit/module-options.ts";
import * as modules from "../kit/module-options.ts";
import { MODULE_OPTIONS_EXAMPLES } from "./module-options-examples.ts";

const SOURCE = "seed 001, Installing the Host OS (kvm.conf)";
const LOADING = "seed 000, Host Side: vfio-pci is not loaded by itself";
const NEXT_UP = "teeup does it with the next up";

/** dracut puts /etc/modprobe.d into the initramfs, and what loads there acts by that copy. */
const judgeInitramfs = (want: ModuleOptionsWant, facts: ModuleOptionsFacts): Finding =>
  judgeFact(facts.dracut.state === "unknown" ? facts.dracut : facts.stamp, {
    code: "module-options.initramfs",
    want: "an initramfs made after the options",
    hint: `${NEXT_UP}: dracut --regenerate-all --force`,
    source: "seed 002, Step 1: module config",
    good: (stamp) => stamp === modules.modprobeText(want),
    show: (stamp) => (stamp === modules.modprobeText(want) ? "made after them" : "made before them"),
  });

/** Options of kernel modules, and modules loaded at boot. */
export const moduleOptions = facet<ModuleOptionsWant, ModuleOptionsFacts, typeof modules.MODULE_OPTIONS_ASKS>({
  name: "module-options",
  type: "ModuleOptions",
  on: "host",
  persona: "host",
  summary: "Options of KVM's and VFIO's kernel modules, and modules loaded at every boot.",
  sources: [SOURCE, LOADING],
  want: modules.ModuleOptionsSchema,
  asks: modules.MODULE_OPTIONS_ASKS,
  parse: modules.parseModuleOptions,
  judge: (want, facts): Finding[] => {
    const file = (name: "modprobe" | "modulesLoad", path: string, content: string, source: string) =>
      judgeFact(facts[name], {
        code: `module-options.${name === "modprobe" ? "file" : "load-file"}`,
        want: `${path}: ${content.split("\n").slice(1, -1).join("; ") || "nothing"}`,
        hint: NEXT_UP,
        source,
        good: (text) => text === content,
        show: (text) => (text === content ? "as wanted" : text === "" ? "missing" : "other content"),
      });
    return [
      file("modprobe", MODPROBE_FILE, modules.modprobeText(want), SOURCE),
      ...(isTrue(facts.dracut) || facts.dracut.state === "unknown" ? [judgeInitramfs(want, facts)] : []),
      file("modulesLoad", MODULES_LOAD_FILE, modules.modulesLoadText(want), LOADING),
      judgeFact(facts.others.state === "absent" ? known([]) : facts.others, {
        code: "module-options.conflict",
        want: "no other file contradicts",
        hint: "take the option out of that file",
        source: SOURCE,
        good: (others) => modules.conflicting(want, others).length === 0,
        show: (others) =>
          modules
            .conflicting(want, others)
            .map(({ file, option }) => `${option} in ${file}`)
            .join(", ") || "none",
      }),
      judgeFact(facts.parameters, {
        code: "module-options.running",
        want: want.options.map((o) => `${o.module}.${o.option}=${o.value}`).join(", "),
        hint: "restart the host: permit reboot and up; when it stays, the BIOS or the kernel refuses it (snp-ready)",
        source: "seed 001, Upgrade out-of-date SEV Firmware, step 3",
        good: (parameters) => modules.differing(want, parameters).length === 0,
        show: (parameters) => modules.differing(want, parameters).join(", ") || "as wanted",
        level: "warn",
      }),
      judgeFact(facts.loaded, {
        code: "module-options.loaded",
        want: `loaded: ${want.load.join(", ") || "nothing special"}`,
        hint: NEXT_UP,
        source: LOADING,
        good: (loaded) => modules.notLoaded(want, loaded).length === 0,
        show: (loaded) => loaded.join(", ") || "none of them",
      }),
    ];
  },
  plan: (want, facts): Step[] => {
    const [modprobe, load, loaded] = [
      valueIfKnown(facts.modprobe),
      valueIfKnown(facts.modulesLoad),
      valueIfKnown(facts.loaded),
    ];
    if (modprobe === undefined || load === undefined || loaded === undefined || firstUnknown(facts.dracut)) return [];
    const step = (code: string, title: string, why: string, actions: Step["actions"]): Step[] => [
      { code: `module-options.${code}`, title, why, disruption: "none", actions },
    ];
    const [optionsText, loadText] = [modules.modprobeText(want), modules.modulesLoadText(want)];
    const missingModules = modules.notLoaded(want, loaded);
    const mark = { do: "write", path: modules.MODULE_OPTIONS_STAGED, content: "" } as const;
    const options = { do: "write", path: MODPROBE_FILE, content: optionsText } as const;
    const make = modules.initramfsWith(optionsText);
    const dracut = isTrue(facts.dracut) && facts.stamp.state !== "unknown";
    const initramfs = dracut && valueIfKnown(facts.stamp) !== optionsText ? make : [];
    // Whatever the file said meanwhile, a kernel's upgrade may have put it into the initramfs; without the stamp a killed
    // run is seen.
    const afresh = dracut ? [{ do: "remove", path: modules.INITRAMFS_STAMP } as const] : [];
    const words = optionsText.split("\n").slice(1, -1).join("; ");
    const atBoot = { do: "write", path: MODULES_LOAD_FILE, content: loadText } as const;
    const probes = missingModules.map((name) => ({ do: "run", argv: ["modprobe", name] }) as const);
    return [
      ...(modprobe === optionsText
        ? initramfs.length === 0
          ? []
          : step("initramfs", "make the initramfs again", "it was made before the options", [mark, ...initramfs])
        : step("stage", `write ${MODPROBE_FILE}: ${words}`, "acts at the next restart", [
            mark,
            ...afresh,
            options,
            ...(dracut ? make : []),
          ])),
      ...(load === loadText
        ? []
        : step("stage-load", `write ${MODULES_LOAD_FILE}: ${want.load.join(" ")}`, "loaded at every boot", [atBoot])),
      ...(probes.length === 0 ? [] : step("load", `load ${missingModules.join(" ")}`, "not loaded", probes)),
    ];
  },
  undo: (_want, facts): Step[] => {
    const there = [
      ...(valueIfKnown(facts.modprobe) ? [MODPROBE_FILE] : []),
      ...(valueIfKnown(facts.modulesLoad) ? [MODULES_LOAD_FILE] : []),
    ];
    if (there.length === 0) return [];
    const title = `remove ${there.join(" and ")}; acts at the next restart`;
    const actions: Step["actions"] = [
      ...there.map((path) => ({ do: "remove", path }) as const),
      ...(isTrue(facts.dracut) ? modules.WITHOUT_OPTIONS : []),
    ];
    return [{ code: "module-options.remove", title, why: "deleted", disruption: "none", actions }];
  },
  pending: (want, facts) => {
    const { modprobe, staged, parameters, others } = facts;
    if (modprobe.state !== "known" || staged.state !== "known" || parameters.state !== "known")
      return { reasons: [], boots: 0 };
    // After a restart the other file would win again.
    if (others.state === "known" && modules.conflicting(want, others.value).length > 0)
      return { reasons: [], boots: 0 };
    // Once the options were there at boot, a parameter that differs is the kernel's refusal: no restart mends that.
    const open = staged.value || modprobe.value !== modules.modprobeText(want);
    const reasons = open ? modules.differing(want, parameters.value) : [];
    return { reasons, boots: reasons.length > 0 ? 1 : 0 };
  },
  show: (facts) => ({ parameters: valueIfKnown(facts.parameters) }),
  examples: MODULE_OPTIONS_EXAMPLES,
  covers: ["000-07", "000-08", "001-HOST-27", "001-HOST-51", "001-HOST-52", "001-HOST-53", "004-27", "004-28"],
});
