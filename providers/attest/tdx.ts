import type { X509Certificate } from "node:crypto";
import type { TDReport10, VerifiedReport } from "@phala/dcap-qvl";
import { Quote, QuoteVerifier } from "@phala/dcap-qvl";
import { toHex } from "./hex.ts";
import type { TdxPolicy } from "./policy.ts";
import { TCB_STATUSES } from "./policy.ts";
import type { Refusal, RefusalCode } from "./refusals.ts";
import { Refused, refusing } from "./refusals.ts";
import type { TcbInfo, TdxCollateral } from "./tdx-collateral.ts";
import { chain, checkCollateral } from "./tdx-collateral.ts";
import type { Clock } from "./x509.ts";
import { extensions } from "./x509.ts";

export interface TdxEvidence {
  readonly quote: Uint8Array;
  readonly collateral: TdxCollateral;
}

/** A quote that Intel's root vouches for. What it says has still to be appraised. */
export interface GenuineTdx {
  readonly kind: "tdx";
  readonly quoteVersion: number;
  readonly td: TDReport10;
  /** The worse one of platform, quoting enclave and TDX module. */
  readonly tcbStatus: string;
  readonly advisories: readonly string[];
  readonly fmspc: string;
}

/** Header, TD report 1.0 and the length of what follows: no quote is shorter. */
const LEAST_QUOTE_BYTES = 48 + 584 + 4;
const MOST_QUOTE_BYTES = 16_384;
const TDX = 0x81;
/** Type of certification data: report of the quoting enclave, with the PCK chain in it. */
const QE_REPORT = 6;
const INTEL_QE = "939a7233f79c4ca9940a0db3957f0607";

/**
 * Quote and collateral against the root given: the quote's and the documents' signatures, quoting enclave and platform
 * TCB by @phala/dcap-qvl, the chains, revocation lists and the TDX module by own code (docs/decisions/tdx-quotes.md
 * says why both). Throws Refused with the first thing that is wrong.
 */
export function authenticateTdx(evidence: TdxEvidence, root: X509Certificate, clock: Clock): GenuineTdx {
  const bytes = sized(evidence.quote);
  const quote = parse(bytes);
  const { header } = quote;
  if (header.teeType !== TDX || toHex(header.qeVendorId) !== INTEL_QE)
    throw new Refused("attest.unsupported", "not a TDX quote of Intel's quoting enclave");
  const td = quote.report.asTd15()?.base ?? quote.report.asTd10();
  if (td === null) throw new Refused("attest.unsupported", `a quote about ${quote.report.type}`);
  checkFrame(quote, bytes);
  const pckChain = pckChainOf(quote);
  const { tcbInfo, tcbInfoSigned, qeIdentitySigned, at } = checkCollateral(evidence.collateral, pckChain, root, clock);
  const { collateral } = evidence;
  const verified = library(td, () =>
    QuoteVerifier.newWithRootCa(root.raw).verify(
      bytes,
      {
        pck_crl_issuer_chain: "",
        root_ca_crl: toHex(collateral.rootCrl),
        pck_crl: toHex(collateral.pckCrl),
        tcb_info_issuer_chain: collateral.tcbInfoIssuerChain,
        tcb_info: tcbInfoSigned.text,
        tcb_info_signature: tcbInfoSigned.signature,
        qe_identity_issuer_chain: collateral.qeIdentityIssuerChain,
        qe_identity: qeIdentitySigned.text,
        qe_identity_signature: qeIdentitySigned.signature,
      },
      Math.floor(at.getTime() / 1000),
    ),
  );
  const tdxModule = checkModule(td, tcbInfo);
  return {
    kind: "tdx",
    quoteVersion: header.version,
    td,
    tcbStatus: worse(verified.status, tdxModule.status),
    advisories: [...new Set([...verified.advisory_ids, ...tdxModule.advisories])],
    fmspc: tcbInfo.fmspc.toLowerCase(),
  };
}

function sized(quote: Uint8Array): Buffer {
  const bytes = Buffer.from(quote);
  if (bytes.length < LEAST_QUOTE_BYTES) throw new Refused("attest.truncated", `a quote of ${bytes.length} bytes`);
  if (bytes.length > MOST_QUOTE_BYTES) throw new Refused("attest.oversized", `a quote of ${bytes.length} bytes`);
  return bytes;
}

function pckChainOf(quote: Quote): X509Certificate[] {
  const pem = refusing("attest.collateral.missing", "the PCK certificate", () => quote.rawCertChain());
  // The quoting library of the host ends the text with a NUL.
  return chain(Buffer.from(pem).toString("latin1").replaceAll("\0", ""), "the PCK certificate's chain");
}

/** Intel's SGX extension of a PCK certificate, and the FMSPC in it: OID ….1.4, six bytes. */
const SGX_EXTENSION = "1.2.840.113741.1.13.1";
const FMSPC = Buffer.from("060a2a864886f84d010d01040406", "hex");

/** Which collateral a quote needs, by its own word: what is fetched by it is compared with the quote when it is verified. */
export function pckOf(quote: Uint8Array): { readonly fmspc: string; readonly ca: "platform" | "processor" } {
  const [pck] = pckChainOf(parse(sized(quote)));
  const value = pck === undefined ? undefined : extensions(pck).get(SGX_EXTENSION);
  const at = value?.indexOf(FMSPC) ?? -1;
  if (pck === undefined || value === undefined || at < 0)
    throw new Refused("attest.malformed", "the PCK certificate does not say of which platform it is");
  const fmspc = toHex(value.subarray(at + FMSPC.length, at + FMSPC.length + 6));
  return { fmspc, ca: /CN=Intel SGX PCK Processor CA/.test(pck.issuer) ? "processor" : "platform" };
}

function parse(bytes: Buffer): Quote {
  try {
    return Quote.parse(bytes);
  } catch (error) {
    const { message } = error as Error;
    const short = /Not enough data|outside buffer bounds|out of range/.test(message);
    throw new Refused(short ? "attest.truncated" : "attest.unsupported", `the quote: ${message}`, { cause: error });
  }
}

/**
 * Lengths between the signed parts are not signed: they have to fit, or one quote would have many spellings. What
 * follows the quote is padding and counts for nothing.
 */
function checkFrame(quote: Quote, bytes: Buffer): void {
  const { data } = quote.authData;
  if (!("qeReportData" in data) || data.certificationData.certType !== QE_REPORT)
    throw new Refused("attest.unsupported", "a quote without the report of its quoting enclave");
  const { qeReportData: qe, certificationData: outer } = data;
  const inside = 384 + 64 + 2 + qe.qeAuthData.length + 6 + qe.certificationData.body.length;
  const declared = bytes.readUInt32LE(quote.signedLength());
  if (inside !== outer.body.length || declared !== 64 + 64 + 6 + inside)
    throw new Refused("attest.malformed", "the lengths in the quote's signature data do not fit");
}

/** What the library says, by what a person must look at; whatever it does not know is a bad signature. */
const SAYS: readonly (readonly [RegExp, RefusalCode])[] = [
  [/^(Unsupported|TDX TEE quote|SGX TEE quote)/, "attest.unsupported"],
  [/^Failed to decode/, "attest.malformed"],
  [/in the future$/, "attest.clock"],
  [/^(TCBInfo|QE Identity) expired$/, "attest.collateral.expired"],
  [/^Signature is invalid for (tcb_info|qe_identity)/, "attest.collateral.signature"],
  [/^Certificate is revoked$/, "attest.cert.revoked"],
  [/^Certificate is expired/, "attest.cert.expired"],
  [/^(CaUsedAsEndEntity|Failed to verify certificate chain|Certificate chain is too short)/, "attest.cert.chain"],
  [/^(QE |Unsupported QE Identity|Signature is invalid for qe_report|No TCB levels found in QE)/, "attest.tdx.qe"],
  [/^(Fmspc mismatch|TDX quote with non-TDX)/, "attest.cert.binding"],
  [/^(No matching TCB level|TCB status is invalid|No (SGX|TDX) components)/, "attest.tcb"],
  [/^(Reserved bits in TD attributes|SEPT_VE_DISABLE|Invalid mr service td)/, "attest.guest-policy"],
];

function library(td: TDReport10, work: () => VerifiedReport): VerifiedReport {
  try {
    return work();
  } catch (error) {
    const { message } = error as Error;
    // It says the same of a quoting enclave and of a guest.
    if (message === "Debug mode is enabled")
      throw new Refused(isDebug(td) ? "attest.debug" : "attest.tdx.qe", message, { cause: error });
    const code = SAYS.find(([pattern]) => pattern.test(message))?.[1] ?? "attest.tdx.signature";
    throw new Refused(code, message, { cause: error });
  }
}

const isDebug = (td: TDReport10): boolean => ((td.tdAttributes[0] ?? 1) & 1) !== 0;

/** Intel's "TDX module" step: its signer, attributes and version, from TDX 1.5 on by the module's own identity. */
function checkModule(td: TDReport10, info: TcbInfo): { status: string; advisories: readonly string[] } {
  const refuse = (saw: string): never => {
    throw new Refused("attest.tdx.module", saw);
  };
  const [svn = 0, version = 0] = td.teeTcbSvn;
  const id = `TDX_${version.toString(16).padStart(2, "0")}`;
  const identity =
    version === 0 ? undefined : info.tdxModuleIdentities.find((m) => m.id.toUpperCase() === id.toUpperCase());
  const reference = version === 0 ? info.tdxModule : identity;
  if (reference === undefined) return refuse(`Intel's TCB info names no module ${id}`);
  const bytes = (text: string): Buffer => Buffer.from(text, "hex");
  const mask = bytes(reference.attributesMask);
  const masked = (value: Uint8Array): string => toHex(value.map((byte, i) => byte & (mask[i] ?? 0xff)));
  if (toHex(td.mrSignerSeam) !== toHex(bytes(reference.mrsigner))) return refuse(`the module ${id} has another signer`);
  if (masked(td.seamAttributes) !== masked(bytes(reference.attributes)))
    return refuse(`the module ${id} has the attributes ${toHex(td.seamAttributes)}`);
  if (identity === undefined) return { status: "UpToDate", advisories: [] };
  const level = identity.tcbLevels.find(({ tcb }) => svn >= tcb.isvsvn);
  if (level === undefined || level.tcbStatus === "Revoked")
    return refuse(`the module ${id} of version ${svn} is revoked or unknown`);
  return { status: level.tcbStatus, advisories: level.advisoryIDs };
}

/** Of two statuses the worse; one that is not known is the worst. */
function worse(a: string, b: string): string {
  const rank = (status: string): number => {
    const at = (TCB_STATUSES as readonly string[]).indexOf(status);
    return at < 0 ? TCB_STATUSES.length : at;
  };
  return rank(b) > rank(a) ? b : a;
}

/** Everything in which a genuine quote is not what the policy wants, not only the first. */
export function appraiseTdx({ td, tcbStatus, advisories }: GenuineTdx, policy: TdxPolicy): Refusal[] {
  const out: Refusal[] = [];
  const want = (good: boolean, code: RefusalCode, saw: string): void => {
    if (!good) out.push({ code, saw });
  };
  want(!isDebug(td), "attest.debug", "the TD's attributes let its host debug it");
  const mrtd = toHex(td.mrTd);
  want(
    policy.measurements.includes(mrtd),
    "attest.measurement",
    `MRTD ${mrtd}, wanted ${policy.measurements.join(" or ")}`,
  );
  rtmrs(td).forEach((value, i) => {
    const wanted = policy.rtmrs?.[i] ?? null;
    want(wanted === null || wanted === value, "attest.rtmr", `RTMR${i} ${value}, wanted ${wanted}`);
  });
  want(
    (policy.tcbStatuses as readonly string[]).includes(tcbStatus),
    "attest.tcb",
    `TCB status ${tcbStatus} (${advisories.join(", ") || "no advisories"}), wanted ${policy.tcbStatuses.join(" or ")}`,
  );
  const open = advisories.filter((id) => !policy.advisories.includes(id));
  want(open.length === 0 || tcbStatus === "UpToDate", "attest.tcb", `open advisories ${open.join(", ")}`);
  return out;
}

const rtmrs = (td: TDReport10): string[] => [td.rtMr0, td.rtMr1, td.rtMr2, td.rtMr3].map(toHex);

/** Claims of a genuine quote for people and for the signed result. */
export const tdxClaims = ({ quoteVersion, td, tcbStatus, advisories, fmspc }: GenuineTdx) => ({
  kind: "tdx" as const,
  quoteVersion,
  measurement: toHex(td.mrTd),
  rtmrs: rtmrs(td),
  reportData: toHex(td.reportData),
  configId: toHex(td.mrConfigId),
  owner: toHex(td.mrOwner),
  ownerConfig: toHex(td.mrOwnerConfig),
  attributes: toHex(td.tdAttributes),
  xfam: toHex(td.xfam),
  tcbSvn: toHex(td.teeTcbSvn),
  tcbStatus,
  advisories,
  fmspc,
  revocation: "checked" as const,
});
