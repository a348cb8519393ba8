import { writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "@jest/globals";
import { stringify } from "yaml";
import type { DriftReport } from "../../../cli/formats/drift-facts.ts";
import type { Twin } from "../../../sim/twin.ts";
import { run } from "../../cli/run.ts";
import { configOf, isFacet, nameOf, onChange, Site, Stack } from "../harness.ts";
import { type StateServer, startPostgres, startS3 } from "./servers.ts";

/**
 * States of teams: in a real PostgreSQL, and in an S3 that is a small server of that protocol (gofakes3), not Amazon's. Two
 * writers are two Pulumis with homes of their own, as on two machines.
 */
const PROGRAM = { folder: join(dirname(fileURLToPath(import.meta.url)), "program"), project: "teeup" };
const MINUTES = 300_000;

describe.each([
  ["PostgreSQL", startPostgres],
  ["S3", startS3],
] as const)("states in %s", (_name, start) => {
  let server: StateServer;
  let site: Site;
  beforeAll(async () => {
    server = await start();
  }, MINUTES);
  afterAll(() => server?.stop());
  afterEach(() => site.close());

  /** The same stack for every writer: the file of its config is what they share besides the state. */
  async function writers(twin: Twin): Promise<readonly [Stack, Stack]> {
    const config = configOf([site.node("gpu-01", twin)], "service");
    const env = { ...server.env, PULUMI_BACKEND_URL: server.url, TEEUP_BMC_PASSWORD: twin.bmc?.password ?? "" };
    const name = `s${process.pid}x${site.folder.split("-").at(-1)?.toLowerCase()}`;
    const first = await Stack.create(site, { name, config, env, program: PROGRAM });
    // Another home is another machine: plugins, credentials and the selected stack are its own.
    const second = await Stack.join(site, {
      name,
      config,
      env: { ...env, PULUMI_HOME: site.path("second", "home") },
      program: PROGRAM,
    });
    return [first, second];
  }
  const facets = async (stack: Stack) => (await stack.export()).resources.filter(isFacet).map(({ urn }) => nameOf(urn));

  test(
    "what one writer brought up, the other finds as it is; and a scan reads it from there",
    async () => {
      site = new Site();
      const twin = await site.twin({ name: "gpu-01" });
      const [first, second] = await writers(twin);
      const up = await first.up();
      expect([up.status, up.status === 0 ? "" : up.said]).toEqual([0, ""]);
      twin.journal.clear();
      const again = await second.up("--expect-no-changes");
      expect([again.status, again.status === 0 ? "" : again.said]).toEqual([0, ""]);
      expect(twin.journal.counts().mutations).toBe(0);
      expect(await facets(second)).toEqual(["cpu", "packages"]);

      const fleet = site.path("fleet.yaml");
      const [stack] = /(?<=Pulumi\.).*(?=\.yaml$)/.exec(first.configFile) ?? [];
      writeFileSync(
        fleet,
        stringify({ stacks: [{ stack, project: PROGRAM.folder, file: first.configFile, backend: server.url }] }),
      );
      const env = Object.fromEntries(
        Object.entries(first.env).filter((one): one is [string, string] => one[1] !== undefined),
      );
      const scan = await run(["cli/main.ts", "drift", "--fleet", fleet, "--json"], env);
      expect([scan.status, scan.status === 0 ? "" : scan.stderr + scan.stdout]).toEqual([0, ""]);
      const { nodes } = JSON.parse(scan.stdout) as DriftReport;
      expect(nodes.map(({ node, status, facets: of }) => [node, status, of.length])).toEqual([["gpu-01", "clean", 2]]);
      // The password of the database is nobody's to read in a result.
      expect(scan.stdout + scan.stderr).not.toContain(new URL(server.url).password || "no password");
    },
    MINUTES,
  );

  test(
    "while one writer is at it, the other is refused and changes nothing; afterwards both see one whole state",
    async () => {
      site = new Site();
      const twin = await site.twin({ name: "gpu-01" });
      const [first, second] = await writers(twin);
      let refused: ReturnType<Stack["up"]> | undefined;
      let during: readonly string[] = [];
      const up = first.start("up", "--yes", "--skip-preview");
      const stop = onChange(twin, () => {
        stop();
        const provider = up.provider();
        if (provider === undefined) throw new Error("no provider was seen");
        // Stopped where it stands, with the stack's lock in its engine's hands.
        process.kill(provider, "SIGSTOP");
        refused = second.up().finally(() => {
          during = twin.journal.mutations().map(({ argv }) => argv.join(" "));
          process.kill(provider, "SIGCONT");
        });
      });
      const ended = await up.ended;
      expect([ended.status, ended.status === 0 ? "" : ended.said]).toEqual([0, ""]);
      const other = await refused;
      expect(other?.status).not.toBe(0);
      expect(other?.said).toMatch(/the stack is currently locked by 1 lock/);
      expect(during).toHaveLength(1);
      expect(await facets(second)).toEqual(await facets(first));
      const last = await second.up("--expect-no-changes");
      expect([last.status, last.status === 0 ? "" : last.said]).toEqual([0, ""]);
    },
    MINUTES,
  );

  test(
    "two that begin in the same moment: never do both change, and the state is whole",
    async () => {
      site = new Site();
      const twin = await site.twin({ name: "gpu-01" });
      const [first, second] = await writers(twin);
      const ups = await Promise.all([first.up(), second.up()]);
      // Pulumi's locks of such states are written first and looked at then: both may be refused, but one at most goes on.
      for (const { status, said } of ups) if (status !== 0) expect(said).toMatch(/currently locked|lock\.held/);
      const installs = twin.journal.mutations().map(({ argv }) => argv.join(" "));
      expect(installs).toEqual([...new Set(installs)]);
      const last = await first.up();
      expect([last.status, last.status === 0 ? "" : last.said]).toEqual([0, ""]);
      expect(await facets(second)).toEqual(["cpu", "packages"]);
    },
    MINUTES,
  );
});
