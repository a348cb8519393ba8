import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "@jest/globals";
import { openFleet } from "../../providers/machine/fleet.ts";
import { blocking, isFailing, Reconciler } from "../../providers/reconcile.ts";
import type { Twin } from "../../sim/twin.ts";
import { viaAbi } from "./abi.ts";
import { type Canaries, freshCanaries, Said } from "./canaries.ts";
import { type Bench, bench, goalsOf, PLATFORMS, type Platform, QUICK, SNP, TDX, up } from "./drive.ts";

let b: Bench | undefined;
afterEach(async () => {
  await b?.close();
  b = undefined;
});

/** A twin whose every way in needs a canary: an encrypted key with its passphrase, sudo's and the BMC's password. */
async function guarded(on: Platform = SNP): Promise<{ b: Bench; canaries: Canaries }> {
  const canaries = freshCanaries();
  const made = await bench(
    { authorizedKeys: [canaries.publicKey], bmcOptions: { password: canaries.bmcPassword } },
    on,
  );
  b = made;
  made.twin.faults.sudoPassword = canaries.sudoPassword;
  const keyFile = join(made.folder, "id-encrypted");
  writeFileSync(keyFile, canaries.privateKey, { mode: 0o600 });
  const nodes = made.config.nodes.map((node) => ({
    ...node,
    ssh: { ...node.ssh, keyFile },
    guest: { ...node.guest, publicKey: canaries.publicKey },
  }));
  const env = {
    ...made.env,
    TEEUP_SSH_PASSPHRASE: canaries.passphrase,
    TEEUP_SUDO_PASSWORD: canaries.sudoPassword,
    TEEUP_BMC_PASSWORD: canaries.bmcPassword,
  };
  return { b: { ...made, env, config: { ...made.config, nodes } }, canaries };
}

/** One preview and one `up`; everything that anybody could hear of them. Returns the codes of errors and findings. */
async function listen(on: Bench, said: Said, { change = true } = {}): Promise<string[]> {
  const goals = goalsOf(on);
  const codes: string[] = [];
  const fleet = openFleet(on.config, on.env, { ...QUICK, timeoutScale: 0.01 });
  const reconciler = new Reconciler(fleet);
  const heard = (error: unknown) => {
    said.add("error", error);
    codes.push((error as { code?: string }).code ?? String(error));
  };
  try {
    await reconciler.reach("gpu-01").catch(heard);
    reconciler.prefetch(goals.map((g) => g.facet));
    for (const goal of goals) {
      const seen = await reconciler.look(goal);
      said.add("plan", seen);
      if (!change) codes.push(...seen.findings.filter(isFailing).map((f) => f.code));
    }
    for (const goal of change ? goals : []) {
      const run = {
        permit: "reboot" as const,
        onProgress: (line: string) => said.add("progress", line),
        signal: new AbortController().signal,
      };
      const done = await reconciler.reconcile(goal, run);
      said.add("outcome", done);
      codes.push(...blocking(done).map((f) => f.code));
    }
  } catch (error) {
    heard(error);
  } finally {
    await reconciler.close();
  }
  return codes;
}

/** The provider's whole answer to the engine, and what its process printed. */
async function listenToProvider(on: Bench, said: Said, create: boolean): Promise<string[]> {
  const { answers, printed } = await viaAbi(on, goalsOf(on), { create });
  said.add("provider", answers);
  said.add("provider's output", printed);
  return Object.values(answers).flatMap(({ error, failures }) => [
    ...(error === undefined ? [] : [error]),
    ...failures.map((f) => f.reason),
  ]);
}

const journal = ({ twin }: Bench, said: Said) =>
  said.add("journal", { entries: twin.journal.entries, unmodelled: twin.journal.unmodelled });

test.each(PLATFORMS.map((p) => [p.name, p] as const))(
  "%s: a whole up says no secret: not in plans, progress, outcomes, the provider's outputs or the twin's journal",
  async (_name, platform) => {
    const { b: on, canaries } = await guarded(platform);
    const said = new Said();
    expect(await listen(on, said)).toEqual([]);
    expect(await listenToProvider(on, said, false)).toEqual([]);
    journal(on, said);
    for (const where of ["plan", "progress", "outcome", "provider", "journal"])
      expect(said.heard(where)).toBeGreaterThan(1000);
    expect(said.leaks(canaries)).toEqual([]);
    expect(on.twin.journal.unmodelled).toEqual([]);
  },
);

test("the key of Intel's provisioning service that a person gave to PCCS is looked for and never read", async () => {
  const { b: on, canaries } = await guarded(TDX);
  expect((await up(on)).findings).toEqual([]);
  const file = "/opt/intel/sgx-dcap-pccs/config/default.json";
  const { host } = on.twin;
  const before = host.files.read(file);
  host.files.write(file, before.replace('"ApiKey" : ""', `"ApiKey" : "${canaries.bmcPassword}"`));
  expect(host.files.read(file)).not.toBe(before);
  const reconciler = new Reconciler(openFleet(on.config, on.env, QUICK));
  const said = new Said();
  try {
    const goal = goalsOf(on).find((g) => g.facet.name === "quote-service");
    if (goal === undefined) throw new Error("no goal for quotes");
    const seen = await reconciler.look(goal);
    expect(seen.findings.find((f) => f.code === "quote-service.api-key")).toMatchObject({ level: "pass" });
    said.add("plan", seen);
    journal(on, said);
    expect(said.leaks(canaries)).toEqual([]);
  } finally {
    await reconciler.close();
  }
});

test("a whole up of the provider itself says none either", async () => {
  const { b: on, canaries } = await guarded();
  const said = new Said();
  expect(await listenToProvider(on, said, true)).toEqual([]);
  journal(on, said);
  expect(said.leaks(canaries)).toEqual([]);
});

interface Fault {
  readonly name: string;
  readonly inject: (twin: Twin, on: Bench) => Bench | undefined;
  /** Something that is said because of it. */
  readonly says: RegExp;
}
const fault = (name: string, says: RegExp, inject: (twin: Twin, on: Bench) => unknown): Fault => ({
  name,
  says,
  inject: (twin, on) => {
    const changed = inject(twin, on);
    return typeof changed === "object" && changed !== null && "twin" in changed ? (changed as Bench) : undefined;
  },
});
const withEnv = (on: Bench, env: NodeJS.ProcessEnv): Bench => ({ ...on, env: { ...on.env, ...env } });

const FAULTS: readonly Fault[] = [
  fault("logins are refused", /ssh\.auth-failed|refuses? /, ({ faults }) => {
    faults.refuseAuth = true;
  }),
  fault("sudo is refused", /sudo/, ({ faults }) => {
    faults.refuseSudo = true;
  }),
  fault("sudo has another password", /sudo/, ({ faults }) => {
    faults.sudoPassword = "another one";
  }),
  fault("the passphrase is of another key", /passphrase/, (_twin, on) =>
    withEnv(on, { TEEUP_SSH_PASSPHRASE: `${on.env["TEEUP_SSH_PASSPHRASE"]}x` }),
  ),
  fault("the BMC answers 401", /bios\.bmc-unknown|401|password/, ({ faults }) => {
    faults.bmc = "401";
  }),
  fault("a question hangs", /gpu-inventory\.|lspci/, ({ faults }) => {
    faults.hang = ["lspci"];
  }),
  fault("a change hangs", /action\.timeout/, ({ faults }) => {
    faults.hang = ["update-grub"];
  }),
  fault("the connection drops at a question", /lost/, ({ faults }) => {
    faults.dropAtExec = 3;
  }),
  fault("the connection drops after a change", /ssh\.lost|lock\.lost/, ({ faults }) => {
    faults.dropAfterMutation = 3;
  }),
  fault("the host shows another key", /host-key/, (twin) => twin.replaceHostKey()),
  fault("a change fails", /action\.failed/, ({ faults }) => {
    faults.failCommand = { text: "update-grub", times: 99 };
  }),
];

describe("under faults no secret is said", () => {
  test.each(FAULTS.map((f) => [f.name, f] as const))("%s", async (_name, { inject, says }) => {
    const { b: made, canaries } = await guarded();
    const on = inject(made.twin, made) ?? made;
    const said = new Said();
    const codes = await listen(on, said);
    const reasons = await listenToProvider(on, said, false);
    journal(on, said);
    expect([...codes, ...reasons].join("\n")).toMatch(says);
    expect(said.leaks({ ...canaries, passphrase: on.env["TEEUP_SSH_PASSPHRASE"] ?? "" })).toEqual([]);
    expect(said.leaks(canaries)).toEqual([]);
  });
});

test("a machine that repeats the secrets itself is not quoted", async () => {
  const { b: on, canaries } = await guarded();
  const { passphrase, bmcPassword, sudoPassword } = canaries;
  const { host, node } = on.twin;
  // Where facets read free text that they show: DMI, and the last lines of what failed.
  Object.defineProperty(node.bios, "model", { get: () => sudoPassword });
  Object.defineProperty(node.bios, "biosVersion", { get: () => bmcPassword });
  host.files.write("/etc/modprobe.d/zz-site.conf", `options kvm_amd sev_snp=${passphrase}\n`);
  const said = new Said();
  const codes = await listen(on, said, { change: false });
  await listenToProvider(on, said, false);
  expect(codes).toContain("module-options.conflict");
  // It did say them, and something stands where they stood.
  expect(said.count("[redacted]")).toBeGreaterThanOrEqual(3);
  expect(said.leaks(canaries)).toEqual([]);
});

test("this very check sees a secret that gets out, wherever and however", () => {
  const canaries = freshCanaries();
  const body = canaries.privateKey.split("\n").find((line) => line.length >= 16 && !line.startsWith("-")) ?? "";
  const secrets = { ...canaries, privateKey: body };
  const ways: readonly [string, (secret: string) => unknown][] = [
    ["a line", (s) => `connecting with ${s} now`],
    ["a field", (s) => ({ a: [{ b: s }] })],
    ["an error's message", (s) => new Error(`cannot: ${s}`)],
    ["an error's cause", (s) => new Error("cannot", { cause: new Error(s) })],
    ["an error's field", (s) => Object.assign(new Error("cannot"), { properties: { env: { X: s } } })],
    ["base64", (s) => Buffer.from(s).toString("base64")],
    ["a URL", (s) => `https://ops:${encodeURIComponent(s)}@bmc`],
    ["hex", (s) => Buffer.from(s).toString("hex")],
  ];
  for (const name of ["passphrase", "bmcPassword", "sudoPassword", "privateKey"] as const)
    for (const [way, leak] of ways) {
      const said = new Said();
      said.add(way, "nothing of interest");
      expect(said.leaks(canaries)).toEqual([]);
      said.add(way, leak(secrets[name]));
      expect(said.leaks(canaries)[0]).toMatch(new RegExp(`^${name} in ${way}: `));
    }
});
