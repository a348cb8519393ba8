import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "@jest/globals";
import type { BmcConfig } from "../../providers/kit/config.ts";
import { TeeUpError } from "../../providers/kit/errors.ts";
import { Bmc, certificateOf } from "../../providers/machine/redfish.ts";
import type { SimBmc, SimBmcOptions } from "../../sim/bmc.ts";
import { startBmc } from "../../sim/bmc.ts";
import type { BiosVendor } from "../../sim/model/bios.ts";
import { Bios } from "../../sim/model/bios.ts";

const FAST = { requestMs: 2000, retries: 3, retryMs: 1 };
const open: { close(): Promise<void> }[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((o) => o.close()));
});

interface Rig {
  readonly sim: SimBmc;
  readonly bios: Bios;
  readonly bmc: Bmc;
  readonly resets: string[];
  client(config?: Partial<BmcConfig>, password?: string): Bmc;
}

async function rig(vendor: BiosVendor = "supermicro", options: Partial<SimBmcOptions> = {}): Promise<Rig> {
  const bios = new Bios(vendor);
  const resets: string[] = [];
  const reset = (type: string) => {
    resets.push(type);
    bios.apply();
  };
  const sim = await startBmc({ bios, power: () => ({ state: "On", reset, resets: [] }), ...options });
  open.push(sim);
  const client = (config: Partial<BmcConfig> = {}, password = sim.password): Bmc => {
    const bmc = new Bmc(
      "gpu-01",
      { url: sim.url, user: sim.user, certificate: sim.fingerprint, ...config },
      password,
      FAST,
    );
    open.unshift(bmc);
    return bmc;
  };
  return { sim, bios, resets, client, bmc: client() };
}

/** The error that `work` rejects with; its texts hold none of `secrets`. */
async function errorOf(work: Promise<unknown>, ...secrets: string[]): Promise<TeeUpError> {
  const error: unknown = await work.then(
    () => undefined,
    (e: unknown) => e,
  );
  if (!(error instanceof TeeUpError)) throw new Error(`no TeeUpError but ${String(error)}`);
  expect(error.parts.node).toBe("gpu-01");
  expect(error.parts.next).not.toBe("");
  for (const secret of secrets) expect(`${error.message} ${error.stack} ${String(error.cause)}`).not.toContain(secret);
  return error;
}

describe.each(["supermicro", "dell", "asrockrack", "hpe", "lenovo"] as const)("%s", (vendor) => {
  test("reads, stages, reads back, and a reset brings it into force", async () => {
    const { bmc, bios, resets } = await rig(vendor);
    const before = await bmc.bios();
    expect(before.manufacturer).toBe(bios.manufacturer);
    expect(before.hasRegistry).toBe(true);
    expect(before.staged).toEqual({});
    const [name, entry] =
      Object.entries(before.registry).find(
        ([n, e]) => !e.readOnly && e.values.some((v) => v !== before.current[n] && /nabled?$/.test(v)),
      ) ?? [];
    if (name === undefined || entry === undefined) throw new Error("nothing to stage");
    const value = entry.values.find((v) => v !== before.current[name] && /nabled?$/.test(v)) ?? "";
    await bmc.stage({ [name]: value });
    const staged = await bmc.bios();
    expect(staged.staged).toEqual({ [name]: value });
    expect(staged.current).toEqual(before.current);
    await bmc.powerCycle();
    expect(resets).toEqual(["ForceRestart"]);
    const after = await bmc.bios();
    expect(after.current[name]).toBe(value);
    expect(after.staged).toEqual({});
  });

  test("observing writes nothing", async () => {
    const { bmc, sim } = await rig(vendor);
    await bmc.bios();
    await bmc.powerState();
    expect(sim.requests.filter((r) => r.method !== "GET")).toEqual([]);
    expect(sim.openSessions).toBe(0);
  });
});

test("a snapshot is small and holds no attribute that does not matter here", async () => {
  const { bmc } = await rig("supermicro");
  const snapshot = await bmc.bios();
  expect(Object.keys(snapshot.current)).not.toContain("CorrectableErrorThreshold#3C34");
  expect(snapshot.registry["SMEE#003E"]).toMatchObject({
    displayName: "SMEE",
    values: ["Disabled", "Enabled", "Auto"],
  });
});

test("Dell: what depends on a setting in force is read-only, with the rule", async () => {
  const { bmc } = await rig("dell");
  const { registry, dependencies } = await bmc.bios();
  expect(registry["Snp"]?.readOnly).toBe(true);
  expect(dependencies).toContainEqual({
    attribute: "Snp",
    locks: true,
    when: [{ attribute: "Sme", condition: "NEQ", value: "Enabled", terms: "AND" }],
  });
});

describe("iDRAC jobs", () => {
  test("with OnReset the PATCH makes the job: none is made by hand", async () => {
    const { bmc, sim } = await rig("dell");
    await bmc.stage({ Sme: "Enabled" });
    expect(sim.requests.filter((r) => r.method === "POST")).toEqual([]);
  });

  test("firmware without apply times: a job is made, else no reset would apply it", async () => {
    const { bmc, sim, bios } = await rig("dell", { noApplyTimes: true });
    await bmc.stage({ Sme: "Enabled" });
    expect(sim.requests.filter((r) => r.method === "POST").map((r) => r.path)).toEqual([
      "/redfish/v1/Managers/iDRAC.Embedded.1/Jobs",
    ]);
    expect((await bmc.bios()).staged).toEqual({ Sme: "Enabled" });
    await bmc.powerCycle();
    expect(bios.current["Sme"]).toBe("Enabled");
  });

  test("settings that lost their job do not count as staged", async () => {
    const { bmc, sim } = await rig("dell", { noApplyTimes: true });
    const patch = await fetchLike(sim, "/redfish/v1/Systems/System.Embedded.1/Bios/Settings", {
      Attributes: { Sme: "Enabled" },
    });
    expect(patch).toBe(200);
    expect((await bmc.bios()).staged).toEqual({});
  });
});

describe("what is refused before anything is sent", () => {
  test.each([
    [{ Nonsense: "Enabled" }, "Nonsense is not an attribute of this BIOS"],
    [{ "SMEE#003E": "Perhaps" }, "SMEE#003E takes Disabled, Enabled, Auto, not Perhaps"],
    [{ "SEV-ESASIDSpaceLimit#700C": 511 }, "takes a whole number of 1 to 510, not 511"],
    [{ "SEV-ESASIDSpaceLimit#700C": "100" }, "takes a whole number"],
  ])("%j", async (settings, saw) => {
    const { bmc, sim } = await rig("supermicro");
    const error = await errorOf(bmc.stage(settings as Record<string, string | number>));
    expect(error.code).toBe("bmc.setting-invalid");
    expect(error.parts.saw).toContain(saw);
    expect(sim.requests.some((r) => r.method === "PATCH")).toBe(false);
  });

  test("a closed attribute", async () => {
    const { bmc } = await rig("dell");
    expect((await errorOf(bmc.stage({ Snp: "Enabled" }))).parts.saw).toBe("Snp is read-only now");
  });
});

describe("a 2xx alone is not believed", () => {
  test("accepted but not staged", async () => {
    const { bmc, sim } = await rig("supermicro");
    sim.faults.stageNothing = true;
    const error = await errorOf(bmc.stage({ "SMEE#003E": "Enabled" }));
    expect(error.code).toBe("bmc.not-staged");
    expect(error.parts.saw).toContain("SMEE#003E is Disabled, not Enabled");
  });

  test("somebody else wrote meanwhile: 412 is a conflict", async () => {
    const { bmc, sim } = await rig("lenovo");
    sim.faults.otherWriter = true;
    expect((await errorOf(bmc.stage({ Memory_SMEE: "Enabled" }))).code).toBe("bmc.conflict");
  });
});

describe("login", () => {
  const PASSWORD = "canary-Pa55 word";

  test("401 names the node, the user and the variable to set, and is tried once: BMCs lock accounts", async () => {
    const { sim, client } = await rig("supermicro", { password: "right" });
    const bmc = client({}, PASSWORD);
    for (let i = 0; i < 3; i++) {
      const error = await errorOf(bmc.bios(), PASSWORD, Buffer.from(`ops:${PASSWORD}`).toString("base64"));
      expect(error.code).toBe("bmc.unauthorized");
      expect(error.message).toContain("gpu-01");
      expect(error.message).toContain("user ops");
      expect(error.parts.next).toContain("TEEUP_BMC_PASSWORD_GPU_01");
    }
    expect(sim.requests.filter((r) => r.status === 401)).toHaveLength(1);
  });

  test("Basic switched off: a session is made, used and ended", async () => {
    const { sim, client } = await rig("hpe", { auth: { basic: false, session: true } });
    const bmc = client();
    await bmc.stage({ AmdSecureMemoryEncryption: "Enabled" });
    expect(sim.openSessions).toBe(1);
    await bmc.close();
    expect(sim.openSessions).toBe(0);
  });

  test("Basic switched off and a wrong password", async () => {
    const { client } = await rig("hpe", { auth: { basic: false, session: true }, password: "right" });
    expect((await errorOf(client({}, PASSWORD).bios(), PASSWORD)).code).toBe("bmc.unauthorized");
  });

  test("an account that is locked while we run", async () => {
    const faults: { bmc?: "401" } = {};
    const { bmc } = await rig("supermicro", { faults });
    await bmc.bios();
    faults.bmc = "401";
    expect((await errorOf(bmc.powerCycle())).code).toBe("bmc.unauthorized");
  });
});

describe("TLS", () => {
  test("the fingerprint that `certificateOf` shows is the one to pin, in any case of letters", async () => {
    const { sim, client } = await rig();
    expect(await certificateOf(sim.url)).toBe(sim.fingerprint);
    await client({ certificate: sim.fingerprint.toLowerCase() }).bios();
  });

  test("a changed certificate is refused before the password is sent, and the error shows both", async () => {
    const { sim, bmc } = await rig();
    const old = sim.fingerprint;
    await sim.renewCertificate();
    const error = await errorOf(bmc.bios(), sim.password);
    expect(error.code).toBe("bmc.certificate-changed");
    expect(error.parts.saw).toContain(sim.fingerprint);
    expect(error.parts.saw).toContain(old);
    expect(sim.requests).toEqual([]);
  });

  test("a certificate that changes between two requests is caught by the next connection", async () => {
    const { sim, bmc } = await rig();
    await bmc.bios();
    const seen = sim.requests.length;
    await sim.renewCertificate();
    expect((await errorOf(bmc.powerCycle())).code).toBe("bmc.certificate-changed");
    expect(sim.requests).toHaveLength(seen);
  });

  test("without a pin a self-signed certificate is refused, and its fingerprint shown", async () => {
    const { sim } = await rig();
    const bmc = new Bmc("gpu-01", { url: sim.url, user: sim.user }, sim.password, FAST);
    open.unshift(bmc);
    const error = await errorOf(bmc.bios(), sim.password);
    expect(error.code).toBe("bmc.certificate-untrusted");
    expect(error.parts.saw).toContain(sim.fingerprint);
    expect(sim.requests).toEqual([]);
  });

  test("a CA file verifies it; an expired certificate is refused even so", async () => {
    const folder = await mkdtemp(join(tmpdir(), "teeup-bmc-"));
    try {
      for (const [days, code] of [
        [365, undefined],
        [-1, "bmc.certificate-untrusted"],
      ] as const) {
        const { sim } = await rig("supermicro", { certificateDays: days });
        const caFile = join(folder, "ca.pem");
        await writeFile(caFile, sim.certificate);
        const bmc = new Bmc("gpu-01", { url: sim.url, user: sim.user, caFile }, sim.password, FAST);
        open.unshift(bmc);
        if (code === undefined) await bmc.bios();
        else expect((await errorOf(bmc.bios())).code).toBe(code);
      }
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  test("a CA file that cannot be read names the field", async () => {
    const { sim } = await rig();
    const bmc = new Bmc("gpu-01", { url: sim.url, user: sim.user, caFile: "/nowhere/ca.pem" }, sim.password, FAST);
    const error = await errorOf(bmc.bios());
    expect(error.code).toBe("bmc.ca-file");
    expect(error.parts.subject).toBe("bmc.caFile");
  });
});

describe("the login never leaves this BMC", () => {
  test.each(["link", "redirect"] as const)("a %s to another server is not followed", async (how) => {
    const { bmc, sim } = await rig("supermicro");
    const other = await rig("supermicro", { user: sim.user, password: sim.password });
    sim.faults.elsewhere = { how, url: `${other.sim.url}/redfish/v1/Systems/1/Bios` };
    const error = await errorOf(bmc.bios(), sim.password);
    expect(error.code).toBe("bmc.schema");
    expect(error.parts.saw).toContain("a link that leaves this BMC");
    expect(other.sim.requests).toEqual([]);
  });
});

describe("each failure has its own code", () => {
  test("refused", async () => {
    const { sim, client } = await rig();
    const bmc = client();
    await sim.close();
    expect((await errorOf(bmc.bios())).code).toBe("bmc.refused");
  });

  test("no answer in time", async () => {
    const { sim } = await rig();
    sim.faults.hang = true;
    const bmc = new Bmc("gpu-01", { url: sim.url, user: sim.user, certificate: sim.fingerprint }, sim.password, {
      ...FAST,
      requestMs: 100,
    });
    open.unshift(bmc);
    expect((await errorOf(bmc.bios())).code).toBe("bmc.timeout");
    expect(sim.requests).toHaveLength(0);
  });

  test("a name that does not resolve", async () => {
    const { client } = await rig();
    expect((await errorOf(client({ url: "https://bmc.invalid" }).bios())).code).toBe("bmc.unknown-host");
  });

  test("HTML in place of JSON", async () => {
    const { bmc, sim } = await rig();
    sim.faults.biosIs = "html";
    const error = await errorOf(bmc.bios());
    expect(error.code).toBe("bmc.not-json");
    expect(error.parts.saw).toContain("<html>");
  });

  test("JSON that is no BIOS", async () => {
    const { bmc, sim } = await rig();
    sim.faults.biosIs = "wrong-schema";
    const error = await errorOf(bmc.bios());
    expect(error.code).toBe("bmc.schema");
    expect(error.parts.saw).toContain("/redfish/v1/Systems/1/Bios");
  });

  test("what the BMC itself says is in the error", async () => {
    const { bmc, bios } = await rig("supermicro");
    bios.stage = () => [{ attribute: "SMEE#003E", kind: "value", message: "The BIOS is locked by a setup password." }];
    const error = await errorOf(bmc.stage({ "SMEE#003E": "Enabled" }));
    expect(error.code).toBe("bmc.rejected");
    expect(error.parts.saw).toContain("The BIOS is locked by a setup password.");
  });
});

describe("tries again", () => {
  test("a GET after 503s and after broken connections", async () => {
    const { bmc, sim } = await rig();
    sim.faults.unavailable = 2;
    await bmc.bios();
    sim.faults.drop = 2;
    await bmc.bios();
  });

  test("but not without end: the error is the BMC's", async () => {
    const { bmc, sim } = await rig();
    sim.faults.unavailable = 100;
    const error = await errorOf(bmc.bios());
    expect(error.code).toBe("bmc.server-error");
    expect(error.parts.saw).toContain("temporarily unavailable");
    expect(sim.requests).toHaveLength(1 + FAST.retries);
  });

  test("never a write: it may have been carried out", async () => {
    const { bmc, sim, resets } = await rig();
    sim.faults.unavailableForWrites = 1;
    expect((await errorOf(bmc.powerCycle())).code).toBe("bmc.server-error");
    expect(sim.requests.filter((r) => r.method === "POST")).toHaveLength(1);
    expect(resets).toEqual([]);
  });
});

test("no registry: names of the BIOS resource alone are enough to read and stage", async () => {
  const { bmc, bios } = await rig("lenovo", {});
  Object.defineProperty(bios, "hasRegistry", { value: false });
  const snapshot = await bmc.bios();
  expect(snapshot.hasRegistry).toBe(false);
  await bmc.stage({ Memory_SMEE: "Enabled" });
  expect((await errorOf(bmc.stage({ Nonsense: 1 }))).code).toBe("bmc.setting-invalid");
});

test("powerCycle switches on what is off", async () => {
  const resets: string[] = [];
  const { bmc } = await rig("asrockrack", {
    power: () => ({ state: "Off", reset: (t) => void resets.push(t), resets: [] }),
  });
  expect(await bmc.powerState()).toBe("Off");
  await bmc.powerCycle();
  expect(resets).toEqual(["On"]);
});

/** A PATCH past the client under test; the status. */
async function fetchLike(sim: SimBmc, path: string, body: unknown): Promise<number> {
  const { request } = await import("node:https");
  return new Promise((resolve, reject) => {
    const call = request(
      `${sim.url}${path}`,
      { method: "PATCH", ca: sim.certificate, auth: `${sim.user}:${sim.password}` },
      (response) => {
        response.resume();
        resolve(response.statusCode ?? 0);
      },
    );
    call.once("error", reject);
    call.end(JSON.stringify(body));
  });
}
