import { expect, test } from "@jest/globals";
import type { Part } from "../../cli/demo/pulumi.ts";
import { groupTimes } from "../../cli/demo/timing.ts";
import { FACETS } from "../../providers/facets/index.ts";

test("a person's groups have every facet: none stands in the table of times by its resource's name", () => {
  const part = (name: string): Part => ({
    urn: name,
    type: "pulumi-nodejs:dynamic/host:X",
    name: `gpu-01-${name}`,
    op: "create",
    plan: [],
    seconds: 1,
  });
  const alone = FACETS.filter(({ name }) => groupTimes([part(name)])[0]?.what === `gpu-01-${name}`);
  expect(alone.map((f) => f.name)).toEqual([]);
  expect(groupTimes([part("bios"), part("cpu"), part("made-up")])).toEqual([
    { what: "hardware and BIOS", seconds: 2 },
    { what: "gpu-01-made-up", seconds: 1 },
  ]);
});
