import { expect, test } from "@jest/globals";
import { MOST_MS } from "../../bench/attest.ts";
import { type Figures, promises } from "../../bench/figures.ts";
import { benchmarkPage } from "../../bench/page.ts";
import { inTurns, median } from "../../bench/timing.ts";

/** Synthetic, each just good enough. */
const GOOD: Required<Figures> = {
  drift20: { teeup: 4, ansible: 40, pyinfra: 16, bareSsh2: 1.5, emptyRefresh: 0.5 },
  fleet: [
    { nodes: 100, seconds: 3, floorSeconds: 2, rssMiB: 1536 },
    { nodes: 1000, seconds: 33, floorSeconds: 22, rssMiB: 1536 },
  ],
  preview: { oneNode: 3, emptyProgram: 1.5 },
  accuracy: { tried: 500, missed: 0, falseAlarms: 0 },
  details: {
    execs: { host: [1, 1], guest: [1] },
    state: { resources: 2, bytes: 4096, bytesPerResource: 2048, facets: {} },
  },
  attest: { snpMs: 50, tdxMs: 200 },
};
const CONDITIONS = {
  day: "2026-11-21",
  cpus: 2,
  node: "v24",
  pulumi: "v3",
  runs: 3,
  load: [0, 1],
  together: true,
} as const;
const broken = (figures: Figures) =>
  promises(figures, MOST_MS)
    .filter(({ holds }) => !holds)
    .map(({ what }) => what);

test("what is just good enough keeps every promise", () => {
  expect(broken(GOOD)).toEqual([]);
  expect(benchmarkPage(GOOD, promises(GOOD, MOST_MS), CONDITIONS)).toContain("Every promise is kept.");
});

test.each<[string, Partial<Figures>, string[]]>([
  ["Ansible", { drift20: { ...GOOD.drift20, ansible: 39 } }, ["drift scan of 20 hosts: times faster than Ansible"]],
  ["pyinfra", { drift20: { ...GOOD.drift20, pyinfra: 15 } }, ["drift scan of 20 hosts: times faster than pyinfra"]],
  [
    "bare",
    { drift20: { ...GOOD.drift20, bareSsh2: 1 } },
    ["drift scan of 20 hosts: times bare ssh2 and an empty refresh"],
  ],
  ["floor", { fleet: [{ nodes: 7, seconds: 16, floorSeconds: 10, rssMiB: 1 }] }, ["7 nodes: times the floor"]],
  [
    "memory",
    { fleet: [{ nodes: 7, seconds: 1, floorSeconds: 1, rssMiB: 1537 }] },
    ["7 nodes: memory of all processes of the scan"],
  ],
  [
    "growth",
    {
      fleet: [
        { nodes: 100, seconds: 1, floorSeconds: 1, rssMiB: 1 },
        { nodes: 1000, seconds: 12, floorSeconds: 12, rssMiB: 1 },
      ],
    },
    ["1000 nodes: times the seconds of 100"],
  ],
  [
    "preview",
    { preview: { oneNode: 3.1, emptyProgram: 1.5 } },
    ["no-op preview of one node: times an empty program's"],
  ],
  [
    "execs",
    { details: { ...GOOD.details, execs: { host: [1, 2], guest: [1] } } },
    ["SSH execs of a no-op preview, host"],
  ],
  ["missed", { accuracy: { tried: 500, missed: 1, falseAlarms: 0 } }, ["changed facts of 500 that were missed"]],
  ["false alarm", { accuracy: { tried: 500, missed: 0, falseAlarms: 1 } }, ["changed facts of 500 with a false alarm"]],
])("%s: one promise that is not kept is said to be", (_name, worse, expected) => {
  const figures = { ...GOOD, ...worse };
  expect(broken(figures)).toEqual(expected);
  const kept = promises(figures, MOST_MS);
  expect(benchmarkPage(figures, kept, CONDITIONS)).toContain(`1 of ${kept.length} promises are not kept.`);
  expect(benchmarkPage(figures, kept, CONDITIONS)).toContain("NOT KEPT");
});

test("what was not measured is promised nothing", () => {
  expect(promises({}, MOST_MS)).toEqual([]);
});

test("sides run in turns, and of each the median counts", async () => {
  const order: string[] = [];
  const side =
    (name: string, ...seconds: number[]) =>
    async () => {
      order.push(name);
      return seconds.shift() ?? Number.NaN;
    };
  expect(await inTurns(3, { a: side("a", 9, 1, 2), b: side("b", 5, 5, 5) })).toEqual({ a: 2, b: 5 });
  expect(order).toEqual(["a", "b", "a", "b", "a", "b"]);
  expect(median([4, 1])).toBe(2.5);
});
