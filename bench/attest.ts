import { createHash } from "node:crypto";
import { RELEASE_ANCHORS } from "../providers/attest/anchors.ts";
import type { Bundle } from "../providers/attest/bundle.ts";
import { PolicySchema } from "../providers/attest/policy.ts";
import { verifierOf } from "../providers/attest/verify.ts";
import { reportData } from "../providers/kit/report-data.ts";
import { MEASUREMENT, testAmd } from "../sim/attest/snp.ts";
import { MRTD, testIntel } from "../sim/attest/tdx.ts";
import { freshKeyPair } from "../sim/model/keys.ts";

/**
 * Milliseconds that one verification may take, from the bytes to the verdict, without network: of processor time, which
 * is the wall's on a machine that does nothing else, since a verification waits for nothing.
 */
export const MOST_MS = { snp: 50, tdx: 200 };

const RUNS = 25;

/** Median milliseconds of verifying one piece of evidence of each kind; evidence of test roots. */
export async function timeOfVerification(): Promise<{ snpMs: number; tdxMs: number }> {
  const now = new Date();
  const nonce = createHash("sha256").update("bench").digest();
  const hostKey = freshKeyPair("root@bench").public;
  const data = reportData({ nonce, hostKey, gpuEvidenceDigest: Buffer.alloc(0) });
  const [amd, intel] = [await testAmd(), await testIntel()];
  const chip = await amd.chip();
  const b64 = (bytes: Buffer): string => bytes.toString("base64");
  const { pckCrl, rootCrl, ...documents } = await intel.collateral();
  const verify = verifierOf({ snp: { ...RELEASE_ANCHORS.snp, Milan: amd.anchor }, tdx: intel.anchor });
  const median = (tee: Bundle["tee"], policy: unknown): number => {
    const around = { format: "teeup evidence 1", collectedAt: now.toISOString() } as const;
    const bundle: Bundle = { ...around, nonce: nonce.toString("hex"), hostKey, tee };
    const times = Array.from({ length: RUNS }, () => {
      const start = process.cpuUsage();
      const { verdict, refusals } = verify(bundle, PolicySchema.parse(policy), bundle, { now, skewSeconds: 300 });
      if (verdict !== "pass") throw new Error(`the evidence is refused: ${JSON.stringify(refusals)}`);
      const { user, system } = process.cpuUsage(start);
      return (user + system) / 1000;
    });
    return Math.round((times.sort((a, b) => a - b)[RUNS >> 1] ?? Number.NaN) * 10) / 10;
  };
  return {
    snpMs: median(
      {
        kind: "snp",
        report: b64(chip.report({ reportData: data })),
        key: b64(chip.key.der),
        issuers: [b64(amd.ask.der), b64(amd.ark.der)],
        crl: b64(await amd.crl()),
      },
      { kind: "snp", measurements: [MEASUREMENT.toString("hex")] },
    ),
    tdxMs: median(
      {
        kind: "tdx",
        quote: b64(intel.quote({ reportData: data })),
        collateral: { ...documents, pckCrl: b64(pckCrl), rootCrl: b64(rootCrl) },
      },
      { kind: "tdx", measurements: [MRTD.toString("hex")] },
    ),
  };
}
