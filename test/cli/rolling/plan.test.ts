import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { isOut, isStopped, next, type Standing, type Walk } from "../../../cli/rolling/plan.ts";

const node = (name: string, over: Partial<Standing> = {}): Standing => {
  const [stack = "", of = ""] = name.split("/");
  return { stack, node: of, stage: "waiting", available: true, ...over };
};
const walk = (nodes: readonly Standing[], over: Partial<Walk> = {}): Walk => ({
  nodes,
  canary: undefined,
  maxUnavailable: 1,
  stopOnFailure: false,
  ...over,
});
const names = (of: Walk): string[] => next(of).map(({ stack, nodes }) => `${stack}:${nodes.join("+")}`);
const out = { available: false } as const;
const taken = { stage: "taken" } as const;

describe("who is next", () => {
  test.each([
    ["one at a time", [node("a/1"), node("a/2"), node("b/1")], {}, ["a:1"]],
    [
      "as many as allowed, of one stack together",
      [node("a/1"), node("a/2"), node("b/1")],
      { maxUnavailable: 2 },
      ["a:1+2"],
    ],
    ["over stacks", [node("a/1"), node("b/1"), node("b/2")], { maxUnavailable: 3 }, ["a:1", "b:1+2"]],
    ["nobody while one is being worked on", [node("a/1", taken), node("b/1")], {}, []],
    ["a stack has one up at a time", [node("a/1", taken), node("a/2"), node("b/1")], { maxUnavailable: 2 }, ["b:1"]],
    [
      "the canary alone, whatever is allowed",
      [node("a/1"), node("a/2")],
      { maxUnavailable: 9, canary: node("a/2") },
      ["a:2"],
    ],
    [
      "one that is out counts, although nothing is to be done on it",
      [node("a/1", { ...out, stage: "left" }), node("a/2")],
      {},
      [],
    ],
    ["one that failed and is out counts", [node("a/1", { ...out, stage: "failed" }), node("b/1")], {}, []],
    ["one that failed and is well does not", [node("a/1", { stage: "failed" }), node("b/1")], {}, ["b:1"]],
    [
      "after a failure nobody, if so wanted",
      [node("a/1", { stage: "failed" }), node("b/1")],
      { stopOnFailure: true },
      [],
    ],
    ["after the canary's failure nobody", [node("a/1", { stage: "failed" }), node("b/1")], { canary: node("a/1") }, []],
    [
      "who is out comes first, and takes nobody's place",
      [node("a/1"), node("a/2", out), node("a/3", out)],
      {},
      ["a:2"],
    ],
    [
      "the dead do not make room",
      [node("a/1"), node("a/2", out), node("a/3", out)],
      { maxUnavailable: 3 },
      ["a:2+3+1"],
    ],
    ["nothing is left", [node("a/1", { stage: "done" }), node("a/2", { stage: "left" })], { maxUnavailable: 5 }, []],
  ] as readonly [string, Standing[], Partial<Walk>, string[]][])("%s", (_name, nodes, over, expected) => {
    expect(names(walk(nodes, over))).toEqual(expected);
  });
});

/** A fleet in which every up may end well or badly, and any node may die at any time or come back. */
interface World {
  readonly nodes: readonly { readonly stack: number; readonly available: boolean; readonly todo: boolean }[];
  readonly maxUnavailable: number;
  readonly stopOnFailure: boolean;
  readonly events: readonly {
    readonly pick: number;
    readonly ok: boolean;
    readonly well: boolean;
    readonly killed: boolean;
  }[];
}
const worlds: fc.Arbitrary<World> = fc.record({
  nodes: fc.array(fc.record({ stack: fc.nat(3), available: fc.boolean(), todo: fc.boolean() }), {
    minLength: 1,
    maxLength: 12,
  }),
  maxUnavailable: fc.integer({ min: 1, max: 5 }),
  stopOnFailure: fc.boolean(),
  events: fc.array(fc.record({ pick: fc.nat(), ok: fc.boolean(), well: fc.boolean(), killed: fc.boolean() }), {
    maxLength: 40,
  }),
});

test("never are more unavailable than allowed or than were so by themselves, and the walk always comes to its end", () => {
  fc.assert(
    fc.property(worlds, ({ nodes, maxUnavailable, stopOnFailure, events }) => {
      const all = nodes.map(({ stack, available, todo }, n) =>
        node(`${stack}/${n}`, { available, stage: todo ? "waiting" : "left" }),
      );
      const set = (n: number, over: Partial<Standing>) => {
        all[n] = { ...(all[n] as Standing), ...over };
      };
      const canaryOf = () =>
        all.some(({ stage }) => stage === "done") ? undefined : all.find(({ stage }) => stage !== "left");
      let canary = canaryOf();
      const now = (): Walk => ({ nodes: all, canary, maxUnavailable, stopOnFailure });
      // Ends well when nothing more happens by itself.
      const after = Array.from({ length: 200 }, (_, n) => ({ pick: n, ok: true, well: true, killed: false }));
      for (const { pick, ok, well, killed } of [...events, ...after]) {
        const before = all.filter(isOut).length;
        const batches = next(now());
        const own = all.filter((one) => !one.available).length;
        for (const { stack, nodes: of } of batches) {
          expect(all.some((one) => one.stack === stack && one.stage === "taken")).toBe(false);
          for (const name of of) {
            expect(all[Number(name)]).toMatchObject({ stack, stage: "waiting" });
            set(Number(name), { stage: "taken" });
          }
        }
        const working = all.filter(({ stage }) => stage === "taken");
        expect(working.length).toBeLessThanOrEqual(maxUnavailable);
        expect(all.filter(isOut).length).toBeLessThanOrEqual(Math.max(maxUnavailable, before, own));
        if (canary !== undefined) expect(working.every((one) => one.node === canary?.node)).toBe(true);
        if (killed) {
          // Whoever goes on takes what was begun for unavailable.
          for (const one of working) set(Number(one.node), { stage: "waiting", available: false });
          canary = canaryOf();
          continue;
        }
        const ended = working[pick % Math.max(1, working.length)];
        if (ended === undefined) break;
        set(Number(ended.node), { stage: ok && well ? "done" : "failed", available: well });
        if (ok && well) canary = undefined;
      }
      // At its end nobody is left waiting who could have been taken.
      expect(next(now())).toEqual([]);
      const waiting = all.filter(({ stage }) => stage === "waiting");
      if (waiting.length > 0 && !isStopped(now()))
        expect(all.filter((one) => !one.available).length).toBeGreaterThanOrEqual(maxUnavailable);
    }),
    { numRuns: 2000 },
  );
});
