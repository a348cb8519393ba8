import { readdirSync, readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import ts from "typescript";
import { loadAnchor, RELEASE_ANCHORS } from "../../providers/attest/anchors.ts";
import { BundleSchema, parseBundle } from "../../providers/attest/bundle.ts";
import { PolicySchema } from "../../providers/attest/policy.ts";
import { Refused } from "../../providers/attest/refusals.ts";
import { fingerprint, pemBlocks } from "../../providers/attest/x509.ts";
import { StackConfigSchema } from "../../providers/kit/config.ts";
import type { TestAmd, TestChip } from "../../sim/attest/snp.ts";
import { testAmd } from "../../sim/attest/snp.ts";
import { ROOT, run } from "../cli/run.ts";
import { captureBytes, withCaptures } from "../kit/captures.ts";
import { HOST_KEY, NONCE, NOW, snpBundle, snpPolicy } from "./given.ts";

/** Sources that are released: not tests, not the twin, not the measuring of ourselves. */
const released = ts.sys
  .readDirectory(ROOT, [".ts"], ["node_modules", "dist", "coverage", ".cache", ".git", "test", "sim", "bench"])
  .map((path) => ({ path: path.slice(ROOT.length + 1), source: readFileSync(path, "utf8") }));

describe("the roots of a release", () => {
  test("are what their fingerprints say, and a damaged one is refused", () => {
    for (const anchor of [...Object.values(RELEASE_ANCHORS.snp), RELEASE_ANCHORS.tdx]) {
      expect(fingerprint(loadAnchor(anchor))).toBe(anchor.sha256);
      expect(() => loadAnchor({ ...anchor, sha256: "0".repeat(64) })).toThrow("[attest.cert.root]");
    }
    expect(
      Object.isFrozen(RELEASE_ANCHORS) &&
        Object.isFrozen(RELEASE_ANCHORS.snp) &&
        Object.isFrozen(RELEASE_ANCHORS.snp.Milan),
    ).toBe(true);
  });

  withCaptures(test)("are the vendors' own, as captured", () => {
    const last = (file: string) =>
      pemBlocks(captureBytes(`attestation/${file}`).toString("latin1"), file)
        .at(-1)
        ?.toString("base64");
    expect(RELEASE_ANCHORS.snp.Milan.der).toBe(last("ask_ark_milan.pem"));
    expect(RELEASE_ANCHORS.snp.Genoa.der).toBe(last("ask_ark_genoa.pem"));
    expect(RELEASE_ANCHORS.snp.Turin.der).toBe(last("ask_ark_turin_vcek.pem"));
    expect(RELEASE_ANCHORS.tdx.der).toBe(last("intel_trusted_root.pem"));
  });

  test("can be replaced by nothing in the program: one function takes roots, and only its own file and tests name it", () => {
    const naming = (word: RegExp) => released.filter(({ source }) => word.test(source)).map(({ path }) => path);
    expect(naming(/\bverifierOf\b/)).toEqual(["providers/attest/verify.ts"]);
    expect(naming(/\bRELEASE_ANCHORS\b/).sort()).toEqual(["providers/attest/anchors.ts", "providers/attest/verify.ts"]);
    expect(naming(/sim\/attest/)).toEqual([]);
  });

  test("can be replaced by no file, variable or setting: the room reads none, and no schema has a place for a root", () => {
    const room = readdirSync(join(ROOT, "providers/attest")).map((name) =>
      readFileSync(join(ROOT, "providers/attest", name), "utf8"),
    );
    expect(room.length).toBeGreaterThan(10);
    for (const source of room) expect(source).not.toMatch(/process\.|globalThis|node:fs|import\(/);
    const words = /anchor|root(?!Crl)|ark\b|trust/i;
    for (const schema of [BundleSchema, PolicySchema, StackConfigSchema])
      expect(
        keysOf(schema.toJSONSchema({ unrepresentable: "any", io: "input" })).filter((key) => words.test(key)),
      ).toEqual([]);
  });
});

/** Every property name in a JSON schema. */
function keysOf(schema: unknown): string[] {
  if (Array.isArray(schema)) return schema.flatMap(keysOf);
  if (typeof schema !== "object" || schema === null) return [];
  return Object.entries(schema).flatMap(([key, value]) => [
    ...(key === "properties" ? Object.keys(value as object) : []),
    ...keysOf(value),
  ]);
}

describe("a bundle's text", () => {
  let amd: TestAmd;
  let chip: TestChip;
  let dir: string;
  beforeAll(async () => {
    amd = await testAmd();
    chip = await amd.chip();
    dir = await mkdtemp(join(tmpdir(), "teeup-attest-"));
  });
  afterAll(() => rm(dir, { recursive: true }));
  const codeOf = (text: string): string => {
    try {
      parseBundle(text);
      return "read";
    } catch (error) {
      if (error instanceof Refused) return error.code;
      throw error;
    }
  };

  test("is read whole or refused", async () => {
    const bundle = await snpBundle(amd, chip);
    const text = JSON.stringify(bundle);
    expect(codeOf(text)).toBe("read");
    for (let length = 0; length < text.length; length += 97)
      expect(codeOf(text.slice(0, length))).toBe("attest.truncated");
    expect(codeOf(`${text.slice(0, -1)},"anchors":[]}`)).toBe("attest.malformed");
    expect(codeOf(`{"x":"${" ".repeat(9_000_000)}"}`)).toBe("attest.oversized");
    expect(codeOf(JSON.stringify({ ...bundle, tee: { ...bundle.tee, key: "A".repeat(100_000) } }))).toBe(
      "attest.oversized",
    );
    expect(codeOf(JSON.stringify({ ...bundle, nonce: "11" }))).toBe("attest.malformed");
    expect(codeOf(JSON.stringify({ ...bundle, tee: { kind: "tdx", quote: "AAAA", collateral: {} } }))).toBe(
      "attest.collateral.missing",
    );
    expect(codeOf("[]")).toBe("attest.malformed");
  });

  test("signed by a test root passes where the twin's roots are preloaded, and only there", async () => {
    const [file, roots] = [join(dir, "passes.json"), join(dir, "roots.json")];
    await writeFile(roots, JSON.stringify({ snp: { Milan: amd.anchor } }));
    await writeFile(file, JSON.stringify(await snpBundle(amd, chip, {}, {}, { policy: snpPolicy() })));
    const policy = join(dir, "policy.json");
    await writeFile(policy, JSON.stringify(snpPolicy()));
    const argv = [
      "cli/main.ts",
      "attest",
      "verify",
      file,
      "--policy",
      policy,
      "--at",
      NOW.toISOString(),
      "--nonce",
      NONCE,
      "--host-key",
      HOST_KEY,
    ];
    const env = { TEEUP_TWIN_ANCHORS: roots, NO_COLOR: "1" };
    const twin = await run(["--import", join(ROOT, "sim/attest/preload.ts"), ...argv], env);
    expect(twin.stdout).toMatch(
      /^✓ the evidence is genuine and as the policy wants\n {2}Milan, VCEK; launch measurement/,
    );
    expect(twin.stdout).not.toContain("bundle's own");
    expect(twin.stderr).toBe("TEST ROOTS of a twin are trusted beside the vendors' own.\n");
    expect(twin.status).toBe(0);
    const release = await run(argv, env);
    expect(release.stdout).toContain("attest.cert.root");
    expect(release.status).toBe(3);
  });

  test("signed by a test root is refused by the released command, whatever its environment says", async () => {
    const file = join(dir, "bundle.json");
    const roots = JSON.stringify({ snp: { Milan: amd.anchor } });
    await writeFile(file, JSON.stringify(await snpBundle(amd, chip, {}, {}, { policy: snpPolicy() })));
    const env = {
      NODE_EXTRA_CA_CERTS: file,
      SSL_CERT_FILE: file,
      TEEUP_ANCHORS: roots,
      TEEUP_TRUST_ANCHORS: roots,
      TEEUP_TEST: "1",
      NODE_ENV: "test",
    };
    const { status, stdout } = await run(
      ["cli/main.ts", "attest", "verify", file, "--at", NOW.toISOString(), "--json"],
      env,
    );
    expect(JSON.parse(stdout)).toMatchObject({
      verdict: "fail",
      genuine: false,
      refusals: [{ code: "attest.cert.root" }],
    });
    expect(status).toBe(3);
  });
});
