import { failed } from "../kit/ask.ts";
import { example } from "../kit/example.ts";
import { lscpu } from "./cpu-lscpu.ts";

const [AMD, INTEL] = ["AuthenticAMD", "GenuineIntel"] as const;
const VMX = "fpu vmx sgx tme";

/** Examples for the wanted state of each TEE. */
export const cpuExamples = <W>(snp: W, tdx: W) => [
  example("Genoa", snp, { lscpu: lscpu(AMD, 25, 17, "AMD EPYC 9354 32-Core Processor") }),
  example("Turin Dense", snp, { lscpu: lscpu(AMD, 26, 17, "AMD EPYC 9965 192-Core Processor") }),
  example("Rome has SEV-ES but no SNP", snp, { lscpu: lscpu(AMD, 23, 49, "AMD EPYC 7742 64-Core Processor") }, [
    "cpu.generation",
  ]),
  example("Ryzen of a family that EPYC shares", snp, { lscpu: lscpu(AMD, 25, 33, "AMD Ryzen 9 5950X") }, [
    "cpu.generation",
  ]),
  example("Intel", snp, { lscpu: lscpu(INTEL, 6, 143, "Intel(R) Xeon(R) Platinum 8480+") }, ["cpu.vendor"]),
  example("SVM off in the BIOS", snp, { lscpu: lscpu(AMD, 25, 1, "AMD EPYC 7763 64-Core Processor", "fpu sme") }, [
    "cpu.svm-off",
  ]),
  example("Emerald Rapids", tdx, { lscpu: lscpu(INTEL, 6, 207, "INTEL(R) XEON(R) PLATINUM 8568Y+", VMX) }),
  example("Granite Rapids", tdx, { lscpu: lscpu(INTEL, 6, 173, "Intel(R) Xeon(R) 6960P", VMX) }),
  example("Ice Lake has SGX but no TDX", tdx, { lscpu: lscpu(INTEL, 6, 106, "Intel(R) Xeon(R) Gold 6338", VMX) }, [
    "cpu.generation",
  ]),
  example("AMD, where TDX is wanted", tdx, { lscpu: lscpu(AMD, 25, 17, "AMD EPYC 9354 32-Core Processor") }, [
    "cpu.vendor",
  ]),
  example("VT-x off in the BIOS", tdx, { lscpu: lscpu(INTEL, 6, 207, "INTEL(R) XEON(R) GOLD 6548Y+", "fpu sgx") }, [
    "cpu.vmx-off",
  ]),
  example("lscpu does not answer", snp, { lscpu: failed("no answer within 20 s") }, ["cpu.unknown"]),
];
