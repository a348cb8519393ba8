import type { Machine } from "./machine.ts";

/** What the running kernel made of TDX. Only {@link initTdx} and {@link startKvmIntel} decide it. */
export interface TdxState {
  /** The early kernel part agreed: private keys, no hibernation. Shown as the flag `tdx_host_platform`. */
  readonly platform: boolean;
  /** kvm_intel was loaded, the TDX module answered, and KVM offers TDX guests. */
  kvm: boolean;
  readonly reasons: string[];
}

export const noTdx = (): TdxState => ({ platform: false, kvm: false, reasons: [] });

/** `major.minor.update` of a TDX module, as its SEAM loader brings it. */
export interface TdxModule {
  readonly major: number;
  readonly minor: number;
  readonly update: number;
}

const order = (m: TdxModule): number => m.major * 1_000_000 + m.minor * 1000 + m.update;
/** Before 1.5 the module cannot say what the kernel asks it about itself. */
const READABLE = 1_005_000;
/** First module that leaves a guest's frame pointer alone, which upstream insists on. */
const NO_RBP_MOD = 1_005_006;

/** Boot part; the words are those of arch/x86/virt/vmx/tdx/tdx.c. Without private keys the kernel says nothing. */
export function initTdx(machine: Machine): TdxState {
  const { node, logs } = machine;
  const { kernel, cmdline } = machine.now;
  const keys = node.traps.keysWithheld ? undefined : node.bios.effect.privateKeys;
  const no = (reason: string): TdxState => ({ platform: false, kvm: false, reasons: [reason] });
  if (!machine.cpu.flags.includes("tdx_host_platform")) return no("the processor has no TDX");
  if (!kernel.tdxHost) return no(`kernel ${kernel.release} has no TDX host support`);
  if (keys === undefined) return no("the BIOS grants no private keys");
  logs.kernel(`virt/tdx: BIOS enabled: private KeyID range [${keys[0]}, ${keys[1]})`);
  if (keys[1] - keys[0] < 2) {
    logs.kernel("virt/tdx: initialization failed: too few private KeyIDs available.");
    return no("too few private keys");
  }
  if (!cmdline.split(/\s+/).includes("nohibernate")) {
    logs.kernel("virt/tdx: initialization failed: Hibernation support is enabled");
    return no("hibernation is on");
  }
  logs.kernel("virt/tdx: Disable ACPI S3. Turn off TDX in the BIOS to use ACPI S3.");
  return { platform: true, kvm: false, reasons: [] };
}

/**
 * kvm_intel's part, when the module loads. Returns modprobe's error line when the module does not stay: upstream's
 * kvm_intel does not load at all when an existing TDX module fails, and loads without TDX when there is none.
 */
export function startKvmIntel(machine: Machine): string | undefined {
  const { now, logs } = machine;
  const module = now.modules.get("kvm_intel");
  if (module === undefined || machine.kind !== "host") return undefined;
  const { parameters } = module;
  const effect = machine.node.bios.effect;
  if (!effect.sgx) parameters.set("sgx", "N");
  if (parameters.get("tdx") !== "Y") return undefined;
  const without = (): undefined => {
    parameters.set("tdx", "N");
  };
  if (!now.tdx.platform) {
    logs.kernel("kvm_intel: tdx: no TDX private KeyIDs available");
    return without();
  }
  if (!effect.seamLoader || machine.node.traps.noTdxModule) {
    logs.kernel("virt/tdx: module not loaded");
    now.tdx.reasons.push("no TDX module is in memory");
    return without();
  }
  const errno = initModule(machine);
  if (errno === 0) {
    now.tdx.kvm = true;
    return undefined;
  }
  logs.kernel(`virt/tdx: module initialization failed (-${errno})`);
  now.tdx.reasons.push(`the TDX module failed with -${errno}`);
  if (now.kernel.style === "seed") return without();
  now.modules.delete("kvm_intel");
  return `modprobe: ERROR: could not insert 'kvm_intel': ${ERRNO[errno]}`;
}

const ERRNO: Readonly<Record<number, string>> = {
  5: "Input/output error",
  22: "Invalid argument",
  28: "No space left on device",
};

function initModule(machine: Machine): 0 | 5 | 22 | 28 {
  const { logs, node } = machine;
  const version = order(node.tdxModule);
  // The tree of 2024 says which module it found; upstream does not.
  if (machine.now.kernel.style === "seed") {
    const { major, minor, update } = node.tdxModule;
    logs.kernel(
      `virt/tdx: TDX module: attributes 0x0, vendor_id 0x8086, major_version ${major}, minor_version ${minor}, build_date 20240407, build_num ${700 + update}`,
    );
  }
  if (version < READABLE) {
    logs.kernel("virt/tdx: SEAMCALL (0x0000000000000022) failed: 0xc0000c0000000000");
    logs.kernel("virt/tdx: RCX 0x0000000000000000 RDX 0x0a00000300000008 R08 0x0000000000000000");
    logs.kernel("virt/tdx: R09 0x0000000000000000 R10 0x0000000000000000 R11 0x0000000000000000");
    return 5;
  }
  if (version < NO_RBP_MOD && machine.now.kernel.style !== "seed") {
    logs.kernel("virt/tdx: frame pointer (RBP) clobber bug present, upgrade TDX module");
    return 22;
  }
  if (node.traps.memoryHoles) {
    logs.kernel("virt/tdx: initialization failed: TDMR [0x0, 0x80000000): reserved areas exhausted.");
    return 28;
  }
  // One 256th of the memory holds what the module knows of each page.
  logs.kernel(`virt/tdx: ${Math.floor(machine.memoryBytes / 256 / 1024)} KB allocated for PAMT`);
  logs.kernel("virt/tdx: module initialized");
  return 0;
}
