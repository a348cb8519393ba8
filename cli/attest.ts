import { createPrivateKey } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import pc from "picocolors";
import type { Bundle } from "../providers/attest/bundle.ts";
import { parseBundle } from "../providers/attest/bundle.ts";
import { earOf, signEar } from "../providers/attest/ear.ts";
import type { Policy } from "../providers/attest/policy.ts";
import { PolicySchema } from "../providers/attest/policy.ts";
import { REFUSALS, Refused } from "../providers/attest/refusals.ts";
import type { Result } from "../providers/attest/verify.ts";
import { SKEW_SECONDS, verifyEvidence } from "../providers/attest/verify.ts";
import { TeeUpError } from "../providers/kit/errors.ts";
import { oneLine } from "../providers/machine/redact.ts";

export interface VerifyOptions {
  /** JSON or the bundle's own: what the guest has to be. */
  readonly policy?: string;
  /** ISO 8601; default now. */
  readonly at?: string;
  /** What this party sent, as hex; default the bundle's own, which shows only that the bundle is of one piece. */
  readonly nonce?: string;
  /** Public line of the SSH host key that this party saw; default the bundle's own. */
  readonly hostKey?: string;
  /** Where to write the signed result, and the PKCS#8 PEM key that signs it. */
  readonly ear?: string;
  readonly key?: string;
}

/** A result with what it can and cannot say about freshness. */
export interface Verified extends Result {
  /** `given`: compared with what this party knows. `bundle`: with what the bundle says of itself. */
  readonly nonceFrom: "given" | "bundle";
  readonly hostKeyFrom: "given" | "bundle";
  /** `bundle`: whoever made the bundle chose what passes. */
  readonly policyFrom: "given" | "bundle";
}

/**
 * Verifies a bundle of evidence, offline, against the pinned roots. Evidence that is refused is a result, not an error.
 * Throws `attest.file`, `attest.no-policy`, `attest.policy`, `attest.time`, `attest.nonce-option`, `attest.key`.
 */
export async function verifyFile(path: string, options: VerifyOptions, build: string): Promise<Verified> {
  const text = await read(path, "evidence");
  const now = new Date(options.at ?? Date.now());
  if (Number.isNaN(now.getTime())) throw usage("attest.time", `${options.at} is no time`, "--at 2026-06-01T12:00:00Z");
  if (options.nonce !== undefined && !/^[0-9a-f]{64}$/.test(options.nonce))
    throw usage("attest.nonce-option", "--nonce takes 32 bytes as lower-case hex", "the nonce as it was sent");
  let bundle: Bundle;
  try {
    bundle = parseBundle(text);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    const refused = unread(error, options, now);
    // Also here: an older result in that file must not stand for this one.
    if (options.ear !== undefined) await writeEar(options.ear, options.key, refused, build);
    return refused;
  }
  const policy = options.policy === undefined ? bundle.policy : await readPolicy(options.policy);
  if (policy === undefined)
    throw usage(
      "attest.no-policy",
      "nothing says what the guest has to be",
      `teeup attest verify ${path} --policy FILE`,
    );
  const expected = { nonce: options.nonce ?? bundle.nonce, hostKey: options.hostKey ?? bundle.hostKey };
  const result = verifyEvidence(bundle, policy, expected, { now, skewSeconds: SKEW_SECONDS });
  if (options.ear !== undefined) await writeEar(options.ear, options.key, result, build);
  return { ...result, ...sources(options) };
}

/** What a person reads: verdict, what was refused and what to do, and what the verdict does not cover. */
export function renderVerified(verified: Verified): string {
  const { claims, refusals } = verified;
  const lines = [
    verified.verdict === "pass"
      ? `${pc.green("✓")} the evidence is genuine and as the policy wants`
      : `${pc.red("✗")} refused`,
    ...refusals.flatMap(({ code, saw }) => [`  ${pc.red(code)}: ${oneLine(saw)}`, `    next: ${REFUSALS[code].next}`]),
  ];
  if (claims !== undefined) {
    const tcb = claims.kind === "snp" ? `${claims.product}, ${claims.signer}` : `TDX, TCB ${claims.tcbStatus}`;
    lines.push(`  ${tcb}; launch measurement ${claims.measurement}`);
  }
  if (claims?.revocation === "unknown") lines.push("  revocation was not looked at: the bundle has no list");
  if (claims !== undefined && !verified.leastTcb)
    lines.push("  no least TCB was demanded: firmware and microcode of any age pass (minTcb)");
  if (verified.gpu === "measured-guest")
    lines.push("  the GPUs' verdict is the guest's own: it rests on the measurement");
  if (verified.nonceFrom === "bundle")
    lines.push("  the nonce is the bundle's own: this says nothing about when the evidence was made (--nonce)");
  if (verified.hostKeyFrom === "bundle")
    lines.push("  the host key is the bundle's own: this says nothing about a session of yours (--host-key)");
  if (verified.policyFrom === "bundle")
    lines.push("  the policy is the bundle's own: whoever made the bundle chose what passes (--policy)");
  lines.push(`  evidence ${verified.evidence}`, `  policy ${verified.policy}`, `  at ${verified.at}`);
  return lines.join("\n");
}

const sources = (options: VerifyOptions) => ({
  nonceFrom: options.nonce === undefined ? ("bundle" as const) : ("given" as const),
  hostKeyFrom: options.hostKey === undefined ? ("bundle" as const) : ("given" as const),
  policyFrom: options.policy === undefined ? ("bundle" as const) : ("given" as const),
});

function unread({ refusal }: Refused, options: VerifyOptions, now: Date): Verified {
  return {
    verdict: "fail",
    genuine: false,
    refusals: [refusal],
    gpu: "none",
    evidence: "",
    policy: "",
    leastTcb: false,
    at: now.toISOString(),
    nonce: options.nonce ?? "",
    ...sources(options),
  };
}

async function writeEar(path: string, keyFile: string | undefined, result: Result, build: string): Promise<void> {
  if (keyFile === undefined)
    throw usage(
      "attest.key",
      "--ear needs a key that signs the result",
      "openssl genpkey -algorithm ed25519 -out key.pem, then --key key.pem",
    );
  const pem = await read(keyFile, "key");
  let jwt: string;
  try {
    const key = createPrivateKey(pem);
    jwt = await signEar(earOf(result, build), key);
  } catch (error) {
    throw usage(
      "attest.key",
      `${keyFile} cannot sign: ${(error as Error).message}`,
      "an Ed25519, P-256 or P-384 key as PKCS#8 PEM",
    );
  }
  await writeFile(path, `${jwt}\n`);
}

async function readPolicy(path: string): Promise<Policy> {
  const text = await read(path, "policy");
  const parsed = PolicySchema.safeParse(parseJson(text));
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw usage("attest.policy", `${path}: ${issue?.path.join(".")} ${issue?.message}`, "docs/trust.md shows a policy");
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

async function read(path: string, what: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    throw usage(
      "attest.file",
      `the ${what} ${path} cannot be read: ${(error as Error).message}`,
      "name a readable file",
    );
  }
}

const usage = (code: string, saw: string, next: string): TeeUpError => new TeeUpError({ code, saw, next });
