import type { Answer } from "../kit/ask.ts";
import { failed, ok } from "../kit/ask.ts";
import { example } from "../kit/example.ts";

const want = { minimumApi: "1.51", minimumAsids: 1 };
const lines = (...text: string[]) => ok(`${["Linux version 6.14.0 (x@y)", ...text].join("\n")}\n`);
const RMP = "SEV-SNP: RMP table physical range [0x0000000035600000 - 0x0000000075bfffff]";
const IOMMU = "AMD-Vi: IOMMU SNP support enabled.";
const API = ["ccp 0000:45:00.1: SEV API:1.55 build:21", "ccp 0000:45:00.1: SEV-SNP API:1.55 build:21"];
const KVM = [
  "kvm_amd: SEV enabled (ASIDs 100 - 509)",
  "kvm_amd: SEV-ES enabled (ASIDs 1 - 99)",
  "kvm_amd: SEV-SNP enabled (ASIDs 1 - 99)",
];
const parameters = (sev: string, es: string, snp: string) =>
  ok([`sev:${sev}`, `sev_es:${es}`, `sev_snp:${snp}`].map((p) => `/sys/module/kvm_amd/parameters/${p}\n`).join(""), 2);
const good = {
  kernel: ok("6.14.0-37-generic\n"),
  log: lines(RMP, IOMMU, ...API, ...KVM),
  parameters: parameters("Y", "Y", "Y"),
  device: ok("character special file\n"),
};
/** The wording of the guide's 5.19 kernel. */
const OLD_RMP = "SEV-SNP: RMP table physical address 0x0000000035600000 - 0x0000000075bfffff";
const OLD_KVM = ["SEV supported: 410 ASIDs", "SEV-ES and SEV-SNP supported: 99 ASIDs"];
const ccp = (text: string) => `ccp 0000:45:00.1: ${text}`;
const old = {
  ...good,
  kernel: ok("5.19.0-rc6-snp-host-d9bd54fea4d2\n"),
  log: lines(
    OLD_RMP,
    ccp("sev enabled"),
    ccp("SEV firmware update successful"),
    ccp("SEV API:1.51 build:3"),
    ccp("SEV-SNP API:1.51 build:3"),
    ...OLD_KVM,
  ),
  parameters: parameters("1", "1", "1"),
};
const outdated = lines(
  OLD_RMP,
  ccp("sev enabled"),
  ccp("SEV-SNP support requires firmware version >= 1:51"),
  ccp("SEV: failed to INIT error 0x1, rc -5"),
  ccp("SEV API:1.49 build:3"),
  ...OLD_KVM,
);
const OFF = parameters("Y", "Y", "N");
const DISABLED = [...KVM.slice(0, 2), "kvm_amd: SEV-SNP disabled (ASIDs 0 - 0)"];
const snphost = (...results: string[]): Answer => ok(`${results.join("\n")}\n`, 1);
const [inParameters, kvm] = ["snp-ready.parameters", "snp-ready.kvm"];

export const SNP_READY_EXAMPLES = [
  example("upstream kernel", want, good),
  example("the guide's 5.19 kernel", want, old),
  example("snphost agrees", want, { ...good, snphost: ok("[ PASS ] - AMD CPU\n[ PASS ] - Comparing TCB values\n") }),
  example(
    "RMP not reserved",
    want,
    {
      ...good,
      parameters: OFF,
      log: lines("SEV-SNP: Memory for the RMP table has not been reserved by BIOS", IOMMU, ...API, ...DISABLED),
    },
    ["snp-ready.rmp-not-reserved"],
  ),
  example(
    "RMP covers a part of memory",
    want,
    {
      ...good,
      parameters: OFF,
      log: lines(
        RMP,
        "SEV-SNP: Memory reserved for the RMP table does not cover full system RAM (expected 0x81000000 got 0x40600000)",
        IOMMU,
        ...API,
        ...DISABLED,
      ),
    },
    ["snp-ready.rmp-partial"],
  ),
  example(
    "IOMMU in passthrough mode",
    want,
    {
      ...good,
      parameters: OFF,
      log: lines(
        RMP,
        "AMD-Vi: SNP: IOMMU is disabled or configured in passthrough mode, SNP cannot be supported.",
        ...API,
        ...DISABLED,
      ),
    },
    ["snp-ready.iommu-passthrough"],
  ),
  example("firmware too old", want, { ...old, log: outdated }, ["snp-ready.firmware-too-old"]),
  example("SNP off in the BIOS", want, { ...good, parameters: OFF, device: ok("", 1), log: lines() }, [
    inParameters,
    "snp-ready.device",
    "snp-ready.rmp",
    "snp-ready.iommu",
    "snp-ready.firmware",
    kvm,
  ]),
  example(
    "TCB",
    want,
    { ...good, snphost: snphost("[ PASS ] - AMD CPU", "[ FAIL ] - Comparing TCB values: TCB versions do NOT match") },
    ["snp-ready.tcb"],
  ),
  example("journal rotated away", want, { ...good, log: ok(`${IOMMU}\n`) }, ["snp-ready.log"]),
  example("no log", want, { ...good, log: failed("no answer within 20 s") }, ["snp-ready.log"]),
];
