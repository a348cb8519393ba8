import { expect, test } from "@jest/globals";
import {
  CLOUD_PROFILES,
  PROFILES,
  profileByName,
  resolveCloudProfile,
  resolveProfile,
  unknowns,
} from "../../stacks/profiles/resolve.ts";
import { ProfileSchema } from "../../stacks/profiles/schema.ts";

const seed = profileByName("nvidia-du-11462-001-v1.0");
const upstream = profileByName("snp-upstream");
const HEX64 = "ab".repeat(32);
const HEX40 = "cd".repeat(20);
const pinsOf = (names: readonly string[]) =>
  Object.fromEntries(names.map((n) => [n, /commit/.test(n) ? HEX40 : HEX64]));

test.each(PROFILES.map((p) => [p.name, p] as const))(
  "%s is complete, frozen, and every value has a source",
  (_, profile) => {
    expect(ProfileSchema.parse(profile)).toEqual(profile);
    expect(Object.isFrozen(profile.host.packages.value)).toBe(true);
    expect(new Set(profile.host.packages.value).size).toBe(profile.host.packages.value.length);
  },
);

test("the seed's profile says what the seed says", () => {
  // seed 001, Preparing the Host: the apt line has 27 names
  expect(seed.host.packages.value.slice(0, 27)).toEqual(
    (
      "ninja-build iasl nasm flex bison openssl dkms autoconf zlib1g-dev python3-pip libncurses-dev libssl-dev libelf-dev " +
      "libudev-dev libpci-dev libiberty-dev libtool libsdl-console libsdl-console-dev libpango1.0-dev libjpeg8-dev " +
      "libpixman-1-dev libcairo2-dev libgif-dev libglib2.0-dev git-lfs jq"
    ).split(" "),
  );
  const kernel = seed.host.kernel.value;
  expect(kernel.kind === "build" && kernel.patches.map((p) => p.file.split("/").at(-1))).toEqual([
    "iommu_pagefault.patch",
    "iommu_pagesize.patch",
  ]);
  expect(seed.attestation.value.tool === "python-sdk" && seed.attestation.value.policy.claims).toHaveLength(28);
  expect(seed.gpu.minimumVbios.value).toBe("96.00.5E.00.00");
  expect(unknowns(seed)).toEqual([
    "host.kernel.source.commit",
    "host.sevFirmware.file.sha256",
    "host.sevFirmware.file.memberSha256",
    "host.vmStack.qemu.commit",
    "guest.image.sha256",
    "guest.driver.sha256",
  ]);
});

test("the upstream profile leaves two sums to the stack", () => {
  expect(unknowns(upstream)).toEqual(["guest.image.sha256", "attestation.repository.keyring.sha256"]);
});

test("pins fill what is unknown and may replace urls", () => {
  const pins = { ...pinsOf(unknowns(upstream)), "guest.image.url": "https://mirror.lan/noble.img" };
  const profile = resolveProfile(upstream, pins);
  expect(unknowns(profile)).toEqual([]);
  expect(profile.guest.image.value).toMatchObject({ sha256: HEX64, url: "https://mirror.lan/noble.img" });
  expect(unknowns(resolveProfile(seed, pinsOf(unknowns(seed))))).toEqual([]);
});

test("missing, stray and malformed pins are named with the fix", () => {
  expect(() => resolveProfile(upstream, {})).toThrow(
    /guest\.image\.sha256 \(of https:\S+\.img\), attestation\.repository\.keyring\.sha256 \(of https:\S+\.deb\).*config\.missing-pin/s,
  );
  expect(() => resolveProfile(upstream, { ...pinsOf(unknowns(upstream)), "guest.imag": "x" })).toThrow(
    /guest\.imag.*config\.bad-pin/s,
  );
  expect(() => resolveProfile(upstream, { ...pinsOf(unknowns(upstream)), "gpu.tools.commit": HEX40 })).toThrow(
    /config\.bad-pin/,
  );
  expect(() => resolveProfile(upstream, { ...pinsOf(unknowns(upstream)), "guest.image.sha256": "zz" })).toThrow(
    /guest\.image\.sha256.*config\.bad-pin/s,
  );
  expect(() => profileByName("nope")).toThrow(/snp-upstream.*nvidia-du-11462-001-v1\.0/s);
});

test.each(CLOUD_PROFILES.map((profile) => [profile.name, profile] as const))(
  "%s: a quote that is asked for is made, or the recipe says that it has no tools for one",
  (_name, profile) => {
    const pinned = () => {
      const open = unknowns(profile).map((path) => [path, "ab".repeat(32)]);
      return resolveCloudProfile(profile, Object.fromEntries(open), { quote: true });
    };
    if (profile.quote === undefined) expect(pinned).toThrow(/teeup:instance\.quote.*has no tools/);
    else expect(pinned().quote).toBeDefined();
  },
);
