import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { instanceSteps, REFUSALS, type Seen, type Shape, seenLines, wideRanges } from "../../providers/kit/instance.ts";

const SHAPE: Shape = {
  type: "ecs.gn8v-tee.4xlarge",
  image: "a.vhd",
  zone: "cn-beijing-l",
  diskCategory: "cloud_essd",
  diskGiB: 200,
  keyPair: "ssh-ed25519 AAAA",
};

describe("what a change of an instance costs", () => {
  test.each<[what: string, change: Partial<Shape>, disruption: string, words: RegExp]>([
    ["zone", { zone: "cn-beijing-i" }, "power-cycle", /replace the instance, zone .*released with its disk/],
    ["category of the disk", { diskCategory: "cloud_ssd" }, "power-cycle", /replace the instance, category .*its disk/],
    [
      "image",
      { image: "b.vhd" },
      "power-cycle",
      /replace the system disk, image a.vhd → b.vhd: all that is on it is lost/,
    ],
    ["type", { type: "ecs.gn8v-tee.6xlarge" }, "guest-stop", /stop the instance, change its type/],
    ["key", { keyPair: "ssh-ed25519 BBBB" }, "guest-stop", /another key pair, which restarts/],
    ["a larger disk", { diskGiB: 201 }, "none", /grow the system disk 200 → 201 GiB/],
    ["a smaller disk", { diskGiB: 199 }, "human", /does not shrink \(200 → 199 GiB\)/],
  ])("%s", (_what, change, disruption, words) => {
    const steps = instanceSteps(SHAPE, { ...SHAPE, ...change });
    expect(steps).toEqual([expect.objectContaining({ disruption, title: expect.stringMatching(words), actions: [] })]);
  });

  test("one that is not there is made, and one that is as wanted costs nothing", () => {
    expect(instanceSteps(undefined, SHAPE).map(({ code }) => code)).toEqual(["instance-plan.make"]);
    expect(instanceSteps(SHAPE, { ...SHAPE })).toEqual([]);
  });

  test("no key stands in a step's title", () => {
    const [step] = instanceSteps(SHAPE, { ...SHAPE, keyPair: "ssh-ed25519 BBBB" });
    expect(step?.title).not.toContain("BBBB");
  });
});

test.each<[what: string, made: boolean, seen: Seen, codes: readonly string[]]>([
  ["the cloud says nothing", true, {}, []],
  ["not made yet", false, { instances: [], offered: true }, []],
  ["there", true, { instances: ["i-1"] }, []],
  [
    "there, though this state has none: another would be paid for beside it",
    false,
    { instances: ["i-1"] },
    ["another"],
  ],
  ["gone", true, { instances: [] }, ["absent"]],
  ["not made, and not sold", false, { instances: [], offered: false }, ["not-offered"]],
  ["gone, and sold out", true, { instances: [], offered: false }, ["absent", "not-offered"]],
])("what the cloud says before it is asked for anything: %s", (_what, made, seen, codes) => {
  expect(
    seenLines(made, SHAPE, seen).map((line) => /^\[check\] instance-plan\.([\w-]+): want /.exec(line)?.[1]),
  ).toEqual(codes);
});

describe("ranges that hold about everybody", () => {
  test.each([
    [["203.0.113.7/32", "10.0.0.0/8"], []],
    [["0.0.0.0/0"], ["0.0.0.0/0"]],
    [
      ["0.0.0.0/1", "128.0.0.0/1", "10.0.0.0/8"],
      ["0.0.0.0/1", "128.0.0.0/1"],
    ],
  ])("%j", (cidrs, wide) => {
    expect(wideRanges(cidrs)).toEqual(wide);
  });

  test("no set of ranges that passes holds half of all addresses unless it is long", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 32 }), { maxLength: 20 }), (prefixes) => {
        const left = prefixes.filter((prefix) => wideRanges([`10.0.0.0/${prefix}`]).length === 0);
        return left.reduce((sum, prefix) => sum + 2 ** -prefix, 0) < 0.5;
      }),
    );
  });
});

test("every refusal says what to do, and no code is in two of them", () => {
  const codes = REFUSALS.flatMap(([all]) => all.split(", "));
  expect(new Set(codes).size).toBe(codes.length);
  for (const [, todo] of REFUSALS) expect(todo).toMatch(/\S+ \S+/);
});
