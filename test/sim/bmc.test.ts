import { request } from "node:https";
import { gunzipSync } from "node:zlib";
import { afterEach, describe, expect, test } from "@jest/globals";
import type { SimBmc, SimBmcOptions } from "../../sim/bmc.ts";
import { startBmc } from "../../sim/bmc.ts";
import { SHAPES } from "../../sim/bmc-vendors.ts";
import { Journal } from "../../sim/journal.ts";
import type { BiosVendor } from "../../sim/model/bios.ts";
import { Bios } from "../../sim/model/bios.ts";

const VENDORS = ["supermicro", "dell", "asrockrack", "hpe", "lenovo"] as const;
let running: SimBmc | undefined;
afterEach(() => running?.close());

async function start(vendor: BiosVendor, options: Partial<SimBmcOptions> = {}) {
  const bios = new Bios(vendor);
  const journal = new Journal();
  const resets: string[] = [];
  const reset = (type: string) => {
    resets.push(type);
    bios.apply();
  };
  const sim = await startBmc({ bios, journal, power: () => ({ state: "On", reset, resets: [] }), ...options });
  running = sim;
  return { sim, bios, journal, resets, shape: SHAPES[vendor] };
}

interface Reply {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Record<string, unknown>;
}

function call(
  sim: SimBmc,
  method: string,
  path: string,
  given: { body?: unknown; headers?: Record<string, string>; password?: string } = {},
): Promise<Reply> {
  const auth = `${sim.user}:${given.password ?? sim.password}`;
  return new Promise((resolve, reject) => {
    const sent = request(
      `${sim.url}${path}`,
      { method, ca: sim.certificate, auth, headers: given.headers ?? {}, agent: false },
      async (response) => {
        const chunks: Buffer[] = [];
        for await (const chunk of response) chunks.push(chunk as Buffer);
        const raw = Buffer.concat(chunks);
        const text = (response.headers["content-encoding"] === "gzip" ? gunzipSync(raw) : raw).toString("utf8");
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          body: text.startsWith("{") ? JSON.parse(text) : {},
        });
      },
    );
    sent.once("error", reject);
    sent.end(given.body === undefined ? undefined : JSON.stringify(given.body));
  });
}

/** Values of all `@odata.id`, `Uri` and `target` in a document. */
const linksOf = (value: unknown): string[] =>
  value !== null && typeof value === "object"
    ? Object.entries(value).flatMap(([key, v]) =>
        typeof v === "string" && ["@odata.id", "Uri", "target", "@Redfish.ActionInfo"].includes(key) ? [v] : linksOf(v),
      )
    : [];

describe.each(VENDORS)("%s", (vendor) => {
  test("the BIOS, its settings and its registry are found by links alone", async () => {
    const { sim, shape, bios } = await start(vendor);
    const seen = new Map<string, Reply>();
    const todo = ["/redfish/v1/"];
    for (let path = todo.pop(); path !== undefined; path = todo.pop()) {
      if (seen.has(path)) continue;
      const reply = await call(sim, "GET", path);
      seen.set(path, reply);
      todo.push(...linksOf(reply.body));
    }
    expect(seen.get(shape.bios)?.body["Attributes"]).toEqual(bios.current);
    expect(seen.get(shape.settings)?.status).toBe(200);
    const entries = seen.get(shape.registryUri)?.body["RegistryEntries"] as { Attributes: { AttributeName: string }[] };
    expect(entries.Attributes.map((a) => a.AttributeName)).toEqual(bios.attributes.map((a) => a.name));
  });

  test("only the service root needs no login", async () => {
    const { sim, shape } = await start(vendor);
    expect((await call(sim, "GET", "/redfish/v1/", { password: "wrong" })).status).toBe(200);
    for (const path of [shape.system, shape.bios, shape.settings, shape.registryUri]) {
      const reply = await call(sim, "GET", path, { password: "wrong" });
      expect(reply.status).toBe(401);
      expect(reply.headers["www-authenticate"]).toContain("Basic");
    }
  });

  test("a refused write stays out of force, out of the staged values and is not a mutation", async () => {
    const { sim, shape, bios, journal } = await start(vendor);
    const etag = String((await call(sim, "GET", shape.settings)).headers["etag"]);
    const before = { ...bios.current };
    const tries: [unknown, Record<string, string>, number][] = [
      [{ Attributes: { Nonsense: 1 } }, { "if-match": etag }, 400],
      [{}, { "if-match": etag }, 400],
      [{ Attributes: {} }, { "if-match": '"other"' }, 412],
    ];
    for (const [body, headers, status] of tries)
      expect((await call(sim, "PATCH", shape.settings, { body, headers })).status).toBe(status);
    expect((await call(sim, "PATCH", shape.bios, { body: { Attributes: {} } })).status).toBe(405);
    expect(bios.staged).toEqual({});
    expect(bios.current).toEqual(before);
    expect(journal.mutations()).toEqual([]);
  });
});

test("a session logs in without Basic, and ends", async () => {
  const { sim, shape, journal } = await start("hpe", { auth: { basic: false, session: true } });
  const path = "/redfish/v1/SessionService/Sessions";
  const login = (Password: string) => call(sim, "POST", path, { body: { UserName: sim.user, Password } });
  expect((await login("wrong")).status).toBe(401);
  const made = await login(sim.password);
  const headers = { "x-auth-token": String(made.headers["x-auth-token"]) };
  expect(made.status).toBe(201);
  expect((await call(sim, "GET", shape.system)).status).toBe(401);
  expect((await call(sim, "GET", shape.system, { headers })).status).toBe(200);
  expect((await call(sim, "DELETE", String(made.headers["location"]), { headers })).status).toBe(204);
  expect((await call(sim, "GET", shape.system, { headers })).status).toBe(401);
  // A login changes nothing on the node.
  expect(JSON.stringify(journal.entries)).not.toContain(sim.password);
  expect(journal.mutations()).toEqual([]);
});

test("settings wait for a reset; both are mutations in the journal, without values of a login", async () => {
  const { sim, shape, bios, journal, resets } = await start("supermicro");
  const staged = await call(sim, "PATCH", shape.settings, { body: { Attributes: { "SMEE#003E": "Enabled" } } });
  expect(staged.status).toBe(200);
  expect(bios.current["SMEE#003E"]).toBe("Disabled");
  const reset = (ResetType: string) =>
    call(sim, "POST", "/redfish/v1/Systems/1/Actions/ComputerSystem.Reset", { body: { ResetType } });
  expect((await reset("Nonsense")).status).toBe(400);
  expect((await reset("ForceRestart")).status).toBe(204);
  expect(bios.current["SMEE#003E"]).toBe("Enabled");
  expect(resets).toEqual(["ForceRestart"]);
  expect(journal.mutations().map((m) => [m.machine, m.verb, m.argv.at(-1)])).toEqual([
    ["bmc", "stage-bios", "SMEE#003E=Enabled"],
    ["bmc", "reset", "ForceRestart"],
  ]);
});

describe("what differs between makers", () => {
  test("Supermicro knows no apply time", async () => {
    const { sim, shape } = await start("supermicro");
    const body = { Attributes: { "SMEE#003E": "Enabled" }, "@Redfish.SettingsApplyTime": { ApplyTime: "OnReset" } };
    const reply = await call(sim, "PATCH", shape.settings, { body });
    expect(reply.status).toBe(400);
    expect(JSON.stringify(reply.body)).toContain("PropertyUnknown");
  });

  test("ASRockRack demands If-Match", async () => {
    const { sim, shape } = await start("asrockrack");
    const body = { Attributes: { CbsCmnCpuSevAsidSpaceLimit: 100 } };
    expect((await call(sim, "PATCH", shape.settings, { body })).status).toBe(428);
    expect((await call(sim, "PATCH", shape.settings, { body, headers: { "if-match": "*" } })).status).toBe(200);
  });

  test("iLO redirects to the path with a slash", async () => {
    const { sim } = await start("hpe");
    const reply = await call(sim, "GET", "/redfish/v1/systems/1/bios");
    expect([reply.status, reply.headers["location"]]).toEqual([308, "/redfish/v1/systems/1/bios/"]);
  });

  test("iDRAC: no job, no effect; and a closed attribute is refused", async () => {
    const { sim, shape, bios } = await start("dell");
    expect((await call(sim, "PATCH", shape.settings, { body: { Attributes: { Snp: "Enabled" } } })).status).toBe(400);
    expect((await call(sim, "PATCH", shape.settings, { body: { Attributes: { Sme: "Enabled" } } })).status).toBe(200);
    bios.apply();
    expect(bios.current["Sme"]).toBe("Disabled");
    const job = await call(sim, "POST", shape.jobs ?? "", { body: { TargetSettingsURI: shape.settings } });
    expect(job.status).toBe(200);
    bios.apply();
    expect(bios.current["Sme"]).toBe("Enabled");
  });
});

describe("faults", () => {
  test("503 so many times, then well", async () => {
    const { sim, shape } = await start("lenovo");
    sim.faults.unavailable = 2;
    const statuses: number[] = [];
    for (let i = 0; i < 3; i++) statuses.push((await call(sim, "GET", shape.system)).status);
    expect(statuses).toEqual([503, 503, 200]);
  });

  test("a broken connection", async () => {
    const { sim, shape } = await start("lenovo");
    sim.faults.drop = 1;
    await expect(call(sim, "GET", shape.system)).rejects.toThrow(/hang up|ECONNRESET/);
    expect((await call(sim, "GET", shape.system)).status).toBe(200);
  });

  test("the twin's own: 401 and down", async () => {
    const faults: { bmc?: "401" | "down" } = { bmc: "401" };
    const { sim, shape } = await start("lenovo", { faults });
    expect((await call(sim, "GET", shape.system)).status).toBe(401);
    faults.bmc = "down";
    await expect(call(sim, "GET", shape.system)).rejects.toThrow();
    delete faults.bmc;
    expect((await call(sim, "GET", shape.system)).status).toBe(200);
  });

  test("a new certificate has another fingerprint, and the old one no longer verifies it", async () => {
    const { sim, shape } = await start("lenovo");
    const old = { ...sim, certificate: sim.certificate };
    const fingerprint = sim.fingerprint;
    await sim.renewCertificate();
    expect(sim.fingerprint).not.toBe(fingerprint);
    await expect(call(old, "GET", shape.system)).rejects.toThrow(/certificate/);
    expect((await call(sim, "GET", shape.system)).status).toBe(200);
  });
});
