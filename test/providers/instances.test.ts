import { expect, test } from "@jest/globals";
import { bringInstancePart, checkInstancePart, mustShow } from "../../providers/instances.ts";
import type { Seen, Shape } from "../../providers/kit/instance.ts";

/** What comes before an instance that another provider makes; each test has a node of its own, as each is remembered. */
const WAS: Shape = {
  type: "ecs.gn8v-tee.4xlarge",
  image: "a.vhd",
  zone: "cn-beijing-l",
  diskCategory: "cloud_essd",
  diskGiB: 200,
  keyPair: "ssh-ed25519 AAAA",
};
const silent = () => undefined;
const look = (node: string, before: Shape, shape: Shape, seen: Seen) => {
  const inputs = { facet: "instance-plan", node };
  const checked = checkInstancePart({ ...inputs, shape: before }, { ...inputs, shape, seen });
  return { checked, up: () => bringInstancePart({ ...inputs, shape: before }, checked, "none", silent) };
};
const there = ({ type, image, zone }: Shape): Seen => ({ instances: ["i-1"], shape: { type, image, zone } });

test("a change that was permitted and never made is still a change: the cloud shows what the instance is", () => {
  const wanted = { ...WAS, image: "b.vhd" };
  // The run before wrote the wanted shape down, and then the cloud refused to change the instance.
  const { checked, up } = look("refused", wanted, wanted, there(WAS));
  const line = "[power-cycle] replace the system disk, image a.vhd → b.vhd: all that is on it is lost";
  expect(checked["plan"]).toEqual([line]);
  expect(mustShow(checked)).toBe(true);
  expect(up).toThrow(line);
});

test("an instance that is what the state says has nothing to show, nor has one of which the cloud says nothing", () => {
  const cases: readonly (readonly [string, Seen])[] = [
    ["as-wanted", there(WAS)],
    ["unsaid", { instances: ["i-1"] }],
  ];
  for (const [node, seen] of cases) {
    const { checked, up } = look(node, WAS, WAS, seen);
    expect([node, checked["plan"], mustShow(checked)]).toEqual([node, [], false]);
    expect(up()).toMatchObject({ shape: WAS });
  }
});

test("one that is gone is made anew, whatever it was", () => {
  const { checked, up } = look("gone", WAS, { ...WAS, zone: "cn-beijing-i" }, { instances: [] });
  expect(checked["plan"]).toEqual([
    expect.stringMatching(/^\[none\] make an instance/),
    expect.stringMatching(/^\[check\] instance-plan.absent/),
  ]);
  expect(mustShow(checked)).toBe(true);
  expect(up()).toMatchObject({ shape: { zone: "cn-beijing-i" } });
});
