import type { Answer } from "../kit/ask.ts";
import { failed, missing, ok } from "../kit/ask.ts";
import type { Example } from "../kit/facet.ts";
import { NO_MACHINE } from "../kit/guest.ts";
import type { GuestEvidenceWant } from "./guest-evidence.ts";

const want: GuestEvidenceWant = { tee: "sev-snp", gpuMode: "on", minimumVbios: "96.00.5E.00.00" };
const LOG = [
  "Memory Encryption Features active: AMD SEV SEV-ES SEV-SNP",
  "software IO TLB: mapped [mem 0x000000003bd00000-0x000000007bd00000] (1024MB)",
];
const log = (...more: readonly string[]) => ok([...LOG, ...more, ""].join("\n"));
const gpus = (vbios: string) =>
  ok(
    `pci.bus_id, name, vbios_version, driver_version, persistence_mode\n00000000:01:00.0, NVIDIA H100 PCIe, ${vbios}, 580.95.05, Enabled\n`,
  );
const shut: Answer = { kind: "skipped", why: "nvidia-persistenced is not active yet" };
const good: Readonly<Record<string, Answer>> = {
  log: log(),
  device: ok(""),
  vmpl: ok("0\n"),
  cc: ok("CC status: ON\n"),
  devtools: ok("DevTools Mode: OFF\n"),
  gpus: gpus("96.00.5E.00.01"),
};
const example = (
  name: string,
  answers: Readonly<Record<string, Answer>>,
  findings: readonly string[],
  wanted = want,
): Example<GuestEvidenceWant> => ({ name, want: wanted, answers: { ...good, ...answers }, findings, steps: [] });
/** The same guest as a TD. */
const td = (
  name: string,
  answers: Readonly<Record<string, Answer>>,
  findings: readonly string[],
  gpuMode: GuestEvidenceWant["gpuMode"] = "on",
): Example<GuestEvidenceWant> =>
  example(
    name,
    {
      log: ok(["tdx: Guest detected", "Memory Encryption Features active: Intel TDX", LOG[1], ""].join("\n")),
      device: ok("", 1),
      vmpl: missing,
      tdxFlag: ok(""),
      tdxDevice: ok(""),
      mrtd: ok(" 5b 1d e0\n".repeat(16)),
      multiGpu: ok("Multi-GPU Mode: None\n"),
      ...answers,
    },
    findings,
    { ...want, tee: "tdx", gpuMode },
  );
const GPU = ["guest-evidence.cc", "guest-evidence.devtools", "guest-evidence.gpus"];

export const guestEvidenceExamples: readonly Example<GuestEvidenceWant>[] = [
  example("a confidential guest with a confidential GPU", {}, []),
  example("a kernel before 6.11 has no vmpl file", { vmpl: missing }, []),
  example(
    "no guest yet",
    { log: NO_MACHINE, device: NO_MACHINE, vmpl: NO_MACHINE, cc: NO_MACHINE, devtools: NO_MACHINE, gpus: NO_MACHINE },
    ["guest-evidence.snp", "guest-evidence.sev-guest", "guest-evidence.swiotlb", ...GPU],
  ),
  example("persistenced still starts: nothing asks the GPU", { cc: shut, devtools: shut, gpus: shut }, GPU),
  example("not encrypted at all", { log: ok(`${LOG[1]}\n`), device: ok("", 1), vmpl: missing }, [
    "guest-evidence.snp",
    "guest-evidence.sev-guest",
  ]),
  example("CC mode off", { cc: ok("CC status: OFF\n") }, ["guest-evidence.cc"]),
  example("devtools is not production", { devtools: ok("DevTools Mode: ON\n") }, ["guest-evidence.devtools"]),
  example("devtools, when it is wanted", { devtools: ok("DevTools Mode: ON\n") }, [], { ...want, gpuMode: "devtools" }),
  example("an early board's VBIOS", { gpus: gpus("96.00.30.00.01") }, ["guest-evidence.vbios"]),
  example(
    "a daemon runs, and holds no session: it was started by the package's unit, before TeeUp's was written",
    {
      gpus: ok(
        "pci.bus_id, name, vbios_version, driver_version, persistence_mode\n00000000:01:00.0, NVIDIA H100 PCIe, 96.00.5E.00.01, 580.95.05, Disabled\n",
      ),
    },
    ["guest-evidence.persistence"],
  ),
  example("one of two GPUs", {}, ["guest-evidence.gpus"], { ...want, gpus: 2 }),
  example("bounce buffers too small", { log: log("nvidia 0000:01:00.0: swiotlb buffer is full (sz: 4096 bytes)") }, [
    "guest-evidence.swiotlb-full",
  ]),
  example(
    "LKCA missing",
    { log: log("NVRM: libspdm expects LKCA but found stubs!", "NVRM: GPU 0000:01:00.0: RmInitAdapter failed! (0x62)") },
    ["guest-evidence.lkca-stubs"],
  ),
  example(
    "the driver cannot initialise the GPU, so nvidia-smi shows nothing",
    {
      log: log("NVRM: GPU 0000:01:00.0: RmInitAdapter failed! (0x62)"),
      cc: ok("No devices were found\n", 6),
      devtools: ok("No devices were found\n", 6),
      gpus: ok("No devices were found\n", 6),
    },
    ["guest-evidence.gpu-init"],
  ),
  example("MMIO window too small", { log: log("NVRM: BAR1 is 0M @ 0x0 (PCI:0000:01:00.0)") }, [
    "guest-evidence.mmio-window",
  ]),
  example("an agent used the GPU first", { log: log("NVRM: Failed to establish session and keys") }, [
    "guest-evidence.spdm-session",
  ]),
  example("a new wording", { cc: ok("Confidential Compute: enabled\n") }, ["guest-evidence.cc"]),
  example("no answer", { log: failed("connection lost") }, ["guest-evidence.snp", "guest-evidence.swiotlb"]),
  td("a TD with a confidential GPU", {}, []),
  td(
    "a kernel before 6.16 shows no measurements",
    { mrtd: ok("", 1, "od: /sys/…/mrtd:sha384: No such file or directory\n") },
    [],
  ),
  td("a VM that is no TD", { log: ok(`${LOG[1]}\n`), tdxFlag: ok("", 1), tdxDevice: ok("", 1), mrtd: missing }, [
    "guest-evidence.tdx",
    "guest-evidence.tdx-flag",
    "guest-evidence.tdx-guest",
  ]),
  td("the driver of the TD's device is not loaded", { tdxDevice: ok("", 1), mrtd: missing }, [
    "guest-evidence.tdx-guest",
  ]),
  td("a measurement of nothing", { mrtd: ok(" 00 00 00\n".repeat(16)) }, ["guest-evidence.mrtd"]),
  td("an SNP guest where a TD is wanted", { log: log(), tdxFlag: ok("", 1), tdxDevice: ok("", 1) }, [
    "guest-evidence.tdx",
    "guest-evidence.tdx-flag",
    "guest-evidence.tdx-guest",
  ]),
  td(
    "Protected PCIe: CC status OFF is normal",
    { cc: ok("CC status: OFF\n"), multiGpu: ok("Multi-GPU Mode: Protected PCIe\n") },
    [],
    "ppcie",
  ),
  td(
    "Protected PCIe is wanted, and CC mode on is what there is",
    { multiGpu: ok("Multi-GPU Mode: None\n") },
    ["guest-evidence.cc", "guest-evidence.multi-gpu"],
    "ppcie",
  ),
  td(
    "multi-GPU mode none: neither protects",
    { cc: ok("CC status: OFF\n"), multiGpu: ok("Multi-GPU Mode: None\n") },
    ["guest-evidence.multi-gpu"],
    "ppcie",
  ),
  td(
    "no answer about the multi-GPU mode",
    { cc: ok("CC status: OFF\n"), multiGpu: failed("time-out") },
    ["guest-evidence.multi-gpu"],
    "ppcie",
  ),
];
