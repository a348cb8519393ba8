import { readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { loadAnchor, RELEASE_ANCHORS } from "../../providers/attest/anchors.ts";
import { Refused } from "../../providers/attest/refusals.ts";
import { authenticateTdx, tdxClaims } from "../../providers/attest/tdx.ts";
import type { TdxCollateral } from "../../providers/attest/tdx-collateral.ts";
import { verifyEvidence } from "../../providers/attest/verify.ts";
import { revocations } from "../../providers/attest/x509.ts";
import { issue } from "../../sim/attest/pki.ts";
import type { CollateralOptions, TdFields, TestIntel } from "../../sim/attest/tdx.ts";
import { SEPT_VE_DISABLE, testIntel } from "../../sim/attest/tdx.ts";
import { capture, captureBytes, withCaptures } from "../kit/captures.ts";
import { anchorsOf, boundData, CLOCK, codes, EXPECTED, OTHER_KEY, tdxBundle, tdxPolicy, verdictOf } from "./given.ts";

const real = withCaptures(test);
const root = loadAnchor(RELEASE_ANCHORS.tdx);
const CAPTURES = join(import.meta.dirname, "../captures/attestation");
const days = (n: number): Date => new Date(CLOCK.now.getTime() + n * 86_400_000);
const at = (time: string) => ({ now: new Date(time), skewSeconds: 300 });

function codeOf(work: () => unknown): string {
  try {
    work();
    return "genuine";
  } catch (error) {
    if (error instanceof Refused) return error.code;
    throw error;
  }
}

function flip(bytes: Buffer, bit: number): Buffer {
  const flipped = Buffer.from(bytes);
  flipped.writeUInt8(flipped.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
  return flipped;
}

/** A quote of a production platform with all of Intel's answers about it, of 2025. */
function quote2025(): { quote: Buffer; collateral: TdxCollateral } {
  const read = JSON.parse(readFileSync(join(CAPTURES, "tdx-quote-2025.json"), "utf8"));
  const bytes = (text: string): Buffer => Buffer.from(text, "base64");
  const { pckCrl, rootCrl, ...texts } = read.collateral;
  return { quote: bytes(read.quote), collateral: { ...texts, pckCrl: bytes(pckCrl), rootCrl: bytes(rootCrl) } };
}
const IN_2025 = at("2025-06-20T00:00:00Z");

describe("a real quote with all its collateral", () => {
  test("is genuine, to Intel's pinned root, at the time of its collateral", async () => {
    const genuine = authenticateTdx(quote2025(), root, IN_2025);
    expect(tdxClaims(genuine)).toMatchObject({
      quoteVersion: 4,
      tcbStatus: "UpToDate",
      advisories: [],
      fmspc: "b0c06f000000",
      tcbSvn: "06010300000000000000000000000000",
    });
  });

  test("is refused before and after that time", async () => {
    const when = (time: string) => codeOf(() => authenticateTdx(quote2025(), root, at(time)));
    expect(when("2099-01-01T00:00:00Z")).toBe("attest.cert.expired");
    expect(when("2025-07-25T00:00:00Z")).toBe("attest.collateral.expired");
    expect(when("2025-06-18T00:00:00Z")).toBe("attest.clock");
    expect(when("2010-01-01T00:00:00Z")).toBe("attest.clock");
  });

  test("is refused with any bit flipped of header, report, signatures, keys and quoting enclave", async () => {
    const { quote, collateral } = quote2025();
    // Header and TD report, length, signature, attestation key, certification header, QE report, its signature, its data.
    const signed = 48 + 584 + 4 + 64 + 64 + 6 + 384 + 64 + 2 + 32;
    await fc.assert(
      fc.asyncProperty(fc.nat(signed * 8 - 1), async (bit) => {
        expect(codeOf(() => authenticateTdx({ quote: flip(quote, bit), collateral }, root, IN_2025))).not.toBe(
          "genuine",
        );
      }),
      { numRuns: 60 },
    );
  }, 300_000);

  test("is refused with a bit flipped in either document or list", async () => {
    const { quote, collateral } = quote2025();
    const of = (key: keyof TdxCollateral): Buffer => Buffer.from(collateral[key]);
    await fc.assert(
      fc.asyncProperty(fc.constantFrom("tcbInfo", "qeIdentity", "pckCrl", "rootCrl"), fc.nat(), async (key, n) => {
        const flipped = flip(of(key), n % (of(key).length * 8));
        const changed = { ...collateral, [key]: key.endsWith("Crl") ? flipped : flipped.toString("utf8") };
        // A signature's hex digits may change their case and stay the same number.
        fc.pre(
          typeof changed[key] !== "string" || changed[key].toLowerCase() !== String(collateral[key]).toLowerCase(),
        );
        expect(codeOf(() => authenticateTdx({ quote, collateral: changed }, root, IN_2025))).not.toBe("genuine");
      }),
      { numRuns: 60 },
    );
  }, 300_000);

  test("is refused with any single bit flipped in Intel's revocation list", () => {
    const crl = Buffer.from(quote2025().collateral.rootCrl);
    revocations(crl, root, IN_2025);
    const believed: number[] = [];
    for (let bit = 0; bit < crl.length * 8; bit++) {
      try {
        revocations(flip(crl, bit), root, IN_2025);
        believed.push(bit);
      } catch (error) {
        if (!(error instanceof Refused)) throw error;
      }
    }
    expect(believed).toEqual([]);
  }, 300_000);

  test.each(["tcbInfoIssuerChain", "qeIdentityIssuerChain"] as const)(
    "is refused with any other order or part of %s",
    async (key) => {
      const { quote, collateral } = quote2025();
      const blocks = collateral[key].split(/(?=-----BEGIN)/).filter((block) => block.includes("BEGIN"));
      const [first = "", second = ""] = blocks;
      for (const chain of ["", second, second + first, first + first]) {
        const changed = { ...collateral, [key]: chain };
        expect(codeOf(() => authenticateTdx({ quote, collateral: changed }, root, IN_2025))).not.toBe("genuine");
      }
    },
  );
});

describe("the real quote of a production Sapphire Rapids with Intel's sample answers of 2023", () => {
  const of2023 = () => ({
    quote: captureBytes("attestation/tdx_prod_quote_SPR_E4.dat"),
    collateral: {
      tcbInfo: capture("attestation/sample_tcbInfo_response"),
      qeIdentity: capture("attestation/sample_qeIdentity_response"),
      tcbInfoIssuerChain: readFileSync(join(CAPTURES, "intel-tcb-signing-chain.pem"), "utf8"),
      qeIdentityIssuerChain: readFileSync(join(CAPTURES, "intel-tcb-signing-chain.pem"), "utf8"),
      pckCrl: captureBytes("attestation/pckcrl"),
      rootCrl: captureBytes("attestation/rootcrl.der"),
    },
  });
  const time = at("2023-07-01T01:00:00Z");

  real("passes every signature, and is refused for its microcode, older than any level of the sample", async () => {
    const refusal = () => authenticateTdx(of2023(), root, time);
    // What Intel calls the platform's TCB is matched after all signatures: another bit would end at one of those.
    expect(refusal).toThrow("No matching TCB level found [attest.tcb]");
    const bad = { ...of2023(), quote: flip(of2023().quote, 8 * 200) };
    expect(codeOf(() => authenticateTdx(bad, root, time))).toBe("attest.tdx.signature");
  });
});

describe("a quote of a test root", () => {
  let intel: TestIntel;
  beforeAll(async () => {
    intel = await testIntel();
  });
  const verdict = async (fields: TdFields = {}, policy: Record<string, unknown> = {}, options?: CollateralOptions) =>
    verdictOf(
      await tdxBundle(intel, fields, await intel.collateral(options)),
      tdxPolicy(policy),
      anchorsOf(undefined, intel),
    );

  test("passes under that root and its policy, in both versions of a quote", async () => {
    expect(await verdict()).toBe("pass");
    expect(await verdict({ version: 5 })).toBe("pass");
    expect(
      await verdict({ rtmrs: [Buffer.alloc(48, 1)] }, { rtmrs: ["01".repeat(48), null, "00".repeat(48), null] }),
    ).toBe("pass");
  });

  test("is refused by a release, whatever it says", async () => {
    const result = verifyEvidence(await tdxBundle(intel), tdxPolicy(), EXPECTED, CLOCK);
    expect([codes(result), result.genuine]).toEqual(["attest.cert.root", false]);
  });

  test.each<[string, () => Promise<string>]>([
    ["attest.debug", () => verdict({ attributes: SEPT_VE_DISABLE | 1n })],
    ["attest.guest-policy", () => verdict({ attributes: 0n })],
    ["attest.guest-policy", () => verdict({ attributes: SEPT_VE_DISABLE | (1n << 8n) })],
    ["attest.measurement", () => verdict({ mrTd: Buffer.alloc(48, 1) })],
    ["attest.rtmr", () => verdict({ rtmrs: [Buffer.alloc(48, 2)] }, { rtmrs: ["01".repeat(48), null, null, null] })],
    ["attest.report-data", () => verdict({ reportData: boundData({ nonce: "11".repeat(32) }) })],
    ["attest.report-data", () => verdict({ reportData: boundData({ hostKey: OTHER_KEY }) })],
    ["attest.tcb", () => verdict({ tcbSvn: [5, 1, 4] })],
    ["attest.tcb", () => verdict({}, {}, { tcbStatus: "OutOfDate" })],
    ["attest.tcb", () => verdict({}, {}, { tcbStatus: "Revoked" })],
    ["attest.tcb", () => verdict({}, {}, { tcbStatus: "SomethingNew" })],
    [
      "attest.tcb",
      () =>
        verdict(
          {},
          { tcbStatuses: ["SWHardeningNeeded"] },
          { tcbStatus: "SWHardeningNeeded", advisories: ["INTEL-SA-00960"] },
        ),
    ],
    [
      "pass",
      () =>
        verdict(
          {},
          { tcbStatuses: ["SWHardeningNeeded"], advisories: ["INTEL-SA-00960"] },
          { tcbStatus: "SWHardeningNeeded", advisories: ["INTEL-SA-00960"] },
        ),
    ],
    ["attest.tcb", () => verdict({}, {}, { moduleSvn: 6 })],
    ["attest.tdx.module", () => verdict({ tcbSvn: [5, 9, 5] })],
    ["attest.tdx.module", () => verdict({ mrSignerSeam: Buffer.alloc(48, 1) })],
    ["attest.tdx.qe", () => verdict({ qeIsvSvn: 3 })],
    ["attest.tdx.qe", () => verdict({ qeAttributes: 0x13 })],
    ["attest.cert.binding", () => verdict({}, {}, { fmspc: "00906ed50000" })],
    ["attest.cert.revoked", () => verdict({}, {}, { revoked: [intel.pck] })],
    ["attest.cert.revoked", () => verdict({}, {}, { revoked: [intel.platformCa] })],
    ["attest.cert.revoked", () => verdict({}, {}, { revoked: [intel.tcbSigner] })],
    ["attest.collateral.expired", () => verdict({}, {}, { validity: { from: days(-9), to: days(-1) } })],
    ["attest.clock", () => verdict({}, {}, { validity: { from: days(1), to: days(9) } })],
    ["attest.collateral.signature", () => verdict({}, {}, { crlSigner: intel.pck })],
    ["attest.collateral.signature", async () => verdict({}, {}, { crlSigner: (await testIntel()).platformCa })],
    ["attest.cert.root", async () => verdict({}, {}, { tcbSigner: (await testIntel()).tcbSigner })],
    [
      "attest.cert.chain",
      async () =>
        verdict(
          {},
          {},
          { tcbSigner: await issue({ subject: "CN=Intel SGX PCK Certificate", kind: "p256", issuer: intel.root }) },
        ),
    ],
    [
      "attest.cert.chain",
      async () => {
        const odd = await testIntel(undefined, { pck: "Somebody" });
        return verdictOf(await tdxBundle(odd), tdxPolicy(), anchorsOf(undefined, odd));
      },
    ],
    [
      "attest.cert.expired",
      async () => {
        const old = await testIntel({ from: days(-9), to: days(-1) });
        return verdictOf(await tdxBundle(old), tdxPolicy(), anchorsOf(undefined, old));
      },
    ],
    [
      "attest.cert.chain",
      async () => {
        const odd = await testIntel(undefined, { ca: "Another CA of Intel" });
        return verdictOf(await tdxBundle(odd), tdxPolicy(), anchorsOf(undefined, odd));
      },
    ],
    ["attest.truncated", async () => raw((quote) => quote.subarray(0, 600))],
    ["attest.truncated", async () => raw((quote) => quote.subarray(0, 2000))],
    [
      "attest.malformed",
      async () =>
        raw((quote) => Buffer.concat([quote.subarray(0, 632), longer(quote), quote.subarray(636), Buffer.alloc(1)])),
    ],
    ["attest.oversized", async () => raw((quote) => Buffer.concat([quote, Buffer.alloc(16_384)]))],
    ["attest.unsupported", async () => raw((quote) => Buffer.concat([Buffer.from([3]), quote.subarray(1)]))],
    [
      "attest.unsupported",
      async () =>
        raw((quote) => {
          const other = Buffer.from(quote);
          other.fill(0, 12, 28);
          return other;
        }),
    ],
    ["attest.collateral.missing", () => without("tcbInfo")],
    ["attest.collateral.missing", () => without("qeIdentity")],
    ["attest.collateral.missing", () => without("tcbInfoIssuerChain")],
    ["attest.malformed", () => without("pckCrl")],
  ])("is refused: %s", async (wanted, work) => {
    expect(await work()).toBe(wanted);
  });

  /** The length of the signature data, one byte more. */
  const longer = (quote: Buffer): Buffer => {
    const length = Buffer.alloc(4);
    length.writeUInt32LE(quote.readUInt32LE(632) + 1);
    return length;
  };
  const raw = async (change: (quote: Buffer) => Buffer): Promise<string> => {
    const bundle = await tdxBundle(intel);
    if (bundle.tee.kind !== "tdx") throw new Error("not a TDX bundle");
    const quote = change(Buffer.from(bundle.tee.quote, "base64")).toString("base64");
    return verdictOf({ ...bundle, tee: { ...bundle.tee, quote } }, tdxPolicy(), anchorsOf(undefined, intel));
  };
  const without = async (key: string): Promise<string> => {
    const bundle = await tdxBundle(intel);
    if (bundle.tee.kind !== "tdx") throw new Error("not a TDX bundle");
    const collateral = { ...bundle.tee.collateral, [key]: "" };
    return verdictOf({ ...bundle, tee: { ...bundle.tee, collateral } }, tdxPolicy(), anchorsOf(undefined, intel));
  };
});
