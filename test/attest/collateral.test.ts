import { beforeAll, describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { bundleOf, certificateTable, type Document, type Fetch, vcekPath } from "../../providers/attest/collateral.ts";
import { Refused } from "../../providers/attest/refusals.ts";
import { parseSnpReport } from "../../providers/attest/snp-report.ts";
import { pckOf } from "../../providers/attest/tdx.ts";
import type { Collected } from "../../providers/kit/appraisal.ts";
import { certificateTable as tableOf } from "../../sim/attest/signer.ts";
import { type TestAmd, type TestChip, testAmd } from "../../sim/attest/snp.ts";
import { FMSPC, type TestIntel, testIntel } from "../../sim/attest/tdx.ts";
import { captureBytes, withCaptures } from "../kit/captures.ts";
import { HOST_KEY, NONCE, NOW, realSnp } from "./given.ts";

let amd: TestAmd;
let chip: TestChip;
let intel: TestIntel;
beforeAll(async () => {
  [amd, intel] = await Promise.all([testAmd("Turin"), testIntel()]);
  chip = await amd.chip();
});

const VCEK = "63da758de6644564adc5f4b93be8accd";
const collected = (over: Partial<Collected>): Collected => ({
  nonce: NONCE,
  hostKey: HOST_KEY,
  ownKey: HOST_KEY,
  provider: "sev_guest",
  outblob: "",
  session: "",
  auxblob: "",
  ...over,
});
const b64 = (bytes: Uint8Array) => Buffer.from(bytes).toString("base64");
const nothing: Fetch = (_vendor, path) => Promise.reject(new Refused("attest.collateral.missing", path));
const options = { node: "gpu-01/cvm0", now: NOW, revocation: true };

describe("the certificates that a host sends along", () => {
  test("are read by their GUIDs", () => {
    expect(certificateTable(tableOf(amd, chip)).get(VCEK)).toEqual(chip.key.der);
    expect([...certificateTable(Buffer.alloc(0))]).toEqual([]);
    expect([...certificateTable(Buffer.alloc(4096))]).toEqual([]);
  });

  test("are never anything outside of the bytes that came, whatever the table says", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
        const aux = Buffer.from(bytes);
        for (const part of certificateTable(aux).values()) expect(aux.includes(part)).toBe(true);
      }),
    );
  });

  test("save a question to AMD; a cut table asks for them", async () => {
    const asked: string[] = [];
    const fetch: Fetch = async (_vendor, path): Promise<Document> => {
      asked.push(path);
      return { body: path.endsWith("crl") ? await amd.crl() : chip.key.der, headers: {} };
    };
    const outblob = b64(chip.report());
    const whole = await bundleOf(collected({ outblob, auxblob: b64(tableOf(amd, chip)) }), fetch, options);
    expect(asked).toEqual(["/vcek/v1/Turin/crl"]);
    expect(whole.tee).toMatchObject({ kind: "snp", key: b64(chip.key.der), issuers: [b64(amd.ask.der)] });
    asked.length = 0;
    await bundleOf(collected({ outblob, auxblob: b64(tableOf(amd, chip).subarray(0, 200)) }), fetch, options);
    expect(asked).toContain(vcekPath(parseSnpReport(chip.report()), "Turin"));
  });
});

describe("what AMD's service is asked for", () => {
  test("is the certificate of this very chip and TCB; Turin's id is short and has an FMC", () => {
    const id = chip.id.toString("hex");
    expect(vcekPath(parseSnpReport(chip.report()), "Turin")).toBe(
      `/vcek/v1/Turin/${id}?fmcSPL=01&blSPL=04&teeSPL=00&snpSPL=24&ucodeSPL=219`,
    );
    expect(id).toHaveLength(16);
  });

  withCaptures(test)("for the report of a real Milan chip", () => {
    const report = parseSnpReport(realSnp().report);
    expect(vcekPath(report, "Milan")).toMatch(
      /^\/vcek\/v1\/Milan\/[0-9a-f]{128}\?blSPL=\d\d&teeSPL=\d\d&snpSPL=\d\d&ucodeSPL=\d{2,3}$/,
    );
  });
});

describe("what Intel's service is asked for", () => {
  test("is the platform's, by the quote's own certificate", () => {
    expect(pckOf(intel.quote())).toEqual({ fmspc: FMSPC, ca: "platform" });
  });

  withCaptures(test)("of a real quote", () => {
    const quote = captureBytes("attestation/tdx_prod_quote_SPR_E4.dat");
    expect(pckOf(quote)).toEqual({ fmspc: expect.stringMatching(/^[0-9a-f]{12}$/), ca: "platform" });
  });
});

describe("evidence that cannot be completed", () => {
  const codeOf = (over: Partial<Collected>, fetch = nothing) =>
    bundleOf(collected(over), fetch, options).then(
      () => "read",
      (error: unknown) => (error instanceof Refused ? error.code : String(error)),
    );

  test("is refused by its own code, and by no other error", async () => {
    const outblob = b64(chip.report());
    expect(await codeOf({ outblob, provider: "something_else" })).toBe("attest.unsupported");
    expect(await codeOf({ outblob, provider: "" })).toBe("attest.unsupported");
    expect(await codeOf({ outblob: "" })).toBe("attest.truncated");
    expect(await codeOf({ outblob })).toBe("attest.collateral.missing");
    expect(await codeOf({ outblob, provider: "tdx_guest" })).not.toBe("read");
    const masked = chip.report({ chipId: Buffer.alloc(64) });
    expect(await codeOf({ outblob: b64(masked) })).toBe("attest.cert.binding");
    const vlek = await amd.chip({ vlek: "a cloud" });
    expect(await codeOf({ outblob: b64(vlek.report()) })).toBe("attest.collateral.missing");
  });

  test("whatever bytes come, it is read or refused", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom("sev_guest", "tdx_guest"),
        fc.uint8Array({ maxLength: 2000 }),
        fc.uint8Array({ maxLength: 200 }),
        async (provider, out, aux) => {
          expect(await codeOf({ provider, outblob: b64(out), auxblob: b64(aux) })).toMatch(/^attest\./);
        },
      ),
      { numRuns: 200 },
    );
  });
});
