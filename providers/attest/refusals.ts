import { TeeUpError } from "../kit/errors.ts";

/**
 * Which question of a relying party a refusal answers with no: the claims of the trustworthiness vector of
 * draft-ietf-rats-ar4si, and `evidence` for what cannot be read or authenticated at all.
 */
export type Dimension = "evidence" | "instance-identity" | "configuration" | "executables" | "hardware";

const R = (dimension: Dimension, next: string) => ({ dimension, next }) as const;
const COLLECT = "collect the evidence anew: teeup attest NODE";
const COLLATERAL = "fetch the vendor's collateral anew (AMD KDS, Intel PCS or the site's PCCS) and attest again";
const HOSTILE = "release nothing to this guest; find out who stands between it and the controller";

/** Every reason to refuse, by its stable code: what it says no to, and what to do next. */
export const REFUSALS = {
  "attest.malformed": R("evidence", COLLECT),
  "attest.truncated": R("evidence", COLLECT),
  "attest.oversized": R("evidence", COLLECT),
  /** A version, product or algorithm that this verifier does not know. Unknown is never good. */
  "attest.unsupported": R("evidence", "use a TeeUp that knows this kind of evidence"),
  "attest.collateral.missing": R("evidence", COLLATERAL),
  "attest.collateral.expired": R("evidence", COLLATERAL),
  /** Collateral or a revocation list that its issuer did not sign, or that is about something else. */
  "attest.collateral.signature": R("evidence", COLLATERAL),
  "attest.cert.chain": R("evidence", `a certificate is not signed by the next one; ${COLLATERAL}`),
  /** The chain ends in a root that is not pinned: also what any test root gets from a release. */
  "attest.cert.root": R("evidence", HOSTILE),
  "attest.cert.expired": R("evidence", COLLATERAL),
  "attest.cert.revoked": R("instance-identity", "take the chip out of service: its key or its issuer was revoked"),
  /** The signing certificate speaks of another chip or another TCB than the report. */
  "attest.cert.binding": R("instance-identity", `use the certificate of this very chip and TCB; ${COLLATERAL}`),
  /** Something was issued in the future, by the controller's clock. */
  "attest.clock": R("evidence", "set the controller's clock (timedatectl), then attest again"),
  "attest.snp.signature": R("evidence", HOSTILE),
  "attest.tdx.signature": R("evidence", HOSTILE),
  /** The quoting enclave is not the one that Intel vouches for. */
  "attest.tdx.qe": R("evidence", HOSTILE),
  "attest.nonce": R("evidence", "the evidence answers another nonce: it may be replayed; teeup attest NODE"),
  /** The evidence is bound to another SSH host key than the session's: somebody relays. */
  "attest.session": R("instance-identity", HOSTILE),
  "attest.gpu-evidence": R(
    "instance-identity",
    "the GPU evidence is not the one that the report binds; teeup attest NODE",
  ),
  /** report_data is not of this nonce, key and GPU evidence: a replayed report, or another guest's. */
  "attest.report-data": R("instance-identity", HOSTILE),
  "attest.measurement": R("executables", "compare firmware, kernel, initrd and command line with what is pinned"),
  "attest.rtmr": R("executables", "compare the guest's boot chain with what is pinned"),
  "attest.debug": R("configuration", "start the guest without the debug policy: its host can read its memory"),
  "attest.vmpl": R("configuration", "ask for the report at the privilege level that the policy names"),
  "attest.guest-policy": R("configuration", "start the guest with the policy that the stack wants"),
  "attest.tcb": R("hardware", "update the host's firmware and microcode, commit the TCB, then attest again"),
  "attest.chip": R("hardware", "the guest runs on another machine than the pinned one"),
  "attest.tdx.module": R("hardware", "update the host's TDX module to one that Intel's TCB info names"),
} as const satisfies Record<string, { dimension: Dimension; next: string }>;

export type RefusalCode = keyof typeof REFUSALS;

export interface Refusal {
  readonly code: RefusalCode;
  /** One line: what was wanted and what was seen. */
  readonly saw: string;
}

/** What ends a verification at once: nothing behind it could be believed. */
export class Refused extends TeeUpError {
  readonly refusal: Refusal;

  constructor(code: RefusalCode, saw: string, options?: { cause?: unknown }) {
    super({ code, subject: "attestation", saw, next: REFUSALS[code].next }, options);
    this.refusal = { code, saw };
  }
}

/** Whatever `work` throws that is not a refusal is one of `code`. */
export function refusing<T>(code: RefusalCode, what: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof Refused) throw error;
    throw new Refused(code, `${what}: ${(error as Error).message}`, { cause: error });
  }
}
