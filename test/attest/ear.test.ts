import { createPrivateKey, createPublicKey, generateKeyPairSync } from "node:crypto";
import { beforeAll, describe, expect, test } from "@jest/globals";
import { UnsecuredJWT } from "jose";
import type { Ear } from "../../providers/attest/ear.ts";
import { EAR_PROFILE, EarSchema, earOf, readEar, signEar } from "../../providers/attest/ear.ts";
import type { Policy } from "../../providers/attest/policy.ts";
import { verifierOf } from "../../providers/attest/verify.ts";
import type { Fields, TestAmd, TestChip } from "../../sim/attest/snp.ts";
import { DEBUG_POLICY, testAmd } from "../../sim/attest/snp.ts";
import {
  anchorsOf,
  boundData,
  CLOCK,
  EXPECTED,
  GPU_DIGEST,
  GPU_EVIDENCE,
  NONCE,
  snpBundle,
  snpPolicy,
} from "./given.ts";

const key = (curve: "P-256" | "P-384" | "ed25519") =>
  curve === "ed25519" ? generateKeyPairSync("ed25519") : generateKeyPairSync("ec", { namedCurve: curve });

describe("the result as an EAT Attestation Result", () => {
  let amd: TestAmd;
  let chip: TestChip;
  beforeAll(async () => {
    amd = await testAmd();
    chip = await amd.chip();
  });
  const ear = async (
    fields: Fields = {},
    tee: Record<string, unknown> = {},
    over: Record<string, unknown> = {},
    policy: Policy = snpPolicy(),
  ) =>
    earOf(verifierOf(anchorsOf(amd))(await snpBundle(amd, chip, fields, tee, over), policy, EXPECTED, CLOCK), "1.2.3");
  const noGpu = { gpu: undefined };
  const unbound = () => ({ reportData: boundData({ gpu: Buffer.alloc(0) }) });

  test("affirms what was appraised, and only that", async () => {
    const claims = await ear(unbound(), {}, noGpu);
    expect(EarSchema.parse(claims)).toEqual(claims);
    expect(claims).toMatchObject({
      eat_profile: EAR_PROFILE,
      iat: CLOCK.now.getTime() / 1000,
      ear_status: "affirming",
      eat_nonce: Buffer.from(NONCE, "hex").toString("base64url"),
    });
    expect(Object.keys(claims.submods)).toEqual(["tee"]);
    expect(claims.submods["tee"]?.ear_trustworthiness_vector).toEqual({
      "instance-identity": 2,
      configuration: 2,
      executables: 3,
      hardware: 2,
      "runtime-opaque": 2,
    });
  });

  test("warns of GPUs that the guest alone vouches for", async () => {
    const claims = await ear();
    expect([claims.ear_status, claims.submods["tee"]?.ear_status, claims.submods["gpu"]?.ear_status]).toEqual([
      "warning",
      "affirming",
      "warning",
    ]);
  });

  test.each(["controller", "remote"])("takes no bundle's word that its GPUs were verified by the %s", async (by) => {
    const gpu = { evidence: GPU_EVIDENCE.toString("base64"), digest: GPU_DIGEST.toString("hex"), verdict: "pass" };
    const claims = await ear({}, {}, { gpu: { ...gpu, verifiedBy: by } });
    expect([claims.ear_status, claims.submods["gpu"]]).toMatchObject([
      "warning",
      { ear_status: "warning", ear_verifier_claims: { "teeup.rests-on": "measured-guest" } },
    ]);
  });

  test("warns of revocation that nobody looked at", async () => {
    const policy = snpPolicy({ revocation: "when-given" });
    expect((await ear(unbound(), { crl: undefined }, noGpu, policy)).ear_status).toBe("warning");
  });

  test("contraindicates a refusal, by its dimension, and names it", async () => {
    const claims = await ear({ policy: DEBUG_POLICY });
    expect(claims.ear_status).toBe("contraindicated");
    expect(claims.submods["tee"]).toMatchObject({
      ear_status: "contraindicated",
      ear_trustworthiness_vector: { configuration: 96, hardware: 2 },
      ear_verifier_claims: { "teeup.refusals": [{ code: "attest.debug" }] },
    });
    expect(claims.submods["tee"]?.ear_trustworthiness_vector).not.toHaveProperty("runtime-opaque");
  });

  test("says nothing of evidence that is not genuine but that", async () => {
    const claims = await ear({}, { issuers: [] });
    expect(claims.submods["tee"]).not.toHaveProperty("ear_attester_claims");
    expect(claims.submods["tee"]?.ear_trustworthiness_vector).toEqual({
      "instance-identity": 99,
      configuration: 99,
      executables: 99,
      hardware: 99,
    });
  });

  test.each(["P-256", "P-384", "ed25519"] as const)(
    "is signed with the controller's key on %s and read with it alone",
    async (curve) => {
      const { privateKey, publicKey } = key(curve);
      const claims = await ear();
      const jwt = await signEar(claims, privateKey);
      expect(await readEar(jwt, publicKey)).toEqual(JSON.parse(JSON.stringify(claims)));
      await expect(readEar(jwt, key(curve).publicKey)).rejects.toThrow("signature verification failed");
      const [head, body = "", signature] = jwt.split(".");
      const forged = JSON.parse(Buffer.from(body, "base64url").toString()) as Ear;
      const other = Buffer.from(JSON.stringify({ ...forged, ear_status: "affirming" })).toString("base64url");
      await expect(readEar([head, other, signature].join("."), publicKey)).rejects.toThrow(
        "signature verification failed",
      );
      await expect(readEar(new UnsecuredJWT(claims).encode(), publicKey)).rejects.toThrow();
    },
  );

  test("is not signed with a key that readers would not take", async () => {
    const rsa = createPrivateKey(
      generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey.export({ type: "pkcs8", format: "pem" }),
    );
    const claims = await ear();
    expect(() => signEar(claims, rsa)).toThrow("not with rsa");
    await expect(readEar("a.b.c", createPublicKey(rsa))).rejects.toThrow("not with rsa");
  });
});
