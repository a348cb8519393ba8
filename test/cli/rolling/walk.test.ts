import { expect, test } from "@jest/globals";
import { holderOf, partsOf, type WalkStack } from "../../../cli/rolling/engine.ts";
import type { Journal, JournalLine } from "../../../cli/rolling/journal.ts";
import { standing } from "../../../cli/rolling/journal.ts";
import { type WalkNode, type WalkParts, walk } from "../../../cli/rolling/walk.ts";
import type { ScanStatus } from "../../../providers/kit/scan.ts";

/** A fleet of stacks that do as they are told, in place of Pulumi. test/pulumi/rolling.slow.test.ts has the real one. */
class World {
  readonly lines: JournalLine[] = [];
  readonly said: string[] = [];
  readonly taken: string[] = [];
  readonly stop = new AbortController();
  readonly status: Map<string, ScanStatus>;
  /** What `up` does to a node; by default it becomes well. */
  readonly onUp = new Map<string, () => string | undefined>();
  readonly #nodes: readonly string[];
  readonly #changes: ReadonlySet<string>;

  constructor(nodes: Readonly<Record<string, ScanStatus>>, unchanged: readonly string[] = []) {
    this.#nodes = Object.keys(nodes);
    this.status = new Map(Object.entries(nodes));
    this.#changes = new Set(this.#nodes.filter((key) => !unchanged.includes(key)));
  }

  run(over: Partial<WalkParts> = {}) {
    const nodes = this.#nodes.map((key): WalkNode => {
      const [stack = "", node = ""] = key.split("/");
      return { stack, node, canary: false };
    });
    const before = standing(this.lines, "w");
    const journal: Journal = {
      before,
      add: async (line) => void this.lines.push({ ...line, at: new Date().toISOString() } as JournalLine),
      close: async () => undefined,
    };
    const stackOf = (name: string): WalkStack => ({
      preview: async () => ({
        nodes: new Map(
          nodes
            .filter(({ stack }) => stack === name)
            .map(({ node }) => [node, { urns: [`urn:${node}`], changes: this.#changes.has(`${name}/${node}`) }]),
        ),
        shared: [],
      }),
      up: async (targets) => {
        const failures = new Map<string, string>();
        for (const node of targets.keys()) {
          const key = `${name}/${node}`;
          this.taken.push(key);
          const why = this.onUp.get(key)?.();
          if (why !== undefined) failures.set(node, why);
          else if (!this.onUp.has(key)) this.status.set(key, "clean");
        }
        return failures;
      },
    });
    return walk({
      nodes,
      stacks: new Map(nodes.map(({ stack }) => [stack, stackOf(stack)])),
      journal,
      maxUnavailable: 1,
      stopOnFailure: false,
      returnMs: 20,
      look: async (of) =>
        of.map(({ stack, node }) => ({
          stack,
          node,
          labels: {},
          status: this.status.get(`${stack}/${node}`) ?? "broken",
          facets: [],
        })),
      say: (line) => this.said.push(line),
      signal: this.stop.signal,
      ...over,
    });
  }
}
const outcomes = ({ nodes }: Awaited<ReturnType<typeof walk>>) => nodes.map(({ outcome }) => outcome);

test("who is as wanted is not taken; the others are, one at a time", async () => {
  const world = new World({ "a/1": "clean", "a/2": "clean", "b/1": "clean" }, ["a/1"]);
  const walked = await world.run();
  expect([outcomes(walked), world.taken, walked.mostUnavailable]).toEqual([
    ["as-wanted", "done", "done"],
    ["a/2", "b/1"],
    1,
  ]);
});

test("an up that ends well and leaves a facet as it should not be has failed: health is what the facets say", async () => {
  const world = new World({ "a/1": "clean", "a/2": "clean" });
  world.onUp.set("a/1", () => {
    world.status.set("a/1", "broken");
    return undefined;
  });
  const walked = await world.run({ maxUnavailable: 5 });
  expect([outcomes(walked), world.taken, walked.stopped]).toEqual([["failed", "not-taken"], ["a/1"], true]);
});

test("an unreachable node is not taken, and counts", async () => {
  const world = new World({ "a/1": "unreachable", "a/2": "clean" });
  expect(outcomes(await world.run())).toEqual(["unavailable", "not-taken"]);
  expect(outcomes(await world.run({ maxUnavailable: 2 }))).toEqual(["unavailable", "done"]);
});

test("a node that dies by itself meanwhile counts from then on", async () => {
  const world = new World({ "a/1": "clean", "a/2": "clean", "b/1": "clean" }, ["b/1"]);
  world.onUp.set("a/1", () => {
    world.status.set("b/1", "unreachable");
    return undefined;
  });
  const walked = await world.run();
  expect([outcomes(walked), world.taken]).toEqual([["done", "not-taken", "unavailable"], ["a/1"]]);
});

test("with --stop-on-failure a failure ends the walk; without it the others are still brought up", async () => {
  for (const [stopOnFailure, expected] of [
    [true, ["done", "failed", "not-taken"]],
    [false, ["done", "failed", "done"]],
  ] as const) {
    const world = new World({ "a/1": "clean", "a/2": "clean", "a/3": "clean" });
    world.onUp.set("a/2", () => "permit.refused");
    const walked = await world.run({ stopOnFailure });
    expect(outcomes(walked)).toEqual(expected);
    expect(walked.nodes[1]?.why).toBe("permit.refused");
  }
});

test("told to end, it takes nobody else, and the node that it was at is taken first by the next run", async () => {
  const world = new World({ "a/1": "clean", "a/2": "clean", "a/3": "clean" });
  world.onUp.set("a/2", () => {
    world.stop.abort();
    return "interrupted";
  });
  expect(outcomes(await world.run())).toEqual(["done", "failed", "not-taken"]);
  expect([...standing(world.lines, "w").interrupted.keys()]).toEqual(["a/2"]);
  world.onUp.clear();
  world.taken.length = 0;
  const again = await world.run({ signal: new AbortController().signal });
  expect([outcomes(again), world.taken]).toEqual([
    ["done", "done", "done"],
    ["a/2", "a/1", "a/3"],
  ]);
  // Well or not: a node that was begun is unavailable until it is ended.
  expect(world.said.some((line) => line.startsWith("a/2 was being worked on"))).toBe(true);
});

test("a node that cannot even be begun again stays begun for the run after that", async () => {
  const world = new World({ "a/1": "clean" });
  world.lines.push({ what: "take", nodes: ["a/1"], at: new Date().toISOString() });
  world.onUp.set("a/1", () => {
    throw new Error("the stack is locked");
  });
  expect(outcomes(await world.run())).toEqual(["failed"]);
  expect([...standing(world.lines, "w").interrupted.keys()]).toEqual(["a/1"]);
});

test("a node that was restarting when its run was killed is waited for", async () => {
  const world = new World({ "a/1": "unreachable" });
  world.lines.push({ what: "take", nodes: ["a/1"], at: new Date().toISOString() });
  setTimeout(() => world.status.set("a/1", "drifted"), 30);
  expect(outcomes(await world.run({ returnMs: 2_000 }))).toEqual(["done"]);
});

test("what belongs to no node is refused before anybody is taken", async () => {
  const world = new World({ "a/1": "clean" });
  const stack: WalkStack = {
    preview: async () => ({ nodes: new Map(), shared: ["urn:pulumi:a::p::alicloud:vpc/network:Network::shared"] }),
    up: async () => new Map(),
  };
  await expect(world.run({ stacks: new Map([["a", stack]]) })).rejects.toThrow(/shared.*rolling\.shared/s);
  expect(world.lines).toEqual([]);
});

test("a node's URNs are its parts and the components around them, and never another's whose name is longer", () => {
  const urn = (path: string) => `urn:pulumi:a::teeup::${path}`;
  const state = (parent: string, node?: string) => ({
    inputs: node === undefined ? {} : { node },
    parent,
  });
  const step = (path: string, op: string, parent: string, node?: string) => ({
    resourcePreEvent: {
      metadata: { urn: urn(path), op, type: path.split("::")[0]?.split("$").at(-1), new: state(parent, node) },
    },
  });
  const stack = urn("pulumi:pulumi:Stack::teeup-a");
  const events = ["gpu-1", "gpu-1-b"].flatMap((node) => [
    step(`teeup:node:SnpNode::${node}`, "same", stack),
    step(
      `teeup:node:SnpNode$pulumi-nodejs:dynamic/node:NodePlan::${node}-plan`,
      node === "gpu-1" ? "update" : "same",
      urn(`teeup:node:SnpNode::${node}`),
      node,
    ),
  ]);
  const parts = partsOf([
    ...events,
    step("alicloud:vpc/network:Network::shared", "create", stack),
  ] as unknown as Parameters<typeof partsOf>[0]);
  expect(
    [...parts.nodes].map(([node, { changes, urns }]) => [node, changes, urns.map((one) => one.split("::").at(-1))]),
  ).toEqual([
    ["gpu-1", true, ["gpu-1-plan", "gpu-1"]],
    ["gpu-1-b", false, ["gpu-1-b-plan", "gpu-1-b"]],
  ]);
  expect(parts.shared).toEqual([urn("alicloud:vpc/network:Network::shared")]);
});

/** Text of pkg/v3 3.259.0, backend/diy/lock.go. */
const lock = (...by: readonly string[]) =>
  `the stack is currently locked by ${by.length} lock(s). Either wait for the other process(es) to end or delete the lock file with \`pulumi cancel\`.${by.map((one, n) => `\n  file:///s/${n}.json: created by ${one}`).join("")}`;
test.each([
  ["dead, ours", lock("root@here (pid 7) at 2026-11-21T10:00:05Z"), "dead"],
  ["of the same second", lock("root@here (pid 7) at 2026-11-21T10:00:00Z"), "dead"],
  ["still there", lock("root@here (pid 8) at 2026-11-21T10:00:05Z"), "alive"],
  [
    "one dead, one still there",
    lock("root@here (pid 7) at 2026-11-21T10:00:05Z", "root@here (pid 8) at 2026-11-21T10:00:05Z"),
    "alive",
  ],
  ["another machine's", lock("root@there (pid 7) at 2026-11-21T10:00:05Z"), "others"],
  ["older than the walk", lock("root@here (pid 7) at 2026-11-21T09:59:50Z"), "others"],
  [
    "one that is not told",
    lock("root@here (pid 7) at 2026-11-21T10:00:05Z").replace("by 1 lock", "by 2 lock"),
    "others",
  ],
  ["a service's", "[409] Conflict: Another update is currently in progress.", "others"],
  ["without a time", lock("root@here (pid 7) at sometime"), "others"],
] as const)("a lock that is %s", (_name, message, expected) => {
  const here = { host: "here", alive: (pid: number) => pid === 8 };
  expect(holderOf(message, "2026-11-21T10:00:00.500Z", here)).toBe(expected);
});
