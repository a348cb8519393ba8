import { expect, test } from "@jest/globals";
import { kernelCmdline as facet } from "../../providers/facets/kernel-cmdline.ts";
import { KERNEL_CMDLINE_EXAMPLES } from "../../providers/facets/kernel-cmdline-examples.ts";
import { CommandLineSchema, dropIn } from "../../providers/kit/kernel-cmdline.ts";
import { bad, CONTEXT, codes, factsOf } from "./run-examples.ts";

const named = (name: string) => {
  const found = KERNEL_CMDLINE_EXAMPLES.find((e) => e.name === name);
  if (found === undefined) throw new Error(name);
  return { want: found.want, facts: factsOf(facet, found.answers) };
};

const HEAD = "# Written by TeeUp; a change here is undone by the next up.\nGRUB_DEFAULT=saved\n";

test("the drop-in appends, so that what others set stays, and saves the default for a trial boot", () => {
  expect(dropIn({ present: ["a=1", "b"], forbidden: [] })).toBe(
    `${HEAD}GRUB_CMDLINE_LINUX="panic=10 $GRUB_CMDLINE_LINUX a=1 b"\n`,
  );
});

test.each([
  ["nothing special", [], 'GRUB_CMDLINE_LINUX="panic=10 $GRUB_CMDLINE_LINUX"'],
  ["a time of its own", ["panic=60"], 'GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX panic=60"'],
  ["no restart", ["panic=0"], 'GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX panic=0"'],
])("a kernel that panics restarts the node, where others did not set it first; wanted: %s", (_name, present, line) => {
  expect(dropIn({ present, forbidden: [] })).toBe(`${HEAD}${line}\n`);
});

test("001-GPU-26, 27: staged and the menu written, no restart of its own", () => {
  const { want, facts } = named("untouched");
  const [step] = facet.plan?.(want, facts, CONTEXT) ?? [];
  expect(step?.actions.map((a) => (a.do === "write" ? a.path : a.do === "run" ? a.argv.join(" ") : a.do))).toEqual([
    "/etc/default/grub.d/50-teeup.cfg",
    "update-grub",
  ]);
  expect(step?.disruption).toBe("none");
  expect(facet.pending?.(want, facts)).toEqual({
    reasons: ["command line lacks vfio-pci.disable_idle_d3=1"],
    boots: 1,
  });
});

test("000-09, 10: iommu=pt in /etc/default/grub is taken off; the old line stays beside it, and delete restores it", () => {
  const { want, facts } = named("the web's recipe in /etc/default/grub");
  const [step] = facet.plan?.(want, facts, CONTEXT) ?? [];
  const write = step?.actions.find((a) => a.do === "write");
  expect(write).toMatchObject({
    path: "/etc/default/grub",
    content:
      '#teeup-was GRUB_CMDLINE_LINUX_DEFAULT="quiet amd_iommu=on iommu=pt"\nGRUB_CMDLINE_LINUX_DEFAULT="quiet amd_iommu=on"\n',
  });
  if (write?.do !== "write") throw new Error("no write");
  const after = {
    ...facts,
    files: { state: "known", value: { "/etc/default/grub": write.content.trimEnd().split("\n") } },
  } as const;
  expect(bad(facet.judge(want, after))).not.toContain("kernel-cmdline.iommu-pt");
  const [undo] = facet.undo?.(want, after, CONTEXT) ?? [];
  expect(undo?.actions).toContainEqual({
    do: "write",
    path: "/etc/default/grub",
    content: 'GRUB_CMDLINE_LINUX_DEFAULT="quiet amd_iommu=on iommu=pt"\n',
  });
  expect(facet.pending?.(want, facts).reasons).toContain("command line has iommu=pt");
});

test("iommu=pt in somebody else's drop-in: the finding names the file, only a person may edit it, no restart is asked for", () => {
  const { want, facts } = named("the web's recipe in another drop-in");
  const finding = facet.judge(want, facts).find((f) => f.code === "kernel-cmdline.iommu-pt");
  expect(finding?.saw).toBe("iommu=pt in /etc/default/grub.d/99-web.cfg");
  expect(facet.plan?.(want, facts, CONTEXT)).toMatchObject([{ disruption: "human", actions: [] }]);
  expect(facet.pending?.(want, facts).reasons).toEqual([]);
});

test("in force: nothing waits", () => {
  const { want, facts } = named("in force");
  expect(facet.pending?.(want, facts)).toEqual({ reasons: [], boots: 0 });
});

test("delete removes the drop-in once", () => {
  const { want, facts } = named("in force");
  expect(codes(facet.undo?.(want, facts, CONTEXT))).toEqual(["kernel-cmdline.restore"]);
  expect(codes(facet.undo?.(want, named("untouched").facts, CONTEXT))).toEqual([]);
});

test.each(['a"b', "a b", "$(x)", "a`b`", ""])("%j is no word of a command line", (word) => {
  expect(CommandLineSchema.safeParse({ present: [word] }).success).toBe(false);
});
