import { generateKeyPairSync } from "node:crypto";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { readEar } from "../../providers/attest/ear.ts";
import { HOST_KEY, NONCE, OTHER_KEY, realSnp } from "../attest/given.ts";
import { withCaptures } from "../kit/captures.ts";
import { run } from "./run.ts";

/** A real quote with its collateral, in a bundle; its report_data is its guest's own, so nobody's binding fits. */
const TDX = JSON.parse(
  await readFile(join(import.meta.dirname, "../captures/attestation/tdx-quote-2025.json"), "utf8"),
);
const MRTD = Buffer.from(TDX.quote, "base64")
  .subarray(48 + 136, 48 + 184)
  .toString("hex");

describe("teeup attest verify", () => {
  let dir: string;
  const path = (name: string): string => join(dir, name);
  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), "teeup-attest-"));
    const around = { format: "teeup evidence 1", collectedAt: "2025-06-20T00:00:00Z", nonce: NONCE, hostKey: HOST_KEY };
    const { origin: _, ...tdx } = TDX;
    await writeFile(path("tdx.json"), JSON.stringify({ ...around, tee: { kind: "tdx", ...tdx } }));
    await writeFile(path("policy.json"), JSON.stringify({ kind: "tdx", measurements: [MRTD] }));
    await writeFile(
      path("key.pem"),
      generateKeyPairSync("ed25519").privateKey.export({ type: "pkcs8", format: "pem" }),
    );
  });
  afterAll(() => rm(dir, { recursive: true }));
  const verify = (...argv: string[]) => run(["cli/main.ts", "attest", "verify", ...argv], { NO_COLOR: "1" });

  test("says what a real quote is, what it is not bound to, and what was not looked at", async () => {
    const { status, stdout } = await verify(
      path("tdx.json"),
      "--policy",
      path("policy.json"),
      "--at",
      "2025-06-20T00:00:00Z",
    );
    expect(stdout).toContain("✗ refused\n  attest.report-data: report_data 9a9d48e7f6799642… is not of this nonce");
    expect(stdout).toContain(`TDX, TCB UpToDate; launch measurement ${MRTD}`);
    expect(stdout).not.toContain("no least TCB was demanded");
    expect(stdout).toContain("the nonce is the bundle's own: this says nothing about when");
    expect(stdout).toContain("the host key is the bundle's own");
    expect(status).toBe(3);
  });

  test("says when whoever made the bundle also chose what passes", async () => {
    const bundle = JSON.parse(await readFile(path("tdx.json"), "utf8"));
    const policy = JSON.parse(await readFile(path("policy.json"), "utf8"));
    await writeFile(path("own.json"), JSON.stringify({ ...bundle, policy }));
    const own = await verify(path("own.json"), "--at", "2025-06-20T00:00:00Z");
    expect(own.stdout).toContain(
      "the policy is the bundle's own: whoever made the bundle chose what passes (--policy)",
    );
    const given = await verify(path("own.json"), "--at", "2025-06-20T00:00:00Z", "--policy", path("policy.json"));
    expect(given.stdout).not.toContain("the policy is the bundle's own");
  });

  test("compares with the nonce and the session that the caller knows", async () => {
    const given = ["--nonce", "22".repeat(32), "--host-key", OTHER_KEY];
    const { stdout } = await verify(
      path("tdx.json"),
      "--policy",
      path("policy.json"),
      "--at",
      "2025-06-20T00:00:00Z",
      "--json",
      ...given,
    );
    const result = JSON.parse(stdout);
    expect(result.refusals.map(({ code }: { code: string }) => code)).toEqual([
      "attest.nonce",
      "attest.session",
      "attest.report-data",
    ]);
    expect(result).toMatchObject({
      genuine: true,
      nonceFrom: "given",
      hostKeyFrom: "given",
      policyFrom: "given",
      gpu: "none",
    });
  });

  test("writes the result as a signed document", async () => {
    const signed = ["--ear", path("ear.jwt"), "--key", path("key.pem")];
    const { status } = await verify(
      path("tdx.json"),
      "--policy",
      path("policy.json"),
      "--at",
      "2025-06-20T00:00:00Z",
      ...signed,
    );
    expect(status).toBe(3);
    const { createPublicKey } = await import("node:crypto");
    const ear = await readEar(
      (await readFile(path("ear.jwt"), "utf8")).trim(),
      createPublicKey(await readFile(path("key.pem"))),
    );
    expect(ear.ear_status).toBe("contraindicated");
  });

  withCaptures(test)("refuses a real SNP report for the debugging that its launch allowed", async () => {
    const { report, key, issuers } = realSnp();
    const der = (pem: string): string => pem.replace(/-----.*|\s/g, "");
    const tee = {
      kind: "snp",
      report: report.toString("base64"),
      key: key.toString("base64"),
      issuers: issuers.map(der),
    };
    const policy = {
      kind: "snp",
      measurements: [report.subarray(0x90, 0xc0).toString("hex")],
      revocation: "when-given",
    };
    const bundle = {
      format: "teeup evidence 1",
      collectedAt: "2026-06-01T00:00:00Z",
      nonce: NONCE,
      hostKey: HOST_KEY,
      tee,
      policy,
    };
    await writeFile(path("snp.json"), JSON.stringify(bundle));
    const { stdout, status } = await verify(path("snp.json"));
    expect(stdout).toContain("attest.debug: the guest policy 0x00000000000b0000 lets the host debug the guest");
    expect(stdout).toContain("revocation was not looked at");
    expect(status).toBe(3);
  });

  test("refuses what is not whole, without needing to know what was wanted", async () => {
    await writeFile(path("cut.json"), (await readFile(path("tdx.json"), "utf8")).slice(0, 500));
    await writeFile(path("older.jwt"), "the affirming result of yesterday");
    const { stdout, status } = await verify(
      path("cut.json"),
      ...["--ear", path("older.jwt"), "--key", path("key.pem")],
    );
    expect(stdout).toContain("attest.truncated");
    expect(status).toBe(3);
    const { createPublicKey } = await import("node:crypto");
    const ear = await readEar(
      (await readFile(path("older.jwt"), "utf8")).trim(),
      createPublicKey(await readFile(path("key.pem"))),
    );
    expect(ear.ear_status).toBe("contraindicated");
  });

  test.each([
    ["attest.file", () => [path("absent.json")]],
    ["attest.no-policy", () => [path("tdx.json")]],
    ["attest.policy", () => [path("tdx.json"), "--policy", path("key.pem")]],
    ["attest.time", () => [path("tdx.json"), "--at", "yesterday"]],
    ["attest.nonce-option", () => [path("tdx.json"), "--nonce", "11"]],
    ["attest.key", () => [path("tdx.json"), "--policy", path("policy.json"), "--ear", path("x.jwt")]],
    [
      "attest.key",
      () => [path("tdx.json"), "--policy", path("policy.json"), "--ear", path("x.jwt"), "--key", path("tdx.json")],
    ],
  ])("cannot be run: %s", async (code, argv) => {
    const { status, stderr, stdout } = await verify(...argv());
    expect([status, stdout]).toEqual([1, ""]);
    expect(stderr).toContain(`[${code}]\n  next: `);
  });
});
