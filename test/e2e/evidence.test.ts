import { afterEach, beforeAll, expect, test } from "@jest/globals";
import { SECRETS_DIR } from "../../providers/kit/secrets.ts";
import { bring, type EvidenceBench, evidenceBench, SECRET, type TestVendors, testVendors } from "./evidence.ts";

let vendors: TestVendors;
let b: EvidenceBench | undefined;
beforeAll(async () => {
  vendors = await testVendors();
});
afterEach(async () => {
  await b?.close();
  b = undefined;
});

test("SNP: up attests the guest over a fresh nonce, and only then it gets its secret", async () => {
  b = await evidenceBench(vendors);
  const { findings, ran, last } = await bring(b, { whole: true });
  expect(findings).toEqual([]);
  expect(ran).toContain("guest-attestation.attest");
  expect(last.observed).toMatchObject({ verdict: "pass", gpu: "measured-guest" });
  const { guest } = b.twin.node;
  expect(guest?.machine.files.read(`${SECRETS_DIR}/disk-key`)).toBe(SECRET);
  expect(guest?.machine.tsm.left).toBe(0);
  expect(b.twin.journal.unmodelled).toEqual([]);
});
