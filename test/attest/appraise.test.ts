import { generateKeyPairSync, type KeyObject } from "node:crypto";
import { beforeAll, expect, test } from "@jest/globals";
import { appraiser } from "../../providers/appraise.ts";
import { verifierOf } from "../../providers/attest/verify.ts";
import { type Appraisal, type Collected, LaunchSchema, WantedPolicySchema } from "../../providers/kit/appraisal.ts";
import type { Machine } from "../../providers/kit/machine.ts";
import { reportData } from "../../providers/kit/report-data.ts";
import { certificateTable } from "../../sim/attest/signer.ts";
import { type TestAmd, type TestChip, testAmd } from "../../sim/attest/snp.ts";
import { testIntel } from "../../sim/attest/tdx.ts";
import { anchorsOf, HOST_KEY, NONCE, NOW } from "./given.ts";

/** What is the controller's own fault must not be held against a guest: `fail` takes its secrets away. */
const MEASURED = Buffer.alloc(48, 0x5a);
let amd: TestAmd;
let chip: TestChip;
let collected: Collected;
let verify: ReturnType<typeof verifierOf>;
beforeAll(async () => {
  const [made, intel] = await Promise.all([testAmd("Genoa"), testIntel()]);
  amd = made;
  chip = await amd.chip();
  verify = verifierOf(anchorsOf(amd, intel));
  const bound = reportData({
    nonce: Buffer.from(NONCE, "hex"),
    hostKey: HOST_KEY,
    gpuEvidenceDigest: Buffer.alloc(0),
  });
  collected = {
    nonce: NONCE,
    session: "the one session",
    hostKey: HOST_KEY,
    ownKey: HOST_KEY,
    provider: "sev_guest",
    outblob: chip.report({ reportData: bound, measurement: MEASURED }).toString("base64"),
    auxblob: certificateTable(amd, chip).toString("base64"),
  };
});

interface Given {
  readonly key?: KeyObject;
  readonly now?: Date;
  /** Default: a current one that names nothing. */
  readonly crl?: Buffer;
  readonly firmware?: Buffer;
}

async function appraised(given: Given): Promise<Appraisal> {
  const { key = generateKeyPairSync("ed25519").privateKey, firmware, now = NOW } = given;
  const crl = given.crl ?? (await amd.crl([]));
  const appraise = appraiser({
    collateral: async () => ({ body: crl, headers: {} }),
    read: async () => firmware ?? Buffer.alloc(0),
    key: async () => key,
    build: "test",
    now: () => now,
    verify,
  });
  const policy = WantedPolicySchema.parse({ kind: "snp", measurements: [MEASURED.toString("hex")] });
  const launch = LaunchSchema.parse({ firmware: "OVMF.fd", vcpus: 2, cpuModel: "EPYC-v4" });
  const machine = { id: "gpu-01/cvm0", evidence: async () => collected } as unknown as Machine;
  return appraise(machine, "gpu-01", { policy, gpu: [], ...(firmware === undefined ? {} : { launch }) });
}

test("a pass names the one session that anything may be released over; nothing else does", async () => {
  expect(await appraised({})).toMatchObject({ verdict: "pass", hostKey: HOST_KEY, session: "the one session" });
  const refused = collected;
  collected = { ...refused, ownKey: "" };
  const other = await appraised({});
  collected = refused;
  expect(other).toMatchObject({ verdict: "fail", refusals: [{ code: "attest.session" }] });
  expect(other).not.toHaveProperty("session");
});

test.each([
  ["empty", Buffer.alloc(0)],
  ["cut short", Buffer.alloc(5000, 1)],
  ["something else", Buffer.alloc(4096)],
])("a firmware file of the controller that is %s makes the result unknown", async (_what, firmware) => {
  expect(await appraised({ firmware })).toMatchObject({ verdict: "unknown", refusals: [{ code: "attest.firmware" }] });
});

const PAST = { from: new Date("2021-01-01T00:00:00Z"), to: new Date("2022-01-01T00:00:00Z") };
test.each<[string, () => Promise<Given>, string, string]>([
  ["its clock is years behind", async () => ({ now: new Date("2019-06-01T00:00:00Z") }), "unknown", "attest.clock"],
  [
    "nobody gives it a list of this year",
    async () => ({ crl: await amd.crl([], PAST) }),
    "unknown",
    "attest.collateral.expired",
  ],
  ["a list revokes", async () => ({ crl: await amd.crl([amd.ask]) }), "fail", "attest.cert.revoked"],
  // Not merely withheld: somebody made it.
  ["a list is forged", async () => ({ crl: flipped(await amd.crl([])) }), "fail", "attest.collateral.signature"],
])("where %s", async (_what, given, verdict, code) => {
  expect(await appraised(await given())).toMatchObject({ verdict, refusals: [{ code }] });
});

function flipped(bytes: Buffer): Buffer {
  const other = Buffer.from(bytes);
  const last = other.length - 1;
  other.writeUInt8(other.readUInt8(last) ^ 1, last);
  return other;
}

test("a key that cannot sign results is said by its name, and no end of the run", async () => {
  const { privateKey: key } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const { verdict, refusals } = await appraised({ key });
  expect(verdict).toBe("unknown");
  expect(refusals).toMatchObject([{ code: "attest.key", saw: expect.stringContaining("not with rsa") }]);
});
