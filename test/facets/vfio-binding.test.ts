import { expect, test } from "@jest/globals";
import { vfioBinding } from "../../providers/facets/vfio-binding.ts";
import { missing, ok } from "../../providers/kit/ask.ts";
import { argvs, bad, CONTEXT, codes, factsOf, runExamples } from "./run-examples.ts";

runExamples(vfioBinding);

const want = { gpus: "all", switches: false } as const;
const bound = vfioBinding.examples[0]!.answers;

test("binding names every device of the group, and looks for an IOMMU first", () => {
  const untouched = factsOf(vfioBinding, vfioBinding.examples[1]!.answers);
  expect(argvs(vfioBinding.plan?.(want, untouched, CONTEXT))).toEqual([
    "modprobe vfio-pci",
    "test -d /sys/kernel/iommu_groups/0",
    "driverctl set-override 0000:81:00.0 vfio-pci",
  ]);
});

test("of a whole board the plan says each driver once", () => {
  const device = (bdf: string, driver?: string) =>
    `Slot:\t${bdf}\nClass:\t0302\nVendor:\t10de\nDevice:\t2330\n${driver === undefined ? "" : `Driver:\t${driver}\n`}IOMMUGroup:\t${bdf.slice(5, 7)}\n`;
  const lspci = ok([device("0000:11:00.0"), device("0000:21:00.0", "nouveau"), device("0000:31:00.0")].join("\n"));
  const facts = factsOf(vfioBinding, { ...vfioBinding.examples[1]!.answers, lspci });
  expect(vfioBinding.plan?.(want, facts, CONTEXT).at(-1)?.title).toBe(
    "bind 0000:11:00.0, 0000:31:00.0 (no driver), 0000:21:00.0 (nouveau) to vfio-pci",
  );
});

test("taking a device from the host's driver is a service, under a running guest it stops the guest", () => {
  const facts = factsOf(vfioBinding, vfioBinding.examples[1]!.answers);
  const worst = (guestRunning: boolean) =>
    vfioBinding.plan?.(want, facts, { ...CONTEXT, guestRunning }).map((s) => s.disruption);
  expect(worst(false)).toEqual(["none", "none", "service"]);
  expect(worst(true)).toEqual(["none", "none", "guest-stop"]);
});

test("a missing save is written as a file: a bound device stays with its guest", () => {
  const facts = factsOf(vfioBinding, { ...bound, saved: ok("", 1) });
  const steps = vfioBinding.plan?.(want, facts, { ...CONTEXT, guestRunning: true });
  expect(steps?.map((s) => [s.disruption, s.actions])).toEqual([
    [
      "none",
      [
        { do: "write", path: "/var/lib/teeup/vfio.json", content: '{"bound":["0000:81:00.0"],"saved":[]}\n' },
        { do: "write", path: "/etc/driverctl.d/pci-0000:81:00.0", content: "vfio-pci\n" },
      ],
    ],
  ]);
});

test("delete gives back what was saved, once", () => {
  const undo = vfioBinding.undo?.(want, factsOf(vfioBinding, bound), CONTEXT);
  expect(argvs(undo)).toEqual([
    "driverctl --nosave --noprobe unset-override 0000:81:00.0",
    "driverctl --nosave unset-override 0000:81:00.0",
  ]);
  // No driver of the host wants it, which driverctl takes for a failure.
  expect(undo?.[0]?.actions).toContainEqual(expect.objectContaining({ okStatus: [0, 1] }));
  expect(undo?.[0]?.actions[2]).toEqual({ do: "remove", path: "/etc/driverctl.d/pci-0000:81:00.0" });
  const gone = factsOf(vfioBinding, vfioBinding.examples[1]!.answers);
  expect(vfioBinding.undo?.(want, gone, CONTEXT)).toEqual([]);
});

const GPU = "Slot:\t0000:81:00.0\nClass:\t0302\nVendor:\t10de\nDevice:\t2331\nIOMMUGroup:\t14\n";
const nic = (driver: string) =>
  `Slot:\t0000:82:00.0\nClass:\t0200\nVendor:\t15b3\nDevice:\t101e\n${driver}IOMMUGroup:\t14\n`;

test("the host's own NIC in a GPU's group is never taken, and nothing is bound beside it", () => {
  const shared = { ...bound, lspci: ok(`${GPU}\n${nic("Driver:\tmlx5_core\n")}`), saved: ok("", 1) };
  const facts = factsOf(vfioBinding, shared);
  const findings = vfioBinding.judge(want, facts);
  expect(bad(findings)).toContain("vfio-binding.group-shared");
  expect(findings.find((f) => f.code === "vfio-binding.group-shared")?.saw).toContain("0000:82:00.0");
  const steps = vfioBinding.plan?.(want, facts, CONTEXT);
  expect(steps?.map((s) => [s.code, s.disruption, s.actions.length])).toEqual([
    ["vfio-binding.group-shared", "human", 0],
  ]);
  expect(
    codes(vfioBinding.plan?.(want, factsOf(vfioBinding, { ...shared, lspci: ok(`${GPU}\n${nic("")}`) }), CONTEXT)),
  ).toEqual(["vfio-binding.bind"]);
});

test("delete gives back only what TeeUp took: a device that was vfio-pci's before stays", () => {
  const undo = (record: string) =>
    vfioBinding.undo?.(want, factsOf(vfioBinding, { ...bound, record: ok(record) }), CONTEXT)?.[0]?.actions;
  const removed = [
    { do: "remove", path: "/etc/modules-load.d/teeup-vfio.conf" },
    { do: "remove", path: "/var/lib/teeup/vfio.json" },
  ];
  expect(undo('{"bound":[],"saved":[]}')).toEqual(removed);
  expect(undo('{"bound":[],"saved":["0000:81:00.0"]}')).toEqual([
    { do: "remove", path: "/etc/driverctl.d/pci-0000:81:00.0" },
    ...removed,
  ]);
  const foreign = factsOf(vfioBinding, { ...bound, record: missing });
  expect(vfioBinding.undo?.(want, foreign, CONTEXT)?.[0]?.actions).toEqual(removed);
});

test("what was bound by hand is recorded as saved only, so that delete leaves it bound", () => {
  const facts = factsOf(vfioBinding, { ...bound, saved: ok("", 1), record: missing });
  expect(vfioBinding.plan?.(want, facts, CONTEXT)[0]?.actions[0]).toEqual({
    do: "write",
    path: "/var/lib/teeup/vfio.json",
    content: '{"bound":[],"saved":["0000:81:00.0"]}\n',
  });
});
