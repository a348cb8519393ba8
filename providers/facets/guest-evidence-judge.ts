import type { Finding } from "../kit/facet.ts";
import { known } from "../kit/facts.ts";
import { judgeFact } from "../kit/judge.ts";
import { BAD_LINES } from "../kit/parse-guest-log.ts";
import { compareVbios } from "../kit/parse-nvidia-smi.ts";
import type { GuestEvidenceFacts, GuestEvidenceWant } from "./guest-evidence.ts";

export const STATE = "seed 001, Validating State and Versions";
const TDX =
  "seed 002, step 2 and seed 003, step 2 (lscpu, /dev/tdx_guest, kernel log); Linux Documentation/ABI/testing/sysfs-devices-virtual-misc-tdx_guest";
const MULTI = "seed 002, step 3 (Multi-GPU Mode: Protected PCIe; CC status: OFF is then normal)";
const SWIOTLB = "seed 002, Step 1, kernel arguments; seed 003, 使用限制 (slots of 2 KiB: MiB × 512)";
export const GUEST =
  "Linux Documentation/arch/x86/amd-memory-encryption.rst; docs/sources.md, Confidential VM and guests";

/** What a cloud gives nobody but the cloud can mend (seed 002, step 3). */
const TICKET = "an instance of a cloud with another mode is faulty: open a ticket with the cloud";
const launched = (object: string) =>
  `is the VM started with ${object}? See confidential-vm; of a cloud: is it a confidential instance type and image?`;

function judgeSnp(facts: GuestEvidenceFacts): readonly Finding[] {
  const hint = launched("sev-snp-guest");
  return [
    judgeFact(facts.snp, {
      code: "guest-evidence.snp",
      want: "Memory Encryption Features active: … SEV-SNP",
      hint,
      source: GUEST,
      good: (y) => y,
      show: (y) => (y ? "active" : "no such line in the kernel log"),
    }),
    judgeFact(facts.device, {
      code: "guest-evidence.sev-guest",
      want: "/dev/sev-guest",
      hint: "modprobe sev-guest; the guest cannot get its report without it",
      source: GUEST,
      good: (y) => y,
      show: (y) => (y ? "there" : "not there"),
    }),
    // Kernels before 6.11 do not have the file: then nothing is said.
    ...(facts.vmpl.state === "absent"
      ? []
      : [
          judgeFact(facts.vmpl, {
            code: "guest-evidence.vmpl",
            want: "a VM privilege level of 0 to 3",
            hint,
            source: GUEST,
            good: (v) => /^[0-3]$/.test(v),
          }),
        ]),
  ];
}

function judgeTdx(facts: GuestEvidenceFacts): readonly Finding[] {
  const hint = launched("tdx-guest");
  return [
    judgeFact(facts.tdx, {
      code: "guest-evidence.tdx",
      want: "tdx: Guest detected",
      hint,
      source: TDX,
      good: (y) => y,
      show: (y) => (y ? "detected" : "no such line in the kernel log"),
    }),
    judgeFact(facts.tdxFlag, {
      code: "guest-evidence.tdx-flag",
      want: "the processor's flag tdx_guest",
      hint,
      source: TDX,
      good: (y) => y,
      show: (y) => (y ? "there" : "not there"),
    }),
    judgeFact(facts.tdxDevice, {
      code: "guest-evidence.tdx-guest",
      want: "/dev/tdx_guest",
      hint: "modprobe tdx_guest; the guest cannot get its report without it",
      source: TDX,
      good: (y) => y,
      show: (y) => (y ? "there" : "not there"),
    }),
    // Kernels before 6.16 do not show it: then nothing is said.
    ...(facts.mrtd.state === "absent"
      ? []
      : [
          judgeFact(facts.mrtd, {
            code: "guest-evidence.mrtd",
            want: "a measurement of the TD as it was built (MRTD)",
            hint: "a TD without it was not built by the TDX module: do not trust this guest",
            source: TDX,
            good: (hex) => /[1-9a-f]/.test(hex),
            show: (hex) => `${hex.slice(0, 16)}…`,
          }),
        ]),
  ];
}

export function judgeGuestEvidence(want: GuestEvidenceWant, facts: GuestEvidenceFacts): readonly Finding[] {
  const mode = facts.devtools.state === "known" && facts.devtools.value === "on" ? "devtools" : undefined;
  const ppcie = want.gpuMode === "ppcie";
  const wantCc = want.gpuMode === "off" || ppcie ? "off" : "on";
  const bad = facts.bad.state === "known" ? facts.bad.value : [];
  // A line that says why comes first: what cannot be read because of it would only hide it.
  const causes = bad.length > 1 ? bad.filter((line) => line.kind !== "gpu-init") : bad;
  const idle = (facts.gpus.state === "known" ? facts.gpus.value : []).filter((gpu) => !gpu.persistence);
  const explained = (finding: Finding) => bad.length > 0 && finding.level === "unknown";
  return [
    ...(want.tee === "tdx" ? judgeTdx(facts) : judgeSnp(facts)),
    judgeFact(facts.swiotlbMiB, {
      code: "guest-evidence.swiotlb",
      want: `bounce buffers (software IO TLB)${want.swiotlbMiB === undefined ? "" : ` of ${want.swiotlbMiB} MiB`}`,
      ...(want.swiotlbMiB === undefined
        ? {
            hint: "take swiotlb=noforce, and sizes above 1 GiB, off the guest's command line: they must fit below 4 GiB",
            source: "NVIDIA/nvtrust#19; AMDESE/AMDSEV#281",
          }
        : {
            hint: "see the running command line (kernel-cmdline); a kernel that maps less than it was told has no room for more below 4 GiB",
            source: SWIOTLB,
          }),
      good: (m) => m >= (want.swiotlbMiB ?? 1),
      show: (m) => (m > 0 ? `${m} MiB` : "none mapped"),
    }),
    ...causes.map((line) => {
      const { want: wanted, hint, source } = BAD_LINES[line.kind];
      return judgeFact(known(line.text), {
        code: `guest-evidence.${line.kind}`,
        want: wanted,
        hint,
        source,
        good: () => false,
      });
    }),
    ...[
      judgeFact(facts.cc, {
        code: "guest-evidence.cc",
        want: `CC status: ${wantCc.toUpperCase()}${ppcie ? ", as Protected PCIe has it" : ""}`,
        hint: `see gpu-cc-mode on the host; ${TICKET}`,
        source: ppcie ? MULTI : STATE,
        good: (cc) => cc === wantCc,
      }),
      ...(ppcie
        ? [
            judgeFact(facts.multiGpu, {
              code: "guest-evidence.multi-gpu",
              want: "Multi-GPU Mode: Protected PCIe",
              hint: `see gpu-cc-mode on the host; a driver that was loaded without RmEnableProtectedPcie (see lkca) needs a restart of the guest; ${TICKET}`,
              source: MULTI,
              good: (multi) => multi === "Protected PCIe",
            }),
          ]
        : []),
      judgeFact(facts.devtools, {
        code: "guest-evidence.devtools",
        want: `DevTools Mode: ${want.gpuMode === "devtools" ? "ON" : "OFF"}`,
        hint: "devtools mode opens the GPU to profiling: set the CC mode to on",
        source: "seed 001, Configuring the GPU (its example sets devtools); 002: DevTools Mode: OFF",
        good: () => (mode === "devtools") === (want.gpuMode === "devtools"),
      }),
      ...(facts.gpus.state === "known" &&
      facts.gpus.value.length > 0 &&
      (want.gpus === undefined || facts.gpus.value.length === want.gpus)
        ? facts.gpus.value.map((gpu) =>
            judgeFact(known(gpu), {
              code: "guest-evidence.vbios",
              want: `VBIOS ≥ ${want.minimumVbios} at ${gpu.bdf}`,
              hint: "ask NVIDIA or the server's vendor for the update: there is no self-service one",
              source: `${STATE}; seed 000, NVIDIA Firmware`,
              good: (g) => (compareVbios(g.vbios, want.minimumVbios) ?? -1) >= 0,
              show: (g) => `${g.vbios} at ${g.bdf}`,
            }),
          )
        : [
            judgeFact(facts.gpus, {
              code: "guest-evidence.gpus",
              want: want.gpus === undefined ? "a GPU" : `${want.gpus} GPUs`,
              hint: "see vfio-binding and confidential-vm on the host, nvidia-driver in the guest",
              source: "seed 001, Setting up the NVIDIA Driver",
              good: () => false,
              show: (list) => `${list.length} GPUs`,
            }),
          ]),
      ...(idle.length === 0
        ? []
        : [
            judgeFact(known(idle.map((gpu) => gpu.bdf).join(", ")), {
              code: "guest-evidence.persistence",
              want: "persistence mode Enabled at every GPU",
              hint: "the daemon that runs is not the one of its unit, and the GPU's session ends with its last program: restart the guest",
              source: "seed 001, Persistence Mode",
              good: () => false,
              show: (bdfs) => `Disabled at ${bdfs}`,
            }),
          ]),
    ].filter((finding) => !explained(finding)),
  ];
}
