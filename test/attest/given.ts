import { createHash } from "node:crypto";
import type { Anchors } from "../../providers/attest/anchors.ts";
import { RELEASE_ANCHORS } from "../../providers/attest/anchors.ts";
import type { Bundle } from "../../providers/attest/bundle.ts";
import { BundleSchema } from "../../providers/attest/bundle.ts";
import type { Policy } from "../../providers/attest/policy.ts";
import { PolicySchema } from "../../providers/attest/policy.ts";
import type { Result } from "../../providers/attest/verify.ts";
import { verifierOf } from "../../providers/attest/verify.ts";
import { reportData } from "../../providers/kit/report-data.ts";
import type { Fields, TestAmd, TestChip } from "../../sim/attest/snp.ts";
import { MEASUREMENT } from "../../sim/attest/snp.ts";
import type { TdFields, TestCollateral, TestIntel } from "../../sim/attest/tdx.ts";
import { MRTD } from "../../sim/attest/tdx.ts";
import { freshKeyPair } from "../../sim/model/keys.ts";
import { captureBytes } from "../kit/captures.ts";

/** All evidence made here is synthetic: signed by test roots, in the vendors' formats. */
export const NOW = new Date("2026-06-01T12:00:00Z");
export const CLOCK = { now: NOW, skewSeconds: 300 };
export const NONCE = createHash("sha256").update("a nonce").digest("hex");
export const HOST_KEY = freshKeyPair("root@guest").public.trim();
export const OTHER_KEY = freshKeyPair("root@elsewhere").public.trim();
export const GPU_EVIDENCE = Buffer.from('{"evidence":"of GPUs, made up"}');
export const GPU_DIGEST = createHash("sha384").update(GPU_EVIDENCE).digest();
export const EXPECTED = { nonce: NONCE, hostKey: HOST_KEY };

export const boundData = (over: { nonce?: string; hostKey?: string; gpu?: Buffer } = {}): Buffer =>
  reportData({
    nonce: Buffer.from(over.nonce ?? NONCE, "hex"),
    hostKey: over.hostKey ?? HOST_KEY,
    gpuEvidenceDigest: over.gpu ?? GPU_DIGEST,
  });

export const anchorsOf = (amd: TestAmd | undefined, intel?: TestIntel): Anchors => ({
  snp: { ...RELEASE_ANCHORS.snp, ...(amd === undefined ? {} : { [amd.product]: amd.anchor }) },
  tdx: intel?.anchor ?? RELEASE_ANCHORS.tdx,
});

export const snpPolicy = (over: Record<string, unknown> = {}): Policy =>
  PolicySchema.parse({ kind: "snp", measurements: [MEASUREMENT.toString("hex")], ...over });

export const tdxPolicy = (over: Record<string, unknown> = {}): Policy =>
  PolicySchema.parse({ kind: "tdx", measurements: [MRTD.toString("hex")], ...over });

const b64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString("base64");

const around = {
  format: "teeup evidence 1",
  collectedAt: NOW.toISOString(),
  nonce: NONCE,
  hostKey: HOST_KEY,
  gpu: { evidence: b64(GPU_EVIDENCE), digest: GPU_DIGEST.toString("hex"), verifiedBy: "guest", verdict: "pass" },
};

export async function snpBundle(
  amd: TestAmd,
  chip: TestChip,
  fields: Fields = {},
  tee: Record<string, unknown> = {},
  over: Record<string, unknown> = {},
): Promise<Bundle> {
  return BundleSchema.parse({
    ...around,
    tee: {
      kind: "snp",
      report: b64(chip.report({ reportData: boundData(), ...fields })),
      key: b64(chip.key.der),
      issuers: [b64(amd.ask.der), b64(amd.ark.der)],
      crl: b64(await amd.crl()),
      ...tee,
    },
    ...over,
  });
}

export const wire = (collateral: TestCollateral) => ({
  ...collateral,
  pckCrl: b64(collateral.pckCrl),
  rootCrl: b64(collateral.rootCrl),
});

export async function tdxBundle(
  intel: TestIntel,
  fields: TdFields = {},
  collateral?: TestCollateral,
  over: Record<string, unknown> = {},
): Promise<Bundle> {
  return BundleSchema.parse({
    ...around,
    tee: {
      kind: "tdx",
      quote: b64(intel.quote({ reportData: boundData(), ...fields })),
      collateral: wire(collateral ?? (await intel.collateral())),
    },
    ...over,
  });
}

/** Verdict and codes, in a form that a table can hold. */
export const codes = ({ verdict, refusals }: Result): string =>
  verdict === "pass" ? "pass" : refusals.map(({ code }) => code).join(" ");

/** Codes of evidence under the test roots of `amd` or `intel`. */
export function verdictOf(bundle: Bundle, policy: Policy, roots: Anchors, expected = EXPECTED, clock = CLOCK): string {
  return codes(verifierOf(roots)(bundle, policy, expected, clock));
}

/** The report of a real Milan guest and its chain, read in place. */
export const realSnp = () => {
  const pem = captureBytes("attestation/milan.testcer").toString("latin1");
  const [ask = "", ark = ""] = pem.split(/(?=-----BEGIN)/);
  return {
    report: captureBytes("attestation/attestation.bin"),
    key: captureBytes("attestation/vcek.testcer"),
    issuers: [ask, ark],
  };
};
