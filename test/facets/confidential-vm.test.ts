import { expect, test } from "@jest/globals";
import { confidentialVm } from "../../providers/facets/confidential-vm.ts";
import { missing, ok } from "../../providers/kit/ask.ts";
import { execute } from "../../sim/commands/exec.ts";
import { hostTwin } from "./host-twin.ts";
import { argvs, CONTEXT, codes, factsOf, runExamples } from "./run-examples.ts";

runExamples(confidentialVm);

const { want, answers } = confidentialVm.examples[0]!;

test("starting is free, what stops a running guest is guest-stop, and it waits for the guest", () => {
  const steps = (n: number) => {
    const e = confidentialVm.examples[n]!;
    return confidentialVm.plan?.(e.want, factsOf(confidentialVm, e.answers), CONTEXT);
  };
  expect(steps(1)?.map((s) => s.disruption)).toEqual(["none"]);
  expect(steps(2)?.map((s) => s.disruption)).toEqual(["guest-stop"]);
  expect(steps(1)?.[0]?.actions.at(-1)).toEqual({ do: "wait-guest", timeoutSeconds: 900 });
  expect(argvs(steps(1))).toEqual([
    "systemctl daemon-reload",
    "systemctl enable teeup-vm-cvm0.service",
    "systemctl start teeup-vm-cvm0.service",
  ]);
  expect(steps(2)?.[0]?.title).toContain("64G → ");
});

test("facts hold no process number: two looks at an unchanged machine are equal", () => {
  const process = answers["process"];
  const again = process?.kind === "ran" ? ok(process.stdout.replace(/^\d+/, "815")) : process!;
  const state = ok("MainPID=815\nActiveState=active\nUnitFileState=enabled\nNeedDaemonReload=no\n");
  expect(factsOf(confidentialVm, { ...answers, process: again, state })).toEqual(factsOf(confidentialVm, answers));
});

test("delete stops the guest, and is nothing when there is none", () => {
  const undo = (n: number) =>
    confidentialVm.undo?.(want, factsOf(confidentialVm, confidentialVm.examples[n]!.answers), CONTEXT);
  expect(undo(0)?.map((s) => s.disruption)).toEqual(["guest-stop"]);
  expect(undo(1)).toEqual([]);
});

test("a free start is one beside which no guest runs: neither the unit's nor another's", () => {
  const plan = (n: string, guestRunning: boolean) => {
    const e = confidentialVm.examples.find((x) => x.name.startsWith(n))!;
    return confidentialVm.plan?.(e.want, factsOf(confidentialVm, e.answers), { ...CONTEXT, guestRunning });
  };
  expect(plan("no VM yet", false)?.map((s) => s.disruption)).toEqual(["none"]);
  expect(plan("no VM yet", true)?.map((s) => s.disruption)).toEqual(["guest-stop"]);
  expect(plan("ended", true)?.map((s) => s.disruption)).toEqual(["guest-stop"]);
  expect(plan("QEMU ends at once", false)?.map((s) => s.disruption)).toEqual(["guest-stop"]);
});

test("only root's processes are asked for, on the twin as well", () => {
  const { node } = hostTwin();
  const ask = confidentialVm.asks.process.argv;
  node.host.spawn(["/usr/bin/qemu-system-x86_64", "-name", "teeup-vm-cvm0"], undefined, "mallory");
  expect(execute(node.host, ask).status).toBe(1);
  node.host.spawn(["/usr/bin/qemu-system-x86_64", "-name", "teeup-vm-cvm0"]);
  expect(execute(node.host, ask).status).toBe(0);
});

test("a restart that changed nothing is not made again", () => {
  const e = confidentialVm.examples.find((x) => x.name.startsWith("a drop-in"))!;
  const plan = (more: typeof e.answers) =>
    confidentialVm.plan?.(e.want, factsOf(confidentialVm, { ...e.answers, ...more }), CONTEXT);
  const first = plan({ tried: missing });
  expect(codes(first)).toEqual(["confidential-vm.restart"]);
  const note = first?.[0]?.actions.find((a) => a.do === "write" && a.path === "/run/teeup/vm-restart");
  expect(plan({ tried: ok(note?.do === "write" ? String(note.content) : "") })?.map((s) => s.disruption)).toEqual([
    "human",
  ]);
});

test("a VM that was made for another GPU mode is not called one of this mode: what its unit says is all that tells", () => {
  const unit = answers["unit"]?.kind === "ran" ? answers["unit"].stdout : "";
  const plan = (mode: string) => {
    const now = factsOf(confidentialVm, { ...answers, unit: ok(unit.replace(/^GpuMode=.*$/m, `GpuMode=${mode}`)) });
    return confidentialVm.plan?.(want, now, CONTEXT)?.map((s) => `${s.code} ${s.disruption}`);
  };
  expect(plan(want.gpuMode)).toEqual([]);
  expect(plan("off")).toEqual(["confidential-vm.restart guest-stop"]);
  expect(plan("")).toEqual(["confidential-vm.define none"]);
});

test("an undefined domain of TeeUp's that still runs is ended by delete; somebody else's is not", () => {
  const undo = (name: string) => {
    const e = confidentialVm.examples.find((x) => x.name.startsWith(name));
    if (e === undefined) throw new Error(name);
    return argvs(confidentialVm.undo?.(e.want, factsOf(confidentialVm, e.answers), CONTEXT));
  };
  const virsh = "virsh --connect qemu:///system";
  expect(undo("TeeUp's own domain, undefined")).toEqual([`${virsh} shutdown teeup-vm-cvm0`]);
  expect(undo("a transient domain of somebody")).toEqual([]);
  // NVRAM that somebody gave it would keep libvirt from letting it go.
  expect(undo("a libvirt domain, running")).toContain(`${virsh} undefine teeup-vm-cvm0 --nvram`);
});

test("a domain without what was asked for is refused, not made", () => {
  const parse = (more: object) => confidentialVm.want.safeParse({ cpus: 2, memoryGiB: 4, ...more }).success;
  expect(parse({ launcher: "libvirt" })).toBe(true);
  expect(parse({ iommufd: true })).toBe(true);
  expect(parse({ launcher: "libvirt", iommufd: true })).toBe(false);
});
