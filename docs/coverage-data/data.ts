import { CLOUD_ROWS } from "./clouds.ts";
import type { Rows } from "./rows.ts";
import { context, example, later, person, program, proven, steps, value } from "./rows.ts";
import { TDX_ROWS } from "./tdx.ts";

const CONTAINERS =
  "containers in confidential VMs (Kata, the GPU Operator) are a step of their own; this version ends at the VM's user";

/** Ids whose step, question or finding test/docs/seed-steps.test.ts compares with what the document prescribes. */
const STEPS = `
  000-04 000-05 000-06 000-07 000-08 000-09 000-10 000-11 000-12
  000-13 000-16 000-17 000-18 000-20 000-21 000-22 001-HW-06 001-HW-09
  001-HW-11 001-HW-12 001-HW-13 001-HW-14 001-HW-15 001-HW-16 001-HW-17 001-HW-18 001-HW-19
  001-HW-20 001-HW-21 001-HW-22 001-HW-23 001-HW-24 001-HOST-03 001-HOST-09 001-HOST-13 001-HOST-14
  001-HOST-15 001-HOST-16 001-HOST-18 001-HOST-21 001-HOST-22 001-HOST-23 001-HOST-24 001-HOST-25 001-HOST-26
  001-HOST-27 001-HOST-28 001-HOST-29 001-HOST-30 001-HOST-31 001-HOST-32 001-HOST-33 001-HOST-34 001-HOST-35
  001-HOST-36 001-HOST-37 001-HOST-38 001-HOST-39 001-HOST-40 001-HOST-41 001-HOST-42 001-HOST-43 001-HOST-47
  001-HOST-48 001-HOST-49 001-HOST-50 001-HOST-51 001-HOST-52 001-HOST-53 001-GPU-01 001-GPU-02 001-GPU-03
  001-GPU-04 001-GPU-05 001-GPU-06 001-GPU-07 001-GPU-08 001-GPU-09 001-GPU-10 001-GPU-11 001-GPU-12
  001-GPU-13 001-GPU-14 001-GPU-15 001-GPU-16 001-GPU-17 001-GPU-18 001-GPU-19 001-GPU-20 001-GPU-21
  001-GPU-22 001-GPU-23 001-GPU-24 001-GPU-25 001-GPU-26 001-GPU-27 001-GPU-28 001-HOST-54 001-HOST-56
  001-HOST-57 001-HOST-58 001-HOST-59 001-HOST-60 001-HOST-61 001-HOST-62 001-HOST-63 001-HOST-64 001-HOST-65
  001-HOST-66 001-HOST-67 001-HOST-68 001-HOST-69 001-HOST-70 001-HOST-71 001-HOST-72 001-HOST-73 001-HOST-74
  001-VM-03 001-VM-04 001-VM-05 001-VM-06 001-VM-07 001-VM-08 001-VM-09 001-VM-10 001-VM-16
  001-VM-17 001-VM-18 001-VM-19 001-VM-20 001-VM-21 001-VM-22 001-VM-23 001-VM-24 001-VM-26
  001-VM-27 001-USER-02 001-USER-03 001-USER-04 001-USER-05 001-USER-06 001-USER-08 001-USER-09 001-USER-10
  001-USER-11 001-USER-15 001-USER-16 001-USER-17 001-USER-18 001-USER-19 001-USER-20 001-USER-21 001-USER-22
  001-USER-23 001-USER-24 001-USER-25 001-USER-26 001-USER-27 001-USER-28
`;

/** One row per id of the checklist. Rows of facets add the proof to what the facet says it covers. */
export const ROWS: Rows = {
  // Steps of facets, one test each
  ...steps(STEPS),

  // 000: field report of 2023-08-18
  "000-01": context("the author's machine; facets judge what the node itself shows"),
  "000-02": context("the author's reading; every profile names its own sources"),
  "000-03": context("dates the report and says how far it got"),
  "000-14": value("000-14", "guest.image.os"),
  "000-15": value("000-15", "guest.image.url"),
  "000-19": value("000-19", "guest.image"),
  "000-23": value("000-23", "host.kernel.source"),

  // 001: NVIDIA DU-11462-001 v1.0
  "001-HW-01": value("001-HW-01", "name and released"),
  "001-HW-02": context("scope of the document; the reasons are in NVIDIA's whitepaper"),
  "001-HW-03": program(
    "findings are grouped by persona",
    "test/cli/tree.test.ts",
    "groups findings by persona, in the order of the work, with marks that need no colour",
  ),
  "001-HW-04": context("an example of who hands over to whom; every resource can be used alone"),
  "001-HW-05": context("notation of the document"),
  "001-HW-07": program("[gpu-inventory](facets.md#gpu-inventory)", "test/docs/seed-steps.test.ts", "001-GPU-13"),
  "001-HW-08": proven("test/facets/bios.test.ts", "bios.no-uefi"),
  "001-HW-10": proven("test/facets/bios.test.ts", "an unknown maker gets AMD's own menu"),
  "001-HW-25": proven(
    "test/facets/bios.test.ts",
    "the guide's sample of 99 SEV-ES/SNP ASIDs fits its limit of 100 (001-HW-25)",
  ),
  "001-HOST-01": value("001-HOST-01", "host.os"),
  "001-HOST-02": person("installing an operating system on bare metal comes before there is anything to connect to"),
  "001-HOST-04": value("001-HOST-04", "host.packages"),
  "001-HOST-05": value("001-HOST-05", "host.packages"),
  "001-HOST-06": value("001-HOST-06", "host.packages"),
  "001-HOST-07": value("001-HOST-07", "host.pip"),
  "001-HOST-08": context("where else the kernel is used; the guest's kernel is a value of its own in the profile"),
  "001-HOST-10": value("001-HOST-10", "host.vmStack.ovmf.commit"),
  "001-HOST-11": value("001-HOST-11", "host.kernel.source"),
  "001-HOST-12": value("001-HOST-12", "host.kernel.patches"),
  "001-HOST-17": value("001-HOST-17", "host.kernelConfig"),
  "001-HOST-19": value("001-HOST-19", "host.kernel.enable"),
  "001-HOST-20": value("001-HOST-20", "host.kernel.enable"),
  "001-HOST-44": value("001-HOST-44", "host.sevFirmware.file.url"),
  "001-HOST-45": value("001-HOST-45", "host.sevFirmware.file.url"),
  "001-HOST-46": value("001-HOST-46", "host.sevFirmware.minimumApi"),
  "001-HOST-55": value("001-HOST-55", "guest.image.url"),
  "001-VM-01": example("guest-evidence", "no guest yet"),
  "001-VM-02": example("guest-kernel", "a fresh cloud image with another kernel"),
  "001-USER-01": example("guest-evidence", "a confidential guest with a confidential GPU"),
  "001-VM-25": value("001-VM-25", "gpu.minimumVbios"),
  "001-VM-11": value("001-VM-11", "guest.driver.args"),
  "001-VM-12": value("001-VM-12", "guest.driver.version"),
  "001-VM-13": value("001-VM-13", "guest.driver.url"),
  "001-VM-14": value("001-VM-14", "guest.driver.version"),
  "001-VM-15": value("001-VM-15", "guest.driver.prerequisites"),
  "001-USER-07": value("001-USER-07", "attestation.verifierPath and sdkPath"),
  "001-USER-12": value("001-USER-12", "attestation.source"),
  "001-USER-13": value("001-USER-13", "attestation.packages"),
  "001-USER-14": value("001-USER-14", "attestation.packages"),
  "001-USER-29": value("001-USER-29", "attestation.policy.claims"),
  ...Object.fromEntries(
    [30, 31, 32, 33, 34, 35, 36, 37, 38].map((n) => [
      `001-USER-${n}`,
      value(`001-USER-${n}`, "attestation.policy.claims"),
    ]),
  ),

  // The document shows the verifier's log; TeeUp reads the result and its claims, and fails closed on each.
  "001-USER-39": example("attestation", "success without any device"),
  "001-USER-40": example("attestation", "driver version mismatch"),
  "001-USER-41": example("attestation", "OCSP status not good"),
  "001-USER-42": example("attestation", "the SDK: replayed"),
  "001-USER-43": example("attestation", "the SDK: attest() False"),
  "001-USER-44": example("attestation", "no RIM for this driver"),
  "001-USER-45": example("attestation", "VBIOS version mismatch"),
  "001-USER-46": example("attestation", "measurements fail though the code is 0"),
  "001-USER-47": example("attestation", "the SDK of 2023 passes"),
  "001-USER-48": example("attestation", "the SDK of 2023 passes"),

  // 001: the container user
  ...Object.fromEntries(
    Array.from({ length: 83 }, (_, i) => `001-K8S-${String(i + 1).padStart(2, "0")}`).map((id) => [
      id,
      later(CONTAINERS),
    ]),
  ),

  ...CLOUD_ROWS,
  ...TDX_ROWS,
};
