import { rmSync } from "node:fs";
import { join } from "node:path";
import { inspect } from "node:util";
import { afterEach, beforeAll, describe, expect, test } from "@jest/globals";
import type { Action } from "../../providers/kit/action.ts";
import { WantedPolicySchema } from "../../providers/kit/appraisal.ts";
import type { Finding } from "../../providers/kit/facet.ts";
import { SECRETS_DIR } from "../../providers/kit/secrets.ts";
import { openFleet } from "../../providers/machine/fleet.ts";
import { snpSigner, tdxSigner } from "../../sim/attest/signer.ts";
import { freshKeyPair } from "../../sim/model/keys.ts";
import { BAIDU, goalsOf, look, NODE, QUICK } from "./drive.ts";
import {
  appraiserOf,
  bring,
  type EvidenceBench,
  evidenceBench,
  FIXED,
  reconcilerOf,
  refresh,
  SECRET,
  SNP,
  TDX,
  type TestVendors,
  testVendors,
} from "./evidence.ts";

let vendors: TestVendors;
let b: EvidenceBench | undefined;
beforeAll(async () => {
  vendors = await testVendors();
});
afterEach(async () => {
  await b?.close();
  b = undefined;
});

const codes = (findings: readonly { readonly code: string; readonly level: string }[]) =>
  findings.filter(({ level }) => level !== "pass").map(({ code }) => code);
const files = () => b?.twin.node.guest?.machine.files;
const released = () => (files() ?? b?.twin.host.files)?.listIf(SECRETS_DIR);

test.each([
  ["SNP", SNP],
  ["TDX", TDX],
])("%s: up attests the guest over a fresh nonce, and only then it gets its secret", async (_name, on) => {
  b = await evidenceBench(vendors, { on });
  const preview = await look(b);
  expect(preview.steps.find(({ code }) => code === "guest-attestation.attest")?.title).toBe(
    "attest the guest from here, over a fresh nonce, and release disk-key to it",
  );
  expect(b.twin.journal.counts()).toMatchObject({ mutations: 0 });
  const { findings, ran, last } = await bring(b, { whole: true });
  expect(findings).toEqual([]);
  expect(ran).toContain("guest-attestation.attest");
  expect(last.observed).toMatchObject({ verdict: "pass", gpu: "measured-guest" });
  const { guest } = b.twin.node;
  expect(guest?.machine.files.read(`${SECRETS_DIR}/disk-key`)).toBe(SECRET);
  expect(guest?.machine.tsm.left).toBe(0);
  expect(b.twin.journal.unmodelled).toEqual([]);

  // A preview asks for no evidence, and leaves no trace; a refresh asks anew.
  b.twin.journal.clear();
  expect((await look(b)).byFacet).toEqual({});
  expect(b.twin.journal.counts()).toMatchObject({ mutations: 0, hostExecs: 1, guestExecs: 1 });
  expect(b.server.asked.length).toBeLessThan(8);
  const seen = await refresh(b);
  expect(codes(seen.findings)).toEqual([]);
  expect(seen.observed["evidence"]).not.toBe(last.observed["evidence"]);
  // Nothing to do: nothing is done.
  expect((await bring(b)).ran).toEqual([]);
});

test("an instance of a cloud: its own quote, and the GPUs and NVSwitches with it", async () => {
  b = await evidenceBench(vendors, { on: BAIDU });
  const { findings, last } = await bring(b, { whole: true });
  expect(findings).toEqual([]);
  expect(last.observed).toMatchObject({ verdict: "pass", gpu: "measured-guest", tcb: "TDX UpToDate" });
  expect(released()).toEqual(["disk-key"]);
});

test("evidence that no longer holds: a refresh says so and changes nothing; up withdraws what it gave, and gives it again later", async () => {
  b = await evidenceBench(vendors);
  expect((await bring(b, { whole: true })).findings).toEqual([]);
  const sound = b.twin.node.tee;
  const { amd, chip } = vendors;
  b.twin.node.tee = snpSigner(amd, chip, { measure: () => Buffer.alloc(48, 1) });

  const seen = await refresh(b);
  expect(seen.findings.filter(({ level }) => level === "fail").map(({ code }) => code)).toEqual([
    "guest-attestation.measurement",
  ]);
  expect(seen.observed).toMatchObject({ verdict: "fail", refusals: "attest.measurement" });
  expect(seen.observed).not.toHaveProperty("hostKey");
  expect(released()).toEqual(["disk-key"]);

  const said: string[] = [];
  const { ran, findings } = await bring(b, { said: (line) => said.push(line) });
  expect(ran).toEqual(["guest-attestation.withdraw"]);
  expect(said.join("\n")).toContain("withdraw the guest's secrets (disk-key): its evidence no longer holds");
  expect(codes(findings)).toEqual(["guest-attestation.measurement", "guest-attestation.secrets"]);
  expect(released()).toEqual([]);

  b.twin.node.tee = sound;
  expect((await bring(b)).ran).toEqual(["guest-attestation.attest"]);
  expect(released()).toEqual(["disk-key"]);
});

test("deleted, its secrets go, and no evidence is asked for", async () => {
  b = await evidenceBench(vendors);
  expect((await bring(b, { whole: true })).findings).toEqual([]);
  expect(released()).toEqual(["disk-key"]);
  b.twin.node.tee = undefined;
  const reconciler = reconcilerOf(b);
  const [goal] = goalsOf(b).filter(({ facet }) => facet.name === "guest-attestation");
  const run = { permit: "none", onProgress: () => undefined, signal: new AbortController().signal } as const;
  try {
    expect(goal === undefined ? [] : await reconciler.undo(goal, run)).toEqual(["guest-attestation.withdraw"]);
  } finally {
    await reconciler.close();
  }
  expect(released()).toEqual([]);
});

test("a guest that was restarted has no secret, and gets it only once it has proved itself again", async () => {
  b = await evidenceBench(vendors);
  expect((await bring(b, { whole: true })).findings).toEqual([]);
  b.twin.node.guest?.machine.files.remove("/run/teeup");
  const { byFacet } = await look(b);
  expect(byFacet["guest-attestation"]).toEqual({
    steps: ["guest-attestation.attest"],
    findings: ["guest-attestation.attested", "guest-attestation.secrets"],
  });
  expect((await bring(b)).ran).toEqual(["guest-attestation.attest"]);
  expect(released()).toEqual(["disk-key"]);
});

test("a session that breaks off before the release is no other session: nothing goes to another host key", async () => {
  b = await evidenceBench(vendors);
  expect((await bring(b, { whole: true })).findings).toEqual([]);
  const fleet = openFleet(b.config, b.env, QUICK);
  const release: Action = {
    do: "release",
    secret: "disk-key",
    path: `${SECRETS_DIR}/stolen`,
    mode: "0400",
    owner: "root:root",
    to: freshKeyPair("root@guest").public.trim(),
    session: "another",
  };
  const options = { onProgress: () => undefined, signal: new AbortController().signal };
  b.twin.journal.clear();
  try {
    await expect(fleet.node(NODE).guest.act(release, options)).rejects.toMatchObject({ code: "ssh.other-session" });
  } finally {
    await fleet.close();
  }
  expect(b.twin.journal.counts()).toMatchObject({ mutations: 0 });
  expect(released()).toEqual(["disk-key"]);
});

test("a guest that was started anew between evidence and release gets nothing, though its disk kept the host key", async () => {
  b = await evidenceBench(vendors);
  const { twin } = b;
  const { amd, chip } = vendors;
  const puts: string[] = [];
  const failed = bring(b, {
    whole: true,
    said: (line) => {
      if (!line.includes("release disk-key to it")) return;
      // Whoever holds the disk holds that key: what comes up behind it need not be confidential at all.
      twin.node.tee = snpSigner(amd, chip, { measure: () => Buffer.alloc(48, 1) });
      twin.node.onDown("guest");
      twin.journal.clear();
    },
  });
  await expect(failed).rejects.toMatchObject({ code: "ssh.other-session" });
  for (const { argv } of twin.journal.entries) if (argv.join(" ").includes(SECRETS_DIR)) puts.push(argv.join(" "));
  expect(puts.filter((line) => !line.startsWith("find "))).toEqual([]);
  expect(released()).toEqual([]);
  // It is attested for itself, and refused.
  expect(codes((await bring(b)).findings)).toEqual(["guest-attestation.measurement", "guest-attestation.secrets"]);
});

test("GPU evidence that came over one session is not taken with the report of another", async () => {
  b = await evidenceBench(vendors);
  expect((await bring(b, { whole: true })).findings).toEqual([]);
  const { node, journal } = b.twin;
  const nonces: string[] = [];
  const add = journal.add.bind(journal);
  journal.add = (entry) => {
    add(entry);
    const at = entry.argv.indexOf("--nonce");
    if (entry.argv[0] !== "nvattest" || at < 0) return;
    nonces.push(entry.argv[at + 1] ?? "");
    // From here on another machine could answer, by the same host key.
    if (nonces.length === last) node.onDown("guest");
  };
  let last = 0;
  await refresh(b);
  // The last question of a look is the one whose answer the report binds.
  last = nonces.splice(0).length;
  const seen = await refresh(b);
  journal.add = add;
  expect(codes(seen.findings)).toEqual([]);
  const given = nonces[last - 1];
  // Asked again, as any question that was cut off; then all of it anew, over another nonce.
  expect(nonces.slice(last)).toEqual([given, expect.any(String)]);
  expect(nonces.at(-1)).not.toBe(given);
});

test("a secret that cannot be had is an error that holds nothing of it, and the guest stays without", async () => {
  const secrets = { "disk-key": { command: ["sh", "-c", `echo ${SECRET}; echo ${SECRET} >&2; exit 3`] } };
  b = await evidenceBench(vendors, { secrets });
  const failed = bring(b, { whole: true });
  await expect(failed).rejects.toMatchObject({ code: "secret.command" });
  const error = (await failed.catch((e: unknown) => e)) as Error;
  expect(error.message).toContain("the command sh ended with 3; nothing was released");
  expect(inspect(error, { depth: 9 })).not.toContain(SECRET);
  expect(released()).toEqual([]);
});

test("what the vendors' services withhold takes nothing away, and lets nothing pass", async () => {
  b = await evidenceBench(vendors);
  expect((await bring(b, { whole: true })).findings).toEqual([]);
  await b.server.close();
  // The cache still has it; without that it is unknown.
  expect(codes((await refresh(b)).findings)).toEqual([]);
  const blind = { ...b, folder: `${b.folder}/elsewhere` };
  const { ran, findings } = await bring(blind);
  expect(ran).toEqual([]);
  expect(findings).toMatchObject([{ code: "guest-attestation.collateral-missing", level: "unknown" }]);
  expect(released()).toEqual(["disk-key"]);
});

test("the very report that was given before answers no other nonce", async () => {
  b = await evidenceBench(vendors);
  expect((await bring(b, { whole: true })).findings).toEqual([]);
  const { amd, chip } = vendors;
  let kept: Buffer | undefined;
  b.twin.node.tee = snpSigner(amd, chip, {
    measure: () => FIXED,
    edit: (report) => {
      kept ??= Buffer.from(report);
      return kept;
    },
  });
  const fleet = openFleet(b.config, b.env, QUICK);
  const { guest } = fleet.node(NODE);
  const appraise = appraiserOf(b);
  const policy = WantedPolicySchema.parse({ kind: "snp", measurements: [FIXED.toString("hex")] });
  try {
    expect(await appraise(guest, NODE, { policy, gpu: [] })).toMatchObject({ verdict: "pass", refusals: [] });
    const again = await appraise(guest, NODE, { policy, gpu: [] });
    expect(again.refusals.map(({ code }) => code)).toEqual(["attest.nonce", "attest.report-data"]);
    expect(again).toMatchObject({ verdict: "fail" });
    expect(again).not.toHaveProperty("hostKey");
  } finally {
    await fleet.close();
  }
});

test("a quote of Intel's on an SNP policy, and the other way round, is of no use", async () => {
  b = await evidenceBench(vendors);
  expect((await bring(b, { whole: true })).findings).toEqual([]);
  b.twin.node.tee = tdxSigner(vendors.intel, { measure: () => FIXED });
  expect(codes((await refresh(b)).findings)).toEqual(["guest-attestation.unsupported"]);
});

describe("a driver without published reference values", () => {
  const driver = (b: EvidenceBench) => goalsOf(b).filter(({ facet }) => facet.name === "nvidia-driver");
  const seen = async (b: EvidenceBench) => {
    const reconciler = reconcilerOf(b);
    try {
      const [goal] = driver(b);
      if (goal === undefined) throw new Error("no driver");
      const { steps, findings } = await reconciler.look(goal);
      const run = { permit: "reboot", onProgress: () => undefined, signal: new AbortController().signal } as const;
      return { steps: steps.map(({ code }) => code), findings, undone: await reconciler.undo(goal, run) };
    } finally {
      await reconciler.close();
    }
  };
  const reference = (findings: readonly Finding[]) => findings.find(({ code }) => code === "nvidia-driver.reference");

  test("is not planned, nor where nobody can say; what is there already may stay, and be undone", async () => {
    const made = await evidenceBench(vendors);
    b = made;
    // No guest yet: its driver would be installed.
    expect((await seen(made)).steps).toContain("nvidia-driver.install");
    const cache = () => rmSync(join(made.folder, "cache"), { recursive: true, force: true });
    made.server.instead.set("/v1/rim/ids", Buffer.from('{"ids":["NV_GPU_DRIVER_GH100_535.104.05"]}'));
    cache();
    const without = await seen(made);
    expect(without).toMatchObject({ steps: [], undone: [] });
    expect(reference(without.findings)).toMatchObject({
      level: "fail",
      saw: expect.stringContaining("none for driver 580."),
    });
    made.server.instead.set("/v1/rim/ids", null);
    cache();
    const blind = await seen(made);
    expect(blind).toMatchObject({ steps: [], undone: [] });
    expect(reference(blind.findings)).toMatchObject({ level: "unknown" });
    made.server.instead.clear();
    cache();
    expect((await bring(made, { whole: true })).findings).toEqual([]);
    made.server.instead.set("/v1/rim/ids", null);
    cache();
    expect((await seen(made)).findings.filter(({ level }) => level !== "pass")).toEqual([]);
  });
});
