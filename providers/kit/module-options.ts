import { z } from "zod";
import type { Action } from "./action.ts";
import type { Answers, Asks } from "./ask.ts";
import { collected, isThere, text } from "./ask.ts";
import type { Fact } from "./facts.ts";
import { known, mapFact } from "./facts.ts";
import {
  DRACUT_ALL,
  dracutFile,
  dracutTakes,
  familyOf,
  MODPROBE_FILE,
  MODULE_PARAMETERS,
  MODULES_LOAD_FILE,
  OS_RELEASE,
  STAGED_DIR,
} from "./host.ts";
import type { ModuleOption } from "./parse-modules.ts";
import { moduleName, parseModprobeOptions, parseModuleParameters, sameParameter } from "./parse-modules.ts";
import { parseGrepLines, parseLines } from "./parse-packages.ts";

export const ModuleOptionsSchema = z.strictObject({
  options: z
    .array(
      z.strictObject({
        module: z.enum(["kvm_amd", "kvm_intel", "vfio_pci"]).describe("Only these modules' parameters are looked at."),
        option: z.string().regex(/^[a-z0-9_]+$/),
        value: z.string().regex(/^[A-Za-z0-9_.,:-]+$/),
      }),
    )
    .describe("Options of kernel modules; they act when the module is loaded."),
  load: z
    .array(z.enum(["vfio-pci", "kvm_amd"]))
    .default([])
    .describe("Modules loaded at every boot."),
});
export type ModuleOptionsWant = z.output<typeof ModuleOptionsSchema>;

export interface ModuleOptionsFacts {
  /** TeeUp's own files, "" when missing. */
  readonly modprobe: Fact<string>;
  readonly modulesLoad: Fact<string>;
  /** Written since the last boot. */
  readonly staged: Fact<boolean>;
  /** Options that other files of /etc/modprobe.d set. */
  readonly others: Fact<readonly ModuleOption[]>;
  /** `module.parameter` → value, of loaded modules. */
  readonly parameters: Fact<Readonly<Record<string, string>>>;
  /** The distribution makes its initramfs with dracut. */
  readonly dracut: Fact<boolean>;
  /** Text of the options that the initramfs was last made with. */
  readonly stamp: Fact<string>;
  /** Those of the modules that may be wanted which are loaded, with underscores. */
  readonly loaded: Fact<readonly string[]>;
}

/** Written after dracut made the initramfs. */
export const INITRAMFS_STAMP = "/var/lib/teeup/module-options-initramfs";
export const MODULE_OPTIONS_STAGED = `${STAGED_DIR}/module-options`;

export const MODULE_OPTIONS_ASKS = {
  modprobe: { kind: "file", path: MODPROBE_FILE },
  modulesLoad: { kind: "file", path: MODULES_LOAD_FILE },
  staged: { kind: "file", path: MODULE_OPTIONS_STAGED },
  os: OS_RELEASE,
  stamp: { kind: "file", path: INITRAMFS_STAMP },
  others: { kind: "argv", argv: ["grep", "-rHE", "^[[:space:]]*options[[:space:]]", "/etc/modprobe.d"] },
  parameters: MODULE_PARAMETERS,
  loaded: { kind: "argv", argv: ["grep", "-oE", "^(vfio_pci|kvm_amd) ", "/proc/modules"] },
} as const satisfies Asks;

const own = (fact: Fact<string>): Fact<string> => (fact.state === "absent" ? known("") : fact);

export function parseModuleOptions(answers: Answers<typeof MODULE_OPTIONS_ASKS>): ModuleOptionsFacts {
  return {
    modprobe: own(text(answers.modprobe)),
    modulesLoad: own(text(answers.modulesLoad)),
    staged: isThere(answers.staged),
    dracut: mapFact(familyOf(text(answers.os)), (family) => family === "rpm"),
    stamp: text(answers.stamp),
    others: mapFact(collected(answers.others), (stdout) =>
      parseModprobeOptions(parseGrepLines(stdout)).filter((o) => o.file !== MODPROBE_FILE),
    ),
    parameters: mapFact(collected(answers.parameters), (stdout) => parseModuleParameters(stdout)),
    loaded: mapFact(collected(answers.loaded), (stdout) => parseLines(stdout)),
  };
}

const HEADER = "# Written by TeeUp; a change here is undone by the next up.\n";
export const modprobeText = (want: ModuleOptionsWant): string =>
  HEADER + want.options.map((o) => `options ${o.module} ${o.option}=${o.value}\n`).join("");
export const modulesLoadText = (want: ModuleOptionsWant): string => HEADER + want.load.map((m) => `${m}\n`).join("");

/** Options of other files that contradict the wanted ones. */
export const conflicting = (want: ModuleOptionsWant, others: readonly ModuleOption[]): ModuleOption[] =>
  others.filter((o) =>
    want.options.some((w) => w.module === o.module && w.option === o.option && !sameParameter(w.value, o.value)),
  );

/** Wanted options that the loaded modules do not have; a module that is not loaded lacks all of its. */
export const differing = (want: ModuleOptionsWant, parameters: Readonly<Record<string, string>>): string[] =>
  want.options
    .filter((o) => !sameParameter(parameters[`${o.module}.${o.option}`] ?? "", o.value))
    .map((o) => `${o.module}.${o.option} is ${parameters[`${o.module}.${o.option}`] ?? "not there"}, not ${o.value}`);

export const notLoaded = (want: ModuleOptionsWant, loaded: readonly string[]): string[] =>
  want.load.filter((name) => !loaded.includes(moduleName(name)));

/** Every initramfs with the options in it, noted once that is done; and without them again. */
export const initramfsWith = (text: string): Action[] => [
  dracutTakes(MODPROBE_FILE),
  DRACUT_ALL,
  { do: "write", path: INITRAMFS_STAMP, content: text },
];
export const WITHOUT_OPTIONS: readonly Action[] = [
  { do: "remove", path: dracutFile(MODPROBE_FILE) },
  DRACUT_ALL,
  { do: "remove", path: INITRAMFS_STAMP },
];
