import type { Machine } from "./machine.ts";
import type { SevFirmware } from "./stand-ins.ts";
import { parseSevFirmware } from "./stand-ins.ts";

/** What the running kernel made of SEV-SNP. Only {@link initSnp} and {@link startKvmAmd} decide it. */
export interface SnpState {
  /** The early kernel part agreed: RMP, IOMMU, BIOS. */
  readonly platform: boolean;
  /** Firmware is initialised for SNP. */
  readonly firmware: boolean;
  /** kvm_amd was loaded and offers SNP guests. */
  kvm: boolean;
  readonly sev: boolean;
  readonly reasons: readonly string[];
}

const CCP = "ccp 0000:45:00.5";
const order = (fw: SevFirmware): number => fw.major * 1_000_000 + fw.minor * 1000 + fw.build;

/** Files the kernel tries for this processor, most exact first. */
export function firmwareFiles(machine: Machine): string[] {
  const { family, modelNumber } = machine.cpu;
  const fam = family.toString(16);
  const model = modelNumber.toString(16).padStart(2, "0");
  return [
    `/lib/firmware/amd/amd_sev_fam${fam}h_model${model}h.sbin`,
    `/lib/firmware/amd/amd_sev_fam${fam}h_model${model[0]}xh.sbin`,
  ];
}

/** Boot part: writes the kernel's lines and says what works. */
export function initSnp(machine: Machine, iommu: { on: boolean; passthrough: boolean }): SnpState {
  const { node, logs } = machine;
  const { kernel, cmdline } = machine.now;
  const bios = node.bios.effect;
  const silicon = machine.cpu.flags.includes("sev_snp");
  const seed = kernel.style === "seed";
  const reasons: string[] = [];
  const off: SnpState = { platform: false, firmware: false, kvm: false, sev: false, reasons };
  if (!silicon || !bios.smee) {
    reasons.push(silicon ? "SMEE is off in the BIOS" : "the processor has no SEV-SNP");
    return off;
  }
  const words = cmdline.split(/\s+/);
  if (words.includes("mem_encrypt=on")) logs.kernel("AMD Memory Encryption Features active: SME");
  let platform = kernel.snpHost && bios.snp;
  if (!bios.snp) reasons.push("SEV-SNP is off in the BIOS");
  else if (!kernel.snpHost) reasons.push(`kernel ${kernel.release} has no SNP host support`);
  if (platform && bios.rmp === "none") {
    logs.kernel("SEV-SNP: Memory for the RMP table has not been reserved by BIOS");
    reasons.push("no RMP table");
    platform = false;
  } else if (platform) {
    // 16 bytes for each 4 KiB page and a 16 KiB header.
    const start = 0x35600000n;
    const needed = (BigInt(machine.memoryBytes) + (2n << 30n)) / 256n + 0x4000n;
    const short = bios.rmp === "partial" || node.traps.rmpShort;
    const size = short ? needed / 4n : needed;
    const range = [start, start + size - 1n].map((n) => `0x${n.toString(16).padStart(16, "0")}`).join(" - ");
    logs.kernel(seed ? `SEV-SNP: RMP table physical address ${range}` : `SEV-SNP: RMP table physical range [${range}]`);
    // Up to 6.9-rc this went unnoticed (AMDESE/AMDSEV#226).
    if (short && !seed) {
      logs.kernel(
        `SEV-SNP: Memory reserved for the RMP table does not cover full system RAM (expected 0x${needed.toString(16)} got 0x${size.toString(16)})`,
      );
      reasons.push("RMP covers only part of memory");
      platform = false;
    }
  }
  if (platform && (!iommu.on || iommu.passthrough)) {
    logs.kernel(
      seed
        ? "AMD-Vi: SNP: IOMMU is either disabled or configured in passthrough mode"
        : "AMD-Vi: SNP: IOMMU is disabled or configured in passthrough mode, SNP cannot be supported.",
    );
    reasons.push(iommu.on ? "the IOMMU is in passthrough mode" : "the IOMMU is off");
    platform = false;
  } else if (platform) logs.kernel("AMD-Vi: IOMMU SNP support enabled.");

  logs.kernel(`${CCP}: sev enabled`);
  logs.kernel(`${CCP}: psp enabled`);
  for (const path of firmwareFiles(machine)) {
    const found = parseSevFirmware(machine.files.readIf(path));
    if (found === undefined) continue;
    const old = node.sevFirmware;
    if (order(found) > order(old)) {
      node.sevFirmware = found;
      logs.kernel(
        seed
          ? `${CCP}: SEV firmware update successful`
          : `${CCP}: SEV firmware updated from ${show(old)} to ${show(found)}`,
      );
    }
    break;
  }
  const fw = node.sevFirmware;
  const api = `${fw.major}.${fw.minor} build:${fw.build}`;
  const enough = order(fw) >= 1_051_000;
  if (platform && !enough) {
    logs.kernel(`${CCP}: SEV-SNP support requires firmware version >= 1:51`);
    logs.kernel(`${CCP}: SEV: failed to INIT error 0x1, rc -5`);
    reasons.push(`SEV firmware ${fw.major}.${fw.minor} is older than 1.51`);
  }
  logs.kernel(`${CCP}: SEV API:${api}`);
  if (platform && enough) logs.kernel(`${CCP}: SEV-SNP API:${api}`);
  return { platform, firmware: platform && enough, kvm: false, sev: true, reasons };
}

const show = (fw: SevFirmware): string => `${fw.major}.${fw.minor}.${fw.build}`;

/** kvm_amd's part, when the module loads: parameters become what is really offered. */
export function startKvmAmd(machine: Machine): void {
  const { now, logs } = machine;
  const module = now.modules.get("kvm_amd");
  if (module === undefined) return;
  const effect = machine.node.bios.effect;
  const hosts = machine.kind === "host";
  const asked = (name: string) => module.parameters.get(name) === "Y";
  const sev = hosts && now.snp.sev && asked("sev");
  const esAsids = effect.minSevAsid - 1;
  const es = sev && asked("sev_es") && esAsids > 0;
  const snp = es && asked("sev_snp") && now.snp.firmware;
  const put = (name: string, on: boolean) => {
    if (module.parameters.has(name)) module.parameters.set(name, on ? "Y" : "N");
  };
  put("sev", sev);
  put("sev_es", es);
  put("sev_snp", snp);
  now.snp.kvm = snp;
  if (!hosts) return;
  if (now.kernel.style === "seed") {
    if (sev) {
      logs.kernel(`SEV supported: ${effect.maxSevAsid - esAsids} ASIDs`);
      if (es) logs.kernel(`SEV-ES and SEV-SNP supported: ${esAsids} ASIDs`);
    }
    return;
  }
  if (now.snp.sev) {
    const range = esAsids > 0 ? `1 - ${esAsids}` : "0 - 0";
    logs.kernel(`kvm_amd: SEV ${sev ? "enabled" : "disabled"} (ASIDs ${effect.minSevAsid} - ${effect.maxSevAsid})`);
    logs.kernel(`kvm_amd: SEV-ES ${es ? "enabled" : "disabled"} (ASIDs ${range})`);
    if (module.parameters.has("sev_snp"))
      logs.kernel(`kvm_amd: SEV-SNP ${snp ? "enabled" : "disabled"} (ASIDs ${range})`);
  }
}
