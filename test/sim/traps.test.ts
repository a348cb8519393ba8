import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test } from "@jest/globals";
import { file } from "../../sim/model/files.ts";
import { startTwin, type Twin } from "../../sim/twin.ts";
import { destroy, look, type Production, up } from "../lab/production.ts";
import { TRAPS } from "../lab/traps.ts";

/** The same traps as on a real kernel (test/lab/traps.test.ts), with the same ends. */
const folder = mkdtempSync(join(tmpdir(), "teeup-traps-"));
let twin: Twin | undefined;
afterEach(async () => {
  await twin?.stop();
  twin = undefined;
  rmSync(folder, { recursive: true, force: true });
});

test.each(TRAPS.map((trap) => [trap.name, trap] as const))("%s", async (_name, trap) => {
  twin = await startTwin({ scenario: "bios-no-bmc-good", ...trap.twin.options });
  const { host, port, hostKey, privateKey = "", knownHosts: _, ...ssh } = twin.ssh;
  const keyFile = join(mkdtempSync(join(tmpdir(), "teeup-traps-")), "id");
  writeFileSync(keyFile, privateKey, { mode: 0o600 });
  twin.host.packages.extra.push({
    name: "lab-tool",
    version: "1.1-1",
    files: { "/usr/share/lab/lab-tool": file("1\n") },
  });
  twin.node.exec0(["apt-get", "-y", "install", "driverctl", "pciutils"]);
  const production: Production = {
    node: { name: "lab-01", ssh: { host, port, user: ssh.user, hostKey, keyFile } },
    wants: trap.wants,
    permit: trap.permit ?? "reboot",
    env: { TEEUP_TIMEOUT_SCALE: "0.002" },
    options: { pollFirstMs: 2, pollMaxMs: 20 },
  };
  const go = trap.destroy === true ? destroy : up;
  if (trap.first !== undefined)
    expect(await up({ ...production, wants: trap.first })).toMatchObject({ error: undefined, findings: [] });
  trap.twin.set(twin);
  const { error } = await go(production);
  expect(error?.parts).toMatchObject({
    ...trap.ends,
    node: "lab-01",
    saw: expect.stringMatching(trap.ends.saw),
    next: expect.stringMatching(trap.ends.next),
  });
  trap.twin.clear(twin);
  const cured = { ...production, wants: trap.cured ?? trap.wants, env: {} };
  expect(await go(cured)).toMatchObject({ error: undefined, findings: [] });
  if (trap.destroy !== true) expect(await look(cured)).toMatchObject({ steps: [], findings: [] });
  expect((await go(cured)).ran).toEqual([]);
  expect(twin.journal.unmodelled).toEqual([]);
});
