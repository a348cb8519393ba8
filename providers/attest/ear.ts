import type { KeyObject } from "node:crypto";
import type { JWTPayload } from "jose";
import { jwtVerify, SignJWT } from "jose";
import { z } from "zod";
import type { Dimension } from "./refusals.ts";
import { REFUSALS } from "./refusals.ts";
import type { Result } from "./verify.ts";

/** draft-ietf-rats-ear-04, section 3. */
export const EAR_PROFILE = "tag:ietf.org,2026:rats/ear#04";

/** Values of draft-ietf-rats-ar4si: what a dimension of the vector says. */
const AFFIRMING = 2;
const APPROVED_BOOT = 3;
const CONTRAINDICATED = 96;
/** "Cryptographic validation of the evidence has failed": then nothing else can be said. */
const NOT_AUTHENTIC = 99;

const VECTOR = ["instance-identity", "configuration", "executables", "hardware"] as const;

export type Status = "affirming" | "warning" | "contraindicated";

const appraisal = z.looseObject({
  ear_status: z.enum(["none", "affirming", "warning", "contraindicated"]),
  ear_trustworthiness_vector: z.record(z.string(), z.int()).optional(),
});

/** The claims that a reader of a result may rely on. */
export const EarSchema = z.looseObject({
  eat_profile: z.literal(EAR_PROFILE),
  iat: z.int(),
  ear_verifier_id: z.strictObject({ developer: z.string(), build: z.string() }),
  ear_status: z.enum(["affirming", "warning", "contraindicated"]),
  eat_nonce: z.string(),
  submods: z.record(z.string(), appraisal),
});
export type Ear = z.infer<typeof EarSchema>;

/**
 * A result as the claims of an EAT Attestation Result. A refusal makes its dimension and the whole contraindicated.
 * Affirming is only what was looked at: without a revocation list, and with GPUs that nobody but the guest verified,
 * the status is `warning` at best.
 */
export function earOf(result: Result, build: string): Ear & JWTPayload {
  const no = new Set<Dimension>(result.refusals.map(({ code }) => REFUSALS[code].dimension));
  const good = (dimension: Dimension): number => (dimension === "executables" ? APPROVED_BOOT : AFFIRMING);
  const value = (dimension: Dimension): number =>
    !result.genuine ? NOT_AUTHENTIC : no.has(dimension) || no.has("evidence") ? CONTRAINDICATED : good(dimension);
  const failed = result.verdict === "fail";
  const tee: Status = failed ? "contraindicated" : result.claims?.revocation === "checked" ? "affirming" : "warning";
  const gpu: Status = failed ? "contraindicated" : result.gpu === "measured-guest" ? "warning" : "affirming";
  const verifierClaims = {
    "teeup.refusals": result.refusals.map(({ code, saw }) => ({ code, saw })),
    "teeup.evidence": result.evidence,
  };
  return {
    eat_profile: EAR_PROFILE,
    iat: Math.floor(Date.parse(result.at) / 1000),
    ear_verifier_id: { developer: "https://www.npmjs.com/package/teeup", build: `teeup ${build}` },
    ear_status: failed
      ? "contraindicated"
      : tee === "warning" || (result.gpu !== "none" && gpu === "warning")
        ? "warning"
        : "affirming",
    eat_nonce: Buffer.from(result.nonce, "hex").toString("base64url"),
    submods: {
      tee: {
        ear_status: tee,
        ear_trustworthiness_vector: {
          ...Object.fromEntries(VECTOR.map((dimension) => [dimension, value(dimension)])),
          ...(failed ? {} : { "runtime-opaque": AFFIRMING }),
        },
        ear_appraisal_policy_ids: [result.policy],
        ear_verifier_claims: verifierClaims,
        ...(result.claims === undefined ? {} : { ear_attester_claims: result.claims }),
      },
      ...(result.gpu === "none"
        ? {}
        : { gpu: { ear_status: gpu, ear_verifier_claims: { "teeup.rests-on": result.gpu } } }),
    },
  };
}

/** Without what the guest's report says in full, for places that are to stay small: its measurement alone. */
export function briefEar(ear: Ear & JWTPayload): Ear & JWTPayload {
  const submods = Object.entries(ear.submods).map(([name, { ear_attester_claims: claims, ...submod }]) => {
    const { measurement } = z.looseObject({ measurement: z.string().optional() }).parse(claims ?? {});
    return [name, { ...submod, ...(measurement === undefined ? {} : { ear_attester_claims: { measurement } }) }];
  });
  return { ...ear, submods: Object.fromEntries(submods) as Ear["submods"] };
}

/** The claims as a JWT. `key` is the controller's private key; its type gives the algorithm. */
export function signEar(claims: Ear & JWTPayload, key: KeyObject): Promise<string> {
  return new SignJWT(claims).setProtectedHeader({ alg: algorithmOf(key), typ: "eat+jwt" }).sign(key);
}

/** Claims of a JWT that `key` (public) verifies. Throws what jose throws, and a ZodError for claims of another profile. */
export async function readEar(jwt: string, key: KeyObject): Promise<Ear> {
  const { payload } = await jwtVerify(jwt, key, { algorithms: [algorithmOf(key)], typ: "eat+jwt" });
  return EarSchema.parse(payload);
}

/** The one algorithm of a key: a token cannot choose another. */
function algorithmOf({ asymmetricKeyType: type, asymmetricKeyDetails }: KeyObject): string {
  if (type === "ed25519") return "EdDSA";
  const curve = asymmetricKeyDetails?.namedCurve;
  if (type === "ec" && curve === "prime256v1") return "ES256";
  if (type === "ec" && curve === "secp384r1") return "ES384";
  throw new TypeError(`results are signed with Ed25519, P-256 or P-384, not with ${curve ?? type}`);
}
