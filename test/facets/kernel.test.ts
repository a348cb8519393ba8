import { expect, test } from "@jest/globals";
import { kernel } from "../../providers/facets/kernel.ts";
import { KERNEL_EXAMPLES } from "../../providers/facets/kernel-examples.ts";
import { failed, ok } from "../../providers/kit/ask.ts";
import { KernelWantSchema } from "../../providers/kit/kernel.ts";
import { argvs, bad, CONTEXT, codes, factsOf } from "./run-examples.ts";

const named = (name: string) => {
  const found = KERNEL_EXAMPLES.find((e) => e.name === name);
  if (found === undefined) throw new Error(name);
  return found;
};
const { want, answers: good } = named("runs and is held");
const { answers: bare } = named("untouched");
const MENU = ok(`submenu 'Advanced' $menuentry_id_option 'gnulinux-advanced-5b6f' {
\tmenuentry 'x' $menuentry_id_option 'gnulinux-6.8.0-90-generic-advanced-5b6f' {
\t\tlinux /boot/vmlinuz-6.8.0-90-generic ro
\t}
}`);

test("install comes before hold, and the meta packages that would bring another kernel are held too", () => {
  const packages = ok(
    "installed linux-generic 1\ninstalled linux-image-generic-hwe-24.04 1\ninstalled linux-libc-dev 1\n",
  );
  const steps = kernel.plan?.(want, factsOf(kernel, { ...bare, packages }), CONTEXT);
  expect(argvs(steps)).toEqual([
    "dpkg --configure -a",
    "apt-get -y update",
    "apt-get -y --no-remove install linux-image-6.14.0-37-generic",
    "apt-mark hold linux-image-6.14.0-37-generic linux-generic linux-image-generic-hwe-24.04",
  ]);
  expect(steps?.map((s) => s.disruption)).toEqual(["none", "none"]);
});

test("a built kernel is installed from its file", () => {
  const file = "/var/lib/teeup/artifacts/linux-image-6.14.0-37-generic_1_amd64.deb";
  expect(argvs(kernel.plan?.({ ...want, file }, factsOf(kernel, bare), CONTEXT)).slice(0, 2)).toEqual([
    "dpkg --configure -a",
    `apt-get -y install ${file}`,
  ]);
});

test("a trial names the entry that GRUB will have once the kernel is installed", () => {
  expect(kernel.pending?.(want, factsOf(kernel, { ...bare, grub: MENU }))).toEqual({
    reasons: ["kernel 6.8.0-90-generic runs, 6.14.0-37-generic is wanted"],
    boots: 1,
    trial: {
      entry: "gnulinux-advanced-5b6f>gnulinux-6.14.0-37-generic-advanced-5b6f",
      kernel: "6.14.0-37-generic",
    },
  });
  expect(kernel.pending?.(want, factsOf(kernel, good)).reasons).toEqual([]);
  expect(kernel.pending?.(want, factsOf(kernel, { ...good, running: failed("x") })).reasons).toEqual([]);
});

test("what waits for a restart is a warning, since host-boot brings it about; what does not is a failure", () => {
  const levels = (name: string) =>
    kernel
      .judge(named(name).want, factsOf(kernel, named(name).answers))
      .filter((f) => f.level !== "pass")
      .map((f) => [f.code, f.level]);
  expect(levels("staged, waits for a restart")).toEqual([["kernel.running", "warn"]]);
  expect(levels("built without SEV")).toEqual([["kernel.config", "fail"]]);
});

test("a node that fell back to an older kernel is no upgrade", () => {
  expect(bad(kernel.judge(want, factsOf(kernel, { ...good, running: ok("6.8.0-90-generic\n") })))).toEqual([
    "kernel.running",
  ]);
  expect(bad(kernel.judge(want, factsOf(kernel, { ...good, running: ok("6.17.0-8-generic\n") })))).toEqual([
    "kernel.upgraded",
  ]);
});

test("delete lets the packages be upgraded again, once", () => {
  expect(argvs(kernel.undo?.(want, factsOf(kernel, good), CONTEXT))).toEqual([
    "apt-mark unhold linux-image-6.14.0-37-generic linux-generic",
  ]);
  expect(codes(kernel.undo?.(want, factsOf(kernel, { ...good, held: ok("") }), CONTEXT))).toEqual([]);
});

test("an option that no machine is asked about cannot be wanted off: it would seem to be off everywhere", () => {
  const off = (...configOff: string[]) => KernelWantSchema.safeParse({ ...want, configOff }).success;
  expect(off("CONFIG_KEXEC", "CONFIG_CRASH_DUMP")).toBe(true);
  expect(off("CONFIG_HIBERNATION")).toBe(false);
});
