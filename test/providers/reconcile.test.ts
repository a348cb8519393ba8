import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { z } from "zod";
import { type Appraisal, WantedPolicySchema } from "../../providers/kit/appraisal.ts";
import { type Asks, missing, text } from "../../providers/kit/ask.ts";
import type { Disruption } from "../../providers/kit/disruption.ts";
import { DISRUPTIONS, PermitSchema, permits, worst } from "../../providers/kit/disruption.ts";
import { TeeUpError } from "../../providers/kit/errors.ts";
import type { Facet } from "../../providers/kit/facet.ts";
import { facet } from "../../providers/kit/facet.ts";
import type { Fact } from "../../providers/kit/facts.ts";
import type { Place } from "../../providers/kit/machine.ts";
import { digest, type Goal, MAX_ROUNDS, Reconciler, type Run } from "../../providers/reconcile.ts";
import { FakeFleet } from "./fake-fleet.ts";

const FILE = "/etc/motd";

/** A file that must hold `want.text`; the write costs `disruption`. */
function file(disruption: Disruption = "none", extra: Partial<Facet<{ text: string }, Fact<string>>> = {}) {
  return facet<{ text: string }, Fact<string>, Asks>({
    name: "motd",
    type: "Motd",
    on: "host",
    persona: "host",
    summary: "",
    sources: [],
    covers: [],
    examples: [],
    want: z.object({ text: z.string() }),
    asks: { motd: { kind: "file", path: FILE } },
    parse: ({ motd }) => text(motd ?? missing),
    judge: (want, fact) =>
      fact.state === "known" && fact.value === want.text
        ? []
        : [{ code: "motd.text", level: "fail", want: want.text, saw: JSON.stringify(fact), hint: "", source: "" }],
    plan: (want, fact) =>
      fact.state === "unknown" || (fact.state === "known" && fact.value === want.text)
        ? []
        : [
            {
              code: "motd.write",
              title: `write ${want.text}`,
              why: "",
              disruption,
              actions: [{ do: "write", path: FILE, content: want.text }],
            },
          ],
    undo: (_want, fact) =>
      fact.state === "known"
        ? [{ code: "motd.remove", title: "remove", why: "", disruption, actions: [{ do: "remove", path: FILE }] }]
        : [],
    show: (fact) => ({ fact }),
    ...extra,
  });
}

const goal = (f: ReturnType<typeof file>, want: unknown = { text: "hello" }, node = "gpu-01"): Goal => ({
  facet: f as Facet,
  node,
  want,
});
const run = (permit: Run["permit"] = "none"): Run => ({
  permit,
  onProgress: () => undefined,
  signal: new AbortController().signal,
});

async function codeOf(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => "resolved",
    (e: unknown) => (e instanceof TeeUpError ? e.code : String(e)),
  );
}

describe("reconcile", () => {
  test("brings the goal about, and a second run changes nothing", async () => {
    const fleet = new FakeFleet("gpu-01");
    const reconciler = new Reconciler(fleet);
    const first = await reconciler.reconcile(goal(file()), run());
    expect(first.ran).toEqual(["motd.write"]);
    expect(first.findings).toEqual([]);
    const second = await reconciler.reconcile(goal(file()), run());
    expect(second.ran).toEqual([]);
    expect(fleet.machines["gpu-01"]?.host.acted).toHaveLength(1);
  });

  test("outputs what was seen, not what was wanted: a write that does not take is not reported as done", async () => {
    const fleet = new FakeFleet("gpu-01");
    const host = fleet.machines["gpu-01"]?.host;
    if (host === undefined) throw new Error("no host");
    host.onAct = () => host.files.set(FILE, "something else");
    await expect(codeOf(new Reconciler(fleet).reconcile(goal(file()), run()))).resolves.toBe(
      "reconcile.not-converging",
    );
    expect(host.acted).toHaveLength(MAX_ROUNDS);
  });

  test("refuses everything above the permit before anything is touched, and names the command that permits it", async () => {
    const fleet = new FakeFleet("gpu-01");
    const error = await new Reconciler(fleet).reconcile(goal(file("reboot")), run()).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(TeeUpError);
    expect((error as TeeUpError).code).toBe("permit.refused");
    expect((error as TeeUpError).message).toContain("pulumi config set teeup:permit reboot");
    expect((error as TeeUpError).message).toContain("[reboot] write hello");
    expect(fleet.machines["gpu-01"]?.host.acted).toEqual([]);
  });

  test("an action that fails is an error of its step", async () => {
    const fleet = new FakeFleet("gpu-01");
    const host = fleet.machines["gpu-01"]?.host;
    if (host === undefined) throw new Error("no host");
    host.onAct = () => {
      throw new TeeUpError({ code: "action.failed", node: "gpu-01", saw: "it says no", next: "mend it" });
    };
    const error = await new Reconciler(fleet).reconcile(goal(file()), run()).catch((e: unknown) => e);
    expect(error).toMatchObject({ code: "action.failed", parts: { subject: "motd.write" } });
    expect(String(error)).toMatch(/gpu-01 · motd\.write: it says no/);
  });

  test("a human step never runs, whatever is permitted", async () => {
    const fleet = new FakeFleet("gpu-01");
    await expect(codeOf(new Reconciler(fleet).reconcile(goal(file("human")), run("power-cycle")))).resolves.toBe(
      "reconcile.human",
    );
    expect(fleet.machines["gpu-01"]?.host.acted).toEqual([]);
  });

  test("does not touch a node that another run holds", async () => {
    const fleet = new FakeFleet("gpu-01");
    const host = fleet.machines["gpu-01"]?.host;
    if (host === undefined) throw new Error("no host");
    host.lockedBy = "somebody else";
    await expect(codeOf(new Reconciler(fleet).reconcile(goal(file()), run()))).resolves.toBe("lock.held");
    expect(host.acted).toEqual([]);
  });

  test("stops before the next change once the engine is gone, or the lock is lost", async () => {
    const twoWrites = file("none", {
      plan: () => [
        {
          code: "motd.write",
          title: "write twice",
          why: "",
          disruption: "none",
          actions: [
            { do: "write", path: FILE, content: "a" },
            { do: "write", path: FILE, content: "b" },
          ],
        },
      ],
    });
    for (const [how, code] of [
      ["engine", "reconcile.stopped"],
      ["lock", "lock.lost"],
    ] as const) {
      const fleet = new FakeFleet("gpu-01");
      const host = fleet.machines["gpu-01"]?.host;
      if (host === undefined) throw new Error("no host");
      const engine = new AbortController();
      host.onAct = () => (how === "engine" ? engine.abort() : host.lockLost.abort());
      await expect(
        codeOf(new Reconciler(fleet).reconcile(goal(twoWrites), { ...run(), signal: engine.signal })),
      ).resolves.toBe(code);
      expect(host.acted).toHaveLength(1);
    }
  });

  test("facts older than the lock are not acted on", async () => {
    const fleet = new FakeFleet("gpu-01");
    const host = fleet.machines["gpu-01"]?.host;
    if (host === undefined) throw new Error("no host");
    const lock = host.lock.bind(host);
    // Another run finishes the work between this run's look and its lock.
    host.lock = (purpose) => {
      host.files.set(FILE, "hello");
      return lock(purpose);
    };
    const done = await new Reconciler(fleet).reconcile(goal(file()), run());
    expect(done.ran).toEqual([]);
    expect(host.acted).toEqual([]);
  });

  test("a plan made under one lock is not carried on under another", async () => {
    const fleet = new FakeFleet("gpu-01");
    const host = fleet.machines["gpu-01"]?.host;
    if (host === undefined) throw new Error("no host");
    const step = (code: string) => ({
      code,
      title: code,
      why: "",
      disruption: "none" as const,
      actions: [{ do: "write" as const, path: FILE, content: code }],
    });
    host.onAct = () => {
      host.lockLost.abort();
      host.lockedBy = undefined;
    };
    const two = file("none", { plan: () => [step("motd.a"), step("motd.b")] });
    await expect(codeOf(new Reconciler(fleet).reconcile(goal(two), run()))).resolves.toBe("lock.lost");
    expect(host.acted).toHaveLength(1);
  });

  test("an undo that cannot see what there is fails and leaves it alone", async () => {
    const fleet = new FakeFleet("gpu-01");
    const blind = file("none", {
      judge: () => [
        { code: "motd.unknown", level: "unknown", want: "", saw: "no answer within 20 s", hint: "", source: "" },
      ],
    });
    await expect(codeOf(new Reconciler(fleet).undo(goal(blind), run()))).resolves.toBe("undo.unknown");
  });

  test.each([
    ["pgrep says there is none", { kind: "ran", status: 1, stdout: "", stderr: "" }, false],
    ["pgrep shows one", { kind: "ran", status: 0, stdout: "1\n", stderr: "" }, true],
    ["pgrep hangs", { kind: "failed", why: "no answer within 20 s" }, true],
    ["pgrep is missing", { kind: "missing" }, true],
    ["pgrep fails", { kind: "ran", status: 2, stdout: "", stderr: "" }, true],
  ] as const)("a guest counts as running unless it is known that none does: %s", async (_name, answer, running) => {
    const fleet = new FakeFleet("gpu-01");
    const host = fleet.machines["gpu-01"]?.host;
    if (host === undefined) throw new Error("no host");
    const observe = host.observe.bind(host);
    host.observe = async (asks) =>
      ({ ...(await observe(asks)), ...("holder" in asks ? { holder: answer } : {}) }) as never;
    let seen: boolean | undefined;
    const nosy = file("none", {
      plan: (_want, _facts, context) => {
        seen = context.guestRunning;
        return [];
      },
    });
    await new Reconciler(fleet).look(goal(nosy));
    expect(seen).toBe(running);
  });

  test("undo restores and is done once", async () => {
    const fleet = new FakeFleet("gpu-01");
    const reconciler = new Reconciler(fleet);
    await reconciler.reconcile(goal(file()), run());
    await expect(reconciler.undo(goal(file()), run())).resolves.toEqual(["motd.remove"]);
    await expect(reconciler.undo(goal(file()), run())).resolves.toEqual([]);
  });

  test("changes on one node go one after the other, on two nodes side by side", async () => {
    const fleet = new FakeFleet("gpu-01", "gpu-02");
    const reconciler = new Reconciler(fleet);
    const results = await Promise.all(
      ["gpu-01", "gpu-01", "gpu-02"].map((node) => reconciler.reconcile(goal(file(), { text: "hello" }, node), run())),
    );
    expect(results.map((r) => r.ran.length)).toEqual([1, 0, 1]);
  });

  test("an unreachable node is one error that names it", async () => {
    const fleet = new FakeFleet("gpu-01");
    const host = fleet.machines["gpu-01"]?.host;
    if (host === undefined) throw new Error("no host");
    host.observe = (asks) =>
      Promise.resolve(
        Object.fromEntries(Object.keys(asks).map((k) => [k, { kind: "failed", why: "connect ECONNREFUSED" }])) as never,
      );
    const error = await new Reconciler(fleet).reach("gpu-01").catch((e: unknown) => e);
    expect((error as TeeUpError).code).toBe("node.unreachable");
    expect((error as TeeUpError).message).toContain("gpu-01");
    expect((error as TeeUpError).message).toContain("ECONNREFUSED");
  });
});

test("a node that is another machine now has proved nothing, whatever the last one did", async () => {
  const fleet = new FakeFleet("gpu-01");
  const asked: string[] = [];
  let where = "";
  const reconciler = new Reconciler(
    Object.assign(fleet, {
      locate: (_: string, { host }: Place) => {
        where = host;
      },
    }),
    {
      appraise: async () => {
        asked.push(where);
        return { verdict: where === "10.0.0.1" ? "pass" : "fail", refusals: [], gpu: "none" };
      },
    },
  );
  const evident = file("none", {
    evidence: () => ({ policy: WantedPolicySchema.parse({ kind: "snp", measurements: [] }), gpu: [] }),
  });
  const verdict = async (evidence: boolean) => {
    const { facts } = await reconciler.look(goal(evident), { evidence });
    return (facts as { appraisal?: Appraisal }).appraisal?.verdict;
  };
  reconciler.locate("gpu-01", { host: "10.0.0.1" }, []);
  expect(await verdict(true)).toBe("pass");
  reconciler.locate("gpu-01", { host: "10.0.0.2" }, []);
  // A preview asks nothing of it, and may not go by the other one.
  expect(await verdict(false)).toBeUndefined();
  expect(await verdict(true)).toBe("fail");
  expect(asked).toEqual(["10.0.0.1", "10.0.0.2"]);
});

describe("the pooled reboot", () => {
  const BOOTED = "/run/booted";
  /** Boots by writing BOOTED with what the file says: the running state follows the staged one. */
  const boot = file("reboot", {
    name: "boot",
    boots: true,
    judge: () => [],
    plan: (_want, _facts, { pending }) =>
      pending.length === 0
        ? []
        : [
            {
              code: "boot.restart",
              title: `restart for ${pending.flatMap((p) => p.reasons).join(", ")}`,
              why: "",
              disruption: "reboot",
              actions: [{ do: "reboot" }],
            },
          ],
    undo: () => [],
  });
  /** Staged in FILE, in force in BOOTED. `levels` values depend on each other: each needs the one before applied. */
  function staged(levels: number) {
    return facet({
      ...file(),
      name: "staged",
      asks: { staged: { kind: "file", path: FILE }, booted: { kind: "file", path: BOOTED } },
      parse: ({ staged, booted }) => ({
        staged: Number(text(staged).state === "known" ? (staged as { stdout: string }).stdout : 0),
        booted: Number(text(booted).state === "known" ? (booted as { stdout: string }).stdout : 0),
      }),
      judge: () => [],
      plan: (_want, { staged, booted }) =>
        booted >= levels || staged > booted
          ? []
          : [
              {
                code: "staged.write",
                title: "stage",
                why: "",
                disruption: "none",
                actions: [{ do: "write", path: FILE, content: String(booted + 1) }],
              },
            ],
      undo: () => [],
      pending: (_want, { booted }) => ({ reasons: booted < levels ? ["staged"] : [], boots: levels - booted }),
      show: (facts) => facts,
      examples: [],
    }) as unknown as Facet;
  }

  test.each([1, 2, 3])("settings that depend on each other %i deep take that many boots in one up", async (levels) => {
    const fleet = new FakeFleet("gpu-01");
    const host = fleet.machines["gpu-01"]?.host;
    if (host === undefined) throw new Error("no host");
    host.onAct = (action) => {
      if (action.do === "reboot") host.files.set(BOOTED, host.files.get(FILE) ?? "0");
    };
    const reconciler = new Reconciler(fleet);
    await reconciler.reconcile({ facet: staged(levels), node: "gpu-01", want: {} }, run("reboot"));
    const done = await reconciler.reconcile(goal(boot), run("reboot"));
    expect(done.ran).toEqual(Array.from({ length: levels }, () => "boot.restart"));
    expect(host.files.get(BOOTED)).toBe(String(levels));
    const again = await reconciler.reconcile(goal(boot), run("reboot"));
    expect(again.ran).toEqual([]);
  });
});

describe("disruption", () => {
  test("worst is the last in the list of classes, whatever the order", () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...DISRUPTIONS)), (classes) => {
        const w = worst(classes);
        expect(classes.every((c) => DISRUPTIONS.indexOf(c) <= DISRUPTIONS.indexOf(w))).toBe(true);
        expect(classes.length === 0 ? w === "none" : classes.includes(w)).toBe(true);
      }),
    );
  });

  test("a permit allows exactly the classes up to itself, never human", () => {
    fc.assert(
      fc.property(fc.constantFrom(...PermitSchema.options), fc.constantFrom(...DISRUPTIONS), (permit, step) => {
        expect(permits(permit, step)).toBe(
          step !== "human" && DISRUPTIONS.indexOf(step) <= DISRUPTIONS.indexOf(permit),
        );
      }),
    );
  });
});

test("digest does not depend on the order of keys", () => {
  fc.assert(
    fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (o) => {
      const reversed = Object.fromEntries(Object.entries(o).reverse());
      expect(digest(reversed)).toBe(digest(o));
    }),
  );
});
