import { z } from "zod";

/** Why an attestation did not pass; the word is the end of a finding's code. */
export const ATTESTATION_FAILURES = [
  "nonce",
  "rim",
  "ocsp",
  "certificate",
  "driver-version",
  "vbios-version",
  "measurements",
  "devices",
  "policy",
  "overall-false",
  "evidence",
  "tool",
  "malformed",
] as const;
export type AttestationFailure = (typeof ATTESTATION_FAILURES)[number];

/** What is kept of one device's claims: stable between two attestations of an unchanged device. */
export interface DeviceClaims {
  /** Identity of the very device (claim `ueid`); empty when the tool does not say. */
  readonly id: string;
  /** `GH100 A01 GSP BROM` or the like. */
  readonly model: string;
  /** Empty for an NVSwitch. */
  readonly driver: string;
  /** An NVSwitch's BIOS. */
  readonly vbios: string;
  /** `success`, `fail`, `not-run`, `absent`. */
  readonly measurements: string;
  /** Undefined when the tool does not say. */
  readonly secureBoot: boolean | undefined;
  /** `disabled` on a production GPU. */
  readonly debug: string | undefined;
}

export type Verdict =
  | { readonly verdict: "pass"; readonly devices: readonly DeviceClaims[] }
  | {
      readonly verdict: "fail";
      readonly failure: AttestationFailure;
      /** The tool's number, where it gave one. */
      readonly code: number | undefined;
      readonly detail: string;
      readonly devices: readonly DeviceClaims[];
    };

const common = {
  eat_nonce: z.string(),
  measres: z.string(),
  ueid: z.string().default(""),
  hwmodel: z.string(),
  secboot: z.boolean().nullish(),
  dbgstat: z.string().nullish(),
};

/** Claims of one device, in one form for both kinds; a switch has a BIOS where a GPU has driver and VBIOS. */
const CLAIMS = {
  gpu: z
    .looseObject({
      ...common,
      "x-nvidia-device-type": z.string(),
      "x-nvidia-gpu-attestation-report-nonce-match": z.boolean(),
      "x-nvidia-gpu-driver-version": z.string(),
      "x-nvidia-gpu-vbios-version": z.string(),
    })
    .transform((c) => ({
      ...c,
      nonceMatch: c["x-nvidia-gpu-attestation-report-nonce-match"],
      driver: c["x-nvidia-gpu-driver-version"],
      vbios: c["x-nvidia-gpu-vbios-version"],
    })),
  nvswitch: z
    .looseObject({
      ...common,
      "x-nvidia-device-type": z.literal("nvswitch"),
      "x-nvidia-switch-attestation-report-nonce-match": z.boolean(),
      "x-nvidia-switch-bios-version": z.string(),
    })
    .transform((c) => ({
      ...c,
      nonceMatch: c["x-nvidia-switch-attestation-report-nonce-match"],
      driver: "",
      vbios: c["x-nvidia-switch-bios-version"],
    })),
} as const;

const Output = z.looseObject({
  result_code: z.int(),
  result_message: z.string().default(""),
  claims: z.unknown(),
});

/** `NVAT_RC_*` of nvat.h, by what a person must look at. */
export function failureOf(code: number): AttestationFailure {
  if (code === 11 || code === 301) return "policy";
  if (code === 12) return "overall-false";
  if (code === 107 || code === 108) return "measurements";
  if (code >= 101 && code <= 199) return "rim";
  if (code >= 201 && code <= 299) return "ocsp";
  if (code === 504 || code === 603) return "nonce";
  if (code === 505) return "driver-version";
  if (code === 506 || code === 604) return "vbios-version";
  if (code >= 800 && code <= 899) return "certificate";
  if ((code >= 401 && code <= 499) || (code >= 502 && code <= 699)) return "evidence";
  return "tool";
}

/**
 * The verdict of `nvattest attest --format json`. It passes only when everything says so: whole JSON, `result_code` 0,
 * at least one device, each with the nonce of this very question and successful measurements. The exit status is never
 * looked at: it is `result_code` cut to eight bits, so 512 or 256 would read as success.
 */
export function parseNvattest(stdout: string, nonce: string | undefined, device: "gpu" | "nvswitch" = "gpu"): Verdict {
  const json = parseJson(stdout);
  const output = Output.safeParse(json);
  if (!output.success) return fail("malformed", undefined, malformed(stdout), []);
  const { result_code: code, result_message: message } = output.data;
  const claims = z.array(CLAIMS[device]).safeParse(output.data.claims);
  const devices = (claims.data ?? []).map(
    (c): DeviceClaims => ({
      id: c.ueid,
      model: c.hwmodel,
      driver: c.driver,
      vbios: c.vbios,
      measurements: c.measres,
      secureBoot: c.secboot ?? undefined,
      debug: c.dbgstat ?? undefined,
    }),
  );
  if (code !== 0) return fail(failureOf(code), code, message, devices);
  if (!claims.success)
    return fail("malformed", code, `claims are not as documented: ${claims.error.issues[0]?.message}`, []);
  if (devices.length === 0) return fail("malformed", code, "the result names no device", []);
  for (const c of claims.data) {
    if (!c.nonceMatch || !sameNonce(c.eat_nonce, nonce)) {
      return fail("nonce", code, "the evidence does not answer the nonce that was sent: it may be replayed", devices);
    }
    if (c.measres !== "success") return fail("measurements", code, `measurements: ${c.measres}`, devices);
  }
  return { verdict: "pass", devices };
}

const Wrapped = z.looseObject({
  attested: z.boolean(),
  policy: z.boolean(),
  nonce: z.string(),
  gpus: z.int(),
  claims: z.record(z.string(), z.unknown()),
  error: z.string(),
});

/**
 * The verdict of the seed-era Python SDK as `attest.py` (facet attestation-tool) prints it in its last line. `policy` are the claims
 * that must be true; the SDK's own verdict must be true as well.
 */
export function parsePythonSdk(stdout: string, nonce: string | undefined): Verdict {
  const last = stdout.trim().split("\n").at(-1) ?? "";
  const output = Wrapped.safeParse(parseJson(last));
  if (!output.success) return fail("malformed", undefined, malformed(last), []);
  const { attested, policy, gpus, claims, error } = output.data;
  const text = (key: string) => (typeof claims[key] === "string" ? (claims[key] as string) : "");
  // One token speaks for one device, however many GPUs the wrapper counts.
  const devices: DeviceClaims[] = Array.from({ length: gpus < 1 ? 0 : 1 }, () => ({
    id: "",
    model: text("x-nv-gpu-model"),
    driver: text("x-nv-gpu-driver-version"),
    vbios: text("x-nv-gpu-vbios-version"),
    measurements: claims["x-nv-gpu-measurements-match"] === true ? "success" : "fail",
    secureBoot: undefined,
    debug: undefined,
  }));
  if (error !== "") return fail("tool", undefined, error, devices);
  if (gpus < 1) return fail("evidence", undefined, "the verifier saw no GPU", []);
  if (!sameNonce(output.data.nonce, nonce) || claims["x-nv-gpu-nonce-match"] !== true) {
    return fail(
      "nonce",
      undefined,
      "the evidence does not answer the nonce that was sent: it may be replayed",
      devices,
    );
  }
  const bad = (key: string) => claims[key] === false;
  if (
    bad("x-nv-gpu-ocsp-cert-chain-verified") ||
    bad("x-nv-gpu-ocsp-signature-verified") ||
    bad("x-nv-gpu-cert-ocsp-nonce-match")
  ) {
    return fail("ocsp", undefined, "the revocation status of a certificate was not verified", devices);
  }
  if (bad("x-nv-gpu-driver-rim-schema-fetched") || bad("x-nv-gpu-driver-vbios-rim-fetched")) {
    return fail("rim", undefined, "no reference measurements (RIM) for this driver or VBIOS", devices);
  }
  if (bad("x-nv-gpu-attestation-report-driver-version-match"))
    return fail("driver-version", undefined, "driver version differs", devices);
  if (bad("x-nv-gpu-attestation-report-vbios-version-match"))
    return fail("vbios-version", undefined, "VBIOS version differs", devices);
  if (bad("x-nv-gpu-measurements-match"))
    return fail("measurements", undefined, "measurements differ from the golden ones", devices);
  if (!attested) return fail("overall-false", undefined, "attest() returned False", devices);
  if (claims["x-nv-gpu-measurements-match"] !== true)
    return fail("measurements", undefined, "no claim that the measurements match", devices);
  if (!policy) return fail("policy", undefined, "validate_token() returned False", devices);
  return { verdict: "pass", devices };
}

/** A verdict that passes does so for `count` devices that differ: one attested GPU says nothing of its neighbour. */
export function forAll(verdict: Verdict, count: number, device: "gpu" | "nvswitch" = "gpu"): Verdict {
  if (verdict.verdict === "fail") return verdict;
  const distinct = new Set(verdict.devices.map((d) => d.id)).size;
  if (count > 0 && distinct >= count) return verdict;
  const kind = device === "gpu" ? "GPUs" : "NVSwitches";
  return fail("devices", undefined, `${distinct} of the guest's ${count} ${kind} attested themselves`, verdict.devices);
}

function fail(
  failure: AttestationFailure,
  code: number | undefined,
  detail: string,
  devices: readonly DeviceClaims[],
): Verdict {
  return { verdict: "fail", failure, code, detail: detail.slice(0, 300), devices };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

const malformed = (text: string): string =>
  text.trim() === "" ? "the tool printed nothing" : `no complete JSON result in ${text.length} characters of output`;

/** A nonce that was never sent matches nothing. */
function sameNonce(seen: string, sent: string | undefined): boolean {
  const bare = (s: string) => s.toLowerCase().replace(/^0x/, "");
  return sent !== undefined && sent !== "" && bare(seen) === bare(sent);
}
