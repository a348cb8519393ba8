import { expect, test } from "@jest/globals";
import { intelTdxKvmCoco } from "../../stacks/profiles/intel-tdx-kvm-coco-20240512.ts";
import { nvidiaDu11462 } from "../../stacks/profiles/nvidia-du-11462-001-v1.0.ts";
import { tdxUpstream } from "../../stacks/profiles/tdx-upstream.ts";

const { host, gpu, guest, attestation } = nvidiaDu11462;
const kernel = host.kernel.value;
const vmStack = host.vmStack.value;
const driver = guest.driver.value;
const verifier = attestation.value;

/** Text of the field that a row is about, and what the guide prescribes for it. docs/coverage.md points here by id. */
const claims = (...names: string[]): string[] => names.map((name) => `x-nv-gpu-${name}`);
const policy = verifier.tool === "python-sdk" ? verifier.policy : undefined;

test.each<[string, unknown, unknown]>([
  ["001-HW-01", [nvidiaDu11462.name, nvidiaDu11462.released], ["nvidia-du-11462-001-v1.0", "2023-07-25"]],
  ["001-HOST-01", host.os.value, [{ id: "ubuntu", versionId: "22.04" }]],
  [
    "001-HOST-04",
    host.packages.value,
    expect.arrayContaining([
      "ninja-build",
      "iasl",
      "nasm",
      "flex",
      "bison",
      "openssl",
      "dkms",
      "autoconf",
      "python3-pip",
      "libtool",
      "git-lfs",
      "jq",
    ]),
  ],
  [
    "001-HOST-05",
    host.packages.value,
    expect.arrayContaining([
      "zlib1g-dev",
      "libncurses-dev",
      "libssl-dev",
      "libelf-dev",
      "libudev-dev",
      "libpci-dev",
      "libiberty-dev",
      "libglib2.0-dev",
    ]),
  ],
  [
    "001-HOST-06",
    host.packages.value,
    expect.arrayContaining([
      "libsdl-console",
      "libsdl-console-dev",
      "libpango1.0-dev",
      "libjpeg8-dev",
      "libpixman-1-dev",
      "libcairo2-dev",
      "libgif-dev",
    ]),
  ],
  ["001-HOST-07", host.pip?.value, ["numpy", "flex", "bison"]],
  [
    "001-HOST-10",
    vmStack.kind === "build" && "commit" in vmStack.ovmf && vmStack.ovmf.commit,
    expect.stringMatching(/^[0-9a-f]{40}$/),
  ],
  ["001-HOST-11", host.kernel.source, expect.stringContaining("sev-snp-devel")],
  [
    "001-HOST-12",
    kernel.kind === "build" && [kernel.base, ...kernel.patches.map((p) => p.file.split("/").at(-1))],
    ["5.19.0-rc6", "iommu_pagefault.patch", "iommu_pagesize.patch"],
  ],
  [
    "001-HOST-17",
    host.kernelConfig.value,
    expect.arrayContaining(["CONFIG_CRYPTO_ECC", "CONFIG_CRYPTO_ECDH", "CONFIG_CRYPTO_ECDSA"]),
  ],
  [
    "001-HOST-19",
    kernel.kind === "build" && kernel.enable,
    expect.arrayContaining(["CONFIG_CRYPTO_ECC", "CONFIG_CRYPTO_ECDH", "CONFIG_CRYPTO_ECDSA"]),
  ],
  ["001-HOST-20", kernel.kind === "build" && kernel.enable, expect.arrayContaining(["CONFIG_CGROUP_MISC"])],
  ["001-HOST-44", host.sevFirmware?.value.file?.url, expect.stringContaining("https://developer.amd.com/")],
  [
    "001-HOST-45",
    host.sevFirmware?.value.file?.url,
    "https://developer.amd.com/wp-content/resources/amd_sev_fam19h_model0xh_1.33.03.zip",
  ],
  // 0x33 = 51
  [
    "001-HOST-46",
    host.sevFirmware?.value.file?.member.includes("_1.33.03") && host.sevFirmware.value.minimumApi,
    `1.${0x33}`,
  ],
  ["000-23", host.kernel.source, expect.stringContaining("NVIDIA DU-11462-001 v1.0")],
  ["000-14", guest.image.value.os, { id: "ubuntu", versionId: "22.04" }],
  ["000-15", guest.image.value.url, expect.stringMatching(/^https:\/\/cloud-images\.ubuntu\.com\/releases\/jammy\//)],
  ["000-19", guest.image.source, expect.stringContaining("link is dead")],
  ["001-HOST-55", guest.image.value.url, expect.not.stringContaining("live-server")],
  ["001-VM-11", driver.kind === "runfile" && driver.args, ["-m=kernel-open"]],
  ["001-VM-12", driver.kind === "runfile" && [driver.cuda, driver.version], ["12.2", "535.86"]],
  [
    "001-VM-13",
    driver.kind === "runfile" && driver.url,
    "https://developer.download.nvidia.com/compute/cuda/12.2.0/local_installers/cuda_12.2.0_535.86.06_linux.run",
  ],
  // All three versions that the guide names begin with it.
  ["001-VM-14", ["535.86.10", "535.86.06", "535.86.05"].every((v) => v.startsWith(driver.version)), true],
  ["001-VM-15", driver.kind === "runfile" && driver.prerequisites, ["gcc", "g++", "make"]],
  ["001-VM-25", gpu.minimumVbios.value, "96.00.5E.00.00"],
  [
    "001-USER-07",
    verifier.tool === "python-sdk" && [verifier.verifierPath, verifier.sdkPath],
    ["guest_tools/gpu_verifiers/local_gpu_verifier", "guest_tools/attestation_sdk"],
  ],
  ["001-USER-12", verifier.tool === "python-sdk" && verifier.source.url, "https://github.com/NVIDIA/nvtrust.git"],
  ["001-USER-13", verifier.tool === "python-sdk" && verifier.packages, expect.arrayContaining(["python3-pip"])],
  ["001-USER-14", verifier.tool === "python-sdk" && verifier.packages, expect.arrayContaining(["python3.10-venv"])],
  ["001-USER-29", (policy?.claims.length ?? 0) > 2, true],
  ["001-USER-30", [policy?.name, policy?.version, policy?.claims.length], ["NVGPUPolicyExample", "1.0", 28]],
  [
    "001-USER-31",
    policy?.claims,
    expect.arrayContaining(
      claims("available", "attestation-report-available", "info-fetched", "arch-check", "measurement-available"),
    ),
  ],
  [
    "001-USER-32",
    policy?.claims,
    expect.arrayContaining(claims("root-cert-available", "cert-chain-verified", "cert-check-complete")),
  ],
  [
    "001-USER-33",
    policy?.claims,
    expect.arrayContaining(claims("ocsp-cert-chain-verified", "ocsp-signature-verified", "cert-ocsp-nonce-match")),
  ],
  [
    "001-USER-34",
    policy?.claims,
    expect.arrayContaining(
      claims(
        "attestation-report-parsed",
        "nonce-match",
        "attestation-report-driver-version-match",
        "attestation-report-vbios-version-match",
        "attestation-report-verified",
      ),
    ),
  ],
  [
    "001-USER-35",
    policy?.claims,
    expect.arrayContaining(
      claims(
        "driver-rim-schema-fetched",
        "driver-rim-schema-validated",
        "driver-rim-cert-extracted",
        "driver-rim-signature-verified",
        "driver-rim-driver-measurements-available",
      ),
    ),
  ],
  [
    "001-USER-36",
    policy?.claims,
    expect.arrayContaining(
      claims(
        "driver-vbios-rim-fetched",
        "vbios-rim-schema-validated",
        "vbios-rim-cert-extracted",
        "vbios-rim-signature-verified",
        "vbios-rim-driver-measurements-available",
      ),
    ),
  ],
  ["001-USER-37", policy?.claims, expect.arrayContaining(claims("vbios-index-conflict", "measurements-match"))],
  // True passes in policy 1.0, whatever the name suggests.
  ["001-USER-38", policy?.claims, expect.arrayContaining(claims("vbios-index-conflict"))],

  // 004
  ["004-01", intelTdxKvmCoco.title, expect.stringContaining("preview")],
  // What the seed waits for: the distribution's own kernel, with TDX since 6.16.
  [
    "004-02",
    tdxUpstream.host.kernel.value,
    expect.objectContaining({ kind: "package", release: expect.stringMatching(/^7\./) }),
  ],
  [
    "004-17",
    intelTdxKvmCoco.host.vmStack.value,
    expect.objectContaining({
      qemu: expect.objectContaining({
        url: "https://gitlab.com/qemu-project/qemu.git",
        commit: expect.stringMatching(/^900536d3e9/),
      }),
    }),
  ],
  [
    "004-18",
    intelTdxKvmCoco.host.vmStack.value,
    expect.objectContaining({ ovmf: expect.objectContaining({ branch: "edk2-stable202405" }) }),
  ],
  ["004-57", intelTdxKvmCoco.guest.image.value.os, { id: "ubuntu", versionId: "24.04" }],
])("%s", (_id, value, expected) => {
  expect(value).toEqual(expected);
});
