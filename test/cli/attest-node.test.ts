import { generateKeyPairSync } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { stringify } from "yaml";
import { readEar } from "../../providers/attest/ear.ts";
import { SECRETS_DIR } from "../../providers/kit/secrets.ts";
import { snpSigner } from "../../sim/attest/signer.ts";
import {
  bring,
  type EvidenceBench,
  evidenceBench,
  FIXED,
  NODE,
  type TestVendors,
  testVendors,
} from "../e2e/evidence.ts";
import { ROOT, run } from "./run.ts";

let vendors: TestVendors;
let b: EvidenceBench;
let preload: Readonly<Record<string, string>>;
beforeAll(async () => {
  vendors = await testVendors();
  b = await evidenceBench(vendors);
  expect((await bring(b, { whole: true })).findings).toEqual([]);
  const roots = join(b.folder, "roots.json");
  writeFileSync(roots, JSON.stringify({ snp: { Genoa: vendors.amd.anchor } }));
  preload = {
    TEEUP_TWIN_ANCHORS: roots,
    NODE_OPTIONS: `--import ${pathToFileURL(join(ROOT, "sim/attest/preload.ts")).href}`,
  };
}, 120_000);
afterAll(() => b.close());

const path = (name: string) => join(b.folder, name);
const attest = (argv: readonly string[], env: Readonly<Record<string, string>> = preload, { wants = true } = {}) => {
  const { secrets: _, ...config } = { ...b.config, ...(wants ? {} : { attestation: undefined }) };
  const own = Object.fromEntries(Object.entries(config).map(([key, value]) => [`teeup:${key}`, value]));
  writeFileSync(path("Pulumi.x.yaml"), stringify({ config: JSON.parse(JSON.stringify(own)) }));
  return run(["cli/main.ts", "attest", NODE, "--file", path("Pulumi.x.yaml"), ...argv], {
    HOME: b.folder,
    TEEUP_BMC_PASSWORD: b.env["TEEUP_BMC_PASSWORD"] ?? "",
    NO_COLOR: "1",
    ...env,
  });
};

test("asks anew, says what it found, and writes evidence and signed result for others", async () => {
  const keys = generateKeyPairSync("ed25519");
  writeFileSync(path("key.pem"), keys.privateKey.export({ type: "pkcs8", format: "pem" }));
  b.twin.journal.clear();
  const { status, stdout, stderr } = await attest(["--out", path("e.json"), "--ear", path("e.jwt")], {
    ...preload,
    TEEUP_ATTEST_KEY: path("key.pem"),
  });
  expect([status, stderr]).toEqual([0, "TEST ROOTS of a twin are trusted beside the vendors' own.\n"]);
  expect(stdout).toMatch(
    /^✓ the evidence is genuine and as the policy wants\n {2}Genoa, VCEK; launch measurement 5a5a/,
  );
  expect(stdout).toContain("the GPUs' verdict is the guest's own: it rests on the measurement");
  expect(stdout).toContain("no least TCB was demanded: firmware and microcode of any age pass (minTcb)");
  expect(stdout).not.toContain("the bundle's own");
  const ear = await readEar(readFileSync(path("e.jwt"), "utf8").trim(), keys.publicKey);
  expect(ear.submods["tee"]?.ear_status).toBe("affirming");
  // Whoever gets the file comes to the same, offline.
  const offline = await run(["cli/main.ts", "attest", "verify", path("e.json"), "--json"], preload);
  expect(JSON.parse(offline.stdout)).toMatchObject({ verdict: "pass" });
  expect(b.twin.node.guest?.machine.tsm.left).toBe(0);
});

test("a refusal has its code and its status, and nothing is withdrawn by hand", async () => {
  const sound = b.twin.node.tee;
  b.twin.node.tee = snpSigner(vendors.amd, vendors.chip, { measure: () => FIXED, fields: () => ({ vmpl: 2 }) });
  const { status, stdout } = await attest(["--json"]);
  b.twin.node.tee = sound;
  expect(status).toBe(3);
  expect(JSON.parse(stdout)).toMatchObject({
    node: NODE,
    appraisal: { verdict: "fail", refusals: [{ code: "attest.vmpl" }] },
  });
  expect(b.twin.node.guest?.machine.files.list(SECRETS_DIR)).toEqual(["disk-key"]);
});

test("without the twin's roots the very same evidence is refused", async () => {
  const { status, stdout } = await attest([], {});
  expect(stdout).toContain("attest.cert.root: ");
  expect(status).toBe(3);
});

test("no evidence to be had is no verdict; a stack that wants none says so", async () => {
  const sound = b.twin.node.tee;
  b.twin.node.tee = undefined;
  for (const name of ["old.json", "old.jwt"]) writeFileSync(path(name), "of yesterday's pass");
  const none = await attest(["--out", path("old.json"), "--ear", path("old.jwt")]);
  // Not had this time: what lies there from another look must not stand for this one.
  expect(["old.json", "old.jwt"].filter((name) => existsSync(path(name)))).toEqual([]);
  b.twin.node.tee = sound;
  expect([none.status, none.stdout]).toEqual([
    1,
    expect.stringContaining("? no verdict could be had\n  evidence.tsm: "),
  ]);
  const unasked = await attest([], preload, { wants: false });
  expect([unasked.status, unasked.stderr]).toEqual([1, expect.stringContaining("[attest.not-wanted]")]);
});

test("check asks for it too", async () => {
  await attest([]);
  const asked = await run(["cli/main.ts", "check", NODE, "--file", path("Pulumi.x.yaml"), "--json"], {
    HOME: b.folder,
    TEEUP_BMC_PASSWORD: b.env["TEEUP_BMC_PASSWORD"] ?? "",
    ...preload,
  });
  expect(asked.stdout).toContain('"guest-attestation.verified"');
});
