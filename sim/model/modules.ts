import * as shlex from "shlex";
import { agentsLook } from "./agents.ts";
import { parseConfig } from "./kernel.ts";
import type { Machine } from "./machine.ts";
import { NVSWITCH_DRIVER, probeDevice } from "./pci.ts";
import { startKvmAmd } from "./snp.ts";
import { startKvmIntel } from "./tdx.ts";

export interface LoadedModule {
  readonly parameters: Map<string, string>;
  readonly users: readonly string[];
}

interface ModuleSpec {
  /** Kernel option that builds it; absent: always there. */
  readonly option?: string;
  /** Parameters with their defaults, as /sys/module shows them. */
  readonly parameters?: Readonly<Record<string, string>>;
  readonly needs?: readonly string[];
  /** PCI driver it registers. */
  readonly driver?: string;
  readonly size?: number;
}

const SPECS: Readonly<Record<string, ModuleSpec>> = {
  kvm: { option: "CONFIG_KVM", size: 1_413_120 },
  kvm_amd: {
    option: "CONFIG_KVM_AMD",
    needs: ["kvm", "ccp"],
    parameters: { sev: "Y", sev_es: "Y", sev_snp: "Y", nested: "1", npt: "Y", avic: "N" },
    size: 208_896,
  },
  kvm_intel: {
    option: "CONFIG_KVM_INTEL",
    needs: ["kvm"],
    parameters: { ept: "Y", nested: "Y", sgx: "Y", tdx: "N" },
    size: 487_424,
  },
  ccp: {
    option: "CONFIG_CRYPTO_DEV_CCP_DD",
    parameters: { init_ex_path: "(null)", psp_init_on_probe: "Y" },
    size: 143_360,
  },
  vfio: { option: "CONFIG_VFIO", parameters: { enable_unsafe_noiommu_mode: "N" }, size: 69_632 },
  vfio_iommu_type1: {
    option: "CONFIG_VFIO",
    needs: ["vfio"],
    parameters: { allow_unsafe_interrupts: "N", disable_hugepages: "N", dma_entry_limit: "65535" },
    size: 49_152,
  },
  vfio_pci_core: { option: "CONFIG_VFIO_PCI", needs: ["vfio"], size: 90_112 },
  vfio_pci: {
    option: "CONFIG_VFIO_PCI",
    needs: ["vfio_pci_core", "vfio_iommu_type1"],
    parameters: {
      ids: "",
      nointxmask: "N",
      disable_vga: "N",
      disable_idle_d3: "N",
      enable_sriov: "N",
      disable_denylist: "N",
    },
    driver: "vfio-pci",
    size: 16_384,
  },
  msr: { size: 12_288 },
  nouveau: { driver: "nouveau", parameters: { modeset: "-1" }, size: 3_096_576 },
  iommufd: { option: "CONFIG_IOMMUFD", size: 98_304 },
  ecc: { option: "CONFIG_CRYPTO_ECC", size: 45_056 },
  ecdh_generic: { option: "CONFIG_CRYPTO_ECDH", needs: ["ecc"], size: 16_384 },
  ecdsa_generic: { option: "CONFIG_CRYPTO_ECDSA", needs: ["ecc"], size: 16_384 },
  sev_guest: { option: "CONFIG_SEV_GUEST", size: 20_480 },
  tdx_guest: { option: "CONFIG_TDX_GUEST_DRIVER", size: 16_384 },
  tsm: { option: "CONFIG_TSM_REPORTS", size: 16_384 },
  overlay: { size: 212_992 },
  nvidia: { driver: "nvidia", parameters: {}, size: 14_376_960 },
  nvidia_uvm: { needs: ["nvidia"], size: 2_076_672 },
  nvidia_modeset: { needs: ["nvidia"], size: 1_777_664 },
  nvidia_drm: { needs: ["nvidia_modeset"], parameters: { modeset: "Y" }, size: 139_264 },
  virtio_pci: { size: 24_576 },
};

const ALIASES: Readonly<Record<string, string>> = { ecdh: "ecdh_generic", ecdsa: "ecdsa_generic" };

export const moduleName = (name: string): string => {
  const plain = name.replaceAll("-", "_");
  return ALIASES[plain] ?? plain;
};

export const moduleSize = (name: string): number => SPECS[name]?.size ?? 16_384;
export const moduleDriver = (name: string): string | undefined => SPECS[name]?.driver;

/** Whether `modprobe` would find the module for the running kernel: built in, a file, or nowhere. */
export function whereIs(machine: Machine, name: string): "builtin" | "module" | "missing" {
  const spec = SPECS[name];
  if (name === "nvidia" || name.startsWith("nvidia_"))
    return machine.node.driverOf(machine) === undefined ? "missing" : "module";
  if (spec === undefined) return "missing";
  if (spec.option === undefined) return "module";
  const value = parseConfig(machine.now.kernel.config).get(spec.option);
  if (value === "y") return "builtin";
  return value === "m" ? "module" : "missing";
}

export function parametersOf(machine: Machine, name: string): Map<string, string> {
  const table = new Map(Object.entries(SPECS[name]?.parameters ?? {}));
  // The parameter came with the SNP host patches.
  if (name === "kvm_amd" && !machine.now.kernel.snpHost) table.delete("sev_snp");
  if (name === "kvm_intel" && !machine.now.kernel.tdxHost) table.delete("tdx");
  return table;
}

/** Lines of /etc/modprobe.d and friends. */
export function modprobeLines(
  machine: Machine,
): { readonly verb: string; readonly words: readonly string[]; readonly text: string }[] {
  const folders = ["/etc/modprobe.d", "/lib/modprobe.d", "/usr/lib/modprobe.d"];
  return folders.flatMap((folder) =>
    machine.files
      .listIf(folder)
      .filter((name) => name.endsWith(".conf"))
      .flatMap((name) => (machine.files.readIf(`${folder}/${name}`) ?? "").split("\n"))
      .map((line) => line.trim())
      .filter((line) => line !== "" && !line.startsWith("#"))
      .map((text) => {
        const words = safeSplit(text);
        return { verb: words[0] ?? "", words: words.slice(1), text };
      }),
  );
}

function safeSplit(text: string): string[] {
  try {
    return shlex.split(text);
  } catch {
    return text.split(/\s+/);
  }
}

export function blacklisted(machine: Machine, name: string): boolean {
  const onCommandLine = (machine.running?.cmdline ?? "").split(/\s+/).some(
    (word) =>
      /^(module_blacklist|modprobe\.blacklist)=/.test(word) &&
      word
        .split("=")[1]
        ?.split(",")
        .some((m) => moduleName(m) === name),
  );
  return (
    onCommandLine || modprobeLines(machine).some((l) => l.verb === "blacklist" && moduleName(l.words[0] ?? "") === name)
  );
}

/** Parameters from modprobe.d and `module.parameter=` words of the command line. */
function configured(machine: Machine, name: string): Map<string, string> {
  const table = new Map<string, string>();
  const put = (word: string) => {
    const at = word.indexOf("=");
    table.set(at < 0 ? word : word.slice(0, at), at < 0 ? "1" : word.slice(at + 1));
  };
  for (const line of modprobeLines(machine))
    if (line.verb === "options" && moduleName(line.words[0] ?? "") === name) line.words.slice(1).forEach(put);
  for (const word of machine.now.cmdline.split(/\s+/)) {
    const match = /^([\w-]+)\.(\w+(?:=.*)?)$/.exec(word);
    if (match?.[1] !== undefined && moduleName(match[1]) === name) put(match[2] ?? "");
  }
  return table;
}

function spell(old: string, value: string): string {
  if (old !== "Y" && old !== "N") return value;
  return /^(1|y|Y|on)$/.test(value) ? "Y" : "N";
}

/** Loads a module and what it needs. Returns modprobe's error line, or undefined. Loading twice is no error. */
export function loadModule(
  machine: Machine,
  asked: string,
  given: readonly string[] = [],
  ignoreInstall = false,
): string | undefined {
  const name = moduleName(asked);
  const { now } = machine;
  if (now.modules.has(name)) return undefined;
  const install = ignoreInstall
    ? undefined
    : modprobeLines(machine).find((l) => l.verb === "install" && moduleName(l.words[0] ?? "") === name);
  if (install !== undefined) return runInstall(machine, name, install.text.replace(/^install\s+\S+\s+/, ""));
  const where = whereIs(machine, name);
  if (where === "missing")
    return `modprobe: FATAL: Module ${asked} not found in directory /lib/modules/${now.kernel.release}`;
  if (where === "builtin") return undefined;
  for (const line of modprobeLines(machine))
    if (line.verb === "softdep" && moduleName(line.words[0] ?? "") === name) loadSoftdeps(machine, line.words.slice(1));
  for (const need of SPECS[name]?.needs ?? []) {
    const error = loadModule(machine, need);
    if (error !== undefined) return error;
  }
  const parameters = parametersOf(machine, name);
  for (const [key, value] of [
    ...configured(machine, name),
    ...given.map((g) => [g.split("=")[0] ?? "", g.split("=")[1] ?? "1"] as const),
  ]) {
    const old = parameters.get(key);
    if (old === undefined) machine.logs.kernel(`${name}: unknown parameter '${key}' ignored`);
    else parameters.set(key, spell(old, value));
  }
  now.modules.set(name, { parameters, users: [] });
  if (name === "kvm_amd") startKvmAmd(machine);
  if (name === "kvm_intel") {
    const error = startKvmIntel(machine);
    if (error !== undefined) return error;
  }
  if (name === "nvidia") machine.node.nvidiaLoaded(machine);
  const driver = moduleDriver(name);
  if (driver !== undefined) {
    if (name === "vfio_pci" && parameters.get("ids")) {
      const ids = new Set((parameters.get("ids") ?? "").split(",").map((id) => id.replace(":", " ").toLowerCase()));
      now.newIds.set("vfio-pci", ids);
    }
    for (const f of machine.pci) if (!now.drivers.has(f.bdf)) probeDevice(machine, f);
  }
  if (name === "nvidia") agentsLook(machine);
  return undefined;
}

function loadSoftdeps(machine: Machine, words: readonly string[]): void {
  let pre = true;
  for (const word of words) {
    if (word === "pre:" || word === "post:") pre = word === "pre:";
    else if (pre) loadModule(machine, word);
  }
}

/** An `install` line: modprobe calls joined by `;` or `&&`, as the LKCA guides write them. */
function installFailed(name: string, command: string): string {
  return `modprobe: ERROR: ../libkmod/libkmod-module.c:1047 command_do() Error running install command '${command}' for module ${name}: retcode 1
modprobe: ERROR: could not insert '${name}': Invalid argument`;
}

function runInstall(machine: Machine, name: string, script: string): string | undefined {
  let error: string | undefined;
  for (const part of script.split(/;|&&/)) {
    const words = safeSplit(part.trim()).filter((w) => w !== "");
    if (/^(\/usr)?(\/bin\/)?false$/.test(words[0] ?? "")) return installFailed(name, words.join(" "));
    if (words[0] === undefined || !/(^|\/)modprobe$/.test(words[0])) continue;
    const all = words.includes("-a") || words.includes("--all");
    const ignore = words.includes("--ignore-install") || words.includes("-i");
    const names = words.slice(1).filter((w) => !w.startsWith("-") && !w.startsWith("$"));
    // Without -a only the first word is a module, the rest are its parameters.
    for (const name of all ? names : names.slice(0, 1))
      error = loadModule(machine, name, all ? [] : names.slice(1), ignore) ?? error;
  }
  return error;
}

/** Returns rmmod's error line, or undefined. */
export function unloadModule(machine: Machine, asked: string): string | undefined {
  const name = moduleName(asked);
  const { now } = machine;
  if (!now.modules.has(name)) return `rmmod: ERROR: Module ${name} is not currently loaded`;
  const user = [...now.modules.keys()].find((other) => SPECS[other]?.needs?.includes(name));
  if (user !== undefined) return `rmmod: ERROR: Module ${asked} is in use by: ${user}`;
  const driver = moduleDriver(name);
  const busy =
    driver !== undefined &&
    machine.pci.some(
      (f) => now.drivers.get(f.bdf) === driver && machine.node.guestHolds(f.bdf) && machine.kind === "host",
    );
  if (
    busy ||
    (name === "nvidia" && machine.node.persistencedRuns(machine)) ||
    (/^kvm_(amd|intel)$/.test(name) && machine.node.guestRuns)
  ) {
    return `rmmod: ERROR: Module ${asked} is in use`;
  }
  const drivers = name === "nvidia" ? [driver, NVSWITCH_DRIVER] : [driver];
  for (const [bdf, bound] of [...now.drivers]) if (drivers.includes(bound)) now.drivers.delete(bdf);
  if (name === "nvidia") now.gpus.clear();
  now.modules.delete(name);
  return undefined;
}
