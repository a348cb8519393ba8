import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "@jest/globals";
import { facetNamed } from "../../providers/facets/index.ts";
import { unitOf } from "../../providers/facets/nvidia-persistenced-plan.ts";
import { planTdxQuote, TdxQuoteWant } from "../../providers/facets/tdx-quote-plan.ts";
import { CLOUDS } from "../../providers/kit/cloud.ts";
import { absent, known } from "../../providers/kit/facts.ts";
import { commandLine, instanceGoals } from "../../stacks/profiles/cloud-goals.ts";
import type { CloudProfile } from "../../stacks/profiles/cloud-schema.ts";
import { CLOUD_PROFILES } from "../../stacks/profiles/resolve.ts";

/** What seeds 002 and 003 prescribe, beside the recipe, the facet or the program that has it. */
const ROOT = join(dirname(fileURLToPath(import.meta.url)), "../..");
const [A1, A8, B] = CLOUD_PROFILES as readonly [CloudProfile, CloudProfile, CloudProfile];
const QUOTE_FILE = { sha256: "a".repeat(64) };
const quoteWant = (): TdxQuoteWant => {
  const value = B.quote?.value;
  if (value === undefined) throw new Error("the recipe has no quote");
  const { repository, sdk, verifier } = value;
  const pin = <T extends object>(file: T) => ({ ...file, ...QUOTE_FILE });
  return TdxQuoteWant.parse({ ...value, repository: pin(repository), sdk: pin(sdk), verifier: pin(verifier) });
};
const unit = (profile: CloudProfile): string => unitOf(profile.guest.persistenced.value);
const goals = (profile: CloudProfile): string =>
  Object.values(instanceGoals(profile))
    .flat()
    .map(({ facet }) => facet)
    .join("\n");

/** The text in which a row is to be found. */
const TEXTS: Readonly<Record<string, () => string>> = {
  A1: () => JSON.stringify(A1),
  A8: () => JSON.stringify(A8),
  B: () => JSON.stringify(B),
  unit1: () => unit(A1),
  unit8: () => unit(A8),
  unitB: () => unit(B),
  goals1: () => goals(A1),
  goals8: () => goals(A8),
  goalsB: () => goals(B),
  swiotlb: () => commandLine(B, { swiotlbMiB: 4096 }).join(" "),
  "baidu-restart": () => JSON.stringify(CLOUDS.baidu),
  alibaba: () => readFileSync(join(ROOT, "components/alibaba-node.ts"), "utf8"),
  provider: () => readFileSync(join(ROOT, "providers/reconcile.ts"), "utf8"),
  quote: () =>
    JSON.stringify(
      planTdxQuote(quoteWant(), {
        packages: known([]),
        qcnl: known('"pccs_url": "https://localhost:8081/sgx/", "use_secure_cert": false'),
        generator: absent,
        verifier: absent,
        made: known(false),
        quote: absent,
      }),
    ),
};
/** A facet as data, with the source of its own files: texts of findings are made there. */
const facetText = (name: string): string =>
  [name, `${name}-plan`, `${name}-judge`, `${name}-verdict`]
    .map((file) => join(ROOT, `providers/facets/${file}.ts`))
    .flatMap((file) => {
      try {
        return [readFileSync(file, "utf8")];
      } catch {
        return [];
      }
    })
    .concat(JSON.stringify(facetNamed(name)))
    .join("\n");

// biome-ignore format: one row each
test.each<readonly [id: string, where: string, texts: readonly string[]]>([
  ["002-07", "attestation", ["nonce"]],
  ["002-08", "alibaba", ["new Instance("]],
  ["002-09", "A1", ["cn-beijing", "cn-beijing-l"]],
  ["002-10", "A1", ["ecs.gn8v-tee.4xlarge"]],
  ["002-11", "A1", ["alinux", "\"versionId\":\"3\""]],
  ["002-12", "A1", ["5.10.134-18.al8.x86_64"]],
  ["002-13", "A1", ["aliyun_3_x64_20G_alibase_20250117.vhd"]],
  ["002-14", "alibaba", ["instanceType", "imageId", "zoneId"]],
  ["002-15", "alibaba", ["systemDiskCategory", "securityGroups", "vswitchId", "keyName"]],
  ["002-17", "provider", ["wait-guest"]],
  ["002-18", "A1", ["ecs.gn8v-tee.4xlarge", "ecs.gn8v-tee.6xlarge"]],
  ["002-19", "A8", ["ecs.gn8v-tee-8x.16xlarge", "ecs.gn8v-tee-8x.48xlarge"]],
  ["002-20", "A8", ["alibaba-gn8v-tee-8gpu"]],
  ["002-21", "alibaba", ["hostKeys"]],
  ["002-22", "A1", ["https://cn.download.nvidia.cn/tesla/550.144.03/NVIDIA-Linux-x86_64-550.144.03.run"]],
  ["002-23", "A1", ["cuda_12.4.1_550.54.15_linux.run"]],
  ["002-24", "A1", ["openssl3"]],
  ["002-25", "A1", ["cloudmonitor.service"]],
  ["002-26", "unit1", ["Before=cloudmonitor.service", "[Unit]"]],
  ["002-27", "unit1", ["Type=forking", "ExecStart=/usr/bin/nvidia-persistenced --user root"]],
  ["002-28", "gpu-ready-state", ["-srs"]],
  ["002-29", "unit1", ["ExecStopPost=/bin/rm -rf", "WantedBy=multi-user.target"]],
  ["002-30", "nvidia-persistenced", ["/etc/systemd/system/"]],
  ["002-31", "gpu-ready-state", ["after an attestation that passed"]],
  ["002-32", "A1", ["--ui=none", "--no-questions", "--accept-license", "--disable-nouveau", "--no-cc-version-check"]],
  ["002-33", "A1", ["--install-libglvnd", "--kernel-module-build-directory=kernel-open", "--rebuild-initramfs"]],
  ["002-34", "A1", ["--silent", "--toolkit"]],
  ["002-35", "nvidia-persistenced", ["systemctl enable"]],
  ["002-36", "A1", ["swiotlb=4194304,any"]],
  ["002-37", "goals1", ["host-boot"]],
  ["002-38", "provider", ["wait-guest"]],
  ["002-39", "A8", ["install nvidia /sbin/modprobe ecdsa_generic; /sbin/modprobe ecdh; /sbin/modprobe --ignore-install nvidia"]],
  ["002-40", "A8", ["RmEnableProtectedPcie=0x1"]],
  ["002-41", "lkca", ["dracut"]],
  ["002-42", "goals8", ["host-boot"]],
  ["002-43", "A1", ["not in seed 002 for one GPU"]],
  ["002-44", "A8", ["https://cn.download.nvidia.cn/tesla/570.86.15/NVIDIA-Linux-x86_64-570.86.15.run"]],
  ["002-45", "A8", ["cuda_12.8.0_570.86.10_linux.run"]],
  ["002-46", "A8", ["nvidia-fabric-manager-570.86.15-1.x86_64.rpm"]],
  ["002-47", "A8", ["openssl3", "cloudmonitor.service"]],
  ["002-48", "unit8", ["After=systemd-modules-load.service nvidia-fabricmanager.service"]],
  ["002-49", "unit8", ["--uvm-persistence-mode --verbose"]],
  ["002-50", "unit8", ["TimeoutStartSec=900", "TimeoutStopSec=60"]],
  ["002-51", "A8", ["fabric-manager"]],
  ["002-52", "A8", ["570.86.15"]],
  ["002-53", "goals8", ["fabric-manager", "nvidia-persistenced"]],
  ["002-54", "A8", ["swiotlb=2097152,any"]],
  ["002-55", "goals8", ["host-boot"]],
  ["002-56", "guest-evidence", ["tdx_guest"]],
  ["002-57", "guest-evidence", ["tdx_guest"]],
  ["002-58", "guest-evidence", ["conf-compute"]],
  ["002-59", "guest-evidence", ["guest-evidence.cc"]],
  ["002-60", "guest-evidence", ["-mgm"]],
  ["002-61", "guest-evidence", ["ppcie"]],
  ["002-62", "guest-evidence", ["ppcie"]],
  ["002-63", "A1", ["nvattest", "nvtrust#144"]],
  ["002-64", "A1", ["nvattest", "nvtrust#144"]],
  ["002-65", "A1", ["nvattest", "nvtrust#144"]],
  ["002-66", "A1", ["nvattest", "nvtrust#144"]],
  ["002-67", "A1", ["nvattest", "nvtrust#144"]],
  ["002-68", "A1", ["nvattest", "nvtrust#144"]],
  ["002-69", "A1", ["nvattest", "nvtrust#144"]],
  ["002-70", "A8", ["libnvidia-nscq-570-570.86.15-1.x86_64.rpm"]],
  ["002-71", "A1", ["nvattest"]],
  ["002-72", "A1", ["package policy"]],
  ["002-73", "A1", ["nv_match"]],
  ["002-74", "A1", ["measres", "x-nvidia-gpu-arch-check"]],
  ["002-75", "A1", ["x-nvidia-gpu-attestation-report-cert-chain", "x-nvidia-gpu-attestation-report-parsed", "x-nvidia-gpu-attestation-report-nonce-match", "x-nvidia-gpu-attestation-report-signature-verified"]],
  ["002-76", "A1", ["x-nvidia-gpu-driver-rim-fetched", "x-nvidia-gpu-driver-rim-schema-validated", "x-nvidia-gpu-driver-rim-cert-chain", "x-nvidia-gpu-driver-rim-signature-verified", "x-nvidia-gpu-driver-rim-measurements-available"]],
  ["002-77", "A1", ["x-nvidia-gpu-vbios-rim-fetched", "x-nvidia-gpu-vbios-rim-schema-validated", "x-nvidia-gpu-vbios-rim-cert-chain", "x-nvidia-gpu-vbios-rim-signature-verified", "x-nvidia-gpu-vbios-rim-measurements-available"]],
  ["002-78", "A1", ["x-nvidia-gpu-vbios-index-no-conflict"]],
  ["002-79", "attestation", ["nonce"]],
  ["002-80", "attestation", ["@nonce@"]],
  ["002-81", "A1", ["\"verifier\":\"local\""]],
  ["002-82", "attestation", ["attestation.policy-file"]],
  ["002-83", "attestation", ["a clear yes"]],
  ["002-84", "A8", ["nvswitch"]],
  ["002-85", "A8", ["x-nvidia-gpu-arch-check"]],
  ["002-86", "A8", ["nvswitch"]],
  ["002-87", "A8", ["x-nvidia-switch-arch-check", "x-nvidia-switch-attestation-report-signature-verified", "x-nvidia-switch-attestation-report-parsed", "x-nvidia-switch-attestation-report-nonce-match", "x-nvidia-switch-attestation-report-cert-chain"]],
  ["002-88", "A8", ["x-nvidia-switch-bios-rim-fetched", "x-nvidia-switch-bios-rim-schema-validated", "x-nvidia-switch-bios-rim-cert-chain", "x-nvidia-switch-bios-rim-signature-verified", "x-nvidia-switch-bios-rim-measurements-available"]],
  ["002-89", "A8", ["nvattest"]],
  ["002-90", "A8", ["nvattest"]],
  ["002-91", "A8", ["\"count\":{\"value\":8"]],
  ["002-94", "A1", ["12.4.5.8"]],
  ["002-95", "A1", ["12.4.5.8"]],
  ["002-96", "guest-evidence", ["nvidia-persistenced is not active yet"]],
  ["002-97", "nvidia-persistenced", ["activating"]],
  ["002-99", "A1", ["cloudmonitor.service", "ollama.service"]],
  ["002-100", "unit8", ["Before=cloudmonitor.service ollama.service"]],
  ["003-03", "B", ["\"versionId\":\"22.04\""]],
  ["003-04", "B", ["6.6.0"]],
  ["003-06", "goalsB", ["nvidia-driver"]],
  ["003-07", "B", ["http://mirrors.baidubce.com/nvidia-binary-driver/driver/x86_64/NVIDIA-Linux-x86_64-570.195.03.run"]],
  ["003-08", "B", ["nvidia-fabricmanager-570_570.195.03-1_amd64.deb"]],
  ["003-09", "B", ["libnvidia-nscq-570_570.195.03-1_amd64.deb"]],
  ["003-10", "guest-evidence", ["tdx_guest"]],
  ["003-11", "guest-evidence", ["/dev/tdx_guest"]],
  ["003-12", "guest-evidence", ["tdx"]],
  ["003-13", "quote", ["/var/lib/teeup/tdx-quote"]],
  ["003-14", "quote", ["71169068a5f0f99d203ad9f3d7976a9f"]],
  ["003-15", "quote", ["bc8c3453b44c6c6ce0c9fa1804cd2565"]],
  ["003-16", "quote", ["c4f2bd528e153f651adc9564a5b200b5"]],
  ["003-17", "quote", ["md5sum"]],
  ["003-18", "quote", ["/srv"]],
  ["003-19", "quote", ["deb [trusted=yes arch=amd64] file:/srv/sgx_debian_local_repo jammy main"]],
  ["003-20", "quote", ["libtdx-attest-dev"]],
  ["003-21", "quote", ["libsgx-ae-qve"]],
  ["003-22", "quote", ["--no-install-recommends"]],
  ["003-23", "quote", ["/opt/intel/tdx-quote-generation-sample"]],
  ["003-24", "quote", ["--prefix"]],
  ["003-25", "quote", ["SGX_SDK=/opt/intel/sgxsdk"]],
  ["003-26", "quote", ["SGX_SDK=/opt/intel/sgxsdk"]],
  ["003-27", "quote", ["DEBUG=1"]],
  ["003-28", "quote", ["DEBUG=1"]],
  ["003-29", "quote", ["https://pccs.baidubce.com:8081"]],
  ["003-30", "quote", ["use_secure_cert"]],
  ["003-31", "tdx-quote", ["test_tdx_attest"]],
  ["003-32", "tdx-quote", ["tee verify quote successfully returned"]],
  ["003-33", "tdx-quote", ["Verification completed successfully"]],
  ["003-34", "tdx-quote", ["/run/teeup/tdx-quote"]],
  ["003-35", "B", ["\"verifier\":\"remote\""]],
  ["003-36", "B", ["\"verifier\":\"remote\""]],
  ["003-38", "B", ["\"verifier\":\"remote\""]],
  ["003-39", "B", ["\"count\":{\"value\":8"]],
  ["003-40", "attestation", ["@nonce@"]],
  ["003-41", "attestation", ["a clear yes"]],
  ["003-42", "attestation", ["a clear yes"]],
  ["003-43", "B", ["nvswitch"]],
  ["003-44", "attestation", ["a clear yes"]],
  ["003-45", "gpu-ready-state", ["after an attestation that passed"]],
  ["003-46", "goalsB", ["fabric-manager", "attestation"]],
  ["003-48", "baidu-restart", ["no reboot from inside"]],
  ["003-50", "B", ["\"uefi\":{\"value\":true"]],
  ["003-52", "B", ["ubuntu"]],
  ["003-53", "B", ["6.6.0"]],
  ["003-54", "B", ["\"noRdma\":{\"value\":true"]],
  ["003-55", "instance-system", ["detach its elastic RDMA interfaces"]],
  ["003-56", "B", ["\"commandLine\":{\"value\":[]"]],
  ["003-57", "B", ["\"commandLine\":{\"value\":[]"]],
  ["003-58", "swiotlb", ["swiotlb=2097152"]],
  ["003-60", "baidu-restart", ["BCC console"]],
  ["003-61", "swiotlb", ["swiotlb=2097152"]],
  ["003-62", "cuda-toolkit", ["seed 003"]],
  ["003-63", "unitB", ["TimeoutStartSec=600"]],
  ["003-64", "guest-evidence", ["nvidia-persistenced is not active yet"]],
  ["003-65", "unitB", ["Before=bcm-agent.service has-agent.service"]],
  ["003-66", "unitB", ["Type=forking"]],
  ["003-67", "unitB", ["ExecStart=/usr/bin/nvidia-persistenced --user root --verbose"]],
  ["003-68", "unitB", ["WantedBy=multi-user.target"]],
  ["003-69", "unitB", ["After=systemd-modules-load.service nvidia-fabricmanager.service"]],
  ["003-71", "B", ["bcm-agent.service"]],
])("%s", (_id, where, texts) => {
  const text = TEXTS[where]?.() ?? facetText(where);
  for (const wanted of texts) expect([wanted, text.includes(wanted) || text.includes(JSON.stringify(wanted).slice(1, -1))]).toEqual([wanted, true]);
});
