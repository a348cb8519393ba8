import { expect, test } from "@jest/globals";
import { vfioBinding } from "../../providers/facets/vfio-binding.ts";
import { ok } from "../../providers/kit/ask.ts";
import { argvs, CONTEXT, factsOf, runExamples } from "./run-examples.ts";

runExamples(vfioBinding);

const want = { gpus: "all" } as const;
const bound = vfioBinding.examples[0]!.answers;

test("binding names every device of the group, and looks for an IOMMU first", () => {
  const untouched = factsOf(vfioBinding, vfioBinding.examples[1]!.answers);
  expect(argvs(vfioBinding.plan?.(want, untouched, CONTEXT))).toEqual([
    "modprobe vfio-pci",
    "test -d /sys/kernel/iommu_groups/0",
    "driverctl set-override 0000:81:00.0 vfio-pci",
  ]);
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
    ["none", [{ do: "write", path: "/etc/driverctl.d/pci-0000:81:00.0", content: "vfio-pci\n" }]],
  ]);
});

test("delete gives back what was saved, once", () => {
  expect(argvs(vfioBinding.undo?.(want, factsOf(vfioBinding, bound), CONTEXT))).toEqual([
    "driverctl unset-override 0000:81:00.0",
  ]);
  const gone = factsOf(vfioBinding, vfioBinding.examples[1]!.answers);
  expect(vfioBinding.undo?.(want, gone, CONTEXT)).toEqual([]);
});
