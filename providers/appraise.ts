import { createHash, type KeyObject } from "node:crypto";
import { createRequire } from "node:module";
import { z } from "zod";
import type { Bundle } from "./attest/bundle.ts";
import type { Document, Vendor } from "./attest/collateral.ts";
import { bundleOf } from "./attest/collateral.ts";
import { briefEar, earOf, signEar } from "./attest/ear.ts";
import { measurementOf } from "./attest/launch-file.ts";
import { type Policy, PolicySchema } from "./attest/policy.ts";
import type { RefusalCode } from "./attest/refusals.ts";
import { REFUSALS, Refused } from "./attest/refusals.ts";
import { showTcb } from "./attest/snp-report.ts";
import type { Claims, Result, Verify } from "./attest/verify.ts";
import { SKEW_SECONDS, verifyEvidence } from "./attest/verify.ts";
import type { Appraisal, AppraisalRequest, Appraise, Collected } from "./kit/appraisal.ts";
import type { StackConfig } from "./kit/config.ts";
import { TeeUpError } from "./kit/errors.ts";
import { openCollateral, readHere } from "./machine/collateral.ts";
import { signingKey } from "./machine/signing-key.ts";

export interface AppraiserOptions {
  /** Documents of the vendors; rejects when one cannot be had. */
  readonly collateral: (vendor: Vendor, path: string) => Promise<Document>;
  /** A file of the controller, for the guest's firmware. */
  readonly read: (path: string) => Promise<Uint8Array>;
  /** The key that signs results. */
  readonly key: () => Promise<KeyObject>;
  /** Version of this program, for results. */
  readonly build: string;
  readonly now?: () => Date;
  /** Default: against the vendors' pinned roots. Tests have roots of their own. */
  readonly verify?: Verify;
  /** Told of what was verified, before anything is made of it. */
  readonly onVerified?: (node: string, bundle: Bundle, policy: Policy, result: Result) => void;
}

/**
 * Asks a machine for evidence, completes it with what the vendors sign, verifies it and signs the result. What is wrong
 * with evidence is the result, never an error; so is that it could not be had.
 */
export function appraiser(options: AppraiserOptions): Appraise {
  const { now = () => new Date(), verify = verifyEvidence } = options;
  /** Reports that this process has seen: each answers one nonce. */
  const seen = new Set<string>();
  return async (machine, node, request) => {
    try {
      if (machine.evidence === undefined) throw noEvidence(node);
      const collected = await machine.evidence(request.gpu);
      const policy = await policyOf(request, options.read);
      const at = now();
      const fetch = (vendor: Vendor, path: string) => options.collateral(vendor, path).catch(unreachable);
      const revocation = policy.kind === "tdx" || policy.revocation === "required";
      const bundle = await bundleOf(collected, fetch, { node: machine.id, now: at, revocation });
      const expected = { nonce: collected.nonce, hostKey: collected.hostKey };
      const result = fresh(seen, collected, verify(bundle, policy, expected, { now: at, skewSeconds: SKEW_SECONDS }));
      options.onVerified?.(node, bundle, policy, result);
      const ear = await signed(result, options);
      return appraisalOf(result, collected, ear);
    } catch (error) {
      if (error instanceof TeeUpError) return noResult(error);
      throw error;
    }
  };
}

/** The appraiser of a stack, with what its settings and this controller's environment say. */
export function siteAppraiser(
  { attestation }: Pick<StackConfig, "attestation">,
  env: NodeJS.ProcessEnv,
  more: Pick<AppraiserOptions, "onVerified"> = {},
): Appraise {
  return appraiser({
    collateral: openCollateral({ mirror: attestation?.collateral, env }),
    read: readHere,
    key: () => signingKey(env),
    build: VERSION,
    ...more,
  });
}

async function signed(result: Result, { build, key }: AppraiserOptions): Promise<string> {
  const by = await key();
  try {
    return await signEar(briefEar(earOf(result, build)), by);
  } catch (error) {
    throw new TeeUpError({
      code: "attest.key",
      subject: "TEEUP_ATTEST_KEY",
      saw: `results cannot be signed: ${(error as Error).message}`,
      next: "openssl genpkey -algorithm ed25519 -out key.pem, then TEEUP_ATTEST_KEY=key.pem",
    });
  }
}

const RimIdsSchema = z.looseObject({ ids: z.array(z.string()) });

/** Ids of the reference values that NVIDIA publishes; rejects when they cannot be had. */
export async function publishedReferences(
  { attestation }: Pick<StackConfig, "attestation">,
  env: NodeJS.ProcessEnv,
): Promise<readonly string[]> {
  const { body } = await openCollateral({ mirror: attestation?.collateral, env })("nvidia", "/v1/rim/ids");
  return RimIdsSchema.parse(JSON.parse(body.toString("utf8"))).ids;
}

// By the package's own name: the path differs between the checkout and the package.
const { version: VERSION } = createRequire(import.meta.url)("teeup/package.json") as { version: string };

async function policyOf({ policy, launch }: AppraisalRequest, read: AppraiserOptions["read"]): Promise<Policy> {
  const computed = launch === undefined ? [] : [await measurementOf(launch, read).catch(ours)];
  const measurements = [...policy.measurements, ...computed];
  if (measurements.length === 0) throw new Refused("attest.measurement", "no launch measurement is pinned");
  return PolicySchema.parse({ ...policy, measurements });
}

/** A report that was given before answers no nonce of now, whatever else is right with it. */
function fresh(seen: Set<string>, { outblob }: Collected, result: Result): Result {
  const digest = createHash("sha256").update(outblob).digest("hex");
  if (!seen.has(digest)) {
    seen.add(digest);
    return result;
  }
  const replayed = { code: "attest.nonce", saw: "the very report that was given before" } as const;
  return { ...result, verdict: "fail", refusals: [replayed, ...result.refusals] };
}

function appraisalOf(result: Result, { hostKey, session }: Collected, ear: string): Appraisal {
  const { verdict, refusals, claims, gpu, evidence, policy } = result;
  return {
    verdict: verdict === "fail" && refusals.every(({ code }) => NOT_THE_GUESTS.has(code)) ? "unknown" : verdict,
    refusals: refusals.map(({ code, saw }) => ({ code, saw, next: REFUSALS[code].next })),
    ...(verdict === "pass" ? { hostKey, session } : {}),
    ...(claims === undefined ? {} : { measurement: claims.measurement, tcb: tcbOf(claims) }),
    gpu,
    evidence,
    policy,
    ear,
  };
}

const tcbOf = (claims: Claims): string =>
  claims.kind === "snp" ? `${claims.product} ${showTcb(claims.tcb.reported)}` : `TDX ${claims.tcbStatus}`;

const noEvidence = (node: string): TeeUpError =>
  new TeeUpError({
    code: "evidence.not-asked",
    node,
    saw: "this run reaches no guest that could be asked for evidence",
    next: `teeup attest ${node}`,
  });

const unreachable = (error: unknown): never => {
  if (error instanceof Refused) throw error;
  throw new NotHad((error as Error).message, { cause: error });
};

/**
 * What is wrong with the controller's clock, or with documents that the vendors' services or the network withhold until
 * they are too old: no pass, and no word about the guest either. Its secrets stay where they are.
 */
const NOT_THE_GUESTS: ReadonlySet<RefusalCode> = new Set([
  "attest.clock",
  "attest.collateral.missing",
  "attest.collateral.expired",
]);

/** A firmware file of the controller's that cannot be measured is no fault of the guest's, and no pass either. */
const ours = (error: unknown): never => {
  if (!(error instanceof Refused)) throw error;
  throw new TeeUpError({
    code: "attest.firmware",
    subject: "teeup:attestation.firmware",
    saw: `the launch cannot be measured here: ${error.refusal.saw}`,
    next: "name the very file that guests are started with, whole",
  });
};

/** What the vendors sign could not be had: that says nothing about the guest, and is no pass either. */
class NotHad extends TeeUpError {
  constructor(saw: string, options: { cause?: unknown }) {
    const code: RefusalCode = "attest.collateral.missing";
    super({ code, subject: "attestation", saw, next: REFUSALS[code].next }, options);
  }
}

/** Evidence that cannot even be read is refused; evidence that could not be had is unknown. */
function noResult(error: TeeUpError): Appraisal {
  const { code, saw, next } = error.parts;
  const oversized = code === "evidence.oversized";
  const refused = (error instanceof Refused && !NOT_THE_GUESTS.has(error.refusal.code)) || oversized;
  return {
    verdict: refused ? "fail" : "unknown",
    refusals: [{ code: oversized ? "attest.oversized" : code, saw, next }],
    gpu: "none",
  };
}
