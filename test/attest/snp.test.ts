import { X509Certificate } from "node:crypto";
import { beforeAll, describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { loadAnchor, RELEASE_ANCHORS } from "../../providers/attest/anchors.ts";
import { SnpPolicySchema } from "../../providers/attest/policy.ts";
import { Refused } from "../../providers/attest/refusals.ts";
import type { Roots } from "../../providers/attest/snp.ts";
import { appraiseSnp, authenticateSnp, checkSignature } from "../../providers/attest/snp.ts";
import { parseSnpReport } from "../../providers/attest/snp-report.ts";
import { verifyEvidence } from "../../providers/attest/verify.ts";
import { issue } from "../../sim/attest/pki.ts";
import type { TestAmd, TestChip } from "../../sim/attest/snp.ts";
import { DEBUG_POLICY, SVNS, testAmd } from "../../sim/attest/snp.ts";
import { captureBytes, withCaptures } from "../kit/captures.ts";
import {
  anchorsOf,
  boundData,
  CLOCK,
  codes,
  EXPECTED,
  HOST_KEY,
  NONCE,
  OTHER_KEY,
  realSnp,
  snpBundle,
  snpPolicy,
  verdictOf,
} from "./given.ts";

const real = withCaptures(test);
const release: Roots = (product) => loadAnchor(RELEASE_ANCHORS.snp[product]);
const b64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString("base64");
const days = (n: number): Date => new Date(CLOCK.now.getTime() + n * 86_400_000);

function flip(bytes: Buffer, bit: number): Buffer {
  const flipped = Buffer.from(bytes);
  flipped.writeUInt8(flipped.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
  return flipped;
}

/** Code of the refusal that `work` ends with; "genuine" when it does not. */
function codeOf(work: () => unknown): string {
  try {
    work();
    return "genuine";
  } catch (error) {
    if (error instanceof Refused) return error.code;
    throw error;
  }
}

describe("a real report of a Milan guest", () => {
  real("is genuine, to AMD's pinned root", async () => {
    const genuine = authenticateSnp(realSnp(), release, CLOCK);
    expect(genuine.product).toBe("Milan");
    expect(genuine.tcb.reported).toEqual({ bootloader: 2, tee: 0, snp: 5, microcode: 68 });
    expect(genuine.report.measurement).toMatch(/^b07af9620f3b839b/);
    expect(genuine.revocation).toBe("unknown");
  });

  real("is refused all the same, for what it says: it was launched for debugging", async () => {
    const genuine = authenticateSnp(realSnp(), release, CLOCK);
    const policy = { measurements: [genuine.report.measurement], revocation: "when-given" };
    expect(appraiseSnp(genuine, SnpPolicySchema.parse(policy)).map(({ code }) => code)).toEqual(["attest.debug"]);
    const strict = SnpPolicySchema.parse({ ...policy, revocation: "required" });
    expect(appraiseSnp(genuine, strict).map(({ code }) => code)).toEqual(["attest.collateral.missing", "attest.debug"]);
  });

  real(
    "is refused with any single bit flipped, signature and padding included",
    () => {
      const { report, key } = realSnp();
      const vcek = new X509Certificate(key);
      checkSignature(report, vcek);
      const believed: string[] = [];
      for (let bit = 0; bit < report.length * 8; bit++) {
        try {
          checkSignature(flip(report, bit), vcek);
          believed.push(`byte 0x${(bit >> 3).toString(16)}, bit ${bit & 7}`);
        } catch (error) {
          if (!(error instanceof Refused) || error.code !== "attest.snp.signature") throw error;
        }
      }
      expect(believed).toEqual([]);
    },
    300_000,
  );

  real("is refused with a bit flipped on the whole way from its bytes to the verdict", async () => {
    const { report, ...rest } = realSnp();
    await fc.assert(
      fc.asyncProperty(fc.nat(report.length * 8 - 1), async (bit) => {
        const code = codeOf(() => authenticateSnp({ report: flip(report, bit), ...rest }, release, CLOCK));
        expect(code).toMatch(/^attest\.(snp\.signature|malformed|unsupported)$/);
      }),
    );
  });

  real("is refused with a bit flipped in any certificate", async () => {
    const { report, key, issuers } = realSnp();
    const [ask] = issuers.map((pem) => Buffer.from(pem.replace(/-----.*|\s/g, ""), "base64"));
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(key, ask!), fc.nat(), async (target, n) => {
        const flipped = flip(target, n % (target.length * 8));
        const evidence = { report, key: target === key ? flipped : key, issuers: [target === ask ? flipped : ask!] };
        expect(codeOf(() => authenticateSnp(evidence, release, CLOCK))).not.toBe("genuine");
      }),
      { numRuns: 200 },
    );
  });

  real("is refused with any other certificates in its chain's places", async () => {
    const { report, key, issuers } = realSnp();
    const chains = ["genoa", "milan", "turin_vcek"].flatMap((name) =>
      captureBytes(`attestation/ask_ark_${name}.pem`)
        .toString("latin1")
        .split(/(?=-----BEGIN)/),
    );
    const pool: (Buffer | string)[] = [...chains, key];
    const [ask, ark] = issuers as [string, string];
    const same = (pem: Buffer | string, other: string) => String(pem).replace(/\s/g, "") === other.replace(/\s/g, "");
    let genuine = 0;
    for (const leaf of pool)
      for (const second of pool)
        for (const third of [...pool, undefined]) {
          const evidence = { report, key: leaf, issuers: third === undefined ? [second] : [second, third] };
          const code = codeOf(() => authenticateSnp(evidence, release, CLOCK));
          const right = leaf === key && same(second, ask) && (third === undefined || same(third, ark));
          expect([code === "genuine", right]).toEqual([right, right]);
          if (right) genuine++;
        }
    expect(genuine).toBe(2);
  });
});

describe("a report of a test root", () => {
  let amd: TestAmd;
  let chip: TestChip;
  beforeAll(async () => {
    amd = await testAmd();
    chip = await amd.chip();
  });

  test.each(["Milan", "Genoa", "Turin"] as const)("passes under that root and its policy: %s", async (product) => {
    const own = await testAmd(product);
    const on = await own.chip();
    const policy = snpPolicy({ minTcb: on.svns, vmpl: 0, signers: ["VCEK"] });
    expect(verdictOf(await snpBundle(own, on), policy, anchorsOf(own))).toBe("pass");
    const vlek = await own.chip({ vlek: "a cloud" });
    const cloud = snpPolicy({ signers: ["VLEK"] });
    expect(verdictOf(await snpBundle(own, vlek), cloud, anchorsOf(own))).toBe("pass");
    expect(verdictOf(await snpBundle(own, vlek), policy, anchorsOf(own))).toBe("attest.guest-policy");
  });

  test("is refused by a release, whatever it says", async () => {
    const result = verifyEvidence(await snpBundle(amd, chip), snpPolicy(), EXPECTED, CLOCK);
    expect(codes(result)).toBe("attest.cert.root");
    expect(result.genuine).toBe(false);
    expect(result.claims).toBeUndefined();
  });

  test.each<[string, () => Promise<string>]>([
    [
      "attest.nonce attest.report-data",
      async () =>
        refused(
          await snpBundle(
            amd,
            chip,
            { reportData: boundData({ nonce: "11".repeat(32) }) },
            {},
            { nonce: "11".repeat(32) },
          ),
        ),
    ],
    [
      "attest.report-data",
      async () => refused(await snpBundle(amd, chip, { reportData: boundData({ nonce: "11".repeat(32) }) })),
    ],
    [
      "attest.session attest.report-data",
      async () =>
        refused(
          await snpBundle(amd, chip, { reportData: boundData({ hostKey: OTHER_KEY }) }, {}, { hostKey: OTHER_KEY }),
        ),
    ],
    [
      "attest.report-data",
      async () => refused(await snpBundle(amd, chip, { reportData: boundData({ hostKey: OTHER_KEY }) })),
    ],
    [
      "attest.report-data",
      async () => refused(await snpBundle(amd, chip, { reportData: boundData({ gpu: Buffer.alloc(48) }) })),
    ],
    [
      "attest.gpu-evidence",
      async () => refused(withGpu(await snpBundle(amd, chip), { evidence: b64(Buffer.from("other")) })),
    ],
    ["attest.gpu-evidence", async () => refused(withGpu(await snpBundle(amd, chip), { verdict: "fail" }))],
    ["attest.debug", async () => refused(await snpBundle(amd, chip, { policy: DEBUG_POLICY }))],
    ["attest.measurement", async () => refused(await snpBundle(amd, chip, { measurement: Buffer.alloc(48, 1) }))],
    ["attest.vmpl", async () => refused(await snpBundle(amd, chip, { vmpl: 1 }))],
    ["attest.guest-policy", async () => refused(await snpBundle(amd, chip, { policy: 0x70000n }))],
    ["attest.guest-policy", async () => refused(await snpBundle(amd, chip), { guestPolicy: { smt: "forbid" } })],
    [
      "attest.guest-policy",
      async () => refused(await snpBundle(amd, chip), { guestPolicy: { singleSocket: "require" } }),
    ],
    [
      "attest.guest-policy",
      async () => refused(await snpBundle(amd, chip), { guestPolicy: { ciphertextHiding: "require" } }),
    ],
    [
      "attest.guest-policy",
      async () => refused(await snpBundle(amd, chip), { guestPolicy: { minAbi: { major: 1, minor: 51 } } }),
    ],
    ["attest.guest-policy", async () => refused(await snpBundle(amd, chip), { hostData: "11".repeat(32) })],
    [
      "attest.tcb attest.tcb attest.tcb attest.tcb",
      async () => refused(await snpBundle(amd, chip), { minTcb: { ...SVNS, microcode: 220 } }),
    ],
    [
      "attest.tcb",
      async () => refused(await snpBundle(amd, chip, { tcb: { committed: { ...SVNS, snp: 23 } } }), { minTcb: SVNS }),
    ],
    [
      "attest.tcb attest.tcb attest.tcb attest.tcb",
      async () => refused(await snpBundle(amd, chip), { minTcb: { ...SVNS, fmc: 0 } }),
    ],
    ["attest.chip", async () => refused(await snpBundle(amd, chip), { chipIds: ["22".repeat(64)] })],
    [
      "attest.cert.binding",
      async () => refused(await snpBundle(amd, chip, { tcb: { reported: { ...SVNS, microcode: 220 } } })),
    ],
    ["attest.cert.binding", async () => refused(await snpBundle(amd, chip, { chipId: Buffer.alloc(64, 3) }))],
    ["attest.cert.binding", async () => refused(await snpBundle(amd, chip, { chipId: Buffer.alloc(64) }))],
    [
      "attest.cert.binding",
      async () => refused(await snpBundle(amd, chip, { edit: (b) => b.set([0x19, 0x11], 0x188) })),
    ],
    ["attest.cert.binding", async () => refused(await snpBundle(amd, chip, { edit: (b) => b.writeUInt32LE(4, 0x48) }))],
    ["attest.unsupported", async () => refused(await snpBundle(amd, chip, { edit: (b) => b.writeUInt32LE(4, 0) }))],
    [
      "attest.unsupported",
      async () => refused(await snpBundle(amd, chip, { edit: (b) => b.writeUInt32LE(7 << 2, 0x48) })),
    ],
    ["attest.unsupported", async () => refused(await snpBundle(amd, chip, { edit: (b) => b.set([0x17], 0x188) }))],
    ["attest.malformed", async () => refused(await snpBundle(amd, chip, { policy: 0x10000n }))],
    ["attest.malformed", async () => refused(await snpBundle(amd, chip, { policy: 0x30000n | (1n << 26n) }))],
    [
      "attest.snp.signature",
      async () =>
        refused(await snpBundle(amd, await amd.chip(), {}, { report: b64(chip.report({ reportData: boundData() })) })),
    ],
    [
      "attest.truncated",
      async () => refused(await snpBundle(amd, chip, {}, { report: b64(chip.report().subarray(0, 1183)) })),
    ],
    ["attest.oversized", async () => refused(await snpBundle(amd, chip, {}, { report: b64(Buffer.alloc(1185)) }))],
    ["attest.collateral.missing", async () => refused(await snpBundle(amd, chip, {}, { issuers: [] }))],
    ["attest.collateral.missing", async () => refused(await snpBundle(amd, chip, {}, { crl: undefined }))],
    [
      "attest.cert.revoked",
      async () => refused(await snpBundle(amd, chip, {}, { crl: b64(await amd.crl([amd.ask])) })),
    ],
    [
      "attest.collateral.expired",
      async () =>
        refused(await snpBundle(amd, chip, {}, { crl: b64(await amd.crl([], { from: days(-9), to: days(-1) })) })),
    ],
    [
      "attest.clock",
      async () =>
        refused(await snpBundle(amd, chip, {}, { crl: b64(await amd.crl([], { from: days(1), to: days(9) })) })),
    ],
    [
      "attest.collateral.signature",
      async () => refused(await snpBundle(amd, chip, {}, { crl: b64(await (await testAmd()).crl()) })),
    ],
    ["attest.malformed", async () => refused(await snpBundle(amd, chip, {}, { crl: b64(Buffer.from("not a list")) }))],
    [
      "attest.malformed",
      async () =>
        refused(await snpBundle(amd, chip, {}, { key: b64(Buffer.concat([chip.key.der, Buffer.from("x")])) })),
    ],
    ["attest.oversized", async () => refused(await snpBundle(amd, chip, {}, { key: b64(Buffer.alloc(9000, 1)) }))],
    [
      "attest.cert.expired",
      async () => {
        const old = await amd.chip({ validity: { from: days(-9), to: days(-1) } });
        return refused(await snpBundle(amd, old));
      },
    ],
    [
      "attest.clock",
      async () => {
        const early = await amd.chip({ validity: { from: days(1), to: days(9) } });
        return refused(await snpBundle(amd, early));
      },
    ],
    [
      "attest.cert.expired",
      async () => {
        const old = await testAmd("Milan", { from: days(-9), to: days(-1) });
        return verdictOf(await snpBundle(old, await old.chip()), snpPolicy(), anchorsOf(old));
      },
    ],
    [
      "attest.unsupported",
      async () => verdictOf(await snpBundle(amd, chip), (await import("./given.ts")).tdxPolicy(), anchorsOf(amd)),
    ],
  ])("is refused: %s", async (wanted, verdict) => {
    expect(await verdict()).toBe(wanted);
  });

  test("is good within the clocks' skew, and not a second later", async () => {
    const at = async (seconds: number) => {
      const validity = { from: new Date(CLOCK.now.getTime() + seconds * 1000), to: days(9) };
      return refused(await snpBundle(amd, await amd.chip({ validity })));
    };
    expect(await at(300)).toBe("pass");
    expect(await at(301)).toBe("attest.clock");
  });

  test("is refused when a chip of the same root signs as if it were an issuer", async () => {
    const child = await issue({ subject: "CN=SEV-VCEK", kind: "p384", issuer: chip.key });
    const chain = [b64(chip.key.der), b64(amd.ask.der)];
    // The child has no extensions of a VCEK; a copy of the VCEK under it would be no CA's.
    expect(await refused(await snpBundle(amd, chip, {}, { key: b64(child.der), issuers: chain }))).toBe(
      "attest.malformed",
    );
    expect(await refused(await snpBundle(amd, chip, {}, { issuers: [b64(chip.key.der), b64(amd.ask.der)] }))).toBe(
      "attest.cert.chain",
    );
  });

  test("names the key the session has, not only the bytes: a comment or an option is no other key", async () => {
    const bundle = await snpBundle(amd, chip);
    const spelled = { nonce: NONCE, hostKey: `guest-01 ${HOST_KEY.split(" ").slice(0, 2).join(" ")} somebody` };
    expect(verdictOf(bundle, snpPolicy(), anchorsOf(amd), spelled)).toBe("pass");
    expect(verdictOf(bundle, snpPolicy(), anchorsOf(amd), { nonce: NONCE, hostKey: OTHER_KEY })).toBe(
      "attest.session attest.report-data",
    );
    expect(verdictOf(bundle, snpPolicy(), anchorsOf(amd), { nonce: NONCE, hostKey: "no key" })).toBe(
      "attest.session attest.report-data",
    );
  });

  test("no bytes make the parser throw anything but a refusal", () => {
    const whole = chip.report();
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 1300 }), fc.nat(1183), (bytes, at) => {
        const mixed = Buffer.from(whole);
        mixed.set(bytes.subarray(0, 1184 - at), at);
        for (const candidate of [bytes, mixed])
          try {
            parseSnpReport(candidate);
          } catch (error) {
            expect(error).toBeInstanceOf(Refused);
          }
      }),
    );
  });

  const refused = async (bundle: Awaited<ReturnType<typeof snpBundle>>, policy: Record<string, unknown> = {}) =>
    verdictOf(bundle, snpPolicy(policy), anchorsOf(amd));
});

function withGpu<T extends { gpu?: object | undefined }>(bundle: T, over: object): T {
  return { ...bundle, gpu: { ...bundle.gpu, ...over } };
}
