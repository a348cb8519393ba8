import { afterEach, describe, expect, test } from "@jest/globals";
import { BAIDU, type Bench, bench, INSTANCES, look, up } from "./drive.ts";

/** Instances of clouds on a twin: from the cloud's image to attested GPUs, by the reconciler over SSH. */
let b: Bench | undefined;
afterEach(async () => {
  await b?.close();
  b = undefined;
});

describe("an untouched instance", () => {
  test.each(INSTANCES.map((p) => [p.name, p] as const))(
    "%s: a preview writes nothing; up goes to attested GPUs; then nothing is left",
    async (_name, on) => {
      b = await bench({}, on);
      const { journal, host } = b.twin;
      const first = await look(b);
      expect(journal.counts()).toMatchObject({ mutations: 0, reboots: 0 });

      const { ran, findings } = await up(b);
      expect(findings).toEqual([]);
      expect(journal.unmodelled).toEqual([]);
      expect(journal.counts().reboots).toBe(on.restarts);
      // Every device keeps the one session that it has had since the cloud gave it.
      expect(journal.counts().gpuResets).toBe(0);
      // Nothing ran that the preview had not shown, but for what follows from it.
      const shown = first.steps.map((s) => s.code);
      expect(ran.filter((code) => !shown.includes(code)).sort()).toEqual(
        [...AFTERWORK, ...(on.restarts > 0 ? ["host-boot.clear"] : [])].sort(),
      );
      const { gpus } = b.twin.node;
      expect([...gpus.values()].map((g) => [g.session, g.ready])).toEqual([...gpus].map(() => ["up", true]));
      const agents = on === BAIDU ? ["bcm-agent", "has-agent"] : ["cloudmonitor"];
      for (const name of agents)
        expect(host.units.properties(`${name}.service`)).toMatchObject({ ActiveState: "active" });

      journal.clear();
      expect((await look(b)).byFacet).toEqual({});
      expect(await up(b)).toEqual({ ran: [], findings: [] });
      expect(journal.counts()).toMatchObject({ mutations: 0, reboots: 0 });
    },
  );
  const AFTERWORK = ["gpu-agents.start", "gpu-ready-state.set"];
});
