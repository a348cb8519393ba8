import { createPrivateKey, createPublicKey } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { readEar } from "../../providers/attest/ear.ts";
import { expectedMeasurement } from "../../providers/attest/launch.ts";
import { SECRETS_DIR } from "../../providers/kit/secrets.ts";
import { type CollateralServer, startCollateral } from "../../sim/attest/server.ts";
import { snpSigner } from "../../sim/attest/signer.ts";
import type { GuestLaunch } from "../../sim/model/tsm.ts";
import type { Twin } from "../../sim/twin.ts";
import { type TestVendors, testVendors } from "../e2e/evidence.ts";
import { configOf, isFacet, MINUTES, nameOf, onChange, ROOT, Site, Stack } from "./harness.ts";

/**
 * Evidence through the real Pulumi: the expected measurement before anything boots, secrets that stand nowhere, the signed
 * result as an output, drift of the evidence. The provider's process trusts the twin's roots beside the vendors' by
 * sim/attest/preload.ts; the last test leaves that out. Each test goes on where the last one ended.
 */
const STORED = `canary-stored-${Math.random().toString(36).slice(2)}`;
const PRINTED = `canary-printed-${Math.random().toString(36).slice(2)}`;
/** Firmware of the one kind and of the other; the end of real images, see the file. */
const IMAGES = JSON.parse(readFileSync(join(ROOT, "test/captures/attestation/snp-launch-digests.json"), "utf8")) as {
  readonly ovmfX64: string;
  readonly amdSev: string;
};

let site: Site;
let twin: Twin;
let vendors: TestVendors;
let server: CollateralServer;
let stack: Stack;
let firmware: string;
let launched: Buffer;
const said: string[] = [];
const measured = (image: Buffer, launch: GuestLaunch | undefined) =>
  Buffer.from(expectedMeasurement({ ovmf: image, vcpus: launch?.cpus ?? 0, vcpuType: launch?.cpuModel ?? "" }), "hex");

beforeAll(async () => {
  site = new Site();
  vendors = await testVendors();
  twin = await site.twin({ name: "gpu-01" });
  server = await startCollateral({ amd: vendors });
  firmware = site.path("firmware", "OVMF.fd");
  launched = Buffer.from(IMAGES.ovmfX64, "base64");
  writeFileSync(firmware, launched);
  const roots = site.path("roots.json");
  writeFileSync(roots, JSON.stringify({ snp: { Genoa: vendors.amd.anchor } }));
  const project = dirname(site.path("dev", "project", "Pulumi.yaml"));
  twin.node.tee = snpSigner(vendors.amd, vendors.chip, { measure: (launch) => measured(launched, launch) });
  stack = await Stack.create(site, {
    config: {
      ...configOf([site.node("gpu-01", twin)]),
      "teeup:attestation": {
        firmware,
        collateral: server.url,
        secrets: [{ name: "disk-key" }, { name: "token", mode: "0440" }],
      },
      // As docs/trust.md has it: a Pulumi secret that is not in the config of the stack whose program runs.
      "teeup:secrets": {
        token: { command: ["pulumi", "--cwd", project, "config", "get", "token", "--stack", "vault"] },
      },
    },
    env: {
      TEEUP_BMC_PASSWORD: twin.bmc?.password ?? "",
      TEEUP_TWIN_ANCHORS: roots,
      NODE_OPTIONS: `--import ${pathToFileURL(join(ROOT, "sim/attest/preload.ts")).href}`,
      XDG_CACHE_HOME: site.path("cache"),
      XDG_CONFIG_HOME: site.path("config"),
    },
  });
  await stack.secret("teeup:secrets.disk-key", STORED);
  for (const argv of [
    ["stack", "init", "vault"],
    ["config", "set", "--secret", "token", PRINTED, "--stack", "vault"],
  ]) {
    const ran = await site.start("pulumi", ["--cwd", project, ...argv, "--non-interactive"], ROOT, stack.env).ended;
    expect([ran.status, ran.status === 0 ? "" : ran.said]).toEqual([0, ""]);
  }
}, 120_000);
afterAll(async () => {
  await server.close();
  await site.close();
});

const heard = <T extends { readonly said: string }>(ran: T): T => {
  said.push(ran.said);
  return ran;
};
const part = async (name: string) =>
  (await stack.export()).resources.filter(isFacet).find(({ urn }) => nameOf(urn) === `gpu-01-${name}`);
const files = () => twin.node.guest?.machine.files;

describe("before anything boots", () => {
  test(
    "the preview says what the guest will measure as",
    async () => {
      const { stdout } = heard(await stack.preview("--diff"));
      const expected = measured(launched, { cpus: 16, cpuModel: "EPYC-v4", firmware: "", policy: undefined });
      expect(stdout).toMatch(new RegExp(`measurement *: "${expected.toString("hex")}"`));
      expect(stdout).toContain("attest the guest from here, over a fresh nonce, and release disk-key, token to it");
      expect(twin.journal.counts()).toMatchObject({ mutations: 0 });
    },
    MINUTES,
  );
});

describe("up", () => {
  test(
    "attests the guest and gives it its secrets, which nothing of its own puts into an argv or an environment",
    async () => {
      const listings: string[] = [];
      const stop = onChange(twin, ({ argv }) => {
        if (argv.join(" ").includes(SECRETS_DIR)) listings.push(...processes());
      });
      // Pulumi's own log has the stack's decrypted config (docs/trust.md), so it is not among what was heard.
      const ran = await stack.up("--logtostderr", "-v=9");
      stop();
      expect([ran.status, ran.status === 0 ? "" : ran.said]).toEqual([0, ""]);
      expect(ran.said).toContain("Configure().inputs]: ");
      expect(ran.said.split("\n").filter((line) => line.includes(PRINTED))).toEqual([]);
      expect(ran.said.split("\n").filter((line) => line.includes(STORED) && !line.includes("Configure()"))).toEqual([]);
      expect(files()?.read(`${SECRETS_DIR}/disk-key`)).toBe(STORED);
      expect(files()?.read(`${SECRETS_DIR}/token`)).toBe(PRINTED);
      expect(files()?.stat(`${SECRETS_DIR}/token`)).toMatchObject({ mode: "0440", owner: "root:root" });
      expect(twin.journal.unmodelled).toEqual([]);
      expect(listings.length).toBeGreaterThan(10);
      const holding = (secret: string) =>
        listings.filter((text) => text.includes(secret)).map((text) => text.slice(0, 200));
      expect(holding(PRINTED)).toEqual([]);
      // Pulumi itself gives its program the stack's decrypted config so (docs/trust.md); nothing else has it.
      const elsewhere = listings.map((text) => text.replace(/ PULUMI_CONFIG=\{.*?\} (?=[A-Z_]+=|$)/s, " "));
      expect(elsewhere.filter((text) => text.includes(STORED)).map((text) => text.slice(0, 200))).toEqual([]);
    },
    MINUTES,
  );

  test(
    "has the signed result as an output, and what was attested is what was expected",
    async () => {
      const { nodes } = (await stack.outputs()) as {
        nodes: Record<string, { evidence: Record<string, string>; measurement: string }>;
      };
      const { evidence, measurement } = nodes["gpu-01"] ?? { evidence: {}, measurement: "" };
      expect(evidence).toMatchObject({ verdict: "pass", measurement, gpu: "measured-guest" });
      const key = createPublicKey(
        createPrivateKey(readFileSync(site.path("config", "teeup", "attest-key.pem"), "utf8")),
      );
      const ear = await readEar(evidence["ear"] ?? "", key);
      expect(ear).toMatchObject({ ear_status: "warning", submods: { tee: { ear_status: "affirming" } } });
      expect(JSON.stringify(ear)).toContain(measurement);
    },
    MINUTES,
  );

  test(
    "a second one changes nothing, and a refresh is clean",
    async () => {
      twin.journal.clear();
      const ran = heard(await stack.preview("--expect-no-changes"));
      expect([ran.status, ran.status === 0 ? "" : ran.said]).toEqual([0, ""]);
      expect(twin.journal.counts()).toMatchObject({ mutations: 0, hostExecs: 1, guestExecs: 1 });
      const refreshed = heard(await stack.run("refresh", "--preview-only", "--expect-no-changes"));
      expect([refreshed.status, refreshed.status === 0 ? "" : refreshed.said]).toEqual([0, ""]);
    },
    MINUTES,
  );
});

describe("a change of the pinned firmware", () => {
  test(
    "shows in the preview as a change of the measurement, and a guest of the old one is refused",
    async () => {
      writeFileSync(firmware, Buffer.from(IMAGES.amdSev, "base64"));
      const { stdout } = heard(await stack.preview("--diff"));
      expect(stdout).toMatch(/measurement *: "[0-9a-f]{96}" => "[0-9a-f]{96}"/);
      const ran = heard(await stack.up());
      expect(ran.status).not.toBe(0);
      expect(ran.said).toContain("guest-attestation.measurement");
      expect(ran.said).toContain("[attest.measurement]");
      expect(files()?.listIf(SECRETS_DIR)).toEqual([]);
      writeFileSync(firmware, launched);
      expect(heard(await stack.up()).status).toBe(0);
      expect(files()?.listIf(SECRETS_DIR)).toEqual(["disk-key", "token"]);
    },
    MINUTES,
  );
});

describe("evidence that no longer holds", () => {
  test(
    "is drift in a refresh, and the next up withdraws what the guest had",
    async () => {
      const sound = twin.node.tee;
      twin.node.tee = snpSigner(vendors.amd, vendors.chip, { measure: () => Buffer.alloc(48, 1) });
      const drift = heard(await stack.run("refresh", "--preview-only", "--expect-no-changes"));
      expect(drift.status).toBe(7);
      expect(heard(await stack.run("refresh", "--yes")).status).toBe(0);
      expect(files()?.listIf(SECRETS_DIR)).toEqual(["disk-key", "token"]);
      const ran = heard(await stack.up());
      expect(ran.status).not.toBe(0);
      expect(ran.said).toContain("withdraw the guest's secrets (disk-key, token)");
      expect(files()?.listIf(SECRETS_DIR)).toEqual([]);
      twin.node.tee = sound;
      expect(heard(await stack.up()).status).toBe(0);
    },
    MINUTES,
  );

  test(
    "and so is that of test roots, for a program without the preload",
    async () => {
      const { NODE_OPTIONS: _, ...env } = stack.env;
      const ran = heard(
        await site.start(
          "pulumi",
          [
            "refresh",
            "--preview-only",
            "--expect-no-changes",
            "--stack",
            "dev",
            "--non-interactive",
            "--config-file",
            stack.configFile,
          ],
          ROOT,
          env,
        ).ended,
      );
      expect(ran.status).toBe(7);
      expect(ran.said).not.toContain("TEST ROOTS");
    },
    MINUTES,
  );
});

test("the secrets stand nowhere: output, plan, state, errors, journal; and the evidence is small in the state", async () => {
  const exported = await stack.export();
  const texts = [...said, exported.text, JSON.stringify(twin.journal), JSON.stringify(await part("guest-attestation"))];
  for (const secret of [STORED, PRINTED])
    for (const form of [secret, Buffer.from(secret).toString("base64"), encodeURIComponent(secret)])
      expect(texts.filter((text) => text.includes(form)).map((text) => text.slice(0, 100))).toEqual([]);
  const sizes = exported.resources
    .filter(isFacet)
    .map((r) => Buffer.byteLength(JSON.stringify(r).replaceAll(ROOT, "")));
  expect(sizes.reduce((a, n) => a + n, 0) / sizes.length).toBeLessThan(2048);
});

/** argv and environment of every process of this machine that may be read. */
function processes(): string[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .flatMap((pid) =>
      ["cmdline", "environ"].flatMap((what) => {
        try {
          return [`${pid} ${what} ${readFileSync(`/proc/${pid}/${what}`, "latin1").replaceAll("\0", " ")}`];
        } catch {
          return [];
        }
      }),
    );
}

test(
  "attestation that is taken out of the stack takes the secrets with it, and says so",
  async () => {
    stack.configure(configOf([site.node("gpu-01", twin)]));
    const ran = heard(await stack.up());
    expect([ran.status, ran.status === 0 ? "" : ran.said]).toEqual([0, ""]);
    expect(ran.said).toContain("withdraw the guest's secrets (disk-key, token): nobody wants them there any more");
    expect(files()?.listIf(SECRETS_DIR)).toEqual([]);
    expect(await part("guest-attestation")).toBeUndefined();
  },
  MINUTES,
);
