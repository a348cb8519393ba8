import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { failureOf, parseNvattest, parsePythonSdk } from "../../providers/kit/parse-nvattest.ts";

const NONCE = "5c".repeat(32);
const device = {
  eat_nonce: NONCE,
  measres: "success",
  secboot: true,
  dbgstat: "disabled",
  hwmodel: "GH100 A01 GSP BROM",
  ueid: "1",
  oemid: "5703",
  "x-nvidia-device-type": "gpu",
  "x-nvidia-gpu-attestation-report-nonce-match": true,
  "x-nvidia-gpu-driver-version": "580.95.05",
  "x-nvidia-gpu-vbios-version": "96.00.5E.00.01",
};
const output = (code: number, claims: unknown = [device]) =>
  JSON.stringify({ claims, detached_eat: [["JWT", "…"]], result_code: code, result_message: "…" }, null, 4);
const verdict = (text: string, nonce: string | undefined = NONCE) => parseNvattest(text, nonce).verdict;
const failure = (text: string, nonce?: string | undefined) => {
  const seen = parseNvattest(text, nonce ?? NONCE);
  return seen.verdict === "fail" ? seen.failure : "passed";
};

test("passes when all of it says so, and keeps only what stays the same", () => {
  expect(parseNvattest(output(0), NONCE)).toEqual({
    verdict: "pass",
    devices: [
      {
        id: "1",
        model: "GH100 A01 GSP BROM",
        driver: "580.95.05",
        vbios: "96.00.5E.00.01",
        measurements: "success",
        secureBoot: true,
        debug: "disabled",
      },
    ],
  });
  expect(verdict(output(0), `0x${NONCE.toUpperCase()}`)).toBe("pass");
});

describe("fails closed", () => {
  test("on every other result code, whatever the claims say", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 5000 }), (code) => {
        expect(verdict(output(code))).toBe("fail");
      }),
    );
  });

  test.each([
    [11, "policy"],
    [12, "overall-false"],
    [104, "rim"],
    [204, "ocsp"],
    [504, "nonce"],
    [505, "driver-version"],
    [506, "vbios-version"],
    [802, "certificate"],
    [256, "ocsp"],
    [512, "evidence"],
    [1, "tool"],
  ] as const)("result code %d is %s", (code, word) => {
    expect(failureOf(code)).toBe(word);
    expect(failure(output(code))).toBe(word);
  });

  test("when cut anywhere", () => {
    const whole = output(0);
    fc.assert(fc.property(fc.nat(whole.length - 1), (at) => expect(failure(whole.slice(0, at))).toBe("malformed")));
  });

  test("on any other text or JSON", () => {
    fc.assert(fc.property(fc.string(), (text) => expect(verdict(text)).toBe("fail")));
    fc.assert(fc.property(fc.json(), (text) => expect(verdict(text)).toBe("fail")));
  });

  test("on a nonce that is not the one sent, on one of several devices too, and when none was sent", () => {
    const hex = fc.stringMatching(/^[0-9a-f]{64}$/);
    fc.assert(
      fc.property(hex, (nonce) => {
        fc.pre(nonce !== NONCE);
        expect(failure(output(0, [{ ...device, eat_nonce: nonce }]))).toBe("nonce");
        expect(failure(output(0, [device, { ...device, eat_nonce: nonce }]))).toBe("nonce");
      }),
    );
    expect(parseNvattest(output(0), undefined).verdict).toBe("fail");
    expect(parseNvattest(output(0, [{ ...device, eat_nonce: "" }]), "").verdict).toBe("fail");
    const mismatch = { ...device, "x-nvidia-gpu-attestation-report-nonce-match": false };
    expect(failure(output(0, [mismatch]))).toBe("nonce");
  });

  test("without devices, and when any needed claim is missing or of another type", () => {
    expect(failure(output(0, []))).toBe("malformed");
    expect(failure(output(0, {}))).toBe("malformed");
    const needed = [
      "eat_nonce",
      "measres",
      "hwmodel",
      "x-nvidia-device-type",
      "x-nvidia-gpu-attestation-report-nonce-match",
      "x-nvidia-gpu-driver-version",
      "x-nvidia-gpu-vbios-version",
    ];
    for (const key of needed) {
      expect([key, failure(output(0, [{ ...device, [key]: undefined }]))]).toEqual([key, "malformed"]);
      expect([key, failure(output(0, [{ ...device, [key]: 1 }]))]).toEqual([key, "malformed"]);
    }
  });

  test.each(["fail", "not-run", "absent", ""])("on measurements that say %j", (measres) => {
    expect(failure(output(0, [device, { ...device, measres }]))).toBe("measurements");
  });

  test("a result code that is text is no result code", () => {
    expect(failure(output(0).replace('"result_code": 0', '"result_code": "0"'))).toBe("malformed");
  });
});

describe("the seed-era SDK", () => {
  const claims = { "x-nv-gpu-available": true, "x-nv-gpu-nonce-match": true, "x-nv-gpu-measurements-match": true };
  const said = { attested: true, policy: true, nonce: NONCE, gpus: 1, claims, error: "" };
  const line = (more: object = {}) => `${JSON.stringify({ ...said, ...more })}\n`;
  const word = (text: string) => {
    const seen = parsePythonSdk(text, NONCE);
    return seen.verdict === "fail" ? seen.failure : "passed";
  };

  test("passes, also after lines that the SDK printed", () => {
    expect(word(line())).toBe("passed");
    expect(word(`Number of GPUs available : 1\n${line()}`)).toBe("passed");
  });

  test.each([
    ["overall-false", { attested: false }],
    ["policy", { policy: false }],
    ["nonce", { nonce: "00" }],
    ["nonce", { claims: { ...claims, "x-nv-gpu-nonce-match": false } }],
    ["nonce", { claims: {} }],
    ["evidence", { gpus: 0 }],
    ["tool", { error: "ImportError: no module named verifier" }],
    ["ocsp", { claims: { ...claims, "x-nv-gpu-ocsp-signature-verified": false } }],
    ["rim", { claims: { ...claims, "x-nv-gpu-driver-rim-schema-fetched": false } }],
    ["driver-version", { claims: { ...claims, "x-nv-gpu-attestation-report-driver-version-match": false } }],
    ["vbios-version", { claims: { ...claims, "x-nv-gpu-attestation-report-vbios-version-match": false } }],
    ["measurements", { claims: { ...claims, "x-nv-gpu-measurements-match": false } }],
    ["malformed", { attested: "True" }],
  ] as const)("%s", (expected, more) => {
    expect(word(line(more))).toBe(expected);
  });

  test("cut, empty, or anything else", () => {
    const whole = line().trimEnd();
    fc.assert(fc.property(fc.nat(whole.length - 1), (at) => expect(word(whole.slice(0, at))).toBe("malformed")));
    fc.assert(fc.property(fc.string(), (text) => expect(word(text)).not.toBe("passed")));
  });
});
