import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "@jest/globals";
import { RELEASED_FILE, SECRETS_DIR } from "../../providers/kit/secrets.ts";
import { snpSigner, tdxSigner } from "../../sim/attest/signer.ts";
import { DEBUG_POLICY, type Fields, SVNS } from "../../sim/attest/snp.ts";
import type { TdFields } from "../../sim/attest/tdx.ts";
import { freshKeyPair } from "../../sim/model/keys.ts";
import type { TeeSigner } from "../../sim/model/tsm.ts";
import {
  bring,
  type EvidenceBench,
  evidenceBench,
  FIXED,
  SNP,
  TDX,
  type TestVendors,
  testVendors,
} from "./evidence.ts";

/** One node of each kind, brought up once; every case then changes one thing and attests again, as `up` does. */
const PAST = { from: new Date("2021-01-01T00:00:00Z"), to: new Date("2022-01-01T00:00:00Z") };
const OWN_KEY = "/etc/ssh/ssh_host_ed25519_key.pub";

let vendors: TestVendors;
beforeAll(async () => {
  vendors = await testVendors();
});

interface Case {
  readonly signer?: (vendors: TestVendors) => TeeSigner | Promise<TeeSigner>;
  readonly attestation?: Record<string, unknown>;
  readonly before?: (b: EvidenceBench, vendors: TestVendors) => void | Promise<void>;
  readonly now?: Date;
  readonly release?: boolean;
  /** Codes of the findings, without the facet's name. */
  readonly codes: string;
}

const snp =
  (fields: Fields, certificates = false) =>
  ({ amd, chip }: TestVendors) =>
    snpSigner(amd, chip, { measure: () => FIXED, fields: () => fields, certificates });
const cut =
  (edit: (report: Buffer) => Buffer) =>
  ({ amd, chip }: TestVendors) =>
    snpSigner(amd, chip, { measure: () => FIXED, edit });
const td =
  (fields: TdFields) =>
  ({ intel }: TestVendors) =>
    tdxSigner(intel, { measure: () => FIXED, fields: () => fields });

const SNP_CASES: Readonly<Record<string, Case>> = {
  "another guest's report": { signer: snp({ reportData: Buffer.alloc(64, 7) }), codes: "report-data" },
  "a relayed session: the guest's own host key is another one": {
    before: ({ twin }) => twin.node.guest?.machine.files.write(OWN_KEY, freshKeyPair("root@guest").public),
    codes: "session",
  },
  "a debug policy": { signer: snp({ policy: DEBUG_POLICY }), codes: "debug" },
  "a low TCB": { attestation: { snp: { minTcb: { ...SVNS, snp: SVNS.snp + 1 } } }, codes: "tcb tcb tcb tcb" },
  "a wrong VMPL": { signer: snp({ vmpl: 1 }), codes: "vmpl" },
  "another measurement": { signer: snp({ measurement: Buffer.alloc(48, 1) }), codes: "measurement" },
  "another chip than the pinned one": { attestation: { snp: { chipIds: ["00".repeat(64)] } }, codes: "chip" },
  "an expired certificate": {
    signer: async ({ amd }) =>
      snpSigner(amd, await amd.chip({ validity: PAST }), { measure: () => FIXED, certificates: true }),
    codes: "cert-expired",
  },
  "a revoked certificate": {
    before: async ({ server }, { amd }) => void server.instead.set("/vcek/v1/Genoa/crl", await amd.crl([amd.ask])),
    codes: "cert-revoked",
  },
  "a revocation list that is too old": {
    before: async ({ server }, { amd }) => void server.instead.set("/vcek/v1/Genoa/crl", await amd.crl([], PAST)),
    codes: "collateral-expired",
  },
  "no certificates to be had": {
    before: ({ server }) => void server.instead.set("/vcek/v1/Genoa", null),
    codes: "collateral-missing",
  },
  "a clock of the controller that is years behind": { now: new Date("2019-06-01T00:00:00Z"), codes: "clock" },
  "a truncated report": { signer: cut((report) => report.subarray(0, 1000)), codes: "truncated" },
  "an oversized report": { signer: cut((report) => Buffer.concat([report, Buffer.alloc(16)])), codes: "oversized" },
  "a report of megabytes": { signer: cut(() => Buffer.alloc(200_000)), codes: "oversized" },
  "a flipped bit": {
    signer: cut((report) => {
      const other = Buffer.from(report);
      other.writeUInt8(other.readUInt8(0x90) ^ 1, 0x90);
      return other;
    }),
    codes: "snp-signature",
  },
  "the test roots of this very twin, as a release sees them": { release: true, codes: "cert-root" },
  "GPUs that their verifier refuses": {
    before: ({ twin }) => {
      twin.faults.attestation = "measurements";
    },
    codes: "gpu-evidence",
  },
  "GPUs that do not answer": {
    before: ({ twin }) => {
      twin.faults.attestation = "time-out";
    },
    codes: "evidence-gpu",
  },
  "a processor that signs nothing": {
    before: ({ twin }) => {
      twin.node.tee = undefined;
    },
    codes: "evidence-tsm",
  },
};

const TDX_CASES: Readonly<Record<string, Case>> = {
  "another guest's quote": { signer: td({ reportData: Buffer.alloc(64, 7) }), codes: "report-data" },
  "a debug TD": { signer: td({ attributes: (1n << 28n) | 1n }), codes: "debug" },
  "a TCB that is out of date": {
    before: async ({ server }, { intel }) => {
      const { tcbInfo } = await intel.collateral({ tcbStatus: "OutOfDate" });
      server.instead.set("/tdx/certification/v4/tcb", Buffer.from(tcbInfo));
    },
    codes: "tcb",
  },
  "a revoked platform": {
    before: async ({ server }, { intel }) => {
      const { pckCrl } = await intel.collateral({ revoked: [intel.pck] });
      server.instead.set("/sgx/certification/v4/pckcrl", pckCrl);
    },
    codes: "cert-revoked",
  },
  "no TCB info to be had": {
    before: ({ server }) => void server.instead.set("/tdx/certification/v4/tcb", null),
    codes: "collateral-missing",
  },
  "a truncated quote": {
    signer: ({ intel }) => tdxSigner(intel, { measure: () => FIXED, edit: (quote) => quote.subarray(0, 900) }),
    codes: "truncated",
  },
  "another MRTD": { signer: td({ mrTd: Buffer.alloc(48, 1) }), codes: "measurement" },
  "the test roots of this very twin, as a release sees them": { release: true, codes: "cert-root" },
};

describe.each([
  ["SNP", SNP, SNP_CASES],
  ["TDX", TDX, TDX_CASES],
] as const)("%s", (_name, on, cases) => {
  let b: EvidenceBench;
  let sound: TeeSigner | undefined;
  let ownKey: string;
  const files = () => b.twin.node.guest?.machine.files;
  const released = () => files()?.listIf(SECRETS_DIR);

  beforeAll(async () => {
    b = await evidenceBench(vendors, { on });
    expect((await bring(b, { whole: true })).findings).toEqual([]);
    sound = b.twin.node.tee;
    ownKey = files()?.read(OWN_KEY) ?? "";
  });
  afterAll(() => b.close());
  beforeEach(() => {
    b.twin.node.tee = sound;
    b.server.instead.clear();
    delete b.twin.faults.attestation;
    files()?.write(OWN_KEY, ownKey);
    rmSync(join(b.folder, "cache"), { recursive: true, force: true });
    files()?.remove(SECRETS_DIR);
    files()?.remove(RELEASED_FILE);
    b.twin.journal.clear();
  });

  test.each(Object.entries(cases))("%s is refused with its own code, and nothing is released", async (_name, given) => {
    if (given.signer !== undefined) b.twin.node.tee = await given.signer(vendors);
    await given.before?.(b, vendors);
    const config = { ...b.config, attestation: { ...b.config.attestation, ...given.attestation } } as typeof b.config;
    const { now, release = false } = given;
    const { findings, ran } = await bring(
      { ...b, config },
      { release, ...(now === undefined ? {} : { now: () => now }) },
    );
    const codes = findings
      .map(({ code }) => code.replace("guest-attestation.", ""))
      .filter((code) => code !== "secrets");
    expect(codes.join(" ")).toBe(given.codes);
    expect(ran).toEqual([]);
    expect(released()).toEqual([]);
    expect(b.twin.journal.unmodelled).toEqual([]);
    expect(b.twin.node.guest?.machine.tsm.left).toBe(0);
  });

  test("without any of that it passes, and has its secret", async () => {
    const { findings, ran, last } = await bring(b);
    expect(findings).toEqual([]);
    expect(ran).toEqual(["guest-attestation.attest"]);
    expect(released()).toEqual(["disk-key"]);
    expect(last.observed).toMatchObject({ verdict: "pass", measurement: FIXED.toString("hex") });
    expect(readFileSync(join(b.folder, ".config/teeup/attest-key.pem"), "utf8")).toContain("PRIVATE KEY");
  });
});
