import { verify, type X509Certificate } from "node:crypto";
import type { Tcb } from "../kit/attest-policy.ts";
import type { SnpPolicy } from "./policy.ts";
import type { Refusal } from "./refusals.ts";
import { Refused } from "./refusals.ts";
import type { SnpKey } from "./snp-key.ts";
import { checkBinding, readSnpKey } from "./snp-key.ts";
import type { SnpProduct, SnpReport } from "./snp-report.ts";
import { parseSnpReport, readTcb, SIGNED_BYTES, showTcb, signatureOf } from "./snp-report.ts";
import type { Clock } from "./x509.ts";
import { certificate, revocations, verifyChain } from "./x509.ts";

export interface SnpEvidence {
  readonly report: Uint8Array;
  /** DER or PEM of the VCEK or VLEK. */
  readonly key: Uint8Array | string;
  /** DER or PEM of the ASK (or ASVK); an ARK may follow, and has to be the pinned one then. */
  readonly issuers: readonly (Uint8Array | string)[];
  /** DER of the revocation list that the ARK signed (KDS: vcek/v1/PRODUCT/crl). */
  readonly crl?: Uint8Array;
}

/** A report that AMD's root vouches for. What it says has still to be appraised. */
export interface GenuineSnp {
  readonly kind: "snp";
  readonly report: SnpReport;
  readonly product: SnpProduct;
  readonly tcb: { readonly current: Tcb; readonly reported: Tcb; readonly committed: Tcb; readonly launch: Tcb };
  readonly key: SnpKey;
  readonly revocation: "checked" | "unknown";
}

/** Root certificate of a product. */
export type Roots = (product: SnpProduct) => X509Certificate;

/**
 * Chain, signature and binding of a report, against the roots given. Throws Refused with the first thing that is wrong;
 * nothing about the guest may be believed then.
 */
export function authenticateSnp(evidence: SnpEvidence, roots: Roots, clock: Clock): GenuineSnp {
  const report = parseSnpReport(evidence.report);
  if (evidence.issuers.length === 0) throw new Refused("attest.collateral.missing", "no certificate of the ASK");
  const leaf = certificate(evidence.key, `the ${report.signer} certificate`);
  const issuers = evidence.issuers.map((issuer, i) => certificate(issuer, `issuer ${i + 1}`));
  const key = readSnpKey(leaf);
  const root = roots(key.product);
  verifyChain([leaf, ...issuers], root, clock);
  if (evidence.crl !== undefined) {
    const check = revocations(evidence.crl, root, clock);
    for (const cert of [leaf, ...issuers]) check(cert);
  }
  checkSignature(evidence.report, leaf);
  checkBinding(key, report);
  const tcb = (raw: string): Tcb => readTcb(raw, key.product);
  const { current, reported, committed, launch } = report.tcb;
  return {
    kind: "snp",
    report,
    product: key.product,
    tcb: { current: tcb(current), reported: tcb(reported), committed: tcb(committed), launch: tcb(launch) },
    key,
    revocation: evidence.crl === undefined ? "unknown" : "checked",
  };
}

/** The certificate's key signed this very report; else `attest.snp.signature`. */
export function checkSignature(report: Uint8Array, { publicKey: key }: X509Certificate): void {
  const curve = key.asymmetricKeyDetails?.namedCurve;
  if (curve !== "secp384r1") throw new Refused("attest.snp.signature", `a signing key on ${curve ?? "no curve"}`);
  const signature = signatureOf(report);
  const signed = Buffer.from(report).subarray(0, SIGNED_BYTES);
  if (!verify("sha384", signed, { key, dsaEncoding: "ieee-p1363" }, signature))
    throw new Refused("attest.snp.signature", "the certificate's key did not sign this report");
}

/** Everything in which a genuine report is not what the policy wants, not only the first. */
export function appraiseSnp({ report, tcb, revocation }: GenuineSnp, policy: SnpPolicy): Refusal[] {
  const out: Refusal[] = [];
  const want = (good: boolean, code: Refusal["code"], saw: string): void => {
    if (!good) out.push({ code, saw });
  };
  const { policy: launched } = report;
  want(
    revocation === "checked" || policy.revocation === "when-given",
    "attest.collateral.missing",
    "no revocation list",
  );
  want(!launched.debug, "attest.debug", `the guest policy 0x${launched.hex} lets the host debug the guest`);
  want(
    policy.measurements.includes(report.measurement),
    "attest.measurement",
    `launch measurement ${report.measurement}, wanted ${policy.measurements.join(" or ")}`,
  );
  want(report.vmpl === policy.vmpl, "attest.vmpl", `VMPL ${report.vmpl}, wanted ${policy.vmpl}`);
  const bits = guestPolicyProblems(report, policy);
  want(bits.length === 0, "attest.guest-policy", `the guest policy 0x${launched.hex} ${bits.join(", ")}`);
  for (const [which, has] of Object.entries(tcb)) {
    const low = lowParts(has, policy.minTcb);
    want(low.length === 0, "attest.tcb", `${which} TCB (${showTcb(has)}) is below ${low.join(", ")}`);
  }
  want(policy.signers.includes(report.signer), "attest.guest-policy", `signed by a ${report.signer}`);
  want(
    policy.chipIds === undefined || (!report.chipIdMasked && policy.chipIds.includes(report.chipId)),
    "attest.chip",
    report.chipIdMasked ? "the chip's id is masked" : `chip ${report.chipId.slice(0, 16)}… is not a pinned one`,
  );
  want(
    policy.hostData === undefined || policy.hostData === report.hostData,
    "attest.guest-policy",
    `host data ${report.hostData}`,
  );
  return out;
}

function guestPolicyProblems({ policy: has }: SnpReport, { guestPolicy: want }: SnpPolicy): string[] {
  const { minAbi } = want;
  const oldAbi =
    minAbi !== undefined &&
    (has.abiMajor < minAbi.major || (has.abiMajor === minAbi.major && has.abiMinor < minAbi.minor));
  return [
    ...(want.smt === "forbid" && has.smt ? ["allows SMT"] : []),
    ...(want.migrationAgent === "forbid" && has.migrationAgent ? ["allows a migration agent"] : []),
    ...(want.singleSocket === "require" && !has.singleSocket ? ["allows several sockets"] : []),
    ...(want.ciphertextHiding === "require" && !has.ciphertextHiding ? ["does without ciphertext hiding"] : []),
    ...(oldAbi ? [`is content with ABI ${has.abiMajor}.${has.abiMinor}`] : []),
  ];
}

/** A part that the policy names and the product does not have is too low as well: it cannot be told. */
function lowParts(has: Tcb, least: Tcb | undefined): string[] {
  return Object.entries(least ?? {}).flatMap(([part, value]) => {
    const have = has[part as keyof Tcb];
    return value === undefined || (have !== undefined && have >= value) ? [] : [`${part} ${value}`];
  });
}

/** Claims of a genuine report for people and for the signed result. */
export const snpClaims = ({ report, product, tcb, key, revocation }: GenuineSnp) => ({
  kind: "snp" as const,
  product,
  reportVersion: report.version,
  signer: report.signer,
  chipId: report.chipId,
  ...(key.cspId === undefined ? {} : { cspId: key.cspId }),
  measurement: report.measurement,
  reportData: report.reportData,
  hostData: report.hostData,
  vmpl: report.vmpl,
  guestPolicy: report.policy,
  tcb,
  revocation,
  reportId: report.reportId,
});
