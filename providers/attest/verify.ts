import { createHash, timingSafeEqual } from "node:crypto";
import { reportData, sshKeyBlob } from "../kit/report-data.ts";
import type { Anchors } from "./anchors.ts";
import { loadAnchor, RELEASE_ANCHORS } from "./anchors.ts";
import type { Bundle } from "./bundle.ts";
import { digestOf } from "./bundle.ts";
import type { Policy } from "./policy.ts";
import type { Refusal } from "./refusals.ts";
import { Refused } from "./refusals.ts";
import { appraiseSnp, authenticateSnp, snpClaims } from "./snp.ts";
import { appraiseTdx, authenticateTdx, tdxClaims } from "./tdx.ts";
import type { Clock } from "./x509.ts";

/** What the relying party knows by itself, apart from the evidence. */
export interface Expected {
  /** The nonce that it drew, 32 bytes as lower-case hex. */
  readonly nonce: string;
  /** Public line of the host key of the SSH session over which the evidence came. */
  readonly hostKey: string;
}

export type Claims = ReturnType<typeof snpClaims> | ReturnType<typeof tdxClaims>;

export interface Result {
  /** `pass` only with no refusal at all. */
  readonly verdict: "pass" | "fail";
  /** The vendor's root vouches for the report. Without it there are no claims, since nothing of it can be believed. */
  readonly genuine: boolean;
  readonly refusals: readonly Refusal[];
  readonly claims?: Claims;
  /** What the GPUs' verdict rests on; `none` where the evidence has no GPU. */
  readonly gpu: "none" | "measured-guest" | "controller" | "remote";
  readonly evidence: string;
  readonly policy: string;
  /** The policy says which versions of the platform are too old; without that a genuine chip passes with any. */
  readonly leastTcb: boolean;
  /** ISO 8601. */
  readonly at: string;
  readonly nonce: string;
}

export type Verify = (bundle: Bundle, policy: Policy, expected: Expected, clock: Clock) => Result;

/** Five minutes: what clocks of a site and of a vendor differ by when nothing is wrong. */
export const SKEW_SECONDS = 300;

/**
 * A verifier with roots of its own. For tests: everything else uses {@link verifyEvidence}, and a test sees to it that
 * nothing else in the program names this function.
 */
export function verifierOf(anchors: Anchors): Verify {
  return (bundle, policy, expected, clock) => {
    const refusals: Refusal[] = [...bound(bundle, expected)];
    let claims: Claims | undefined;
    try {
      const { reportData: actual, ...found } = look(bundle, policy, anchors, clock);
      claims = found.claims;
      refusals.push(...found.refusals, ...carries(actual, bundle, expected));
    } catch (error) {
      // Evidence comes from whoever wants to be believed: a reader that stumbles over it must not end the program.
      const saw = `the evidence cannot be read: ${(error as Error).message}`;
      refusals.push(error instanceof Refused ? error.refusal : { code: "attest.malformed", saw });
    }
    return {
      verdict: refusals.length === 0 ? "pass" : "fail",
      genuine: claims !== undefined,
      refusals,
      ...(claims === undefined ? {} : { claims }),
      // Whatever the bundle says of who verified them: nothing signs that, and nobody did it here.
      gpu: bundle.gpu === undefined ? "none" : "measured-guest",
      evidence: digestOf({ nonce: bundle.nonce, hostKey: bundle.hostKey, gpu: bundle.gpu?.digest, tee: bundle.tee }),
      policy: digestOf(policy),
      leastTcb: policy.kind === "tdx" || policy.minTcb !== undefined,
      at: clock.now.toISOString(),
      nonce: expected.nonce,
    };
  };
}

/**
 * Verifies evidence against the pinned roots of the vendors: offline, with what the bundle carries. Refusals are in the
 * result, never thrown.
 */
export const verifyEvidence: Verify = verifierOf(RELEASE_ANCHORS);

function look(bundle: Bundle, policy: Policy, anchors: Anchors, clock: Clock) {
  const { tee } = bundle;
  const bytes = (text: string): Buffer => Buffer.from(text, "base64");
  if (tee.kind === "snp") {
    const evidence = {
      report: bytes(tee.report),
      key: bytes(tee.key),
      issuers: tee.issuers.map(bytes),
      ...(tee.crl === undefined ? {} : { crl: bytes(tee.crl) }),
    };
    const genuine = authenticateSnp(evidence, (product) => loadAnchor(anchors.snp[product]), clock);
    const refusals = policy.kind === "snp" ? appraiseSnp(genuine, policy) : [otherKind(tee.kind, policy.kind)];
    return { claims: snpClaims(genuine), refusals, reportData: genuine.report.reportData };
  }
  const { pckCrl, rootCrl, ...rest } = tee.collateral;
  const evidence = { quote: bytes(tee.quote), collateral: { ...rest, pckCrl: bytes(pckCrl), rootCrl: bytes(rootCrl) } };
  const genuine = authenticateTdx(evidence, loadAnchor(anchors.tdx), clock);
  const refusals = policy.kind === "tdx" ? appraiseTdx(genuine, policy) : [otherKind(tee.kind, policy.kind)];
  const claims = tdxClaims(genuine);
  return { claims, refusals, reportData: claims.reportData };
}

const otherKind = (seen: string, wanted: string): Refusal => ({
  code: "attest.unsupported",
  saw: `evidence of ${seen} under a policy for ${wanted}`,
});

/** What the bundle says of nonce, session and GPU evidence has to be what the relying party knows. */
function* bound(bundle: Bundle, expected: Expected): Iterable<Refusal> {
  if (bundle.nonce !== expected.nonce)
    yield { code: "attest.nonce", saw: `nonce ${bundle.nonce.slice(0, 16)}…, sent ${expected.nonce.slice(0, 16)}…` };
  const [seen, wanted] = [keyOf(bundle.hostKey), keyOf(expected.hostKey)];
  if (seen === undefined || wanted === undefined || !seen.equals(wanted))
    yield { code: "attest.session", saw: "the evidence names another SSH host key than the session's" };
  if (bundle.gpu !== undefined) {
    const digest = createHash("sha384").update(Buffer.from(bundle.gpu.evidence, "base64")).digest("hex");
    if (digest !== bundle.gpu.digest)
      yield { code: "attest.gpu-evidence", saw: "the digest of the GPU evidence is of other bytes" };
    if (bundle.gpu.verdict !== "pass") yield { code: "attest.gpu-evidence", saw: "the GPUs' verifier refused them" };
  }
}

/** The report itself has to carry the binding; whatever the bundle says around it proves nothing. */
function* carries(actual: string, bundle: Bundle, expected: Expected): Iterable<Refusal> {
  const refusal: Refusal = {
    code: "attest.report-data",
    saw: `report_data ${actual.slice(0, 16)}… is not of this nonce, host key and GPU evidence`,
  };
  if (keyOf(expected.hostKey) === undefined) return yield refusal;
  const wanted = reportData({
    nonce: Buffer.from(expected.nonce, "hex"),
    hostKey: expected.hostKey,
    gpuEvidenceDigest: Buffer.from(bundle.gpu?.digest ?? "", "hex"),
  });
  if (!timingSafeEqual(wanted, Buffer.from(actual, "hex"))) yield refusal;
}

function keyOf(line: string): Buffer | undefined {
  try {
    return sshKeyBlob(line);
  } catch {
    return undefined;
  }
}
