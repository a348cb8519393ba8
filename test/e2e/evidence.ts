import { join } from "node:path";
import { appraiser, publishedReferences } from "../../providers/appraise.ts";
import type { Anchors } from "../../providers/attest/anchors.ts";
import { verifierOf } from "../../providers/attest/verify.ts";
import type { Appraise } from "../../providers/kit/appraisal.ts";
import type { StackConfig } from "../../providers/kit/config.ts";
import { StackConfigSchema } from "../../providers/kit/config.ts";
import { openCollateral, readHere } from "../../providers/machine/collateral.ts";
import { openFleet } from "../../providers/machine/fleet.ts";
import { signingKey } from "../../providers/machine/signing-key.ts";
import { blocking, type Look, Reconciler, type Run } from "../../providers/reconcile.ts";
import { type CollateralServer, startCollateral } from "../../sim/attest/server.ts";
import { snpSigner, tdxSigner } from "../../sim/attest/signer.ts";
import { type TestAmd, type TestChip, testAmd } from "../../sim/attest/snp.ts";
import { type TestIntel, testIntel } from "../../sim/attest/tdx.ts";
import type { TeeSigner } from "../../sim/model/tsm.ts";
import { anchorsOf } from "../attest/given.ts";
import { type Bench, bench, goalsOf, NODE, type Outcome, type Platform, QUICK, SNP, TDX } from "./drive.ts";

/** Roots of test vendors, with a chip and a platform. Nothing of a release trusts them. */
export interface TestVendors {
  readonly amd: TestAmd;
  readonly chip: TestChip;
  readonly intel: TestIntel;
  readonly anchors: Anchors;
}

export async function testVendors(): Promise<TestVendors> {
  const [amd, intel] = await Promise.all([testAmd("Genoa"), testIntel()]);
  return { amd, chip: await amd.chip(), intel, anchors: anchorsOf(amd, intel) };
}

/** A twin whose processor signs, a stack that wants evidence, and the vendors' services on loopback. */
export interface EvidenceBench extends Bench {
  readonly vendors: TestVendors;
  readonly server: CollateralServer;
}

export interface EvidenceOptions {
  readonly on?: Platform;
  readonly signer?: TeeSigner;
  /** Over `teeup:attestation`; measurements default to what the twin's launch measures as. */
  readonly attestation?: Record<string, unknown>;
  readonly secrets?: StackConfig["secrets"];
}

export const SECRET = "canary of a disk key, 32 bytes..";

export async function evidenceBench(vendors: TestVendors, options: EvidenceOptions = {}): Promise<EvidenceBench> {
  const { on = SNP } = options;
  const { amd, chip, intel } = vendors;
  const b = await bench({}, on);
  const tdx = on.stack.platform !== "onprem-snp";
  b.twin.node.tee =
    options.signer ??
    (tdx ? tdxSigner(intel, { measure: () => FIXED }) : snpSigner(amd, chip, { measure: () => FIXED }));
  const server = await startCollateral({ amd: { amd, chip }, intel: { intel } });
  const config = StackConfigSchema.parse({
    ...b.config,
    attestation: {
      measurements: [FIXED.toString("hex")],
      collateral: server.url,
      secrets: [{ name: "disk-key" }],
      ...options.attestation,
    },
    secrets: options.secrets ?? { "disk-key": SECRET },
  });
  return {
    ...b,
    config,
    vendors,
    server,
    close: async () => {
      await server.close();
      await b.close();
    },
  };
}

export const FIXED = Buffer.alloc(48, 0x5a);

interface Judged {
  readonly now?: () => Date;
  /** By the roots of a release, which do not know the test vendors. */
  readonly release?: boolean;
}

/** An appraiser as the provider has one, but for roots and clock. */
export const appraiserOf = (b: EvidenceBench, { now, release = false }: Judged = {}): Appraise =>
  appraiser({
    collateral: openCollateral({
      mirror: b.config.attestation?.collateral,
      folder: join(b.folder, "cache"),
      env: b.env,
    }),
    read: readHere,
    key: () => signingKey(b.env),
    build: "test",
    ...(release ? {} : { verify: verifierOf(b.vendors.anchors) }),
    ...(now === undefined ? {} : { now }),
  });

/** A reconciler with it. */
export const reconcilerOf = (b: EvidenceBench, judged: Judged = {}): Reconciler =>
  new Reconciler(openFleet(b.config, b.env, QUICK), {
    appraise: appraiserOf(b, judged),
    references: () => publishedReferences(b.config, { ...b.env, XDG_CACHE_HOME: join(b.folder, "cache") }),
  });

const evidenceGoal = (b: EvidenceBench) => {
  const goal = goalsOf(b).find(({ facet }) => facet.name === "guest-attestation");
  if (goal === undefined) throw new Error("the stack wants no evidence");
  return goal;
};

/** What a refresh sees of the guest's evidence. */
export async function refresh(b: EvidenceBench, options: Judged = {}): Promise<Look> {
  const reconciler = reconcilerOf(b, options);
  try {
    return await reconciler.look(evidenceGoal(b), { evidence: true });
  } finally {
    await reconciler.close();
  }
}

/** What `up` does, of the whole node or of the evidence alone. */
export async function bring(
  b: EvidenceBench,
  options: Judged & { whole?: boolean; said?: (line: string) => void } = {},
): Promise<Outcome & { readonly last: Look }> {
  const reconciler = reconcilerOf(b, options);
  const run: Run = {
    permit: "reboot",
    onProgress: (line) => options.said?.(line),
    signal: new AbortController().signal,
  };
  const [ran, findings]: [string[], Outcome["findings"][number][]] = [[], []];
  let last: Look | undefined;
  try {
    for (const goal of options.whole === true ? goalsOf(b) : [evidenceGoal(b)]) {
      const done = await reconciler.reconcile(goal, run);
      ran.push(...done.ran);
      findings.push(...blocking(done));
      if (goal.facet.name === "guest-attestation") last = done;
      if (blocking(done).length > 0) break;
    }
  } finally {
    await reconciler.close();
  }
  if (last === undefined) throw new Error(`it did not get that far: ${JSON.stringify(findings)}`);
  return { ran, findings, last };
}

export { NODE, SNP, TDX };
